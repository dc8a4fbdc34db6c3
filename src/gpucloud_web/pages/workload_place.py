"""Where a workload runs: the strip, the picture, and how its GPUs reach each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gpucloud_core.allocations.queries import AllocationView
from gpucloud_core.nodes.model import LinkClass, SlotState, Topology, data_targets
from gpucloud_web import formats
from gpucloud_web.components import Fact
from gpucloud_web.node_picture import OUT_OF_SALE, Holder, SlotStrip, TopologyPicture, mask_of

LINKS: Final = {
    LinkClass.NVSWITCH: "NVSwitch",
    LinkClass.NVLINK: "NVLink",
    LinkClass.XGMI: "Infinity Fabric",
    LinkClass.PIX: "one PCIe switch",
    LinkClass.PXB: "several PCIe switches",
    LinkClass.PHB: "the PCIe host bridge",
    LinkClass.NODE: "one NUMA domain",
    LinkClass.SYS: "across NUMA domains",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where it runs."""

    strip: SlotStrip
    facts: tuple[Fact, ...]
    picture: TopologyPicture
    why: tuple[str, ...]  # why it stands here, a sentence each


def place_of(view: AllocationView) -> Place:
    row, topology = view.allocation, view.node.topology
    mine = _open_mask(view) & ~mask_of(view.slots, {SlotState.CLEANUP_BLOCKED})
    free = mask_of(view.slots, {SlotState.AVAILABLE}) & ~mine
    withheld = mask_of(view.slots, OUT_OF_SALE) & ~mine
    others = ((1 << len(topology.gpus)) - 1) & ~mine & ~free & ~withheld
    own = tuple(gpu.index for gpu in view.gpus)
    domains = {gpu.numa for gpu in view.gpus}
    numa = "one NUMA domain" if len(domains) == 1 else f"{len(domains)} NUMA domains"
    facts = [
        Fact(label="Node", value=f"{view.node.name} · {view.node.region}"),
        Fact(label="Set", value=f"{formats.gpu_set(own)}, {numa}"),
        Fact(label="Link", value=worst_link(topology, own)),
        Fact(label="System", value=topology.system),
        *_beside(view),
    ]
    disks = {disk.name for disk in view.disks}
    return Place(
        strip=SlotStrip.of(
            numa=[gpu.numa for gpu in topology.gpus], mine=mine, free=free, withheld=withheld
        ),
        facts=tuple(facts),
        picture=TopologyPicture.of(
            id="topology",
            node=view.node.name,
            topology=topology,
            holders=[
                Holder(mask=mine, name=row.name),
                Holder(mask=others, name="", others=True),
            ],
            free=free,
            states={slot.index: slot.state for slot in view.slots if slot.state in OUT_OF_SALE},
            disks={
                slot.index: slot.disk
                for slot in view.slots
                if mine >> slot.index & 1 and slot.disk in disks
            },
        ),
        why=view.why_here,
    )


def _beside(view: AllocationView) -> list[Fact]:
    """Return the lines on its data disks, each with its folder, and on its network ports."""
    places = data_targets([disk.name for disk in view.disks])
    facts = [
        Fact(
            label=f"Data disk {places[disk.name]}",
            value=f"{disk.name}, {formats.terabytes(disk.size_bytes)}, {disk.model or 'NVMe'}",
        )
        for disk in view.disks
    ]
    return facts + [
        Fact(label="Network port", value=f"{nic.pci_address}, {nic.model}") for nic in view.nics
    ]


def _open_mask(view: AllocationView) -> int:
    """Return the GPUs still bound to it; after it ended they are no longer its own."""
    return view.allocation.mask if view.allocation.ended_at is None else 0


def worst_link(topology: Topology, indexes: Sequence[int]) -> str:
    """Return how a set's GPUs reach each other at worst; a single one reaches nobody."""
    pairs = [(a, b) for a in indexes for b in indexes if a < b]
    if not pairs:
        return "one GPU, no link needed"
    order = list(LinkClass)
    links = [topology.links[a][b] for a, b in pairs]
    worst = max(links, key=order.index)
    count = min(topology.nvlinks[a][b] for a, b in pairs)
    if worst is LinkClass.XGMI:
        return f"{LINKS[worst]}, {formats.counted(count, 'link')} to each"
    return f"{LINKS[worst]}, {formats.counted(count, 'link')} per GPU" if count else LINKS[worst]
