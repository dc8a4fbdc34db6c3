"""Gangs, compared with a search through every way to deal their members out.

Seen to fail when pods were compared by their level's place in the list instead of by distance, when
the least mean was sought before the least worst distance, and when the emptiest nodes of a group
were filled last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.nodes.interconnect import ALL_LEVELS, LEVELS, NODE, UNKNOWN, path_of, subtrees
from gpucloud_core.nodes.model import FabricKind, FabricPlace
from gpucloud_core.placement import gangs
from gpucloud_core.placement.choose import choose, scores_of
from gpucloud_core.placement.explain import explain_placement
from gpucloud_core.placement.gangs import Gang, Room, nearest
from gpucloud_core.placement.model import (
    NodeCapacity,
    Placement,
    Refusal,
    RefusalCode,
    Spread,
    Within,
)
from placement_builders import a_request, a_row, an_image

PATHS = [
    "",
    *(
        path_of(FabricPlace(kind=kind, fabric=fabric, pod=pod, group=group))
        for kind, fabric in ((FabricKind.LEAF_SPINE, "a"), (FabricKind.RAIL_OPTIMISED, "b"))
        for pod, group in product("xy", "12")
    ),
]
LEAF_1, LEAF_2, FAR_LEAF = PATHS[1], PATHS[2], PATHS[3]


def distance(one: Room, other: Room) -> int | None:
    """Return how far two nodes are apart, by their names alone; None in different fabrics."""
    if one.node_id == other.node_id:
        return 0
    if not one.path or not other.path:
        return UNKNOWN.distance if one.path == other.path else None
    ours, theirs = one.path.split("/"), other.path.split("/")
    shared = next((n for n in (4, 3, 2) if ours[:n] == theirs[:n]), None)
    return None if shared is None else LEVELS[FabricKind(ours[0])][4 - shared].distance


def ways(rooms: Sequence[Room], wanted: int) -> Iterator[tuple[int, int]]:
    """Yield the worst distance and the sum of distances of every way to stand."""
    for chosen in combinations_with_replacement(rooms, wanted):
        if any(chosen.count(room) > room.capacity for room in chosen):
            continue
        apart = [
            distance(one, other) for at, one in enumerate(chosen) for other in chosen[at + 1 :]
        ]
        if None not in apart:
            known = [each for each in apart if each is not None]
            yield max(known, default=0), sum(known)


def found(gang: Gang, rooms: Sequence[Room]) -> tuple[int, int]:
    by_id = {room.node_id: room for room in rooms}
    chosen = [by_id[node_id] for node_id, count in gang.counts for _ in range(count)]
    (way,) = ways([replaced(room, chosen.count(room)) for room in set(chosen)], len(chosen))
    return way


def replaced(room: Room, capacity: int) -> Room:
    return room._replace(capacity=capacity)


rooms_drawn = st.lists(st.tuples(st.sampled_from(PATHS), st.integers(0, 3)), max_size=6).map(
    lambda drawn: [
        Room(NodeId(f"nod_{number}"), path, capacity)
        for number, (path, capacity) in enumerate(drawn)
    ]
)


class TestNearest:
    @given(rooms=rooms_drawn, wanted=st.integers(1, 5))
    def test_finds_the_least_worst_and_then_the_least_mean_distance(
        self, rooms: list[Room], wanted: int
    ) -> None:
        gang = nearest(rooms, wanted)
        best = min(ways(rooms, wanted), default=None)

        if best is None:
            assert gang is None
            return
        assert gang is not None
        assert sum(count for _, count in gang.counts) == wanted
        assert found(gang, rooms) == best
        assert gang.level.distance == best[0]

    @given(rooms=rooms_drawn, wanted=st.integers(1, 5), order=st.randoms())
    def test_decides_the_same_in_whatever_order_nodes_are_given(
        self, rooms: list[Room], wanted: int, order: object
    ) -> None:
        shuffled = sorted(rooms, key=lambda room: hash((room.node_id, str(order))))

        assert nearest(shuffled, wanted) == nearest(rooms, wanted)

    @given(rooms=rooms_drawn, wanted=st.integers(2, 5), within=st.sampled_from(Within))
    def test_keeps_to_the_level_that_was_asked_for(
        self, rooms: list[Room], wanted: int, within: Within
    ) -> None:
        gang = nearest(rooms, wanted, within=within)
        most, _ = gangs.most_together(rooms, within=within)

        assert (gang is not None) == (most >= wanted)
        if gang is not None and within is not Within.FABRIC:
            assert gang.level.name in {"node", "group", within}

    def test_takes_a_farther_level_of_the_nearer_fabric(self) -> None:
        leaves = [Room(NodeId(f"nod_{n}"), path, 1) for n, path in enumerate((LEAF_1, LEAF_2))]
        rails = [Room(NodeId(f"nod_{n + 2}"), path, 1) for n, path in enumerate(PATHS[5:7])]

        gang = nearest([*leaves, *rails], 2)

        assert gang is not None
        assert [node_id for node_id, _ in gang.counts] == ["nod_2", "nod_3"]

    def test_prefers_the_least_worst_distance_to_the_least_mean(self) -> None:
        crowd = [Room(NodeId("nod_0"), PATHS[5], 6), Room(NodeId("nod_1"), PATHS[6], 1)]
        singles = [Room(NodeId(f"nod_{n + 2}"), PATHS[7], 1) for n in range(7)]

        gang = nearest([*crowd, *singles], 7)

        assert gang is not None
        assert {node_id for node_id, _ in gang.counts} == {room.node_id for room in singles}

    def test_stays_where_some_of_it_stands(self) -> None:
        rooms = [Room(NodeId(f"nod_{n}"), path, 1) for n, path in enumerate((LEAF_1, FAR_LEAF))]

        gang = nearest(rooms, 1, held=[FAR_LEAF])

        assert gang is not None
        assert gang.counts == (("nod_1", 1),)


class TestLevels:
    def test_are_told_apart_by_name_and_kept_by_position(self) -> None:
        assert ALL_LEVELS[:2] == (NODE, UNKNOWN)
        assert len(set(ALL_LEVELS)) == len(ALL_LEVELS)

    @pytest.mark.parametrize("kind", FabricKind)
    def test_grow_with_each_step_away(self, kind: FabricKind) -> None:
        away = [level.distance for level in (NODE, *LEVELS[kind], UNKNOWN)]

        assert away == sorted(set(away))

    def test_name_what_a_place_lies_in(self) -> None:
        names = [name for name, _ in subtrees("leaf_spine/a/x/1")]

        assert names == ["leaf_spine/a/x/1", "leaf_spine/a/x", "leaf_spine/a"]


def fleet(*paths: str, free: int = 0xFF) -> list[NodeCapacity]:
    return [a_row(number, fabric=path, free_mask=free) for number, path in enumerate(paths)]


class TestChoose:
    def test_puts_a_gang_under_one_leaf_and_says_so(self) -> None:
        rows = fleet(LEAF_1, FAR_LEAF, LEAF_2, FAR_LEAF)

        decision = choose(a_request(8, count=2, together=True), an_image(rows))

        assert isinstance(decision, Placement)
        assert [place.node_id for place in decision.places] == ["nod_0001", "nod_0003"]
        told = explain_placement(scores_of(decision, 1), gpu_count=8)
        assert "The 2 machines of its launch stand together: 2 nodes under one leaf." in told

    def test_says_how_many_fit_near_enough(self) -> None:
        rows = fleet(LEAF_1, LEAF_1, LEAF_2, FAR_LEAF)
        wanted = a_request(
            8, count=4, together=True, spread=Spread.DISTINCT_NODES, within=Within.POD
        )

        decision = choose(wanted, an_image(rows))

        assert isinstance(decision, Refusal)
        (reason,) = decision.reasons
        assert reason.code is RefusalCode.APART
        assert reason.detail == "Only 3 nodes are free within one pod, and 4 were to be together."
        assert decision.fits_now == 3
        assert isinstance(choose(replace(wanted, within=Within.FABRIC), an_image(rows)), Placement)

    def test_never_spans_two_fabrics(self) -> None:
        rows = fleet(LEAF_1, PATHS[5])

        decision = choose(a_request(8, count=2, together=True), an_image(rows))

        assert isinstance(decision, Refusal)
        assert decision.reasons[0].detail == (
            "Only 1 machine fits within one fabric, and 2 were to be together."
        )
