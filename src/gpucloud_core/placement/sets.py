"""Which sets of a node's GPUs may be sold together, and how good each is.

A virtual machine on a shared-NVSwitch system gets exactly the fabric manager's partitions. A
container, and a virtual machine where no switch stands between, gets any set, ranked by its worst
link, then by the sum of its links, then by how few NUMA domains it touches.

Everything is a table over bitmasks, made once per topology class. GPUs that can be swapped without
anyone noticing (*twins*) are counted, not told apart: a set's canonical form takes the lowest
twins, so an eight-way box has 25 kinds of free sets instead of 256, a sixteen-way 81 instead of
65 536, and a table look-up stays one however large the box.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations, product
from operator import itemgetter
from typing import Final, NamedTuple

from gpucloud_core.nodes.fabric import is_switched, partition_masks
from gpucloud_core.nodes.model import LinkClass, NodeMode, Topology

PAIR_POINTS: Final = {
    LinkClass.SYS: 10,
    LinkClass.NODE: 20,
    LinkClass.PHB: 30,
    LinkClass.PXB: 40,
    LinkClass.PIX: 50,
}
NVLINK_POINTS: Final = 100
"""Points of a pair of GPUs. Source: NVIDIA/go-gpuallocator, besteffort policy, at 876e7b7."""

Scores = Sequence[Sequence[int]]


class Quality(NamedTuple):
    """How good a set is; greater is better. Only sets of one size are compared."""

    worst_link: int  # points of the worst pair; 0 for a single GPU
    links: int  # points of all pairs, so their mean too
    numa_locality: int  # minus the number of NUMA domains touched


def pair_scores(topology: Topology) -> tuple[tuple[int, ...], ...]:
    """Return the points of each pair: where it meets on PCIe, and each NVLink between."""

    def points(i: int, j: int) -> int:
        link = topology.links[i][j]
        if link in PAIR_POINTS:
            return PAIR_POINTS[link]
        nvlinks = NVLINK_POINTS * topology.nvlinks[i][j]
        if link is LinkClass.NVSWITCH:
            return nvlinks  # the fabric is flat; where the GPUs sit on PCIe makes no difference
        near = topology.gpus[i].numa == topology.gpus[j].numa
        return nvlinks + PAIR_POINTS[LinkClass.NODE if near else LinkClass.SYS]

    size = range(len(topology.gpus))
    return tuple(tuple(0 if i == j else points(i, j) for j in size) for i in size)


def bits(mask: int) -> Iterator[int]:
    """Yield the indexes of the bits set in ``mask``, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def mask_of(indexes: Sequence[int]) -> int:
    """Return the mask with the bits at ``indexes`` set."""
    return sum(1 << index for index in indexes)


