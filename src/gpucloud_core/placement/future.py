"""What taking a set costs the launches to come.

The worth of a node's free set is what a demand mix could still use of it: for each size, its
weight times the GPUs in the largest number of disjoint feasible sets of that size. Taking a set
loses worth; the placement that loses least keeps whole nodes, fours and twos alive. Summed over
sizes this is the fragmentation gradient of FGD (Weng et al., USENIX ATC'23) on whole GPUs, with
fabric partitions in place of counts. A second figure counts only sets of the best quality that
the class has, so that a container takes a lone GPU before it splits a NUMA domain.

Both figures are one integer, compared in that order: no float, no rounding, no order of summing.
"""

from functools import lru_cache
from typing import Final

from gpucloud_core.placement.sets import FeasibleSets

DemandMix = tuple[tuple[int, int], ...]
"""(size, weight) pairs; weights are relative."""

LOSS_UNIT: Final = 1 << 32
"""One weighted GPU of the first figure; it outweighs any sum of the second."""


class Future:
    """The worth of free sets of one topology class, in one mode, under one demand mix."""

    def __init__(self, sets: FeasibleSets, mix: DemandMix) -> None:
        self._sets = sets
        self._mix = tuple((size, weight) for size, weight in mix if weight > 0 and size > 0)
        self._worth: dict[int, int] = {}
        self._packed: dict[tuple[int, int, bool], int] = {}
        self._families = {size: _by_lowest(sets, size) for size, _ in self._mix}
        self._choices: dict[tuple[int, int], tuple[int, int] | None] = {}

    def worth(self, free: int) -> int:
        """Return what the mix could use of ``free``, a canonical set."""
        known = self._worth.get(free)
        if known is None:
            known = 0
            for size, weight in self._mix:
                usable = self._pack(free, size, best_only=False)
                known += weight * size * usable * LOSS_UNIT
                known += weight * size * self._pack(free, size, best_only=True)
            self._worth[free] = known
        return known

    def loss(self, free: int, chosen: int) -> int:
        """Return the worth that goes when ``chosen`` is taken of ``free``. Never negative."""
        canonical = self._sets.canonical
        return self.worth(canonical(free)) - self.worth(canonical(free & ~chosen))

    def cheapest(self, free: int, size: int) -> tuple[int, int] | None:
        """Return (loss, set) of the best-quality set of ``size`` in ``free`` that loses least.

        ``free`` and the set are canonical. Ties go to the lower mask. None means none fits.
        """
        key = free, size
        if key not in self._choices:
            best = self._sets.best(free, size)
            choices = [] if best is None else [(self.loss(free, mask), mask) for mask in best[1]]
            self._choices[key] = min(choices, default=None)
        return self._choices[key]

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
def future_of(sets: FeasibleSets, mix: DemandMix) -> Future:
    """Return the one ``Future`` of these sets under this mix, with all it has worked out."""
    return Future(sets, mix)


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


def _grouped(masks: list[int]) -> dict[int, tuple[int, ...]]:
    grouped: dict[int, list[int]] = {}
    for mask in masks:
        grouped.setdefault(mask & -mask, []).append(mask)
    return {lowest: tuple(found) for lowest, found in grouped.items()}
