"""View rows of the forms about nodes: adding one, and asking before an act."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpucloud_core.fleet.add import NodeAsked
from gpucloud_core.fleet.queries import NodeView
from gpucloud_core.kernel.errors import FieldError, ValidationFailed
from gpucloud_core.nodes.model import FabricKind, FabricPlace, NodeMode
from gpucloud_web.components import Choice, Consequence, FieldFault
from gpucloud_web.pages.node_words import MODES, Verb
from gpucloud_web.pages.visit import Form, one

PLACE_FIELDS = ("fabric", "pod", "group")
FIELDS = (
    *("name", "region", "host", "port", "username", "host_key", "slot_host", "slot_port"),
    *PLACE_FIELDS,
)
_KINDS = {
    FabricKind.RAIL_OPTIMISED: "Rail-optimised",
    FabricKind.LEAF_SPINE: "Leaf and spine",
}


def kinds(chosen: str) -> tuple[Choice, ...]:
    """Return the classes of fabric to choose from, and that none is known."""
    return (
        Choice(value="", text="Not known", selected=not chosen),
        *(Choice(value=kind, text=_KINDS[kind], selected=kind == chosen) for kind in FabricKind),
    )


def place_of(form: Form) -> FabricPlace | None:
    """Return the place in a fabric that a form describes.

    Raises:
        ValidationFailed: there is no such class of fabric.
    """
    kind = one(form, "fabric_kind")
    if not kind:
        return None
    if kind not in set(FabricKind):
        detail = "Choose one of the classes of fabric."
        raise ValidationFailed(detail, fields=[FieldError("/fabric_kind", "unknown", detail)])
    fabric, pod, group = (one(form, name).strip() for name in PLACE_FIELDS)
    return FabricPlace(kind=FabricKind(kind), fabric=fabric, pod=pod, group=group)


def place_words(place: FabricPlace | None) -> str:
    if place is None:
        return "not known"
    return f"{place.group}, {place.pod}, {place.fabric}"


def asked_of(form: Form) -> NodeAsked:
    """Return the node that a form describes.

    Raises:
        ValidationFailed: a port is no number, or the mode is none.
    """
    faults = [
        FieldError(f"/{name}", "not_a_number", "Use a number from 1 to 65535.")
        for name in ("port", "slot_port")
        if not one(form, name).strip().isascii() or not one(form, name).strip().isdigit()
    ]
    mode = one(form, "mode") or NodeMode.CONTAINER
    if mode not in set(NodeMode):
        faults.append(FieldError("/mode", "unknown", "Choose one of the modes."))
    if faults:
        raise ValidationFailed("The node needs another look.", fields=faults)
    return NodeAsked(
        name=one(form, "name").strip(),
        region=one(form, "region").strip(),
        host=one(form, "host"),
        port=int(one(form, "port")),
        username=one(form, "username").strip(),
        host_key=one(form, "host_key"),
        private_key=one(form, "private_key"),
        mode=NodeMode(mode),
        slot_host=one(form, "slot_host"),
        slot_port=int(one(form, "slot_port")),
        shared_kernel=bool(one(form, "shared_kernel")),
        place=place_of(form),
        probe=bool(one(form, "probe")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNodePage:
    """All that ``nodes/new.html`` may know. A private key that was typed is not shown again."""

    values: Mapping[str, str]
    modes: tuple[Choice, ...]
    kinds: tuple[Choice, ...]
    shared_kernel: bool
    probe: bool
    key: str
    errors: tuple[FieldFault, ...]
    faults: Mapping[str, str]

    @classmethod
    def of(
        cls,
        *,
        key: str,
        form: Form | None = None,
        errors: Sequence[FieldFault] = (),
    ) -> "AddNodePage":
        fresh = {"port": "22", "slot_port": "22000", "username": "gpucloud"}
        typed = {name: one(form, name) if form else fresh.get(name, "") for name in FIELDS}
        chosen = one(form, "mode") if form else NodeMode.CONTAINER
        return cls(
            values=typed,
            modes=tuple(
                Choice(value=mode, text=MODES[mode], selected=mode == chosen) for mode in NodeMode
            ),
            kinds=kinds(one(form, "fabric_kind") if form else ""),
            shared_kernel=bool(form and one(form, "shared_kernel")),
            probe=not form or bool(one(form, "probe")),
            key=key,
            errors=tuple(errors),
            faults={fault.field: fault.text for fault in errors if fault.field},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPage:
    """All that ``nodes/confirm.html`` may know: an act on a node, before it is done."""

    title: str
    name: str
    back: str
    action: str
    verb: str
    points: tuple[Consequence, ...]
    grade: int
    danger: bool
    operation: str
    key: str
    error: str

    @classmethod
    def of(cls, view: NodeView, verb: Verb, *, key: str, error: str = "") -> "AskPage":
        href = f"/admin/nodes/{view.node.id}"
        return cls(
            title=f"{verb.title} {view.node.name}?",
            name=view.node.name,
            back=href,
            action=f"{href}/{verb.path}",
            verb=verb.verb,
            points=verb.points,
            grade=verb.grade,
            danger=verb.danger,
            operation=verb.operation,
            key=key,
            error=error,
        )
