"""Small fleets, requests, and a placement that looks at everything, to compare with.

The oracle shares no code with the product's tables: it enumerates every set of every node.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import combinations
from operator import mul, sub
from typing import Any, Final

from hypothesis import strategies as st

from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.ids import NodeId, SkuId
from gpucloud_core.nodes.model import LinkClass, NodeMode, Topology
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import Demand, DemandMix, NodeCapacity, Place, PlacementRequest
from node_builders import HGX_H200, dgx1, fabric_tables, gpuallocator_vectors, pcie_tree

POOL: Final = "eu-1/NVIDIA H200/container"
MIX: Final[DemandMix] = (Demand(1, 60), Demand(2, 15), Demand(4, 15), Demand(8, 10))
VCPUS: Final = 22
MEMORY_MIB: Final = 224 * 1024

DGX1: Final = dgx1(gpuallocator_vectors()["pair_scores"]["DGX1-Volta"])
TREE: Final = pcie_tree(4)
TOPOLOGIES: Final[Mapping[str, Topology]] = {
    topology.system: topology for topology in (HGX_H200, DGX1, TREE)
}


def a_row(number: int, *, topology: Topology = HGX_H200, **given: Any) -> NodeCapacity:
    size = len(topology.gpus)
    full = (1 << size) - 1
    facts: dict[str, Any] = {
        "node_id": NodeId(f"nod_{number:04d}"),
        "pool": POOL,
        "system": topology.system,
        "mode": NodeMode.CONTAINER,
        "gpu_count": size,
        "approved_mask": full,
        "free_mask": full,
        "sellable": True,
    }
    facts = {**facts, **given}
    free = (facts["free_mask"] & facts["approved_mask"]).bit_count()
    shares = {"free_vcpus": VCPUS * free, "free_memory_mib": MEMORY_MIB * free}
    return NodeCapacity(**{**shares, **facts})


def a_request(gpu_count: int, **given: Any) -> PlacementRequest:
    facts: dict[str, Any] = {
        "sku_id": SkuId("h200-sxm"),
        "pool": POOL,
        "gpu_count": gpu_count,
        "vcpus": VCPUS * gpu_count,
        "memory_mib": MEMORY_MIB * gpu_count,
        "demand_mix": MIX,
    }
    return PlacementRequest(**{**facts, **given})


SHARED_MIX: Final[DemandMix] = tuple(
    demand._replace(vcpus=VCPUS * demand.gpu_count, memory_mib=MEMORY_MIB * demand.gpu_count)
    for demand in MIX
)
"""The mix as a SKU has it: each GPU comes with a share."""


def an_image(rows: Iterable[NodeCapacity]) -> FleetImage:
    image = FleetImage()
    for topology in TOPOLOGIES.values():
        image.learn(topology)
    for row in rows:
        image.put(row)
    return image


def _row(
    topology: Topology,
    mode: NodeMode,
    approved: int,
    free: int,
    shut: str,
    shared: int,
    short: tuple[int, int],
    devices: tuple[int, int],
    version: int,
) -> NodeCapacity:
    full = (1 << len(topology.gpus)) - 1
    row = a_row(
        0,
        topology=topology,
        mode=mode,
        approved_mask=approved & full,
        free_mask=free & approved & full,
        sellable=not shut,
        unsellable_reason=shut,
        shared=shared > 0,
        disk_mask=devices[0] & approved & full,
        nic_mask=devices[1] & approved & full,
        version=version,
    )
    return replace(
        row,
        free_vcpus=max(0, row.free_vcpus - short[0]),
        free_memory_mib=max(0, row.free_memory_mib - short[1]),
    )


_masks: Final = st.just(0xFF) | st.integers(0, 0xFF)
rows: Final = st.builds(
    _row,
    st.sampled_from(list(TOPOLOGIES.values())),
    st.sampled_from([NodeMode.CONTAINER, NodeMode.VM]),
    _masks,
    _masks,
    st.sampled_from(["", "", "", "draining", "quarantined"]),
    st.integers(0, 3),
    st.just((0, 0)) | st.tuples(st.integers(0, 3 * VCPUS), st.integers(0, 3 * MEMORY_MIB)),
    st.tuples(st.just(0) | _masks, st.just(0) | _masks),
    st.integers(0, 3),
)
"""The capacity of one node: partly free, now and then shut, short of a share, or not shared.

