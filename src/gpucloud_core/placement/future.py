"""What taking a set costs the launches to come.

For each sort of launch in a demand mix it is counted how many could still be had, on a node and in
the whole pool. Taking a set on a node spoils some of them; what a spoiled launch costs is its GPUs
times its weight, divided by how many of its sort the pool has left. The placement that costs least
therefore spends what there is plenty of and spares what is scarce: whole nodes, nodes with many
CPUs to a GPU, classes that some launches cannot do without. Summed up, it is the gradient of the
weighted logarithms of what is left, so no sort of launch is ever sold out for another's sake.

On one node alone this is the gradient of FGD (Weng et al., USENIX ATC'23) on whole GPUs, with
fabric partitions in place of counts; the price by scarcity in the pool is what FGD lacks.

A second figure counts only sets of the best quality that the class has, so that a container takes
a lone GPU before it splits a NUMA domain. Both figures are integers, compared in that order: no
float, no rounding, no order of summing.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from gpucloud_core.placement.model import DemandMix
from gpucloud_core.placement.sets import FeasibleSets

Usable = tuple[int, ...]
"""How many launches of each sort of a mix could be had, one sort at a time."""

Prices = tuple[int, ...]
"""What a spoiled launch of each sort of a mix costs."""

Loss = tuple[int, int]
"""What a choice costs: by price, then in sets of the best quality."""

_PRICE_SHIFT: Final = 40  # more than any count of launches has bits


class Share(NamedTuple):
    """What goes with GPUs."""

    vcpus: int
    memory_mib: int


class Option(NamedTuple):
    """A set that may be taken, and what can then no longer be had."""

    chosen: int  # canonical
    spoiled: tuple[tuple[int, int], ...]  # position in the mix, launches; the others lose none
    fine: int  # weighted GPUs in sets of the best quality

    def loss(self, prices: Prices) -> Loss:
        return sum(prices[sort] * launches for sort, launches in self.spoiled), self.fine


class Supply:
    """How many launches of each sort of a mix the nodes of one pool could take.

    A price halves each time the supply doubles. Powers of two keep it from changing with every
    launch; finer steps were measured and place no better.
    """

    __slots__ = ("_is_plain", "_levels", "_mix", "_names", "_prices", "counts")

    def __init__(self, mix: DemandMix) -> None:
        self._mix = mix
        self._names = [f"fits_{demand.gpu_count}" for demand in mix]
        self._is_plain = len(set(self._names)) == len(mix)  # one sort of each size
        self.counts = [0] * len(mix)
        self._levels: list[int] = []
        self._prices: Prices = ()

    def add(self, usable: Usable, nodes: int) -> None:
        """Count ``nodes`` more nodes that could take this many launches each."""
        counts = self.counts
        for sort, launches in enumerate(usable):
            counts[sort] += launches * nodes

    def prices(self) -> Prices:
        levels = [count.bit_length() for count in self.counts]
        if levels != self._levels:
            self._levels = levels
            self._prices = tuple(
                (demand.weight * demand.gpu_count << _PRICE_SHIFT) >> level
                for demand, level in zip(self._mix, levels, strict=True)
            )
        return self._prices

    def of(self, gpu_count: int) -> int:
        """Return how many launches of one size there is room for, of the sort with the most."""
        pairs = zip(self._mix, self.counts, strict=True)
        return max((have for demand, have in pairs if demand.gpu_count == gpu_count), default=0)

    def left(self) -> dict[str, int]:
        """Return how many launches of each size there is room for, as an explanation keeps it."""
        if self._is_plain:
            return dict(zip(self._names, self.counts, strict=True))
        left: dict[str, int] = {}
        for name, count in zip(self._names, self.counts, strict=True):
            left[name] = max(left.get(name, 0), count)
        return left


class Future:
    """What a mix could use of free sets of one topology class, in one mode."""

    def __init__(self, sets: FeasibleSets, mix: DemandMix, system: str) -> None:
        self._sets = sets
        self._weights: Counter[int] = Counter()  # by size: the weighted GPUs of one launch
        for demand in mix:
            self._weights[demand.gpu_count] += demand.weight * demand.gpu_count
        self._needs = [
            None
            if demand.systems and system not in demand.systems
            else (demand.gpu_count, demand.vcpus, demand.memory_mib)
            for demand in mix
        ]
        self._packed: dict[tuple[int, int, bool], int] = {}
        self._families = {demand.gpu_count: _by_lowest(sets, demand.gpu_count) for demand in mix}

    def usable(self, free: int, share: Share) -> Usable:
        """Return how many launches of each sort fit in ``free``, canonical, with that share."""
        most = {size: self._pack(free, size, best_only=False) for size in self._weights}
        found = []
        for need in self._needs:
            count = 0
            if need is not None:
                size, vcpus, memory_mib = need
                count = most[size]
                if vcpus:
                    count = min(count, share.vcpus // vcpus)
                if memory_mib:
                    count = min(count, share.memory_mib // memory_mib)
            found.append(count)
        return tuple(found)

    def fine(self, free: int) -> int:
        """Return the weighted GPUs that could be sold in sets of the best quality."""
        return sum(
            weight * self._pack(free, size, best_only=True)
            for size, weight in self._weights.items()
        )

    def options(self, free: int, size: int, *, has: Share, takes: Share) -> tuple[Option, ...]:
        """Return the best-quality sets of ``size`` in ``free`` with what each spoils.

        ``free`` is canonical. Of sets that spoil the same, the lowest is kept. Empty: none fits.
        """
        best = self._sets.best(free, size)
        if best is None:
            return ()
        left = Share(has.vcpus - takes.vcpus, has.memory_mib - takes.memory_mib)
        before, fine = self.usable(free, has), self.fine(free)
        found: dict[tuple[tuple[tuple[int, int], ...], int], int] = {}
        for mask in best[1]:
            rest = self._sets.canonical(free & ~mask)
            after = self.usable(rest, left)
            spoiled = tuple(
                [
                    (sort, was - is_now)
                    for sort, (was, is_now) in enumerate(zip(before, after, strict=True))
                    if was != is_now
                ]
            )
            key = spoiled, fine - self.fine(rest)
            found[key] = min(found.get(key, mask), mask)
        return tuple(Option(mask, *key) for key, mask in found.items())

    def _pack(self, free: int, size: int, *, best_only: bool) -> int:
        """Return how many disjoint sets of ``size`` fit in ``free``, exactly."""
        family = self._families[size][best_only]
        if family is None:  # any set will do
            return free.bit_count() // size
        free = self._sets.canonical(free)
        key = free, size, best_only
        known = self._packed.get(key)
        if known is None:
            known = 0
            if free.bit_count() >= size:
                lowest = free & -free
                known = self._pack(free ^ lowest, size, best_only=best_only)
                for mask in family.get(lowest, ()):
                    if not mask & ~free:
                        rest = self._pack(free & ~mask, size, best_only=best_only)
                        known = max(known, 1 + rest)
            self._packed[key] = known
        return known


@lru_cache(maxsize=1024)
def future_of(sets: FeasibleSets, mix: DemandMix, system: str = "") -> Future:
    """Return the one ``Future`` of these sets under this mix, with all it has worked out."""
    return Future(sets, mix, system)


_Family = dict[int, tuple[int, ...]] | None


def _by_lowest(sets: FeasibleSets, size: int) -> tuple[_Family, _Family]:
    """Return all sets of ``size``, and the best of them, by lowest GPU; None where any will do."""
    ranked = sets.ranked(size)
    if not ranked:
        return {}, {}
    top = ranked[0][0]
    flat = ranked[-1][0] == top
    every = None if sets.family is None else _grouped(list(sets.all_of(size)))
    if flat:
        return every, every
    best = [mask for quality, kind in ranked if quality == top for mask in sets.alike(kind)]
    return every, _grouped(best)


def _grouped(masks: Sequence[int]) -> dict[int, tuple[int, ...]]:
    grouped: dict[int, list[int]] = {}
    for mask in masks:
        grouped.setdefault(mask & -mask, []).append(mask)
    return {lowest: tuple(found) for lowest, found in grouped.items()}
