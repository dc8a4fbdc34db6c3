"""Nodes in buckets of interchangeable ones, and the buckets in the order a request likes them.

A *kind* is everything a decision may depend on but the node's id: topology class, mode, free set
up to twins, which of it comes with disks and ports, and bands of free CPUs and memory. Nodes of
one kind share a bucket. For each sort of request an order keeps the buckets that fit and have a
node, best first, so the best place is at its head however many nodes there are. A node that comes
or goes changes an order only where it was the first or the last of its bucket, and an order takes
such changes in when it is next asked.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from operator import itemgetter
from typing import Final, NamedTuple

from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.placement.future import Option, Prices, Share, Supply, Usable, future_of
from gpucloud_core.placement.model import DemandMix, PlacementRequest
from gpucloud_core.placement.sets import FeasibleSets, Quality

VCPU_BAND: Final = 4
MEMORY_BAND_MIB: Final = 16 * 1024
_ORDERS_KEPT: Final = 512  # sorts of request remembered per pool
_RATINGS_KEPT: Final = 64  # price lists remembered per kind
_KINDS_KEPT: Final = 1024  # before kinds without a node are looked for and dropped


class Kind(NamedTuple):
    """What nodes of one bucket have in common. Masks are canonical, each by itself."""

    system: str
    mode: NodeMode
    free: int
    vcpu_band: int
    memory_band: int
    with_disk: int = 0  # of the free
    with_nic: int = 0
    with_both: int = 0

    @property
    def share_max(self) -> Share:
        """The most that a node of the kind may have."""
        return Share(
            (self.vcpu_band + 1) * VCPU_BAND - 1, (self.memory_band + 1) * MEMORY_BAND_MIB - 1
        )

    def offers(self, beside: Beside) -> int:
        """Return the free slots that come with all of ``beside``."""
        match beside:
            case Beside.NOTHING:
                return self.free
            case Beside.DISK:
                return self.with_disk
            case Beside.NIC:
                return self.with_nic
            case Beside.BOTH:
                return self.with_both

    def wasted(self, size: int, beside: Beside) -> int:
        """Return how many disks and ports nobody asked for go with ``size`` GPUs, at least."""
        free, wasted = self.free.bit_count(), 0
        if not beside.has_disk:
            wasted += max(0, size - (free - self.with_disk.bit_count()))
        if not beside.has_nic:
            wasted += max(0, size - (free - self.with_nic.bit_count()))
        return wasted

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
    systems: frozenset[str]
    mix: DemandMix
    beside: Beside = Beside.NOTHING

    @classmethod
    def of(cls, request: PlacementRequest) -> "Ask":
        return cls(
            request.gpu_count,
            request.vcpus,
            request.memory_mib,
            request.whole_node,
            request.systems,
            request.demand_mix,
            request.beside,
        )


class Bucket:
    """The nodes of one kind. ``first`` is the lowest id among them, while there are any."""

    __slots__ = ("_heap", "first", "kind", "nodes", "reasons", "sets", "supplies", "watchers")

    def __init__(self, kind: Kind, sets: FeasibleSets | None) -> None:
        self.kind = kind
        self.sets = sets
        self.first = NodeId("")
        self.nodes: set[NodeId] = set()
        self.reasons: Counter[str] = Counter()  # why its nodes are not sold, where they are not
        self.watchers: dict[Ask, Order] = {}
        self.supplies: list[tuple[Supply, Usable]] = []
        self._heap: list[NodeId] = []  # may hold ids that have left; they go when they surface

    def enter(self, node_id: NodeId) -> None:
        if not self.nodes:
            for order in self.watchers.values():
                order.changed[self.kind] = self
        if not self.nodes or node_id < self.first:
            self.first = node_id
        self.nodes.add(node_id)
        heappush(self._heap, node_id)
        for supply, usable in self.supplies:
            supply.add(usable, 1)
        if len(self._heap) > 2 * len(self.nodes) + 64:
            self._heap = list(self.nodes)
            heapify(self._heap)

    def in_order(self) -> Iterator[NodeId]:
        """Return its nodes from the lowest id on, at little cost for each that is looked at."""
        heap, reached, before = self._heap, [(self._heap[0], 0)] if self.nodes else [], None
        while reached:
            node_id, place = heappop(reached)
            for below in (2 * place + 1, 2 * place + 2):
                if below < len(heap):
                    heappush(reached, (heap[below], below))
            if node_id != before and node_id in self.nodes:
                yield node_id
            before = node_id

    def leave(self, node_id: NodeId) -> None:
        self.nodes.discard(node_id)
        for supply, usable in self.supplies:
            supply.add(usable, -1)
        if not self.nodes:
            for order in self.watchers.values():
                order.changed[self.kind] = self
            self._heap.clear()
        elif node_id == self.first:
            while self._heap[0] not in self.nodes:
                heappop(self._heap)
            self.first = self._heap[0]


class Ranked(NamedTuple):
    """A kind that one sort of request fits, the set it would get, and what that costs."""

    goodness: tuple[int, ...]  # less is better; equals are exactly as good
    entry: "Entry"
    chosen: int  # canonical
    scores: dict[str, int]  # what an explanation keeps of it


class Entry:
    """A kind that one sort of request fits, with every set worth a look."""

    __slots__ = ("_ask", "_rated", "_wasted", "bucket", "is_sure", "options", "quality", "sets")

    def __init__(
        self,
        bucket: Bucket,
        sets: FeasibleSets,
        options: tuple[Option, ...],
        ask: Ask,
    ) -> None:
        self._ask = ask
        self._wasted = bucket.kind.wasted(ask.gpu_count, ask.beside)
        self.bucket = bucket
        self.sets = sets
        self.options = options
        self.quality: Quality = sets.quality(options[0].chosen)
        # Every node of the kind has the CPUs and the memory.
        self.is_sure = bucket.kind.surely_has(ask.vcpus, ask.memory_mib)
        self._rated: dict[Prices, Ranked] = {}

    def rated(self, prices: Prices) -> Ranked:
        """Return the cheapest set at these prices; ties go to the lower mask."""
        known = self._rated.get(prices)
        if known is None:
            if len(self._rated) >= _RATINGS_KEPT:
                self._rated.clear()
            loss, _, option = min(
                (option.loss(prices), option.chosen, option) for option in self.options
            )
            worst, links, locality = self.quality
            price, fine = loss
            goodness = (-worst, -links, -locality, price, self._wasted, fine)
            known = Ranked(goodness, self, option.chosen, self._scores(option))
            self._rated[prices] = known
        return known

    def _scores(self, option: Option) -> dict[str, int]:
        worst, links, locality = self.quality
        scores = {"worst_link": worst, "links": links, "numa_domains": -locality}
        if self._ask.beside.has_disk:
            scores["with_disk"] = 1
        if self._ask.beside.has_nic:
            scores["with_nic"] = 1
        for sort, launches in option.spoiled:
            name = f"spoils_{self._ask.mix[sort].gpu_count}"
            scores[name] = max(scores.get(name, 0), launches)
        return scores


class Order:
    """The kinds of one pool that one sort of request fits and that have a node, best first."""

    __slots__ = ("_prices", "ask", "changed", "entries", "ranked", "supply")

    def __init__(self, ask: Ask, supply: Supply) -> None:
        self.ask = ask
        self.supply = supply
        self.entries: dict[Kind, Entry | None] = {}
        self.ranked: list[Ranked] = []
        self.changed: dict[Kind, Bucket] = {}  # came to have a node, or none, since last asked
        self._prices: Prices | None = None

    def candidates(self) -> int:
        """Return how many nodes are of a kind that fits."""
        return sum([len(ranked[1].bucket.nodes) for ranked in self.ranked])

    def rated(self, bucket: Bucket) -> Ranked | None:
        """Return how good a bucket that has a node is, or None where it does not fit."""
        entry = self.entries.get(bucket.kind)
        return None if entry is None else entry.rated(self.supply.prices())

    def refresh(self) -> None:
        """Take in what has changed since it was last asked."""
        prices = self.supply.prices()
        if prices != self._prices:
            self._prices = prices
            self._take_in()
            live = [
                entry.rated(prices)
                for entry in self.entries.values()
                if entry is not None and entry.bucket.nodes
            ]
            live.sort(key=_goodness)
            self.ranked = live
        elif self.changed:
            for bucket in self._take_in():
                entry = self.entries.get(bucket.kind)
                if entry is not None:
                    self._move(entry.rated(prices), has_node=bool(bucket.nodes))

    def _take_in(self) -> list[Bucket]:
        changed = list(self.changed.values())
        self.changed.clear()
        for bucket in changed:
            if bucket.kind not in self.entries:
                bucket.watchers[self.ask] = self  # also to hear of its first node
                if bucket.nodes:
                    self.entries[bucket.kind] = entry = fit(bucket, self.ask)
                    if entry is None:
                        del bucket.watchers[self.ask]
        return changed

    def _move(self, ranked: Ranked, *, has_node: bool) -> None:
        live = self.ranked
        position = bisect_left(live, ranked.goodness, key=_goodness)
        while position < len(live) and live[position].goodness == ranked.goodness:
            if live[position].entry is ranked.entry:
                if not has_node:
                    del live[position]
                return
            position += 1
        if has_node:
            insort(live, ranked, key=_goodness)


_goodness: Final = itemgetter(0)


def fit(bucket: Bucket, ask: Ask) -> Entry | None:
    """Return what a node of this kind would give to the request, or None if nothing."""
    kind, sets = bucket.kind, bucket.sets
    if sets is None or not kind.may_have(ask.vcpus, ask.memory_mib):
        return None
    if ask.whole_node and sets.gpu_count != ask.gpu_count:
        return None
    if ask.systems and kind.system not in ask.systems:
        return None
    future = future_of(sets, ask.mix, kind.system)
    takes = Share(ask.vcpus, ask.memory_mib)
    free = kind.offers(ask.beside)
    options = future.options(free, ask.gpu_count, has=kind.share_max, takes=takes)
    return Entry(bucket, sets, options, ask) if options else None


class Pool:
    """The nodes of one pool: those being sold, and those that are shut."""

    def __init__(self) -> None:
        self.open: dict[Kind, Bucket] = {}
        self.shut: dict[Kind, Bucket] = {}
        self._orders: dict[Ask, Order] = {}
        self._supplies: dict[tuple[DemandMix, Beside], Supply] = {}
        self._kinds_max = _KINDS_KEPT

    @property
    def is_empty(self) -> bool:
        return not any(bucket.nodes for bucket in (*self.open.values(), *self.shut.values()))

    def open_bucket(self, kind: Kind, sets: FeasibleSets | None) -> Bucket:
        """Return the bucket of a kind that is sold, made where there is none."""
        bucket = self.open.get(kind)
        if bucket is None:
            if len(self.open) >= self._kinds_max:
                self._drop_empty()
            bucket = self.open[kind] = Bucket(kind, sets)
            for (mix, beside), supply in self._supplies.items():
                _supply(bucket, mix, beside, supply)
            for order in self._orders.values():
                order.changed[kind] = bucket
        return bucket

    def shut_bucket(self, kind: Kind, sets: FeasibleSets | None) -> Bucket:
        """Return the bucket of a kind that is not sold now, made where there is none."""
        bucket = self.shut.get(kind)
        if bucket is None:
            bucket = self.shut[kind] = Bucket(kind, sets)
        return bucket

    def supply(self, mix: DemandMix, beside: Beside = Beside.NOTHING) -> Supply:
        """Return how much the pool has for a mix that wants ``beside``, counted from now on."""
        supply = self._supplies.get((mix, beside))
        if supply is None:
            supply = self._supplies[mix, beside] = Supply(mix)
            for bucket in self.open.values():
                _supply(bucket, mix, beside, supply)
        return supply

    def order(self, ask: Ask) -> Order:
        """Return the order of the pool's kinds for one sort of request, as they are now."""
        order = self._orders.get(ask)
        if order is None:
            if len(self._orders) >= _ORDERS_KEPT:
                self._forget_orders()
            order = self._orders[ask] = Order(ask, self.supply(ask.mix, ask.beside))
            order.changed.update(self.open)
        order.refresh()
        return order

    def _forget_orders(self) -> None:
        self._orders.clear()
        self._supplies.clear()
        for bucket in self.open.values():
            bucket.watchers.clear()
            bucket.supplies.clear()

    def _drop_empty(self) -> None:
        self.open = {kind: bucket for kind, bucket in self.open.items() if bucket.nodes}
        self._kinds_max = max(_KINDS_KEPT, 2 * len(self.open))
        self._forget_orders()


def _supply(bucket: Bucket, mix: DemandMix, beside: Beside, supply: Supply) -> None:
    if bucket.sets is not None:
        future = future_of(bucket.sets, mix, bucket.kind.system)
        usable = future.usable(bucket.kind.offers(beside), bucket.kind.share_max)
        bucket.supplies.append((supply, usable))
        supply.add(usable, len(bucket.nodes))
