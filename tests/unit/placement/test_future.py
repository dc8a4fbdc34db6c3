"""What taking a set costs launches to come.

Seen to fail when packing was greedy (the first good pair can spoil two others), when a price did
not follow the supply, and when CPUs that had run out still counted as launches.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.nodes.model import LinkClass, NodeMode, Topology
from gpucloud_core.placement.future import Future, Share, Supply, future_of
from gpucloud_core.placement.model import Demand
from gpucloud_core.placement.sets import FeasibleSets, feasible_sets, mask_of
from node_builders import HGX_H200, a_topology, switched, topologies
from placement_builders import DGX1, MEMORY_MIB, MIX, SHARED_MIX, TOPOLOGIES, VCPUS, a_row, fine
from placement_builders import usable as counted

A100_X16 = switched("NVIDIA A100-SXM4-80GB", 16, 12)
PLENTY = Share(10_000, 10_000_000)
NOTHING = Share(0, 0)


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
        vcpus=st.integers(0, 8 * VCPUS),
        memory_mib=st.integers(0, 8 * MEMORY_MIB),
    )
    def test_is_what_could_still_be_packed(
        self, system: str, mode: NodeMode, free: int, vcpus: int, memory_mib: int
    ) -> None:
        topology = TOPOLOGIES[system]
        sets = feasible_sets(topology, mode)
        future = future_of(sets, SHARED_MIX, system)
        free = sets.canonical(free & sets.all_mask)
        row = a_row(0, topology=topology, mode=mode)

        assert list(future.usable(free, Share(vcpus, memory_mib))) == counted(
            row, SHARED_MIX, free, vcpus, memory_mib
        )
        assert future.fine(free) == fine(system, mode, SHARED_MIX, free)

    def test_does_not_take_the_first_good_pair_that_comes(self) -> None:
        close = {(0, 1), (0, 2), (1, 3)}  # taking 0 and 1 together would leave 2 and 3 alone
        links = [
            [LinkClass.PIX if {(i, j), (j, i)} & close else LinkClass.SYS for j in range(4)]
            for i in range(4)
        ]
        chain = a_topology(model="NVIDIA A10", numa=[0] * 4, links=links)
        future = future_of(feasible_sets(chain, NodeMode.CONTAINER), (Demand(2, 1),))

        assert future.usable(0b1111, PLENTY) == (2,)
        assert future.fine(0b1111) == 4

    @given(topology=topologies(), free=st.integers(0, 63))
    def test_packs_as_many_good_sets_as_there_is_room_for(
        self, topology: Topology, free: int
    ) -> None:
        sets = feasible_sets(topology, NodeMode.CONTAINER)
        free = sets.canonical(free & sets.all_mask)
        pairs = list(sets.all_of(2))
        top = max(map(sets.quality, pairs), default=None)
        good = [mask for mask in pairs if sets.quality(mask) == top]

        future = future_of(sets, (Demand(2, 1),))

        assert future.usable(free, NOTHING) == (free.bit_count() // 2,)
        assert future.fine(free) == 2 * most_disjoint(good, free)

    @given(topology=topologies(), free=st.integers(0, 63), size=st.integers(0, 6))
    def test_never_gains_by_taking(self, topology: Topology, free: int, size: int) -> None:
        sets, future = of(topology, NodeMode.CONTAINER)
        free = sets.canonical(free & sets.all_mask)

        for option in future.options(free, size, has=PLENTY, takes=NOTHING):
            assert option.chosen.bit_count() == size
            assert option.chosen & ~free == 0
            assert all(launches > 0 for _, launches in option.spoiled)
            assert option.fine >= 0

    @pytest.mark.parametrize("mode", [NodeMode.CONTAINER, NodeMode.VM])
    def test_costs_most_to_break_a_whole_node_and_least_to_take_a_lone_gpu(
        self, mode: NodeMode
    ) -> None:
        sets, future = of(HGX_H200, mode)
        frees = [sets.canonical(free) for free in (0b1, 0b11, 0b1111, 0xFF)]
        supply = Supply(MIX)
        for free in frees:
            supply.add(future.usable(free, PLENTY), 10)

        losses = [
            min(
                option.loss(supply.prices())
                for option in future.options(free, 1, has=PLENTY, takes=NOTHING)
            )
            for free in frees
        ]

        assert losses == sorted(losses)
        assert len(set(losses)) == 4

    def test_packs_overlapping_eights_exactly(self) -> None:
        sets, future = of(A100_X16, NodeMode.VM)
        first_and_third_four = mask_of([0, 1, 2, 3, 8, 9, 10, 11])

        left = sets.all_mask & ~first_and_third_four

        assert sets.is_feasible(left)
        assert future.usable(sets.canonical(left), PLENTY) == future.usable(0xFF, PLENTY)

    def test_keeps_the_best_pairs_of_a_dgx1_apart(self) -> None:
        sets, future = of(DGX1, NodeMode.CONTAINER)
        prices = (1,) * len(MIX)

        def cheapest(free: int) -> int:
            options = future.options(free, 2, has=PLENTY, takes=NOTHING)
            return min(options, key=lambda option: (option.loss(prices), option.chosen)).chosen

        first = cheapest(sets.all_mask)
        rest = cheapest(sets.canonical(sets.all_mask & ~first))
        assert sets.quality(rest) == sets.quality(first)

    def test_counts_only_where_a_sort_of_launch_may_go(self) -> None:
        sets = feasible_sets(HGX_H200, NodeMode.CONTAINER)
        mix = (Demand(8, 1, systems=frozenset({DGX1.system})), Demand(8, 1))

        assert future_of(sets, (), HGX_H200.system).usable(0xFF, PLENTY) == ()
        assert future_of(sets, mix, HGX_H200.system).usable(0xFF, PLENTY) == (0, 1)


class TestSupply:
    def test_halves_a_price_when_there_is_twice_as_much(self) -> None:
        scarce, plenty = Supply(MIX), Supply(MIX)
        scarce.add((8, 4, 2, 1), 3)
        plenty.add((8, 4, 2, 1), 6)

        assert [price * 2 for price in plenty.prices()] == list(scarce.prices())

    @given(counts=st.lists(st.integers(0, 1 << 30), min_size=4, max_size=4))
    def test_asks_no_more_for_what_there_is_more_of(self, counts: list[int]) -> None:
        supply = Supply((Demand(1, 1),) * 4)
        supply.add(tuple(counts), 1)

        prices = supply.prices()

        by_count = sorted(zip(counts, prices, strict=True))
        assert [price for _, price in by_count] == sorted(prices, reverse=True)
        assert all(price > 0 for price in prices)

    def test_is_as_if_nothing_had_been_once_it_is_taken_back(self) -> None:
        supply = Supply(MIX)
        supply.add((8, 4, 2, 1), 5)
        before = supply.prices()
        supply.add((8, 4, 2, 1), 9)
        supply.prices()
        supply.add((8, 4, 2, 1), -9)

        assert supply.prices() == before
