"""View rows of what-if plans: the list, and one with what fits, what does not, and advice."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.catalog.model import Beside
from gpucloud_core.fleet.plan import Plan
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.placement.plan import PlanAsked
from gpucloud_core.placement.what_if import Drain, Moment, Outlook
from gpucloud_web import formats
from gpucloud_web.components import Fact, MenuEntry
from gpucloud_web.pages.catalog_rows import BESIDE
from gpucloud_web.plots import Plot, Series
from gpucloud_web.tables import Cell, Column, Empty, ListSpec, Row

PATH: Final = "/admin/nodes/plans"
PLANS: Final = ListSpec(
    name="plans",
    noun="plans",
    columns=(
        Column(key="plan", title="Fleet"),
        Column(key="demand", title="Demand"),
        Column(key="status", title="Status"),
        Column(key="fits", title="Fits", number=True),
        Column(key="asked", title="Asked for", sort="id", number=True),
    ),
)
NO_PLANS: Final = Empty(
    heading="Nothing was planned yet",
    sentence="A plan plays a demand forward against a fleet, imagined or yours, by the rules that "
    "placement goes by. It shows what fits, what is refused and why, and how the fleet comes to be "
    "cut up. It changes nothing.",
    action="New plan",
    href=f"{PATH}/new",
)
_DRAINS_SHOWN: Final = 12
_SERIES: Final = 4


def fleet_words(asked: PlanAsked) -> str:
    if asked.pool:
        return asked.pool
    return f"{formats.counted(asked.nodes, 'imagined node')}, {asked.system}"


def demand_words(asked: PlanAsked) -> str:
    if asked.trace:
        return f"a trace of {formats.counted(len(asked.trace), 'launch', 'launches')}"
    whole = sum(asked.mix.values())
    return ", ".join(
        f"{formats.counted(size, 'GPU')} {round(100 * weight / whole)} %"
        for size, weight in asked.mix.items()
    )


def plan_row(plan: Plan, now: datetime, zone: tzinfo) -> Row:
    """Return a line of the list."""
    href = f"{PATH}/{plan.task.id}"
    last = plan.outlook.moments[-1] if plan.outlook else None
    return Row(
        id=plan.task.id,
        label=fleet_words(plan.asked),
        selectable=False,
        menu=(MenuEntry(text="Open", icon="arrow-right", href=href, operation="getPlan"),),
        cells={
            "plan": Cell(text=fleet_words(plan.asked), href=href),
            "demand": Cell(text=demand_words(plan.asked)),
            "status": Cell(kind="task", state=plan.task.status),
            "fits": Cell(text=f"{last.asked - last.refused:,} of {last.asked:,}")
            if last
            else Cell(unknown="it was not played yet"),
            "asked": Cell(when=formats.moment(plan.task.created_at, now, zone)),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRow:
    size: str
    asked: str
    placed: str
    refused: str
    refused_tone: str
    words: str  # why the first was refused


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainRow:
    name: str
    href: str
    moves: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPage:
    """All that ``plans/detail.html`` may know."""

    id: str
    title: str
    status: str
    about: str
    task_href: str
    is_over: bool
    trouble: str
    summary: str
    band: tuple[Fact, ...]
    sizes: tuple[SizeRow, ...]
    plots: tuple[Plot, ...]
    drains: tuple[DrainRow, ...]
    more_drains: str
    advice: str
    question: tuple[Fact, ...]
    command: str

    @classmethod
    def of(cls, plan: Plan, now: datetime, zone: tzinfo) -> "PlanPage":
        task, outlook = plan.task, plan.outlook
        return cls(
            id=task.id,
            title=fleet_words(plan.asked),
            status=task.status,
            about=f"asked for {formats.short_time(task.created_at, now, zone)}",
            task_href=f"/tasks/{task.id}",
            is_over=task.finished_at is not None,
            trouble=task.error_detail,
            summary=_summary(outlook) if outlook else "",
            band=_band(outlook) if outlook else (),
            sizes=_sizes(outlook) if outlook else (),
            plots=_plots(outlook) if outlook else (),
            drains=tuple(_drain(drain, plan.names) for drain in outlook.drains[:_DRAINS_SHOWN])
            if outlook
            else (),
            more_drains=_more(outlook),
            advice=_advice(outlook) if outlook else "",
            question=_question(plan.asked),
            command=_command(plan.asked),
        )


def _summary(outlook: Outlook) -> str:
    last = outlook.moments[-1]
    placed = last.asked - last.refused
    return (
        f"{placed:,} of {formats.counted(last.asked, 'launch', 'launches')} fit on "
        f"{formats.counted(outlook.gpus, 'GPU')}."
    )


def _band(outlook: Outlook) -> tuple[Fact, ...]:
    last, first = outlook.moments[-1], _first_refusal(outlook)
    share = round(100 * last.used_gpus / max(1, outlook.gpus))
    return (
        Fact(
            label="Fit",
            value=f"{last.asked - last.refused:,}",
            note=f"of {formats.counted(last.asked, 'launch', 'launches')}",
            big=True,
        ),
        Fact(
            label="In use in the end",
            value=f"{share} %",
            note=f"{last.used_gpus:,} of {formats.counted(outlook.gpus, 'GPU')}",
        ),
        Fact(
            label="First refusal",
            value=f"after {first.asked:,} launches" if first else "none",
            note=f"at {round(100 * first.used_gpus / max(1, outlook.gpus))} % in use"
            if first
            else "",
        ),
        Fact(
            label="Whole nodes to win",
            value=f"{len(outlook.drains):,}",
            note="by the advice below" if outlook.drains else "nothing to advise",
        ),
    )


def _first_refusal(outlook: Outlook) -> Moment | None:
    return next((moment for moment in outlook.moments if moment.refused), None)


def _sizes(outlook: Outlook) -> tuple[SizeRow, ...]:
    words = {said.partition(":")[0]: said.partition(":")[2].strip() for said in outlook.words}
    return tuple(
        SizeRow(
            size=f"{size:,}",
            asked=f"{tally.asked:,}",
            placed=f"{tally.placed:,}",
            refused=f"{tally.refused:,} ({round(100 * tally.refused / max(1, tally.asked))} %)",
            refused_tone="warn" if tally.refused else "",
            words=words.get(formats.counted(size, "GPU"), ""),
        )
        for size, tally in outlook.sizes.items()
    )


def _plots(outlook: Outlook) -> tuple[Plot, ...]:
    moments, gpus = outlook.moments, max(1, outlook.gpus)
    steps = [moment.asked for moment in moments]
    last = moments[-1]
    sizes = list(last.room)[-_SERIES:]
    refused = round(100 * last.refused / max(1, last.asked))
    return (
        Plot.of(
            id="use",
            title="GPUs in use, and launches refused so far",
            summary=f"{round(100 * last.used_gpus / gpus)} % of the GPUs are in use in the end; "
            f"{refused} % of all launches were refused.",
            across="launches asked for",
            steps=steps,
            series=(
                Series(label="in use", values=[100 * m.used_gpus / gpus for m in moments]),
                Series(
                    label="refused", values=[100 * m.refused / max(1, m.asked) for m in moments]
                ),
            ),
            suffix=" %",
            ceiling=100,
        ),
        Plot.of(
            id="room",
            title="Room for each size, as a part of all GPUs",
            summary=_room_words(outlook),
            across="launches asked for",
            steps=steps,
            series=[
                Series(
                    label=formats.counted(size, "GPU"),
                    values=[100 * size * moment.room[size] / gpus for moment in moments],
                )
                for size in sizes
            ],
            suffix=" %",
            ceiling=100,
        ),
    )


def _room_words(outlook: Outlook) -> str:
    """Say when the fleet is cut up: GPUs are free, and the largest size has no room."""
    largest = max(outlook.moments[-1].room)
    for moment in outlook.moments:
        free = outlook.gpus - moment.used_gpus
        if not moment.room[largest] and free >= largest:
            return (
                f"After {moment.asked:,} launches there is no room for "
                f"{formats.counted(largest, 'GPU')} at once, though {free:,} are free: "
                "the fleet is cut up."
            )
    return "There is room for the largest size as long as enough GPUs are free: it is not cut up."


def _drain(drain: Drain, names: Mapping[NodeId, str]) -> DrainRow:
    ours = drain.node_id in names
    slices = formats.counted(drain.slices, "slice")
    return DrainRow(
        name=names.get(drain.node_id, drain.node_id),
        href=f"/admin/nodes/{drain.node_id}" if ours else "",
        moves=f"{slices}, {formats.counted(drain.gpus_moved, 'GPU')}",
        to=", ".join(names.get(node_id, node_id) for node_id in drain.to),
    )


def _more(outlook: Outlook | None) -> str:
    more = len(outlook.drains) - _DRAINS_SHOWN if outlook else 0
    return f"and {more:,} more" if more > 0 else ""


def _advice(outlook: Outlook) -> str:
    if not outlook.drains:
        return "No drain would make a node whole: what stands could not all stand elsewhere."
    number = formats.counted(len(outlook.drains), "node")
    return (
        f"Draining {number} would make as many whole, in this order. It ends what tenants run "
        "there, so it is never done by itself: ask them, or wait for releases."
    )


def _question(asked: PlanAsked) -> tuple[Fact, ...]:
    stay = "for good" if asked.stay_hours is None else f"{asked.stay_hours:g} h on average"
    facts = [
        Fact(label="Fleet", value=fleet_words(asked)),
        Fact(label="Demand", value=demand_words(asked)),
        Fact(
            label="With each GPU",
            value=f"{asked.vcpus_per_gpu} vCPU, {asked.memory_gib_per_gpu} GiB"
            + (f", {BESIDE[asked.beside]}" if BESIDE[asked.beside] else ""),
        ),
    ]
    if not asked.trace:
        every = f"one each {formats.duration(asked.every_seconds)}"
        facts += [
            Fact(label="Launches", value=every),
            Fact(label="Stay", value=stay),
            Fact(label="Seed", value=str(asked.seed)),
        ]
    return tuple(facts)


def _command(asked: PlanAsked) -> str:
    """Return the command that says the same, for a terminal and for larger questions."""
    mix = ",".join(f"{size}:{weight}" for size, weight in asked.mix.items())
    fleet = (
        f'--pool "{asked.pool}"'
        if asked.pool
        else f"--system {asked.system} --nodes {asked.nodes} --mode {asked.mode}"
    )
    shares = (
        f"--vcpus-per-gpu {asked.vcpus_per_gpu} --memory-gib-per-gpu {asked.memory_gib_per_gpu}"
    )
    if asked.beside is not Beside.NOTHING:
        shares += f" --beside {asked.beside}"
    demand = "--trace trace.csv" if asked.trace else f"--every {asked.every_seconds}"
    parts = ["gpucloud plan", fleet, shares, f"--mix {mix}", demand]
    if asked.launches is not None and not asked.trace:
        parts.append(f"--launches {asked.launches}")
    if asked.stay_hours is not None and not asked.trace:
        parts.append(f"--stay-hours {asked.stay_hours:g}")
    return " ".join([*parts, f"--seed {asked.seed}"])
