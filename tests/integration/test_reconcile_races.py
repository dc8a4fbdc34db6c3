"""Reconcilers on a real database: several at once, and beside work that goes on.

Seen to fail, both tests, when a difference was not looked at again under the locks: each of the
reconcilers degraded the machine, and a meter that started between two reads was a stray one.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from gpucloud_adapters.memory.node_driver import MemoryNodeDriver
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.system import SystemClock, SystemSecrets
from gpucloud_core.allocations.actions import Provision, Release
from gpucloud_core.allocations.cleanup import CleanUp
from gpucloud_core.allocations.drift import Drift, DriftKind
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.operations import EditKeysOnNode
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.reconcile import ReconcileMoney, ReconcileNode
from gpucloud_core.allocations.release import ReleaseAllocation
from gpucloud_core.allocations.restart import RestartAllocation, RestartOnNode
from gpucloud_core.kernel.ids import AllocationId, NodeId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.work.run import RunTask
from world.market import Customer, Market

HOST = "node-1"
RECONCILERS = 5
LIVES = 4


@dataclass(kw_only=True)
class Site:
    """One node, one customer, and the work between them."""

    market: Market
    driver: MemoryNodeDriver
    customer: Customer
    node_id: NodeId
    run: RunTask[AllocationUnit]

    @property
    def transactions(self) -> PostgresTransactions:
        return self.market.transactions

    async def launch(self) -> AllocationId:
        accepted = await self.market.launch(self.customer, self.customer.request())
        allocation_id = accepted.allocations[0][0]
        await self.run(accepted.task_id)
        return allocation_id

    async def row(self, allocation_id: AllocationId) -> Allocation:
        async with self.transactions.begin(Scope.platform()) as unit:
            row = await unit.allocations.get(allocation_id)
        assert row is not None
        return row

    async def aged(self, allocation_id: AllocationId) -> Allocation:
        """Let ten minutes have passed since its last change."""
        async with self.transactions.begin(Scope.platform()) as unit:
            row = await unit.allocations.lock(allocation_id)
            assert row is not None
            old = replace(row, state_since=row.state_since - timedelta(minutes=10))
            await unit.allocations.put(old)
        return old

    async def reconcile(self) -> tuple[Drift, ...]:
        node = ReconcileNode(
            transactions=self.transactions, ids=self.market.ids, driver=self.driver
        )
        money = ReconcileMoney(transactions=self.transactions, ids=self.market.ids)
        return (*await node(self.node_id), *await money())

    async def live(self) -> None:
        """Launch, restart and release one."""
        allocation_id = await self.launch()
        for act in (
            RestartAllocation(transactions=self.transactions, ids=self.market.ids),
            ReleaseAllocation(transactions=self.transactions, ids=self.market.ids),
        ):
            moved = await act(actor=self.customer.actor, allocation_id=allocation_id)
            await self.run(moved.task_id)
        assert (await self.row(allocation_id)).state is AllocationState.RELEASED


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    engine = create_engine(database_url)
    market = Market(transactions=PostgresTransactions(engine))
    await market.open()
    topology = hgx_h200(seed=HOST)
    driver = MemoryNodeDriver({HOST: topology}, clock=SystemClock())
    access = NodeAccess(
        host=HOST, port=22, username="gpucloud", host_key="ssh-ed25519 AAAA", credential="node"
    )
    endpoints = [(f"10.0.0.{gpu.index + 1}", 22) for gpu in topology.gpus]
    node_id = NodeId(await market.enroll(HOST, topology, access, endpoints))
    kinds = (Provision, Release, EditKeysOnNode, RestartOnNode, CleanUp)
    actions = [
        kind(transactions=market.transactions, driver=driver, ids=market.ids) for kind in kinds
    ]
    run: RunTask[AllocationUnit] = RunTask(
        transactions=market.transactions,
        ids=market.ids,
        jitter=SystemSecrets(),
        actions={action.saga.kind: action for action in actions},
    )
    customer = await market.customer("ada")
    yield Site(market=market, driver=driver, customer=customer, node_id=node_id, run=run)
    await engine.dispose()


class TestSeveralReconcilers:
    async def test_degrade_a_missing_machine_once(self, site: Site) -> None:
        allocation = await site.aged(await site.launch())
        access = NodeAccess(
            host=HOST, port=22, username="gpucloud", host_key="ssh-ed25519 AAAA", credential="node"
        )
        await site.driver.release(access, allocation.claim_id)

        found = await asyncio.gather(*(site.reconcile() for _ in range(RECONCILERS)))

        assert [drift.kind for each in found for drift in each] == [DriftKind.MISSING_MACHINE]
        assert (await site.row(allocation.id)).state is AllocationState.DEGRADED
        async with site.transactions.begin(Scope.platform()) as unit:
            changes = await unit.state_changes.find(allocation_id=allocation.id, event="degrade")
            running = await unit.usage_segments.find(allocation_id=allocation.id, ended_at=None)
            (node,) = await unit.nodes.find()
        assert len(changes) == 1
        assert running == ()
        assert node.probed_at is not None


class TestBesideWork:
    async def test_nothing_on_its_way_is_drift(self, site: Site) -> None:
        done = asyncio.Event()

        async def watch() -> list[Drift]:
            found: list[Drift] = []
            while not done.is_set():
                found += await site.reconcile()
            return found

        watching = asyncio.gather(*(watch() for _ in range(2)))
        try:
            await asyncio.gather(*(site.live() for _ in range(LIVES)))
        finally:
            done.set()

        assert await watching == [[], []]
