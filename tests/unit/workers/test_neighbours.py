"""Nodes that stutter harm nobody else: as much is done elsewhere as if all were well.

Counted in machines that are handed over, and later gone, at an instant of virtual time.

Seen to fail when a worker waited for a task where it takes one up, and when a unit of work stayed
open while a node was asked.
"""

import asyncio
from collections import Counter

import pytest

from customer import DOLLAR, KEY, Customer
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.memory.simulation.dice import Dice
from gpucloud_adapters.memory.simulation.nodes import RestlessNodes
from gpucloud_adapters.memory.simulation.virtual import WorldClock, run_virtually
from gpucloud_adapters.memory.simulation.world import PlainHasher
from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_adapters.stored.kinds import ALLOCATIONS, NODES
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_workers.queue import TaskQueue

S = AllocationState
BAD = frozenset({"node-1", "node-4", "node-7"})
HOSTS = tuple(f"node-{number + 1}" for number in range(10))
MACHINES = 4  # of two GPUs, on each node
ENOUGH_SECONDS = 60  # for all that nothing is in the way of
ROOM = 20  # of the worker: more than the tasks of the nodes that stutter


class Fleet:
    """Ten nodes that are sold out, and one worker; it looks each second for what is due."""

    def __init__(self, seed: int) -> None:
        topologies = {host: hgx_h200(seed=host) for host in HOSTS}
        self.clock = WorldClock()
        self.nodes = RestlessNodes(
            topologies,
            clock=self.clock,
            dice=Dice(seed, "nodes"),
            told=lambda *_: None,
            rough=0,
        )
        self.cloud = MemoryCloud(
            clock=self.clock,
            transactions=MemoryTransactions(self.clock),
            driver=self.nodes,
            hasher=PlainHasher(),
        )
        self.topologies = topologies
        self.queue = TaskQueue(self.cloud.runner(), room=ROOM)

    async def sell_out(self) -> None:
        await self.cloud.stock(self.topologies, micros_per_gpu_hour=3_290_000)
        for name in ("ada", "bob"):
            actor = await self.cloud.sign_up(name)
            await self.cloud.give(actor, 900 * DOLLAR)
            self.customer = Customer(self.cloud, actor, (await self.cloud.add_key(actor, KEY)).id)
            for _ in range(len(HOSTS) * MACHINES // 2):
                await self.customer.launch(2)

    async def work(self) -> None:
        """Take up what is due, for ever."""
        while True:
            async with self.cloud.transactions.begin(Scope.platform()) as unit:
                due = await unit.tasks.due(await unit.now(), limit=100)
            for task_id in due:
                await self.queue.take_up(TaskId(task_id))
            await asyncio.sleep(1)

    def on_good_nodes(self) -> Counter[AllocationState]:
        database = self.cloud.transactions.database
        good = {node.id for node in database.rows(NODES) if node.access.host not in BAD}
        return Counter(row.state for row in database.rows(ALLOCATIONS) if row.node_id in good)

    async def release_all(self) -> None:
        database = self.cloud.transactions.database
        for row in database.rows(ALLOCATIONS):
            if row.state is S.ACTIVE and row.tenant_id == self.customer.actor.tenant_id:
                await self.cloud.release(self.customer.actor, row.id)


async def lived(seed: int, *, stutter: bool) -> list[Counter[AllocationState]]:
    """Hand all machines over, and release what one customer has; say how far that came."""
    fleet = Fleet(seed)
    await fleet.sell_out()
    for host in BAD if stutter else ():
        fleet.nodes.moods[host].is_bad_tempered = True
    working = asyncio.create_task(fleet.work())
    seen = []
    for act in (fleet.release_all, None):
        await asyncio.sleep(ENOUGH_SECONDS)
        seen.append(fleet.on_good_nodes())
        if act is not None:
            await act()
    assert bool(fleet.nodes.met) is stutter
    working.cancel()
    return seen


class TestNeighbours:
    @pytest.mark.parametrize("seed", range(5))
    def test_get_as_much_done_as_if_all_were_well(self, seed: int) -> None:
        calm = run_virtually(lived(seed, stutter=False))

        assert run_virtually(lived(seed, stutter=True)) == calm
        assert calm[0] == {S.ACTIVE: (len(HOSTS) - len(BAD)) * MACHINES}
        assert set(calm[1]) == {S.ACTIVE, S.RELEASED}
