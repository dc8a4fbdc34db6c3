"""Many launches at once for the last of everything, through the real use case and real row locks.

Each of four web processes has a view of the fleet and a connection pool of its own. Planted and
seen to fail, each in a private copy: a claim that takes slots without looking whether they are
still free (the database's own constraint then refuses, and racers see errors instead of
refusals); a claim that does not look whether the node still sells; a launch that remembers its
key in a second transaction.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.system import SystemIds
from gpucloud_core.allocations.errors import SoldOut
from gpucloud_core.allocations.launch import Accepted
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.quote import QuoteLaunch
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.billing.model import HoldState
from gpucloud_core.kernel.errors import Conflict
from gpucloud_core.kernel.idempotency import (
    IdempotencyInProgress,
    IdempotencyKey,
    IdempotencyKeyReused,
)
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import NodeAccess, NodeStatus, SlotState
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.placement.fleet_view import FleetView
from world.market import Customer, Market

RACERS = 200
TWINS = 50
PROCESSES = 4
AT_ONCE = 16  # requests in a process; more would wait for its connections
TENANTS = 25
ROUNDS = int(os.environ.get("CAMPAIGN_ROUNDS", "1"))  # of each race; `make campaign` has more
FULL = 8  # GPUs of a node
_AT_THE_GATE = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND query LIKE '%take_slots%' AND pid <> pg_backend_pid()"
)

pytestmark = pytest.mark.timeout(90 + 30 * ROUNDS)


@dataclass(kw_only=True)
class Web:
    """One web process, as far as launches know of it."""

    engine: AsyncEngine
    market: Market
    fleet: FleetView = field(default_factory=FleetView)
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def launch(
        self, customer: Customer, request: LaunchRequest, key: IdempotencyKey | None = None
    ) -> Accepted:
        async with self.room:
            return await self.market.launch(customer, request, fleet=self.fleet, idempotency=key)


@dataclass(kw_only=True)
class Arena:
    """A fleet, its customers, and the processes they come through."""

    webs: list[Web]
    customers: list[Customer]
    nodes: list[str] = field(default_factory=list)

    @property
    def market(self) -> Market:
        return self.webs[0].market

    async def add_nodes(self, count: int) -> None:
        for number in range(len(self.nodes), len(self.nodes) + count):
            topology = hgx_h200(seed=f"race-{number}")
            access = NodeAccess(
                host=f"node-{number}", port=22, username="g", host_key="k", credential="c"
            )
            endpoints = [(f"10.0.{number}.{gpu.index + 1}", 22) for gpu in topology.gpus]
            name = f"node-{number}"
            self.nodes.append(await self.market.enroll(name, topology, access, endpoints))

    async def race(self, sizes: Sequence[int]) -> "list[Accepted | SoldOut]":
        """Launch all of ``sizes`` at once; anything but a place or a refusal is an error."""
        return list(await asyncio.gather(*(self._try(n, size) for n, size in enumerate(sizes))))

    async def _try(self, number: int, size: int) -> "Accepted | SoldOut":
        customer = self.customers[number % len(self.customers)]
        web = self.webs[number % len(self.webs)]
        try:
            return await web.launch(customer, customer.request(size))
        except SoldOut as refused:
            return refused

    async def fill(self, *sizes: int) -> None:
        """Sell these before the race."""
        for size in sizes:
            customer = self.customers[0]
            await self.webs[0].launch(customer, customer.request(size))

    async def drain(self, node_id: str, written: asyncio.Event, *, wait: bool) -> int:
        """Sell nothing more from the node, as an operator does; return its row's last version.

        The change is written, said to be so, and committed; first, ``wait`` lets others come to
        where they wait for it.
        """
        while True:
            try:
                async with self.market.transactions.begin(Scope.platform()) as unit:
                    node, row = await unit.nodes.lock(node_id), await unit.fleet.get(node_id)
                    assert node is not None
                    assert row is not None
                    await unit.nodes.put(replace(node, status=NodeStatus.DRAINING))
                    shut = replace(row, sellable=False, unsellable_reason="draining")
                    await unit.fleet.put(shut)
                    written.set()
                    while wait and not await self._waiting():  # noqa: ASYNC110  servers set no event
                        await asyncio.sleep(0.05)
                return row.version + 1
            except Conflict:
                continue

    async def _waiting(self) -> bool:
        """Tell whether someone waits for the gate of a node to take slots of."""
        async with self.webs[0].engine.connect() as connection:
            return bool((await connection.execute(_AT_THE_GATE)).scalar_one())

    async def fits(self, size: int) -> bool:
        """Tell whether a launch of ``size`` would find a place now."""
        customer = self.customers[-1]
        quote = QuoteLaunch(transactions=self.market.transactions, fleet=FleetView())
        answer = await quote(
            actor=customer.actor, project_id=customer.project_id, request=customer.request(size)
        )
        return next(check.ok for check in answer.checks if check.code == "capacity")

    async def gpus_sold(self) -> dict[str, int]:
        """Check that claims, slots, capacity, holds and tasks agree; return GPUs sold per node."""
        async with self.market.transactions.begin(Scope.platform()) as unit:
            await self._check_money(unit)
            return {node_id: await self._check_node(unit, node_id) for node_id in self.nodes}

    async def _check_node(self, unit: AllocationUnit, node_id: str) -> int:
        row = await unit.fleet.get(node_id)
        assert row is not None
        sold = 0
        for claim in await unit.claims.find(node_id=node_id, released_at=None):
            assert not sold & claim.mask, "a slot has one open claim at most"
            sold |= claim.mask
        assert row.free_mask == row.approved_mask & ~sold
        for slot in await unit.slots.find(node_id=node_id):
            claimed = bool(sold >> slot.index & 1)
            assert (slot.state is SlotState.CLAIMED) == claimed, f"{slot} is stranded"
        return sold.bit_count()

    async def _check_money(self, unit: AllocationUnit) -> None:
        claims = await unit.claims.find(released_at=None)
        allocations = {claim.allocation_id for claim in claims}
        open_ = await unit.holds.find(state=HoldState.OPEN)
        assert Counter(hold.allocation_id for hold in open_) == Counter(allocations)
        assert {task.subject for task in await unit.tasks.find(kind="provision")} == allocations


@pytest.fixture
async def arena(database_url: str) -> AsyncIterator[Arena]:
    webs = []
    for _ in range(PROCESSES):
        engine = create_engine(database_url)
        webs.append(Web(engine=engine, market=Market(transactions=PostgresTransactions(engine))))
    await webs[0].market.open()
    yield Arena(webs=webs, customers=await webs[0].market.customers(TENANTS))
    for web in webs:
        await web.engine.dispose()


def won(outcomes: "Sequence[Accepted | SoldOut]") -> int:
    """Return how many won, having checked that every other was told why not."""
    for refused in outcomes:
        if isinstance(refused, SoldOut):
            [why] = refused.fields
            assert (why.field, why.code) == ("/gpu_count", "sold_out")
            assert why.detail == refused.detail != refused.title()
    return sum(isinstance(outcome, Accepted) for outcome in outcomes)


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
