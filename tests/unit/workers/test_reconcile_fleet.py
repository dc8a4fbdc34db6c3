"""Which nodes are compared when, and that one in trouble holds up no other.

Seen to fail when another host key was only logged: the node stayed on sale.
"""

from datetime import datetime, timedelta

import pytest

from customer import Customer
from gpucloud_adapters.memory.node_driver import Fault, FaultKind
from gpucloud_core.allocations.errors import SoldOut
from gpucloud_core.allocations.reconcile import ReconcileMoney, ReconcileNode
from gpucloud_core.fleet.distrust import DistrustNode
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import Node, NodeStatus
from gpucloud_workers.reconcile import ReconcileFleet


class Fleet(Customer):
    """Two nodes, and the job that compares them."""

    def job(self) -> ReconcileFleet:
        shared = {"transactions": self.cloud.transactions, "ids": self.cloud.ids}
        return ReconcileFleet(
            transactions=self.cloud.transactions,
            reconcile_node=ReconcileNode(driver=self.cloud.driver, **shared),  # type: ignore[arg-type]  # a test's shorthand
            reconcile_money=ReconcileMoney(**shared),  # type: ignore[arg-type]  # likewise
            distrust=DistrustNode(transactions=self.cloud.transactions),
        )

    async def read_at(self) -> dict[str, datetime | None]:
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            return {node.name: node.probed_at for node in await unit.nodes.find()}

    async def node(self) -> Node:
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            (node,) = await unit.nodes.find()
        return node

    async def told(self, kind: str) -> int:
        """Return how often operators are to be told of it."""
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            return sum(row.event.kind == kind for row in await unit.outbox.pending(limit=1000))

    def later(self) -> datetime:
        self.cloud.clock.advance_to(self.cloud.clock.now() + timedelta(minutes=1))
        return self.cloud.clock.now()


class TestReconcileFleet:
    async def test_reads_every_node_each_minute(self) -> None:
        fleet = await Fleet.arrive(nodes=2)
        job = fleet.job()
        for _ in range(3):
            now = fleet.later()
            await job()
            assert await fleet.read_at() == {"node-1": now, "node-2": now}

    async def test_leaves_out_what_another_worker_has_read(self) -> None:
        fleet = await Fleet.arrive(nodes=2)
        now = fleet.later()
        await fleet.job()()
        fleet.cloud.clock.advance_to(now + timedelta(seconds=10))

        await fleet.job()()

        assert set((await fleet.read_at()).values()) == {now}

    async def test_goes_on_where_a_node_does_not_answer(self) -> None:
        fleet = await Fleet.arrive(nodes=2)
        before = await fleet.read_at()
        fleet.cloud.driver.plan(
            Fault(verb="list", kind=FaultKind.UNREACHABLE_BEFORE, host="node-1")
        )
        now = fleet.later()

        await fleet.job()()

        assert await fleet.read_at() == {"node-1": before["node-1"], "node-2": now}

    async def test_quarantines_a_node_that_shows_another_host_key_once(self) -> None:
        fleet = await Fleet.arrive()
        fleet.cloud.driver.plan(
            Fault(verb="list", kind=FaultKind.HOST_KEY_CHANGED, host="node-1", times=2)
        )

        for _ in range(2):
            fleet.later()
            await fleet.job()()

        node = await fleet.node()
        assert node.status is NodeStatus.QUARANTINED
        assert "host key" in node.status_reason
        with pytest.raises(SoldOut):
            await fleet.launch()
        assert await fleet.told("node.distrusted") == 1
