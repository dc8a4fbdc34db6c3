"""What taking a set costs launches to come.

Seen to fail when packing was greedy: on a DGX-1 the first good pair can spoil two others.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.nodes.model import NodeMode, Topology
from gpucloud_core.placement.future import LOSS_UNIT, Future, future_of
from gpucloud_core.placement.sets import FeasibleSets, feasible_sets, mask_of
from node_builders import HGX_H200, switched, topologies
from placement_builders import DGX1, MIX, TOPOLOGIES, worth

A100_X16 = switched("NVIDIA A100-SXM4-80GB", 16, 12)


def of(topology: Topology, mode: NodeMode) -> tuple[FeasibleSets, Future]:
    sets = feasible_sets(topology, mode)
    return sets, future_of(sets, MIX)


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
