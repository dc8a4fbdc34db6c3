"""The image under any order of changes, against one made afresh from the same rows.

Seen to fail when a scratch was undone first change first, when a bucket's lowest id was read
without dropping those that had left, when an order did not hear of a kind's first node, and when a
node that left was still counted as supply.
"""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gpucloud_core.placement.choose import choose
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import NodeCapacity, Placement
from gpucloud_core.placement.orders import Bucket, Kind
from node_builders import HGX_H200, switched
from placement_builders import TREE, a_request, a_row, an_image, rows

ASKS = (a_request(1), a_request(2), a_request(4, vcpus=60), a_request(8))
numbers = st.integers(0, 5)


class ImageMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.image = an_image([])
        self.rows: dict[str, NodeCapacity] = {}  # the whole model

    @rule(number=numbers, row=rows)
    def put(self, number: int, row: NodeCapacity) -> None:
        row = replace(row, node_id=a_row(number).node_id)
        self.image.put(row)
        self.rows[row.node_id] = row

    @rule(number=numbers)
    def remove(self, number: int) -> None:
        node_id = a_row(number).node_id
        self.image.remove(node_id)
        self.rows.pop(node_id, None)

    @rule(ask=st.sampled_from(ASKS))
    def take(self, ask: object) -> None:
        request = next(known for known in ASKS if known is ask)
        decision = choose(request, self.image)
        if isinstance(decision, Placement):
            (place,) = decision.places
            self.image.take(place, request)
            self.rows[place.node_id] = self.image.row(place.node_id)

    @rule(changes=st.lists(st.tuples(numbers, rows), max_size=4), removed=numbers)
    def play_forward_and_back(self, changes: list[tuple[int, NodeCapacity]], removed: int) -> None:
        with self.image.scratch():
            for number, row in changes:
                self.image.put(replace(row, node_id=a_row(number).node_id))
            with self.image.scratch():
                self.image.remove(a_row(removed).node_id)
                choose(ASKS[0], self.image)

    @invariant()
    def it_decides_like_a_fresh_one(self) -> None:
        fresh = an_image(self.rows.values())
        assert len(self.image) == len(self.rows)
        for request in ASKS:
            assert choose(request, self.image) == choose(request, fresh)


TestFleetImage = ImageMachine.TestCase
TestFleetImage.settings = settings(max_examples=40, stateful_step_count=12)


class TestLearning:
    def test_sells_nothing_of_a_class_it_has_not_seen_until_it_has(self) -> None:
        unknown = switched("NVIDIA H200", 4, 18)
        image = FleetImage()
        image.put(a_row(0, topology=unknown))

        before = choose(a_request(4), image)
        image.learn(unknown)
        after = choose(a_request(4), image)

        assert not isinstance(before, Placement)
        assert "has not learned" in before.reasons[-1].detail
        assert isinstance(after, Placement)

    def test_sells_nothing_of_a_node_that_is_not_what_its_class_says(self) -> None:
        image = an_image([a_row(0, topology=TREE, system=HGX_H200.system)])

        assert not isinstance(choose(a_request(1), image), Placement)

    def test_takes_what_it_learned_along_into_a_part_of_itself(self) -> None:
        whole = an_image([a_row(0, topology=TREE), a_row(1, topology=TREE)])

        part = whole.of_rows([whole.row(a_row(1).node_id)])

        decision = choose(a_request(4), part)
        assert isinstance(decision, Placement)
        assert decision.places[0].node_id == "nod_0001"


class TestOrders:
    def test_are_forgotten_when_too_many_sorts_of_request_come(self) -> None:
        image = an_image([a_row(0)])
        for vcpus in range(600):
            choose(a_request(1, vcpus=vcpus % 170, memory_mib=vcpus), image)

        (pool,) = image.pools.values()
        assert all(len(bucket.watchers) <= 512 for bucket in pool.open.values())
        assert isinstance(choose(a_request(1, vcpus=0), image), Placement)


class TestKinds:
    def test_are_forgotten_when_no_node_is_of_them_any_more(self) -> None:
        image = an_image([a_row(0)])
        for vcpus in range(0, 4 * 3000, 4):
            image.put(a_row(0, free_vcpus=vcpus))

        (pool,) = image.pools.values()
        assert len(pool.open) <= 1024
        assert isinstance(choose(a_request(1), image), Placement)


class TestBucket:
    def test_does_not_grow_while_nodes_come_and_go(self) -> None:
        row = a_row(0)
        bucket = Bucket(Kind(row.system, row.mode, 0xFF, 1, 1), None)
        for number in range(10):
            bucket.enter(a_row(number).node_id)
        for _ in range(1000):
            bucket.leave(row.node_id)
            bucket.enter(row.node_id)

        assert len(bucket._heap) < 200
        assert bucket.first == row.node_id

    def test_finds_the_lowest_when_a_lower_one_has_left(self) -> None:
        row = a_row(0)
        bucket = Bucket(Kind(row.system, row.mode, 0xFF, 1, 1), None)
        for number in (3, 1, 2):
            bucket.enter(a_row(number).node_id)

        bucket.leave(a_row(1).node_id)

        assert bucket.first == "nod_0002"
