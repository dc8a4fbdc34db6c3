"""The fleet as one process sees it: nodes in buckets of interchangeable ones, kept by change.

A *kind* is everything a decision may depend on but the node's id: topology class, mode, free set
up to twins, and bands of free CPUs and memory. For each sort of request an *order* ranks the kinds
of a pool once; which of them have a node is a bitmask. A decision is the lowest bit of that mask
and the lowest node id of those kinds, so its cost depends on how many kinds there are, never on
how many nodes. A changed row moves one node from one bucket to another.

Bands round down. A kind whose band straddles what is asked for is searched node by node, so that
rounding never refuses what fits; shares of approved slots are alike, which makes that rare.

The image is plain memory, used from one thread. ``scratch`` plays a sequence of placements
forward and takes every change back.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from heapq import heapify, heappop, heappush
from itertools import groupby
from typing import Final, NamedTuple

from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.nodes.model import NodeMode, Topology
from gpucloud_core.nodes.systems import SYSTEMS
from gpucloud_core.placement.future import LOSS_UNIT, DemandMix, future_of
from gpucloud_core.placement.model import NodeCapacity, Place, PlacementRequest
from gpucloud_core.placement.sets import FeasibleSets, Quality, feasible_sets

VCPU_BAND: Final = 4
MEMORY_BAND_MIB: Final = 16 * 1024
_ORDERS_KEPT: Final = 64  # sorts of request remembered per pool
_STANDARD: Final = tuple(system.topology(seed="") for system in SYSTEMS.values())


class Kind(NamedTuple):
    """What nodes of one bucket have in common."""

    system: str
    mode: NodeMode
    free: int  # canonical
    vcpu_band: int
    memory_band: int

    def surely_has(self, vcpus: int, memory_mib: int) -> bool:
        return (
            self.vcpu_band * VCPU_BAND >= vcpus and self.memory_band * MEMORY_BAND_MIB >= memory_mib
        )

    def may_have(self, vcpus: int, memory_mib: int) -> bool:
        return (self.vcpu_band + 1) * VCPU_BAND > vcpus and (
            self.memory_band + 1
        ) * MEMORY_BAND_MIB > memory_mib


class Ask(NamedTuple):
    """What tells one sort of request from another."""

    gpu_count: int
    vcpus: int
    memory_mib: int
    whole_node: bool
    mix: DemandMix

    @classmethod
    def of(cls, request: PlacementRequest) -> "Ask":
        return cls(
            request.gpu_count,
            request.vcpus,
            request.memory_mib,
            request.whole_node,
            request.demand_mix,
        )


class Bucket:
    """The nodes of one kind. ``first`` is the lowest id among them, while there are any."""

    __slots__ = ("_heap", "first", "kind", "nodes", "reasons", "sets", "watchers")

    def __init__(self, kind: Kind, sets: FeasibleSets | None) -> None:
        self.kind = kind
        self.sets = sets
        self.first = NodeId("")
        self.nodes: set[NodeId] = set()
        self.reasons: Counter[str] = Counter()  # why its nodes are not sold, where they are not
        self.watchers: dict[Ask, tuple[Order, int]] = {}
        self._heap: list[NodeId] = []  # may hold ids that have left; they go when they surface

    def enter(self, node_id: NodeId) -> None:
        if not self.nodes or node_id < self.first:
            self.first = node_id
        self.nodes.add(node_id)
        heappush(self._heap, node_id)
        for order, bit in self.watchers.values():
            order.filled |= bit
            order.candidates += 1
        if len(self._heap) > 2 * len(self.nodes) + 64:
            self._heap = list(self.nodes)
            heapify(self._heap)

    def leave(self, node_id: NodeId) -> None:
        self.nodes.discard(node_id)
        for order, bit in self.watchers.values():
            order.candidates -= 1
            if not self.nodes:
                order.filled &= ~bit
        if not self.nodes:
            self._heap.clear()
        elif node_id == self.first:
            while self._heap[0] not in self.nodes:
                heappop(self._heap)
            self.first = self._heap[0]


class Ranked(NamedTuple):
    """A kind that one sort of request fits, the set it would get, and what that costs."""

    bucket: Bucket
    sets: FeasibleSets
    chosen: int  # canonical
    quality: Quality
    loss: int
    is_sure: bool  # every node of the kind has the CPUs and the memory
    scores: dict[str, int]  # what an explanation keeps of it


class Order:
    """The kinds of one pool that one sort of request fits, best first.

    Attributes:
        filled: bit i is set while ``ranked[i]`` has a node.
        candidates: how many nodes are of a kind that fits.
        peers: for each position, the mask of all positions that are exactly as good.
    """

    __slots__ = ("ask", "candidates", "entries", "filled", "is_stale", "peers", "ranked")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.entries: dict[Kind, Ranked | None] = {}
        self.ranked: list[Ranked] = []
        self.peers: list[int] = []
        self.filled = 0
        self.candidates = 0
        self.is_stale = True


class Pool:
    """The nodes of one pool: those being sold, and those that are shut."""

    __slots__ = ("open", "orders", "shut")

    def __init__(self) -> None:
        self.open: dict[Kind, Bucket] = {}
        self.shut: dict[Kind, Bucket] = {}
        self.orders: dict[Ask, Order] = {}

    @property
    def is_empty(self) -> bool:
        return not any(bucket.nodes for bucket in (*self.open.values(), *self.shut.values()))


class FleetImage:
    """All nodes' capacity, arranged for deciding."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self._rows: dict[NodeId, NodeCapacity] = {}
        self._where: dict[NodeId, tuple[Bucket, str]] = {}  # the string: why it is shut
        self._topologies: dict[str, Topology] = {}
        self._sets: dict[tuple[str, NodeMode], FeasibleSets] = {}
        self._undo: list[tuple[NodeId, NodeCapacity | None]] | None = None
        for topology in _STANDARD:
            self.learn(topology)

    def learn(self, topology: Topology) -> None:
        """Remember what nodes of this topology's class look like inside."""
        if topology.system in self._topologies:
            return  # a class is what its name says: nothing more can be learned of it
        self._topologies[topology.system] = topology
        waiting = [row for row in self._rows.values() if row.system == topology.system]
        for row in waiting:
            self._forget(row.node_id)
            self._place(row)

    def of_rows(self, rows: Iterable[NodeCapacity]) -> "FleetImage":
        """Return an image of nothing but these rows, with all that was learned of their insides."""
        image = FleetImage()
        for topology in self._topologies.values():
            image.learn(topology)
        for row in rows:
            image.put(row)
        return image

    def knows(self, system: str) -> bool:
        return system in self._topologies

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, node_id: NodeId) -> NodeCapacity | None:
        return self._rows.get(node_id)

    def node_ids(self) -> Iterable[NodeId]:
        return self._rows.keys()

    def row(self, node_id: NodeId) -> NodeCapacity:
        """Return the capacity of a node that the image holds."""
        return self._rows[node_id]

    def bucket_of(self, node_id: NodeId) -> Bucket | None:
        """Return the bucket of a node that is sold now, or None."""
        bucket, reason = self._where.get(node_id, (None, ""))
        return None if reason else bucket

    def put(self, row: NodeCapacity) -> None:
        """Take over the new state of one node."""
        before = self._rows.get(row.node_id)
        if before == row:
            return
        if self._undo is not None:
            self._undo.append((row.node_id, before))
        self._forget(row.node_id)
        self._place(row)

    def remove(self, node_id: NodeId) -> None:
        """Leave the node out of every further decision."""
        before = self._rows.get(node_id)
        if before is not None:
            if self._undo is not None:
                self._undo.append((node_id, before))
            self._forget(node_id)

    def take(self, place: Place, request: PlacementRequest) -> None:
        """Play one placement of ``request`` forward."""
        row = self._rows[place.node_id]
        self.put(
            replace(
                row,
                free_mask=row.free_mask & ~place.mask,
                free_vcpus=row.free_vcpus - request.vcpus,
                free_memory_mib=row.free_memory_mib - request.memory_mib,
            )
        )

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Take back every change made inside the block. May be nested."""
        outer, self._undo = self._undo, []
        try:
            yield
        finally:
            changes, self._undo = self._undo, None
            for node_id, before in reversed(changes):
                self._forget(node_id)
                if before is not None:
                    self._place(before)
            self._undo = outer

    def order(self, pool: Pool, ask: Ask) -> Order:
        """Return the ranking of the pool's kinds for one sort of request."""
        order = pool.orders.get(ask)
        if order is None:
            if len(pool.orders) >= _ORDERS_KEPT:
                oldest = next(iter(pool.orders))
                del pool.orders[oldest]
                for bucket in pool.open.values():
                    bucket.watchers.pop(oldest, None)
            order = pool.orders[ask] = Order(ask)
        if order.is_stale:
            self._rank(pool, order)
        return order

    def sets(self, system: str, mode: NodeMode) -> FeasibleSets:
        """Return the feasible sets of a class that is known."""
        key = system, mode
        if key not in self._sets:
            self._sets[key] = feasible_sets(self._topologies[system], mode)
        return self._sets[key]

    def has_share(self, node_id: NodeId, ask: Ask) -> bool:
        """Return whether the node has the CPUs and the memory, exactly."""
        row = self._rows[node_id]
        return row.free_vcpus >= ask.vcpus and row.free_memory_mib >= ask.memory_mib

    def rank(self, bucket: Bucket, ask: Ask) -> Ranked | None:
        """Return what a node of this kind would give to the request, or None if nothing."""
        kind, sets = bucket.kind, bucket.sets
        if sets is None or not kind.may_have(ask.vcpus, ask.memory_mib):
            return None
        if ask.whole_node and sets.gpu_count != ask.gpu_count:
            return None
        cheapest = future_of(sets, ask.mix).cheapest(kind.free, ask.gpu_count)
        if cheapest is None:
            return None
        loss, chosen = cheapest
        quality = sets.quality(chosen)
        is_sure = kind.surely_has(ask.vcpus, ask.memory_mib)
        scores = {
            "worst_link": quality.worst_link,
            "links": quality.links,
            "numa_domains": -quality.numa_locality,
            "loss": loss // LOSS_UNIT,
            "loss_fine": loss % LOSS_UNIT,
            "mix_weight": sum(weight for _, weight in ask.mix),
        }
        return Ranked(bucket, sets, chosen, quality, loss, is_sure, scores)

    def _rank(self, pool: Pool, order: Order) -> None:
        for kind, bucket in pool.open.items():
            if kind not in order.entries:
                order.entries[kind] = self.rank(bucket, order.ask)
        ranked = [entry for entry in order.entries.values() if entry is not None]
        ranked.sort(key=_goodness)
        peers: list[int] = []
        for _, group in groupby(ranked, key=_goodness):
            begin, size = len(peers), len(list(group))
            peers.extend([((1 << size) - 1) << begin] * size)
        order.ranked, order.peers, order.filled, order.candidates = ranked, peers, 0, 0
        for position, entry in enumerate(ranked):
            entry.bucket.watchers[order.ask] = order, 1 << position
            order.candidates += len(entry.bucket.nodes)
            if entry.bucket.nodes:
                order.filled |= 1 << position
        order.is_stale = False

    def _place(self, row: NodeCapacity) -> None:
        self._rows[row.node_id] = row
        pool = self.pools.setdefault(row.pool, Pool())
        free, sets = row.free_mask & row.approved_mask, None
        reason = self._shut_reason(row, free)
        if self.knows(row.system):
            sets = self.sets(row.system, row.mode)
            free = sets.canonical(free & sets.all_mask)
        kind = Kind(
            row.system,
            row.mode,
            free,
            row.free_vcpus // VCPU_BAND,
            row.free_memory_mib // MEMORY_BAND_MIB,
        )
        side = pool.shut if reason else pool.open
        bucket = side.get(kind)
        if bucket is None:
            bucket = side[kind] = Bucket(kind, sets)
            if not reason:
                for order in pool.orders.values():
                    order.is_stale = True
        if reason:
            bucket.reasons[reason] += 1
        bucket.enter(row.node_id)
        self._where[row.node_id] = bucket, reason

    def _forget(self, node_id: NodeId) -> None:
        if self._rows.pop(node_id, None) is not None:
            bucket, reason = self._where.pop(node_id)
            bucket.leave(node_id)
            if reason:
                bucket.reasons -= Counter((reason,))  # drops those that have come to nothing

    def _shut_reason(self, row: NodeCapacity, free: int) -> str:
        """Return why nothing of the node is sold now; empty if it is."""
        if not row.sellable:
            return row.unsellable_reason or "not in service"
        topology = self._topologies.get(row.system)
        if topology is None:
            return "of a kind this process has not learned yet"
        if len(topology.gpus) != row.gpu_count:
            return "changed inside; to be discovered again"
        if not row.shared and free != row.approved_mask:
            return "held by one tenant at a time"
        return ""


def _goodness(entry: Ranked) -> tuple[int, ...]:
    return *(-part for part in entry.quality), entry.loss