class FeasibleSets:
    """The sets of one topology class in one mode. Immutable but for its memory of answers.

    Attributes:
        gpu_count: GPUs of a node of this class.
        family: the only sets that may be sold, or None where any set may.
    """

    def __init__(self, topology: Topology, family: frozenset[int] | None) -> None:
        self.gpu_count = len(topology.gpus)
        self.family = family
        self.scores = pair_scores(topology)
        self._numa = [gpu.numa for gpu in topology.gpus]
        self._models = [gpu.model for gpu in topology.gpus]
        self._twins = self._find_twins()
        self._ranked: dict[int, tuple[tuple[Quality, int], ...]] = {}
        self._best: dict[tuple[int, int], tuple[Quality, tuple[int, ...]] | None] = {}
        self._canonical: dict[int, int] = {}
        self._realised: dict[tuple[int, int, int], int] = {}

    @property
    def all_mask(self) -> int:
        return (1 << self.gpu_count) - 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the sizes of which there is at least one set."""
        if self.family is None:
            return tuple(range(1, self.gpu_count + 1))
        return tuple(sorted({mask.bit_count() for mask in self.family}))

    def is_feasible(self, mask: int) -> bool:
        """Return whether exactly this set may be sold."""
        if self.family is not None:
            return mask in self.family
        return 0 < mask <= self.all_mask

    def all_of(self, size: int) -> Iterator[int]:
        """Yield every feasible set of ``size``, in the order of their lowest differing GPU."""
        if self.family is not None:
            yield from sorted(mask for mask in self.family if mask.bit_count() == size)
        elif 0 < size <= self.gpu_count:
            yield from (mask_of(chosen) for chosen in combinations(range(self.gpu_count), size))

    def quality(self, mask: int) -> Quality:
        """Return how good a set is."""
        members = list(bits(mask))
        links = [self.scores[i][j] for i, j in combinations(members, 2)]
        domains = {self._numa[index] for index in members}
        return Quality(min(links, default=0), sum(links), -len(domains))

    def ranked(self, size: int) -> tuple[tuple[Quality, int], ...]:
        """Return the canonical sets of ``size`` with their quality, best first, ties by mask."""
        known = self._ranked.get(size)
        if known is None:
            masks = {self.canonical(mask) for mask in self._canonical_of(size)}
            rated = [(self.quality(mask), mask) for mask in masks]
            rated.sort(key=lambda pair: (*(-part for part in pair[0]), pair[1]))
            known = self._ranked[size] = tuple(rated)
        return known

    def best(self, free: int, size: int) -> tuple[Quality, tuple[int, ...]] | None:
        """Return the best quality that fits in ``free`` and every canonical set that has it.

        ``free`` is canonical. None means that no feasible set of that size fits.
        """
        key = free, size
        if key not in self._best:
            self._best[key] = self._find_best(free, size)
        return self._best[key]

    def _find_best(self, free: int, size: int) -> tuple[Quality, tuple[int, ...]] | None:
        taken = ~free
        found: list[int] = []
        best: Quality | None = None
        for quality, mask in self.ranked(size):
            if best is not None and quality != best:
                break
            if not mask & taken:
                best = quality
                found.append(mask)
        return None if best is None else (best, tuple(found))

    def canonical(self, mask: int) -> int:
        """Return ``mask`` with each group of twins filled from its lowest member."""
        known = self._canonical.get(mask)
        if known is None:
            known = 0
            for group in self._twins:
                held = sum(mask >> index & 1 for index in group)
                known |= mask_of(group[:held])
            self._canonical[mask] = known
        return known

    def realise(self, chosen: int, free: int, spare: int = 0) -> int:
        """Return the set of ``free`` that ``chosen``, a set of its canonical form, stands for.

        Of each group of twins the lowest that are free are taken, those in ``spare`` last.
        """
        spare &= free
        key = chosen, free, spare
        known = self._realised.get(key)
        if known is None:
            known = 0
            for group in self._twins:
                wanted = sum(chosen >> index & 1 for index in group)
                able = [index for index in group if free >> index & 1]
                able.sort(key=lambda index: spare >> index & 1)
                known |= mask_of(able[:wanted])
            self._realised[key] = known
        return known

    def alike(self, chosen: int) -> Iterator[int]:
        """Yield every set whose canonical form is ``chosen``."""
        parts = []
        for group in self._twins:
            held = sum(chosen >> index & 1 for index in group)
            parts.append([mask_of(members) for members in combinations(group, held)])
        yield from (sum(members) for members in product(*parts))

    def _canonical_of(self, size: int) -> Iterator[int]:
        """Yield at least one set of ``size`` of each canonical form."""
        if self.family is not None:
            yield from self.all_of(size)
            return

        def fill(groups: Sequence[tuple[int, ...]], left: int) -> Iterator[int]:
            if not groups:
                if left == 0:
                    yield 0
                return
            first, rest = groups[0], groups[1:]
            room = sum(len(group) for group in rest)
            for held in range(max(0, left - room), min(len(first), left) + 1):
                lowest = mask_of(first[:held])
                yield from (lowest | more for more in fill(rest, left - held))

        yield from fill(self._twins, size)

    def _find_twins(self) -> tuple[tuple[int, ...], ...]:
        """Group the GPUs that can be swapped without changing any link, domain or feasible set.

        Swapping is transitive: whoever is a twin of the first of a group is a twin of all.
        """
        groups: list[list[int]] = []
        for index in range(self.gpu_count):
            for group in groups:
                if self._are_twins(group[0], index):
                    group.append(index)
                    break
            else:
                groups.append([index])
        return tuple(tuple(group) for group in groups)

    def _are_twins(self, a: int, b: int) -> bool:
        if self._numa[a] != self._numa[b] or self._models[a] != self._models[b]:
            return False
        others = (index for index in range(self.gpu_count) if index not in {a, b})
        if any(self.scores[a][other] != self.scores[b][other] for other in others):
            return False
        if self.family is None:
            return True
        return {_swapped(mask, a, b) for mask in self.family} == self.family


def _swapped(mask: int, a: int, b: int) -> int:
    if (mask >> a & 1) == (mask >> b & 1):
        return mask
    return mask ^ (1 << a | 1 << b)


@lru_cache(maxsize=512)
def feasible_sets(topology: Topology, mode: NodeMode) -> FeasibleSets:
    """Return the sets that a node with this inside may sell in ``mode``.

    Bare metal sells the whole node; MIG instances are sold by their own geometry, not as sets.
    """
    count = len(topology.gpus)
    match mode:
        case NodeMode.BARE_METAL:
            family = frozenset({(1 << count) - 1} if count else ())
            return FeasibleSets(topology, family)
        case NodeMode.VM if is_switched(topology):
            return FeasibleSets(topology, frozenset(partition_masks(topology)))
        case NodeMode.CONTAINER | NodeMode.VM:
            return FeasibleSets(topology, None)
        case NodeMode.MIG:
            return FeasibleSets(topology, frozenset())


class PairRanking:
    """The sets of a node ranked by nothing but the sum of their pair scores, as one table a size.

    This is the objective of go-gpuallocator, whose choice it equals or beats: that policy takes
    the best set of the best split of all free GPUs, this one the best set there is.
    """

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self._ranked: dict[int, tuple[int, ...]] = {}

    def best(self, free: int, size: int, required: int = 0) -> int | None:
        """Return the best set of ``size`` GPUs of ``free`` that contains ``required``.

        Ties go to the set whose GPUs come first. None means that no set fits.
        """
        if size not in self._ranked:
            self._ranked[size] = self._rank(size)
        taken = ~free
        for mask in self._ranked[size]:
            if not mask & taken and mask & required == required:
                return mask
        return None

    def _rank(self, size: int) -> tuple[int, ...]:
        count = len(self._scores)
        found: list[tuple[int, int]] = []

        def extend(first: int, left: int, mask: int, score: int) -> None:
            if left == 0:
                found.append((-score, mask))
                return
            members = tuple(bits(mask))
            for index in range(first, count - left + 1):
                row = self._scores[index]
                gain = sum(row[other] for other in members)
                extend(index + 1, left - 1, mask | 1 << index, score + gain)

        if size > 0:
            extend(0, size, 0, 0)
        found.sort(key=itemgetter(0))  # stable: ties stay in the order of their first GPUs
        return tuple(mask for _, mask in found)
