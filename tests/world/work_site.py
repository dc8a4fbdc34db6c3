"""Simulated hosts over SSH, a real database and real workers: where work is killed.

Also says what must be true once everything has settled, whatever happened before.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpucloud_adapters.bootstrap import make_container
from gpucloud_adapters.credentials import BoxedCredentials
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.settings import Settings
from gpucloud_adapters.simulated.fleet_file import FleetHost, read_fleet
from gpucloud_adapters.simulated.fleet_server import Fleet, FleetOptions
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.release import CancelAllocation, ReleaseAllocation
from gpucloud_core.billing.model import HoldState, Transfer, TransferKind
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.time import HOUR_MICROSECONDS, microseconds_between
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import SlotState
from gpucloud_core.nodes.ports import NodeDriver
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.model import Spread
from world.killable import Nursery
from world.market import Customer, Market
from world.simulated_host import free_port

AWAKE: Final = frozenset(
    {
        AllocationState.REQUESTED,
        AllocationState.PROVISIONING,
        AllocationState.UNWINDING,
        AllocationState.RELEASING,
    }
)
_POLL_SECONDS: Final = 0.2
_PAGE: Final = 100
_EACH: Final = 48  # machines of one customer, who may hold 64 GPUs


@dataclass(kw_only=True)
class Site:
    """One fleet, its customers, and workers that may die."""

    market: Market
    customers: list[Customer]
    nursery: Nursery
    driver: NodeDriver
    hosts: dict[str, FleetHost]  # by node id
    launched: int = 0

    async def launch(self, count: int = 1, *, spread: Spread = Spread.ANY) -> list[AllocationId]:
        """Launch machines of one GPU each; nobody has taken them up yet."""
        if self.launched + count > _EACH * len(self.customers):
            self.customers.append(await self.market.customer(f"buyer-{len(self.customers)}"))
        customer = self.customers[-1]
        request = customer.request(count=count, spread=spread)
        accepted = await self.market.launch(customer, request, fleet=FleetView())
        self.launched += count
        return [allocation_id for allocation_id, _ in accepted.allocations]

    async def release(self, allocation_id: AllocationId) -> None:
        use_case = ReleaseAllocation(transactions=self.market.transactions, ids=self.market.ids)
        await use_case(actor=await self._owner(allocation_id), allocation_id=allocation_id)

    async def cancel(self, allocation_id: AllocationId) -> None:
        use_case = CancelAllocation(transactions=self.market.transactions)
        await use_case(actor=await self._owner(allocation_id), allocation_id=allocation_id)

    async def _owner(self, allocation_id: AllocationId) -> Actor:
        tenant_id = (await self.read(allocation_id)).tenant_id
        return next(each.actor for each in self.customers if each.actor.tenant_id == tenant_id)

    async def task_of(self, allocation_id: AllocationId) -> str:
        """Return the task that moves the allocation now."""
        return (await self.read(allocation_id)).task_id

    async def read(self, allocation_id: AllocationId) -> Allocation:
        async with self.market.transactions.begin(Scope.platform()) as unit:
            allocation = await unit.allocations.get(allocation_id)
        assert allocation is not None
        return allocation

    async def settled(self, seconds: float = 60) -> Counter[AllocationState]:
        """Wait until nothing is under way, check everything, and return what became of all."""
        end = time.monotonic() + seconds
        while True:
            async with self.market.transactions.begin(Scope.platform()) as unit:
                rows = await unit.allocations.find()
                busy = [row for row in rows if row.state in AWAKE]
                if not busy:
                    await self._check(unit, rows)
                    break
            assert time.monotonic() < end, f"{await self._waits(busy)}\n{self.nursery.words()}"
            await asyncio.sleep(_POLL_SECONDS)
        for node_id in self.hosts:
            await self._check_host(node_id, [row for row in rows if row.node_id == node_id])
        return Counter(row.state for row in rows)

    async def _waits(self, busy: Sequence[Allocation]) -> list[str]:
        async with self.market.transactions.begin(Scope.platform()) as unit:
            tasks = [await unit.tasks.get(row.task_id) for row in busy]
        return [
            f"{task.kind} of {task.subject}: {task.wait_reason} "
            f"{[(step.key, str(step.status), step.reason) for step in task.steps]}"
            for task in tasks
            if task is not None
        ]

    # ---- what must be true ---------------------------------------------------------------

    async def _check(self, unit: AllocationUnit, rows: Sequence[Allocation]) -> None:
        """I6, I7 and I10 as far as rows tell, I1 to I5 as far as it is about these."""
        transfers = await self._transfers(unit)
        for row in rows:
            mine = [each for each in transfers if each.allocation_id == row.id]
            await self._check_money(unit, row, mine)
        assert all(sum(each.entries.values()) == 0 for each in transfers)
        for node_id in self.hosts:
            await self._check_capacity(unit, node_id, rows)
        for task in await unit.tasks.find():
            assert task.finished_at is not None, f"{task} is left over"
            assert task.lease_token is None
            await self._check_story(unit, task.id)

    async def _transfers(self, unit: AllocationUnit) -> list[Transfer]:
        found: list[Transfer] = []
        cursor: str | None = None
        while True:
            page = await unit.ledger.transfers(ListQuery(limit=_PAGE, cursor=cursor))
            found += page.items
            if (cursor := page.next_cursor) is None:
                return found

    async def _check_money(
        self, unit: AllocationUnit, row: Allocation, transfers: Sequence[Transfer]
    ) -> None:
        holds = await unit.holds.find(allocation_id=row.id)
        assert [hold.state is HoldState.OPEN for hold in holds] == [_runs(row)]
        segments = await unit.usage_segments.find(allocation_id=row.id)
        charged = -sum(
            micros
            for each in transfers
            if each.kind is TransferKind.USAGE
            for micros in each.entries.values()
            if micros < 0
        )
        if row.active_at is None:
            assert (segments, charged) == ((), 0), "what was never active costs nothing"
            return
        [segment] = segments
        assert segment.started_at == row.active_at
        assert segment.ended_at == row.billing_stopped_at == row.release_requested_at
        if segment.ended_at is not None:
            elapsed = microseconds_between(segment.started_at, segment.ended_at)
            assert charged == segment.rate_micros_per_hour * elapsed // HOUR_MICROSECONDS

    async def _check_capacity(
        self, unit: AllocationUnit, node_id: str, rows: Collection[Allocation]
    ) -> None:
        living = {row.id for row in rows if row.node_id == node_id and _runs(row)}
        held = 0
        claims = await unit.claims.find(node_id=node_id, released_at=None)
        for claim in claims:
            assert not held & claim.mask
            held |= claim.mask
        assert {claim.allocation_id for claim in claims} == living
        capacity = await unit.fleet.get(node_id)
        assert capacity is not None
        assert capacity.free_mask == capacity.approved_mask & ~held
        for slot in await unit.slots.find(node_id=node_id):
            taken = bool(held >> slot.index & 1)
            assert slot.state is (SlotState.IN_USE if taken else SlotState.AVAILABLE), slot

    async def _check_story(self, unit: AllocationUnit, task_id: str) -> None:
        events = await unit.task_events.find(task_id=task_id)
        told = Counter((event.kind, event.step) for event in events)
        twice = [each for each, times in told.items() if "completed" in each[0] and times > 1]
        assert not twice, f"{twice}: a result was applied twice"

    async def _check_host(self, node_id: str, rows: Sequence[Allocation]) -> None:
        """I9 and I10 as the host tells: exactly what is active, with its keys, and nothing more."""
        access = self.hosts[node_id].access
        living = {row.claim_id: row for row in rows if _runs(row)}
        ours = await self.driver.list_ours(access)
        assert {each.claim_id for each in ours} == set(living), "an orphan, or one is missing"
        assert all(each.running for each in ours)
        for claim_id, row in living.items():
            evidence = await self.driver.verify(access, claim_id)
            assert set(evidence.key_fingerprints) == {key.fingerprint for key in row.keys}


def _runs(row: Allocation) -> bool:
    return row.state is AllocationState.ACTIVE


@asynccontextmanager
async def work_site(
    folder: Path,
    *,
    database_url: str,
    redis_url: str,
    hosts: int = 1,
    delay_seconds: float = 0.0,
    faults: Path | None = None,
) -> AsyncIterator[Site]:
    """Give a site of ``hosts`` hosts of eight GPUs; no worker runs yet."""
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "STRIPE_SECRET_KEY": "sk_test_none",
        "STRIPE_WEBHOOK_SECRET": "whsec_none",
        "GPUCLOUD_HOME": str(folder),
        "GPUCLOUD_SIMULATED": "1",
    }
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(Nursery(environment, folder / "workers.log"))
        options = FleetOptions(
            home=folder,
            systems=("hgx-h200",) * hosts,
            seed=7,
            port_base=free_port(),
            delay_seconds=delay_seconds,
            faults=faults,
        )
        fleet = Fleet(options)
        path = await fleet.start()
        stack.push_async_callback(fleet.close)
        container = make_container(Settings.of(environment))
        stack.push_async_callback(container.close)
        market = Market(transactions=await container.get(PostgresTransactions))
        await market.open()
        credentials = await container.get(BoxedCredentials)
        described = {}
        for host in read_fleet(path):
            await credentials.keep(host.access.credential, host.private_key)
            endpoints = [(host.slot_host, port) for port in host.slot_ports]
            node_id = await market.enroll(host.name, host.topology, host.access, endpoints)
            described[node_id] = host
        yield Site(
            market=market,
            customers=[await market.customer("buyer-0")],
            nursery=nursery,
            driver=await container.get(NodeDriver),
            hosts=described,
        )
