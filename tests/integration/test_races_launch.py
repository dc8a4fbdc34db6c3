"""Many launches at once for the last of everything, through the real use case and real row locks.

Each of four web processes has a view of the fleet and a connection pool of its own. Planted and
seen to fail, each in a private copy: a claim that takes slots without looking whether they are
still free (the database's own constraint then refuses, and racers see errors instead of
refusals); a claim that does not look whether the node still sells; a launch that remembers its
key in a second transaction.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from gpucloud_adapters.system import SystemIds
from gpucloud_core.allocations.errors import SoldOut
from gpucloud_core.allocations.launch import Accepted
from gpucloud_core.kernel.idempotency import (
    IdempotencyInProgress,
    IdempotencyKey,
    IdempotencyKeyReused,
)
from gpucloud_core.kernel.unit import Scope
from world.arena import PROCESSES, Arena, opened, won
from world.market import Customer

RACERS = 200
TWINS = 50
TENANTS = 25
ROUNDS = int(os.environ.get("CAMPAIGN_ROUNDS", "1"))  # of each race; `make campaign` has more
FULL = 8  # GPUs of a node

pytestmark = pytest.mark.timeout(90 + 30 * ROUNDS)


@pytest.fixture
async def arena(database_url: str) -> AsyncIterator[Arena]:
    async with opened(database_url, tenants=TENANTS) as arena:
        yield arena


class TestTheLast:
    async def test_slot_set_and_node_go_to_one_each(self, arena: Arena) -> None:
        for _ in range(ROUNDS):
            for size, before in ((1, (4, 2, 1)), (4, (4,)), (FULL, ())):
                await arena.add_nodes(1)
                await arena.fill(*before)

                outcomes = await arena.race([size] * RACERS)

                assert won(outcomes) == 1, f"{size} GPUs"
                assert set((await arena.gpus_sold()).values()) == {FULL}

    async def test_mixed_sizes_leave_nothing_that_a_loser_wanted(self, arena: Arena) -> None:
        sizes = [(1, 2, 4, FULL)[number * 7 % 4] for number in range(RACERS)]
        for _ in range(ROUNDS):
            await arena.add_nodes(3)

            outcomes = await arena.race(sizes)

            won(outcomes)
            sold = await arena.gpus_sold()
            got = [size for size, got in zip(sizes, outcomes, strict=True) if _placed(got)]
            assert sum(got) == sum(sold.values()) - FULL * (len(arena.nodes) - 3)
            for size in {s for s, got in zip(sizes, outcomes, strict=True) if not _placed(got)}:
                assert not await arena.fits(size)

    async def test_a_drain_at_the_same_moment_is_kept_to(self, arena: Arena) -> None:
        for number in range(ROUNDS):
            size = (1, 4, FULL)[number % 3]
            await arena.add_nodes(2)
            leaving, staying = arena.nodes[-2:]

            # Now they all decide for the node and wait at its gate, now they race with the drain.
            written, waits = asyncio.Event(), number % 2 == 0
            drain = asyncio.create_task(arena.drain(leaving, written, wait=waits))
            if waits:
                await written.wait()
            outcomes = await arena.race([size] * RACERS)
            version = await drain

            sold = await arena.gpus_sold()
            assert won(outcomes) * size == sold[leaving] + sold[staying]
            assert not (waits and sold[leaving])
            assert sold[staying] == FULL, "all of what may be sold is sold"
            async with arena.market.transactions.begin(Scope.platform()) as unit:
                row = await unit.fleet.get(leaving)
            assert row is not None
            assert row.version == version, "nothing was sold from it after it was drained"
            assert not await arena.fits(1)


def _placed(outcome: "Accepted | SoldOut") -> bool:
    return isinstance(outcome, Accepted)


class TestTwins:
    async def test_make_one_allocation(self, arena: Arena) -> None:
        for number in range(ROUNDS):
            await arena.add_nodes(1)
            launches = [Keyed(arena, customer) for customer in arena.customers[:2]]

            answers = await asyncio.gather(*(each.twins() for each in launches))

            assert [len(set(each)) for each in answers] == [1] * len(launches)
            sold = await arena.gpus_sold()
            assert sum(sold.values()) == len(launches) * (1 + number)
            with pytest.raises(IdempotencyKeyReused):
                await launches[0].launch(1, b"another")
            assert await arena.gpus_sold() == sold


@dataclass
class Keyed:
    """One launch under one key, sent many times."""

    arena: Arena
    customer: Customer
    key: str = field(default_factory=lambda: SystemIds().new("key"))

    async def twins(self) -> list[str]:
        """Send it from everywhere at once; return every twin's answer in the end."""
        return list(await asyncio.gather(*(self._answer(number) for number in range(TWINS))))

    async def _answer(self, number: int) -> str:
        while True:
            try:
                return repr(await self.launch(number))
            except IdempotencyInProgress:
                await asyncio.sleep(0.1)

    async def launch(self, number: int, body: bytes = b"one") -> Accepted:
        key = IdempotencyKey.of(
            tenant_id=self.customer.actor.tenant_id, route="launch", key=self.key, body=body
        )
        web = self.arena.webs[number % PROCESSES]
        return await web.launch(self.customer, self.customer.request(), key)
