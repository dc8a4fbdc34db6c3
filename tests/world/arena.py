"""A market with several web processes: each has a view of the fleet and connections of its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from gpucloud_adapters.postgres.engine import Engine, create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_core.allocations.errors import SoldOut
from gpucloud_core.allocations.launch import Accepted
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.quote import QuoteLaunch
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.billing.model import HoldState
from gpucloud_core.kernel.errors import Conflict
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import NodeAccess, NodeStatus, SlotState
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.placement.fleet_view import FleetView
from world.market import Customer, Market

PROCESSES = 4
AT_ONCE = 16  # requests in a process; more would wait for its connections
_AT_THE_GATE = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND query LIKE '%take_slots%' AND pid <> pg_backend_pid()"
)


@dataclass(kw_only=True)
class Web:
    """One web process, as far as launches know of it."""

    engine: Engine
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

    async def race(
        self, sizes: Sequence[int], *, buyers: Sequence[Customer] = ()
    ) -> "list[Accepted | SoldOut]":
        """Launch all of ``sizes`` at once; anything but a place or a refusal is an error."""
        people = buyers or self.customers
        return list(
            await asyncio.gather(
                *(self._try(n, people[n % len(people)], size) for n, size in enumerate(sizes))
            )
        )

    async def _try(self, number: int, customer: Customer, size: int) -> "Accepted | SoldOut":
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
        connection = await self.webs[0].engine.acquire()
        try:
            return bool(await connection.fetchval(_AT_THE_GATE))
        finally:
            await self.webs[0].engine.release(connection)

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


@asynccontextmanager
async def opened(database_url: str, *, tenants: int) -> AsyncIterator[Arena]:
    """Open an arena without nodes; ends with its connections closed."""
    webs = []
    for _ in range(PROCESSES):
        engine = create_engine(database_url)
        webs.append(Web(engine=engine, market=Market(transactions=PostgresTransactions(engine))))
    await webs[0].market.open()
    yield Arena(webs=webs, customers=await webs[0].market.customers(tenants))
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
