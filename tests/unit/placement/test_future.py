"""What taking a set costs launches to come.

Seen to fail when packing was greedy: the first good pair can spoil two others.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.nodes.model import LinkClass, NodeMode, Topology
from gpucloud_core.placement.future import LOSS_UNIT, Future, future_of
from gpucloud_core.placement.sets import FeasibleSets, feasible_sets, mask_of
from node_builders import HGX_H200, a_topology, switched, topologies
from placement_builders import DGX1, MIX, TOPOLOGIES, worth

A100_X16 = switched("NVIDIA A100-SXM4-80GB", 16, 12)


def of(topology: Topology, mode: NodeMode) -> tuple[FeasibleSets, Future]:
    sets = feasible_sets(topology, mode)
    return sets, future_of(sets, MIX)


def most_disjoint(masks: list[int], free: int) -> int:
    return max(
        (1 + most_disjoint(masks, free & ~mask) for mask in masks if not mask & ~free), default=0
    )


class TestFuture:
    @given(
        system=st.sampled_from(sorted(TOPOLOGIES)),
        mode=st.sampled_from([NodeMode.CONTAINER, NodeMode.VM]),
        free=st.integers(0, 0xFF),
    )
    def test_is_what_could_still_be_packed(self, system: str, mode: NodeMode, free: int) -> None:
        sets, future = of(TOPOLOGIES[system], mode)
        free &= sets.all_mask

        found = divmod(future.worth(sets.canonical(free)), LOSS_UNIT)

        assert found == worth(system, mode, MIX, free)

    def test_does_not_take_the_first_good_pair_that_comes(self) -> None:
        close = {(0, 1), (0, 2), (1, 3)}  # taking 0 and 1 together would leave 2 and 3 alone
        links = [
            [LinkClass.PIX if {(i, j), (j, i)} & close else LinkClass.SYS for j in range(4)]
            for i in range(4)
        ]
        chain = a_topology(model="NVIDIA A10", numa=[0] * 4, links=links)
        sets = feasible_sets(chain, NodeMode.CONTAINER)

        assert future_of(sets, ((2, 1),)).worth(0b1111) == 4 * LOSS_UNIT + 4

    @given(topology=topologies(), free=st.integers(0, 63))
    def test_packs_as_many_good_sets_as_there_is_room_for(
        self, topology: Topology, free: int
    ) -> None:
        sets = feasible_sets(topology, NodeMode.CONTAINER)
        free &= sets.all_mask
        pairs = list(sets.all_of(2))
        top = max(map(sets.quality, pairs), default=None)
        good = [mask for mask in pairs if sets.quality(mask) == top]

        found = future_of(sets, ((2, 1),)).worth(sets.canonical(free))

        assert found == 2 * (free.bit_count() // 2) * LOSS_UNIT + 2 * most_disjoint(good, free)

    @given(topology=topologies(), free=st.integers(0, 63), chosen=st.integers(0, 63))
    def test_never_gains_by_taking(self, topology: Topology, free: int, chosen: int) -> None:
        sets, future = of(topology, NodeMode.CONTAINER)
        free &= sets.all_mask

        assert future.loss(free, chosen & free) >= 0

    @pytest.mark.parametrize("mode", [NodeMode.CONTAINER, NodeMode.VM])
    def test_costs_most_to_break_a_whole_node_and_least_to_take_a_lone_gpu(
        self, mode: NodeMode
    ) -> None:
        _, future = of(HGX_H200, mode)

        losses = [future.loss(free, 1) for free in (0b1, 0b11, 0b1111, 0xFF)]

        assert losses == sorted(losses)
        assert len(set(losses)) == 4

    def test_packs_overlapping_eights_exactly(self) -> None:
        sets, future = of(A100_X16, NodeMode.VM)
        first_and_third_four = mask_of([0, 1, 2, 3, 8, 9, 10, 11])

        left = sets.all_mask & ~first_and_third_four

        assert sets.is_feasible(left)
        counted = [future.worth(sets.canonical(free)) // LOSS_UNIT for free in (left, 0xFF)]
        assert counted[0] == counted[1]

    def test_keeps_the_best_pairs_of_a_dgx1_apart(self) -> None:
        sets, future = of(DGX1, NodeMode.CONTAINER)

        found = future.cheapest(sets.all_mask, 2)

        assert found is not None
        rest = future.cheapest(sets.all_mask & ~found[1], 2)
        assert rest is not None
        assert sets.quality(rest[1]) == sets.quality(found[1])

    def test_counts_nothing_that_the_mix_does_not_ask_for(self) -> None:
        sets = feasible_sets(HGX_H200, NodeMode.CONTAINER)

        assert Future(sets, ()).worth(0xFF) == 0
        assert Future(sets, ((4, 0), (0, 9))).worth(0xFF) == 0