Its slots come with disks and ports: all of them, some, or none.
"""


def numbered(drawn: list[NodeCapacity]) -> list[NodeCapacity]:
    return [replace(row, node_id=a_row(number).node_id) for number, row in enumerate(drawn)]


fleets: Final = st.lists(rows, max_size=4).map(numbered)
small_fleets: Final = st.lists(rows, max_size=3).map(numbered)


def _request(
    gpu_count: int, hunger: int, mix: DemandMix, systems: frozenset[str], beside: Beside
) -> Any:
    vcpus = VCPUS * gpu_count * hunger
    return a_request(gpu_count, vcpus=vcpus, demand_mix=mix, systems=systems, beside=beside)


requests: Final[st.SearchStrategy[PlacementRequest]] = st.builds(
    _request,
    st.sampled_from([1, 1, 2, 2, 3, 4, 5, 8]),
    st.sampled_from([1, 1, 1, 3]),
    st.sampled_from(
        [
            MIX,
            SHARED_MIX,
            (Demand(2, 1), Demand(4, 3, systems=frozenset({HGX_H200.system}))),
            (),
        ]
    ),
    st.sampled_from([frozenset(), frozenset(), frozenset({DGX1.system, TREE.system})]),
    st.sampled_from([Beside.NOTHING, Beside.NOTHING, *Beside]),
)
"""Requests of any size; now and then of more CPUs than their GPUs bring, of certain systems, or
with a disk or a port beside each GPU."""


# ---- the oracle ------------------------------------------------------------------------------

_POINTS: Final = {"sys": 10, "node": 20, "phb": 30, "pxb": 40, "pix": 50}


@cache
def _modules() -> frozenset[tuple[int, ...]]:
    table = fabric_tables()["platforms"]["HGX-H100"]["partitions"]
    return frozenset(tuple(row["gpus"]) for row in table)


def _points(topology: Topology, i: int, j: int) -> int:
    link, count = topology.links[i][j], topology.nvlinks[i][j]
    if link is LinkClass.NVSWITCH:
        return 100 * count
    if link is LinkClass.NVLINK:
        return 100 * count + (20 if topology.gpus[i].numa == topology.gpus[j].numa else 10)
    return _POINTS[link.value]


@dataclass(frozen=True)
class Seen:
    """One set of one node: how good it is, and what taking it costs."""

    node_id: NodeId
    mask: int
    quality: tuple[int, int, int]
    loss: tuple[Fraction, int, int]  # by price, in devices nobody asked for, in fine sets
    spoiled: tuple[int, ...]  # launches of each sort of the mix that could be had before


def members(mask: int) -> tuple[int, ...]:
    return tuple(index for index in range(mask.bit_length()) if mask >> index & 1)


def is_allowed(system: str, mode: NodeMode, mask: int) -> bool:
    """Return whether the set may be sold, by the published table or because any may."""
    topology = TOPOLOGIES[system]
    if mode is not NodeMode.VM or topology.links[0][1] is not LinkClass.NVSWITCH:
        return mask > 0
    wanted = sorted(topology.gpus[index].module_id or 0 for index in members(mask))
    return tuple(wanted) in _modules()


@cache
def allowed_sets(system: str, mode: NodeMode, size: int) -> tuple[int, ...]:
    count = len(TOPOLOGIES[system].gpus)
    masks = (sum(1 << i for i in chosen) for chosen in combinations(range(count), size))
    return tuple(mask for mask in masks if is_allowed(system, mode, mask))


@cache
def quality(system: str, mask: int) -> tuple[int, int, int]:
    topology = TOPOLOGIES[system]
    links = [_points(topology, i, j) for i, j in combinations(members(mask), 2)]
    domains = {topology.gpus[index].numa for index in members(mask)}
    return min(links, default=0), sum(links), -len(domains)


@cache
def _packed(system: str, mode: NodeMode, size: int, free: int, best_only: bool) -> int:
    sets = allowed_sets(system, mode, size)
    if best_only and sets:
        top = max(quality(system, mask) for mask in sets)
        sets = tuple(mask for mask in sets if quality(system, mask) == top)
    return max(
        (
            1 + _packed(system, mode, size, free & ~mask, best_only)
            for mask in sets
            if not mask & ~free
        ),
        default=0,
    )


def _most_share(row: NodeCapacity) -> tuple[int, int]:
    """Return the most a node alike may have: the top of its bands of 4 vCPUs and 16 GiB."""
    return row.free_vcpus // 4 * 4 + 3, row.free_memory_mib // 16384 * 16384 + 16383


def usable(row: NodeCapacity, mix: DemandMix, free: int, vcpus: int, memory_mib: int) -> list[int]:
    """Return how many launches of each sort of the mix a node could take."""
    found = []
    for demand in mix:
        count = _packed(row.system, row.mode, demand.gpu_count, free, False)
        if demand.systems and row.system not in demand.systems:
            count = 0
        if demand.vcpus:
            count = min(count, vcpus // demand.vcpus)
        if demand.memory_mib:
            count = min(count, memory_mib // demand.memory_mib)
        found.append(count)
    return found


@cache
def fine(system: str, mode: NodeMode, mix: DemandMix, free: int) -> int:
    return sum(w.weight * w.gpu_count * _packed(system, mode, w.gpu_count, free, True) for w in mix)


def able(row: NodeCapacity, beside: Beside) -> int:
    """Return the free slots that have what must come with each GPU."""
    free = row.free_mask & row.approved_mask
    return sum(
        1 << index
        for index in members(free)
        if (row.disk_mask >> index & 1 or beside not in {Beside.DISK, Beside.BOTH})
        and (row.nic_mask >> index & 1 or beside not in {Beside.NIC, Beside.BOTH})
    )


def wasted(row: NodeCapacity, size: int, beside: Beside) -> int:
    """Return how many devices that nobody asked for go with any ``size`` free GPUs, at least."""
    free, total = members(row.free_mask & row.approved_mask), 0
    for mask, wanting in (
        (row.disk_mask, {Beside.DISK, Beside.BOTH}),
        (row.nic_mask, {Beside.NIC, Beside.BOTH}),
    ):
        if beside not in wanting:
            total += sum(sorted(mask >> index & 1 for index in free)[:size])
    return total


def is_open(row: NodeCapacity) -> bool:
    free = row.free_mask & row.approved_mask
    return row.sellable and (row.shared or free == row.approved_mask)


def supply(request: PlacementRequest, fleet: Sequence[NodeCapacity]) -> list[int]:
    """Return how many launches of each sort the open nodes of the pool could take."""
    mix, beside = request.demand_mix, request.beside
    rows = [row for row in fleet if row.pool == request.pool and is_open(row)]
    counted = [usable(row, mix, able(row, beside), *_most_share(row)) for row in rows]
    return [sum(column) for column in zip(*counted, strict=True)] or [0] * len(mix)


def price(demand: Demand, count: int) -> Fraction:
    """Return what one spoiled launch costs: its share of what is left, rounded to a power of 2."""
    power = 1
    while power <= count:
        power *= 2
    return Fraction(demand.weight * demand.gpu_count, power)


def all_places(request: PlacementRequest, fleet: Sequence[NodeCapacity]) -> list[Seen]:
    """Return every set of every node that the request could have, and what each costs."""
    found = []
    mix = request.demand_mix
    prices = list(map(price, mix, supply(request, fleet)))
    for row in fleet:
        free = able(row, request.beside)
        has_share = row.free_vcpus >= request.vcpus and row.free_memory_mib >= request.memory_mib
        if row.pool != request.pool or not is_open(row) or not has_share:
            continue
        if request.whole_node and row.gpu_count != request.gpu_count:
            continue
        if request.systems and row.system not in request.systems:
            continue
        vcpus, memory = _most_share(row)
        before = usable(row, mix, free, vcpus, memory), fine(row.system, row.mode, mix, free)
        for mask in allowed_sets(row.system, row.mode, request.gpu_count):
            if not mask & ~free:
                rest = free & ~mask
                share = vcpus - request.vcpus, memory - request.memory_mib
                spoiled = tuple(map(sub, before[0], usable(row, mix, rest, *share)))
                loss = (
                    sum(map(mul, prices, spoiled), start=Fraction(0)),
                    wasted(row, request.gpu_count, request.beside),
                    before[1] - fine(row.system, row.mode, mix, rest),
                )
                found.append(Seen(row.node_id, mask, quality(row.system, mask), loss, spoiled))
    return found


def best_of(
    seen: Iterable[Seen],
) -> tuple[tuple[int, int, int], tuple[Fraction, int, int], NodeId] | None:
    """Return the quality, loss and node of the place that should be chosen."""
    ranked = min(
        ((tuple(-part for part in one.quality), one.loss, one.node_id) for one in seen),
        default=None,
    )
    if ranked is None:
        return None
    worst, links, domains = ranked[0]
    return (-worst, -links, -domains), ranked[1], ranked[2]


def after(
    fleet: Sequence[NodeCapacity], place: Place, request: PlacementRequest
) -> list[NodeCapacity]:
    """Return the fleet once ``place`` is taken."""
    return [
        replace(
            row,
            free_mask=row.free_mask & ~place.mask,
            free_vcpus=row.free_vcpus - request.vcpus,
            free_memory_mib=row.free_memory_mib - request.memory_mib,
        )
        if row.node_id == place.node_id
        else row
        for row in fleet
    ]
