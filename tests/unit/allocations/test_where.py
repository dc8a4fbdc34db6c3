"""Where a quote says that a launch would go is where it then goes.

Seen to fail when the second machine of a launch was drawn as if the first took nothing.
"""

import pytest

from customer import Customer
from gpucloud_core.allocations.queries import ReadAllocation
from gpucloud_core.allocations.request import LaunchRequest


@pytest.fixture
async def ada() -> Customer:
    ada = await Customer.arrive(nodes=2)
    await ada.launch(1)
    return ada


class TestPlaces:
    @pytest.mark.parametrize(("gpus", "count"), [(1, 1), (2, 1), (4, 2), (8, 1), (2, 3)])
    async def test_are_where_the_launch_then_stands(
        self, ada: Customer, gpus: int, count: int
    ) -> None:
        asked: LaunchRequest = ada.request(gpus, count=count)
        quote = await ada.cloud.quote(ada.actor, asked)

        accepted = await ada.cloud.launch(ada.actor, asked)

        read = ReadAllocation(transactions=ada.cloud.transactions)
        stood = [
            await read(actor=ada.actor, allocation_id=allocation_id)
            for allocation_id, _ in accepted.allocations
        ]
        assert [(place.node.id, place.mask) for place in quote.places] == [
            (view.node.id, view.allocation.mask) for view in stood
        ]
        assert [place.why for place in quote.places] == [view.why_here for view in stood]
        for number, place in enumerate(quote.places):
            earlier = [p for p in quote.places[: number + 1] if p.node.id == place.node.id]
            assert not any(place.free_mask & one.mask for one in earlier)

    async def test_are_none_where_it_does_not_fit(self, ada: Customer) -> None:
        quote = await ada.cloud.quote(ada.actor, ada.request(8, count=2))

        assert quote.places == ()
        assert not quote.ok
