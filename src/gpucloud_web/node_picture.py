"""Pictures of a node: the slot strip and the topology picture.

All are geometry computed here from a topology and who holds what; templates only draw. One cell
or box is one GPU in PCI order. Colour is never alone: a holder has a letter, a state its words,
and each picture a label and a table that say the same. A tenant's picture names nobody else.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from gpucloud_core.nodes.model import Gpu, LinkClass, Slot, SlotState, Topology
from gpucloud_web import formats

WIDTH: Final = 1120
MARGIN: Final = 12
GUTTER: Final = 8
BOX_GAP: Final = 12
BOX_PADDING: Final = 8
_NARROW, _SLIM, _WIDE = frozenset("ijl.,:'|!"), frozenset("tfr-() "), frozenset("mwMW@%")
PANEL_TOP: Final = 84
NOTE_TOP: Final = 38
"""Where panels begin below a fabric, and below a line that says that there is none."""
COLOURS: Final = 6
_SOCKETS: Final = 2  # more domains than these are parts of a CPU
NVSWITCH: Final = "NVSwitch fabric"
_FABRICS: Final = {LinkClass.NVSWITCH: NVSWITCH, LinkClass.XGMI: "Infinity Fabric"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotStrip:
    """One cell per GPU: ``mine``, ``other``, ``free``, ``withheld``, ``blocked``; and ``gap``."""

    cells: tuple[str, ...]
    label: str

    @classmethod
    def of(
        cls, *, numa: Sequence[int], mine: int, free: int, withheld: int = 0, blocked: int = 0
    ) -> "SlotStrip":
        """Make a strip from masks over PCI order; ``numa`` is each GPU's domain."""
        cells: list[str] = []
        for index, domain in enumerate(numa):
            if index and domain != numa[index - 1]:
                cells.append("gap")
            bit = 1 << index
            if mine & bit:
                cells.append("mine")
            elif blocked & bit:
                cells.append("blocked")
            elif withheld & bit:
                cells.append("withheld")
            else:
                cells.append("free" if free & bit else "other")
        count = mine.bit_count()
        own = tuple(index for index in range(len(numa)) if mine >> index & 1)
        verb = "is" if count == 1 else "are"
        label = (
            f"{formats.gpu_set(own)} of {len(numa)} on the node {verb} yours"
            if count
            else f"None of the {len(numa)} GPUs on the node is yours"
        )
        return cls(cells=tuple(cells), label=label)


OUT_OF_SALE: Final = frozenset(
    {SlotState.CLEANING, SlotState.CLEANUP_BLOCKED, SlotState.DISABLED, SlotState.PROPOSED}
)
"""Slot states that are neither free nor anybody's."""


def mask_of(slots: Sequence[Slot], states: Collection[SlotState]) -> int:
    """Return the mask of the slots in one of ``states``."""
    return sum(1 << slot.index for slot in slots if slot.state in states)


