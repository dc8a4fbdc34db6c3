"""The form that asks for a what-if plan, and the question that it asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.errors import FieldError, ValidationFailed
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.nodes.systems import SYSTEMS
from gpucloud_core.placement.plan import MODES, PlanAsked, parse_mix, parse_trace
from gpucloud_web import formats
from gpucloud_web.components import Choice, FieldFault
from gpucloud_web.pages.catalog_rows import BESIDE
from gpucloud_web.pages.forms import whole_number
from gpucloud_web.pages.visit import Form, one

_MODE_WORDS: Final[Mapping[NodeMode, str]] = {
    NodeMode.CONTAINER: "Containers",
    NodeMode.VM: "Virtual machines",
}
_NUMBERS: Final[Mapping[str, str]] = {
    "nodes": "the nodes",
    "vcpus_per_gpu": "the vCPUs",
    "memory_gib_per_gpu": "the memory",
    "every_seconds": "the seconds",
    "seed": "the seed",
}
_WORDS: Final = ("system", "pool", "mode", "beside", "mix", "launches", "stay_hours", "trace")
_FIELDS: Final = (*_NUMBERS, *_WORDS)
FRESH: Final[Mapping[str, str]] = {
    "system": "hgx-h200",
    "nodes": "16",
    "mode": NodeMode.CONTAINER,
    "beside": Beside.NOTHING,
    "vcpus_per_gpu": "20",
    "memory_gib_per_gpu": "195",
    "mix": "1:60, 2:15, 4:15, 8:10",
    "every_seconds": "60",
    "stay_hours": "6",
    "seed": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanForm:
    """All that ``plans/new.html`` may know."""

    values: Mapping[str, str]
    pools: tuple[Choice, ...]
    systems: tuple[Choice, ...]
    modes: tuple[Choice, ...]
    beside: tuple[Choice, ...]
    key: str
    errors: tuple[FieldFault, ...]
    faults: Mapping[str, str]

    @classmethod
    def of(
        cls,
        *,
        pools: Mapping[str, int],
        key: str,
        form: Form | None = None,
        pool: str = "",
        errors: Sequence[FieldFault] = (),
    ) -> "PlanForm":
        typed = {name: one(form, name) if form else FRESH.get(name, "") for name in _FIELDS}
        chosen = typed["pool"] if form else pool
        nodes = {name: formats.counted(number, "node") for name, number in pools.items()}
        return cls(
            values=typed,
            pools=(
                Choice(value="", text="Imagine one", selected=not chosen),
                *(
                    Choice(value=name, text=f"{name}, {words}", selected=name == chosen)
                    for name, words in nodes.items()
                ),
            ),
            systems=tuple(
                Choice(value=name, text=name, selected=name == typed["system"])
                for name in sorted(SYSTEMS)
            ),
            modes=tuple(
                Choice(value=mode, text=_MODE_WORDS[mode], selected=mode == typed["mode"])
                for mode in MODES
            ),
            beside=tuple(
                Choice(value=each, text=words or "nothing", selected=each == typed["beside"])
                for each, words in BESIDE.items()
            ),
            key=key,
            errors=tuple(errors),
            faults={fault.field: fault.text for fault in errors if fault.field},
        )


def asked_of(form: Form, trace: str) -> PlanAsked:
    """Return the question that a form asks; ``trace`` is the text of what was uploaded.

    Raises:
        ValidationFailed: a field is no number, no mix or no trace.
    """
    wrong: list[FieldError] = []
    numbers = {name: whole_number(form, name, wrong, called) for name, called in _NUMBERS.items()}
    launches = (
        whole_number(form, "launches", wrong, "the launches")
        if one(form, "launches").strip()
        else None
    )
    stay: float | None = None
    if text := one(form, "stay_hours").strip():
        try:
            stay = float(text)
        except ValueError:
            wrong.append(FieldError("/stay_hours", "not_a_number", "Give hours, such as 6."))
    mode = one(form, "mode") or NodeMode.CONTAINER
    if mode not in set(MODES):
        wrong.append(FieldError("/mode", "unknown", "Choose containers or virtual machines."))
    beside = one(form, "beside") or Beside.NOTHING
    if beside not in set(Beside):
        wrong.append(FieldError("/beside", "unknown", "Choose what comes with each GPU."))
    if wrong:
        raise ValidationFailed("The question needs another look.", fields=wrong)
    return PlanAsked(
        pool=one(form, "pool"),
        system=one(form, "system"),
        mode=NodeMode(mode),
        beside=Beside(beside),
        nodes=numbers["nodes"],
        vcpus_per_gpu=numbers["vcpus_per_gpu"],
        memory_gib_per_gpu=numbers["memory_gib_per_gpu"],
        every_seconds=numbers["every_seconds"],
        seed=numbers["seed"],
        mix=parse_mix(one(form, "mix")),
        launches=launches,
        stay_hours=stay,
        trace=parse_trace(trace) if trace.strip() else (),
    )
