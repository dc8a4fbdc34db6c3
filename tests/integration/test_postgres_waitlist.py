"""The waitlist on a real database: four workers serve one queue at once, with nobody served twice.

Seen to fail when an entry was not looked at again under its lock (``state`` not compared in
``_launch_at_once``): the same entry was launched by two workers.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gpucloud_adapters.memory.cloud import SKU
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.system import SystemIds
from gpucloud_core.allocations.launch import LaunchAllocations
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.waitlist.join import JoinWaitlist, LeaveWaitlist, WaitAsked
from gpucloud_core.waitlist.model import WaitEntry, WaitKind, WaitState
from gpucloud_core.waitlist.queries import ListWaitlist, ReadForecast, WaitLine
from gpucloud_core.waitlist.serve import ServeWaitlist
from world.market import Customer, Market

WORKERS = 4
pytestmark = pytest.mark.timeout(90)


class Queue:
    """Customers who wait, and the workers who serve them."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.transactions = market.transactions
        self.ids = SystemIds()

    async def add_node(self) -> NodeId:
        topology = hgx_h200(seed="wait")
        access = NodeAccess(host="n", port=22, username="g", host_key="k", credential="c")
        ends = [(f"10.0.0.{gpu.index + 1}", 22) for gpu in topology.gpus]
        return NodeId(await self.market.enroll("node", topology, access, ends))

    async def join(self, who: Customer, gpus: int) -> WaitEntry:
        join = JoinWaitlist(transactions=self.transactions, ids=self.ids)
        request = LaunchRequest(sku_id=SKU, gpu_count=gpus, ssh_key_ids=(who.ssh_key_id,))
        asked = WaitAsked(kind=WaitKind.LAUNCH, request=request)
        return await join(actor=who.actor, project_id=who.project_id, asked=asked)

    async def lines(self, who: Customer) -> list[WaitLine]:
        read = ListWaitlist(transactions=self.transactions)
        query = ListQuery(sort="id")
        page = await read(actor=who.actor, project_id=who.project_id, query=query)
        return list(page.items)

    def worker(self) -> ServeWaitlist:
        launch = LaunchAllocations(transactions=self.transactions, ids=self.ids, fleet=FleetView())
        return ServeWaitlist(transactions=self.transactions, launch=launch)


@pytest.fixture
async def queue(database_url: str) -> AsyncIterator[Queue]:
    engine = create_engine(database_url)
    market = Market(transactions=PostgresTransactions(engine))
    await market.open()
    yield Queue(market)
    await engine.dispose()


class TestWaitlist:
    async def test_serves_each_once_and_in_turn_however_many_serve(self, queue: Queue) -> None:
        bob, cleo = await queue.market.customers(2)
        for _ in range(6):
            await queue.join(bob, 1)
        for _ in range(3):
            await queue.join(cleo, 1)
        assert [line.position for line in await queue.lines(cleo)] == [2, 4, 6]
        await queue.add_node()

        moved = await asyncio.gather(*(queue.worker()() for _ in range(WORKERS)))

        assert sum(moved) == 8
        lines = [*await queue.lines(bob), *await queue.lines(cleo)]
        tasks = {line.entry.task_id for line in lines if line.entry.task_id}
        assert len(tasks) == 8
        async with queue.transactions.begin(Scope.platform()) as unit:
            assert await unit.allocations.count() == 8
        waiting = [line for line in lines if line.entry.state is WaitState.WAITING]
        assert [(line.entry.tenant_id, line.position) for line in waiting] == [
            (bob.actor.tenant_id, 1)
        ]

    async def test_keeps_tenants_apart(self, queue: Queue) -> None:
        bob, cleo = await queue.market.customers(2)
        entry = await queue.join(bob, 8)

        assert await queue.lines(cleo) == []
        leave = LeaveWaitlist(transactions=queue.transactions)
        with pytest.raises(NotFound):
            await leave(actor=cleo.actor, entry_id=entry.id)
        assert (await leave(actor=bob.actor, entry_id=entry.id)).state is WaitState.WITHDRAWN

    async def test_forecasts_without_telling_whose_timer_it_is(self, queue: Queue) -> None:
        (bob,) = await queue.market.customers(1)
        await queue.add_node()
        await queue.market.launch(bob, bob.request(8))

        read = ReadForecast(transactions=queue.transactions, fleet=FleetView())
        seen = await read(actor=bob.actor, sku_id=SKU, gpu_count=8)

        assert (seen.forecast.not_before, seen.forecast.gpus_held) == (None, 8)