def slot_strip(slots: Sequence[Slot], mine: int) -> SlotStrip | None:
    """Return the strip of a node whose slots are known, in PCI order; None if they are not."""
    if not slots:
        return None
    mine &= ~mask_of(slots, {SlotState.CLEANUP_BLOCKED})  # fenced, whoever had them
    return SlotStrip.of(
        numa=[slot.numa for slot in slots],
        mine=mine,
        free=mask_of(slots, {SlotState.AVAILABLE}) & ~mine,
        withheld=mask_of(slots, OUT_OF_SALE) & ~mine,
        blocked=mask_of(slots, {SlotState.CLEANUP_BLOCKED}) & ~mine,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who has a set of GPUs. ``others`` stands for all who must not be named."""

    mask: int
    name: str
    others: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuBox:
    """One GPU as a box and as a row of the table."""

    index: int
    x: float
    width: float
    middle: float
    links: tuple[float, ...]
    link_class: str
    box_class: str
    holder_class: str
    chip_class: str
    letter: str
    hatched: bool
    line: str
    memory: str
    pci: str
    module: str
    holder: str
    model: str
    disk: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainPanel:
    number: int
    title: str
    note: str
    cpu: str
    x: float
    width: float
    gpus: tuple[GpuBox, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendEntry:
    css: str
    letter: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyPicture:
    """The whole picture; ``id`` keeps its parts apart from another picture's on the page."""

    id: str
    title: str
    desc: str
    width: int
    height: int
    fabric: str
    fabric_note: str
    link_name: str
    panel_y: int
    panel_height: int
    gpu_y: int
    cpu_y: int
    label_y: int
    domains: tuple[DomainPanel, ...]
    legend: tuple[LegendEntry, ...]
    has_disks: bool

    @classmethod
    def of(
        cls,
        *,
        id: str,  # noqa: A002  the template's word
        node: str,
        topology: Topology,
        holders: Sequence[Holder],
        free: int,
        states: Mapping[int, str] = {},
        disks: Mapping[int, str] = {},
    ) -> "TopologyPicture":
        """Draw a node.

        Args:
            id: prefix of the anchors.
            node: its name.
            topology: its inside.
            holders: who has what, in order of their first slot; GPUs in none are free or withheld.
            free: mask of free slots.
            states: slot states by index for those neither held nor free, such as ``cleaning``.
            disks: names of the data disks that come with GPUs, by index, as far as they are shown.
        """
        placed = _Held.of(holders, free, states)
        fabric = fabric_of(topology)
        domains = _panels(topology, placed, disks, fabric=bool(fabric))
        top = PANEL_TOP if fabric else NOTE_TOP
        return cls(
            id=id,
            title=f"Topology of {node}",
            desc=_describe(topology, placed, fabric),
            width=WIDTH,
            height=top + 220,
            fabric=fabric,
            fabric_note=_fabric_note(topology),
            link_name="NVLink" if fabric == NVSWITCH else "Infinity Fabric",
            panel_y=top,
            panel_height=206,
            gpu_y=top + 16,
            cpu_y=top + 136,
            label_y=top + 192,
            domains=domains,
            legend=placed.legend(),
            has_disks=bool(disks),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """Who or what is at each index, with its looks."""

    holders: tuple[Holder, ...]
    free: int
    states: Mapping[int, str]

    @classmethod
    def of(cls, holders: Sequence[Holder], free: int, states: Mapping[int, str]) -> "_Held":
        return cls(holders=tuple(holders), free=free, states=states)

    def at(self, index: int) -> tuple[str, str, str, str]:
        """Return (box class, colour class, letter, words) of one GPU."""
        named = 0
        for holder in self.holders:
            if holder.others:
                if holder.mask >> index & 1:
                    return "other", "", "", "Held by others"
                continue
            if holder.mask >> index & 1:
                colour = f"holder-{named % COLOURS + 1}"
                return f"held {colour}", colour, chr(ord("A") + named % 26), holder.name
            named += 1
        if self.free >> index & 1:
            return "free", "", "", "Free"
        return {
            "cleaning": ("clean", "", "", "Cleaning"),
            "cleanup_blocked": ("clean blocked", "", "", "Cleanup blocked"),
            "disabled": ("disabled", "", "", "Disabled"),
            "proposed": ("proposed", "", "", "Proposed"),
        }.get(self.states.get(index, ""), ("other", "", "", "Held by others"))

    def legend(self) -> tuple[LegendEntry, ...]:
        entries = []
        named = 0
        others = False
        for holder in self.holders:
            if holder.others:
                others = others or holder.mask > 0
                continue
            count = formats.counted(holder.mask.bit_count(), "GPU")
            entries.append(
                LegendEntry(
                    css=f"holder-{named % COLOURS + 1}",
                    letter=chr(ord("A") + named % 26),
                    text=f"{holder.name} · {count}",
                )
            )
            named += 1
        if others:
            entries.append(LegendEntry(css="other", letter="", text="held by others"))
        if any(state.startswith("clean") for state in self.states.values()):
            entries.append(LegendEntry(css="clean", letter="", text="cleaning"))
        if self.free:
            entries.append(LegendEntry(css="free", letter="", text="free"))
        return tuple(entries)


def domains_of(topology: Topology) -> list[tuple[int, list[Gpu]]]:
    """Return the domains that have GPUs, in the order of their first GPU, as the slot strip is."""
    first: dict[int, int] = {}
    for gpu in topology.gpus:
        first.setdefault(gpu.numa, gpu.index)
    ordered = sorted(topology.gpus, key=lambda gpu: (first[gpu.numa], gpu.index))
    return [(numa, list(gpus)) for numa, gpus in groupby(ordered, key=lambda gpu: gpu.numa)]


def fabric_of(topology: Topology) -> str:
    """Return what joins every GPU to every other; empty where nothing but PCIe does."""
    classes = {link for i, row in enumerate(topology.links) for j, link in enumerate(row) if i != j}
    return _FABRICS.get(next(iter(classes)), "") if len(classes) == 1 else ""


def _fabric_note(topology: Topology) -> str:
    count = max((links for row in topology.nvlinks for links in row), default=0)
    match fabric_of(topology):
        case "":
            some = "NVLink between some pairs, " if count else "No fabric between the GPUs: "
            return f"{some}the others over PCIe" if count else f"{some}they meet over PCIe"
        case name if name == NVSWITCH:
            return f"{count} NVLinks per GPU · every GPU reaches every other"
        case _:
            return f"{formats.counted(count, 'link')} from every GPU to every other"


def _panels(
    topology: Topology, placed: _Held, disks: Mapping[int, str], *, fabric: bool
) -> tuple[DomainPanel, ...]:
    domains = domains_of(topology)
    inner = WIDTH - 2 * MARGIN - GUTTER * (len(domains) - 1)
    panels = []
    x = float(MARGIN)
    for numa, gpus in domains:
        width = inner * len(gpus) / len(topology.gpus)
        cpus = topology.numa_cpus[numa] if 0 <= numa < len(topology.numa_cpus) else ""
        panels.append(
            DomainPanel(
                number=numa,
                title=f"NUMA {numa}",
                note=f"CPUs {cpus}" if cpus else "",
                cpu=f"CPU {numa}" if len(topology.numa_cpus) <= _SOCKETS else "CPU cores",
                x=round(x, 1),
                width=round(width, 1),
                gpus=_boxes(gpus, placed, disks, x=x, width=width, fabric=fabric),
            )
        )
        x += width + GUTTER
    return tuple(panels)


def _fitting(words: str, room: float) -> str:
    """Return as much of ``words`` as a line of the boxes' font has room for, in pixels."""
    if _width(words) <= room:
        return words
    while words and _width(f"{words}…") > room:
        words = words[:-1]
    return f"{words.rstrip()}…"


def _width(words: str) -> float:
    return sum(
        3.6 if each in _NARROW else 5.2 if each in _SLIM else 10.8 if each in _WIDE else 7.4
        for each in words
    )


def _boxes(
    gpus: Sequence[Gpu],
    placed: _Held,
    disks: Mapping[int, str],
    *,
    x: float,
    width: float,
    fabric: bool,
) -> tuple[GpuBox, ...]:
    edge = 14
    box = (width - 2 * edge - BOX_GAP * (len(gpus) - 1)) / len(gpus)
    boxes = []
    for position, gpu in enumerate(gpus):
        left = x + edge + position * (box + BOX_GAP)
        middle = left + box / 2
        css, colour, letter, words = placed.at(gpu.index)
        on = css.startswith("held")
        others = css == "other"
        boxes.append(
            GpuBox(
                index=gpu.index,
                x=round(left, 1),
                width=round(box, 1),
                middle=round(middle, 1),
                links=tuple(round(middle + d, 1) for d in (-9, 0, 9)) if fabric else (),
                link_class=f"held {colour}" if on else ("" if others else "off"),
                box_class=css,
                holder_class=colour,
                chip_class=colour or css.split()[0],
                letter=letter,
                hatched=css.startswith("clean"),
                line=_fitting(words, box - 2 * BOX_PADDING),
                memory=formats.gibibytes(gpu.memory_mib),
                pci=gpu.pci_address.split(":", 1)[-1].removesuffix(".0").lower(),
                module=f"m{gpu.module_id}" if gpu.module_id is not None else "",
                holder=words,
                model=gpu.model,
                disk=disks.get(gpu.index, ""),
            )
        )
    return tuple(boxes)


def _describe(topology: Topology, placed: _Held, fabric: str) -> str:
    under = f" under one {fabric}" if fabric else ""
    model = topology.gpus[0].model if topology.gpus else "GPU"
    parts = [f"{formats.counted(len(topology.gpus), 'GPU')} ({model}){under}."]
    for numa, gpus in domains_of(topology):
        said = ", ".join(f"{gpu.index} {placed.at(gpu.index)[3].lower()}" for gpu in gpus)
        parts.append(f"NUMA {numa}: {said}.")
    parts.append("The table below says the same.")
    return " ".join(parts)
