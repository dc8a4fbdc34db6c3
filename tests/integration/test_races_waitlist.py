"""Many launches at once beside those who wait: turns are kept, and so is what was offered.

Four web processes launch, four workers serve the queue. Planted and seen to fail: a launch that
plays no promise forward on its image (racers take the room that was offered); one that reads
what is promised once and not again after a lost race (two who were told refuse each other); a
queue that is served from its end.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import pytest

from gpucloud_adapters.memory.cloud import SKU
from gpucloud_adapters.system import SystemIds
from gpucloud_core.allocations.launch import LaunchAllocations
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.kernel.errors import Conflict
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.waitlist.join import JoinWaitlist, WaitAsked
from gpucloud_core.waitlist.model import WaitEntry, WaitKind, WaitState
from gpucloud_core.waitlist.serve import ServeWaitlist
from world.arena import Arena, opened, won
from world.market import Customer

RACERS = 200
TENANTS = 25
WAITERS = 10
EACH = 3  # entries of one who waits
WORKERS = 4
SERVED_FIRST = 3  # before the race begins, so that it meets a queue that moves
ROUNDS = int(os.environ.get("CAMPAIGN_ROUNDS", "1"))
FULL = 8  # GPUs of a node

pytestmark = pytest.mark.timeout(120 + 60 * ROUNDS)


class Hall:
    """An arena with a queue, and the workers that serve it."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.transactions = [web.market.transactions for web in arena.webs]
        self.ids = SystemIds()
        self.workers = [
            ServeWaitlist(
                transactions=transactions,
                launch=LaunchAllocations(
                    transactions=transactions, ids=self.ids, fleet=FleetView()
                ),
            )
            for transactions in self.transactions[:WORKERS]
        ]

    async def join(self, who: Customer, gpus: int, kind: WaitKind) -> WaitEntry:
        join = JoinWaitlist(transactions=self.transactions[0], ids=self.ids)
        request = LaunchRequest(sku_id=SKU, gpu_count=gpus, ssh_key_ids=(who.ssh_key_id,))
        asked = WaitAsked(kind=kind, request=request)
        return await join(actor=who.actor, project_id=who.project_id, asked=asked)

    async def serve(self) -> None:
        """Serve the queue from all workers at once, until none of them moves anything."""
        while sum(await asyncio.gather(*(self._one(worker) for worker in self.workers))):
            pass

    async def _one(self, worker: ServeWaitlist) -> int:
        try:
            return await worker()
        except Conflict:
            return 1  # it looks again on its next tick, as it does here

    async def have_launched(self, count: int) -> None:
        """Wait until the queue has been served so often."""
        while (await self.launched()) < count:  # noqa: ASYNC110  workers set no event
            await asyncio.sleep(0.02)

    async def launched(self) -> int:
        return sum(one.state is WaitState.LAUNCHED for one in await self.entries())

    async def entries(self) -> Sequence[WaitEntry]:
        async with self.transactions[0].begin(Scope.platform()) as unit:
            return await unit.waitlist.find()


@pytest.fixture
async def hall(database_url: str) -> AsyncIterator[Hall]:
    async with opened(database_url, tenants=TENANTS) as arena:
        yield Hall(arena)


class TestAnOffer:
    @pytest.mark.parametrize("size", [1, 4, FULL])
    async def test_is_taken_by_nobody_else(self, hall: Hall, size: int) -> None:
        arena = hall.arena
        for _ in range(ROUNDS):
            told, others = arena.customers[:2], arena.customers[2:]
            for who in told:
                await hall.join(who, size, WaitKind.NOTIFY)
            before = len(arena.nodes)
            await arena.add_nodes(1 if size < FULL else 3)
            await hall.serve()
            room = (len(arena.nodes) - before) * FULL // size

            outcomes, _ = await asyncio.gather(
                arena.race([size] * RACERS, buyers=others), hall.serve()
            )

            left = room - len(told)
            assert won(outcomes) == left, "all that is promised to nobody, and no more"
            later = await asyncio.gather(
                *(arena.webs[n].launch(who, who.request(size)) for n, who in enumerate(told))
            )
            assert len(later) == len(told)
            assert set((await arena.gpus_sold()).values()) == {FULL}


class TestTurns:
    async def test_are_kept_beside_a_race_and_a_drain(self, hall: Hall) -> None:
        arena = hall.arena
        for number in range(ROUNDS):
            size, nodes = ((1, 2), (4, 6), (FULL, 9))[number % 3]
            for _ in range(EACH):
                for who in arena.customers[:WAITERS]:
                    await hall.join(who, size, WaitKind.LAUNCH)
            await arena.add_nodes(nodes)
            leaving, written = arena.nodes[-2], asyncio.Event()
            serving = asyncio.create_task(hall.serve())
            await hall.have_launched(SERVED_FIRST)

            outcomes, *_ = await asyncio.gather(
                arena.race([size] * RACERS, buyers=arena.customers[WAITERS:]),
                serving,
                arena.drain(leaving, written, wait=False),
            )
            await hall.serve()

            won(outcomes)
            sold = await arena.gpus_sold()
            assert sold[arena.nodes[-1]] == FULL, "all of what may be sold is sold"
            assert_fair(await hall.entries())


def assert_fair(entries: Sequence[WaitEntry]) -> None:
    """First come first served within a tenant; between tenants nobody is a turn ahead."""
    by_tenant: dict[str, list[WaitEntry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda each: (each.created_at, each.id)):
        by_tenant[entry.tenant_id].append(entry)
    served = {
        tenant: [entry.state is WaitState.LAUNCHED for entry in own]
        for tenant, own in by_tenant.items()
    }
    for own in served.values():
        assert own == sorted(own, reverse=True), "one was served before an earlier one"
    counts = [sum(own) for own in served.values()]
    assert max(counts) - min(counts) <= 1, counts
