"""Launches and releases on nodes that answer at once: what a worker does besides waiting for them.

Everything is the product's but the nodes, which are in memory: the use cases that queue, the
actions and what they write about allocations, slots and money.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gpucloud_adapters.memory.node_driver import MemoryNodeDriver
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.system import SystemClock, SystemIds
from gpucloud_core.allocations.actions import Provision, Release
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.release import ReleaseAllocation
from gpucloud_core.allocations.saga import PROVISION, RELEASE
from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.work.turn import Actions
from world.market import Customer, Market

NODES: Final = 8
TENANTS: Final = 16
GPUS: Final = NODES * 8
LAUNCH_STEPS: Final = len(PROVISION.steps) + len(RELEASE.steps)
TOPOLOGIES: Final = {f"node-{n}": hgx_h200(seed=f"node-{n}") for n in range(NODES)}


def launch_actions(transactions: PostgresTransactions) -> dict[str, Actions[AllocationUnit]]:
    """Return what the worker does for launches and releases, on nodes of its own memory."""
    driver, ids = MemoryNodeDriver(TOPOLOGIES, clock=SystemClock()), SystemIds()
    provision = Provision(transactions=transactions, driver=driver, ids=ids)
    release = Release(transactions=transactions, driver=driver, ids=ids)
    return {PROVISION.kind: provision, RELEASE.kind: release}


@dataclass(kw_only=True)
class Launches:
    """As many machines as there are GPUs, of tenants that each have a few."""

    market: Market
    customers: Sequence[Customer] = ()
    fleet: FleetView = field(default_factory=FleetView)

    async def open(self) -> None:
        """Put the nodes in service, and let the tenants sign up."""
        for number, (name, topology) in enumerate(TOPOLOGIES.items()):
            access = NodeAccess(
                host=name, port=22, username="gpucloud", host_key="k", credential="c"
            )
            endpoints = [(f"10.0.{number}.{gpu.index + 1}", 22) for gpu in topology.gpus]
            await self.market.enroll(name, topology, access, endpoints)
        self.customers = await self.market.customers(TENANTS)

    async def launch(self) -> list[TaskId]:
        """Ask for a machine for each GPU; return the tasks, which nobody was told of."""
        for number in range(GPUS):
            customer = self.customers[number % TENANTS]
            await self.market.launch(customer, customer.request(1), fleet=self.fleet)
        return await self._tasks_of(AllocationState.REQUESTED)

    async def release(self) -> list[TaskId]:
        """Give everything back; return the tasks."""
        give_back = ReleaseAllocation(transactions=self.market.transactions, ids=self.market.ids)
        owners = {customer.actor.tenant_id: customer.actor for customer in self.customers}
        for allocation in await self._in(AllocationState.ACTIVE):
            await give_back(actor=owners[allocation.tenant_id], allocation_id=allocation.id)
        return await self._tasks_of(AllocationState.RELEASING)

    async def _tasks_of(self, state: AllocationState) -> list[TaskId]:
        found = [allocation.task_id for allocation in await self._in(state)]
        if len(found) != GPUS:
            raise RuntimeError(f"{len(found)} of {GPUS} machines are {state}")
        return found

    async def _in(self, state: AllocationState) -> Sequence[Allocation]:
        async with self.market.transactions.begin(Scope.platform()) as unit:
            return await unit.allocations.find(state=state)
