"""The people who run the platform: they reconcile, mend, and end what sticks, always with a reason.

They vouch for nothing that they have not seen: what they force-clean is clean on its node.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.memory.simulation.dice import Dice
from gpucloud_adapters.memory.simulation.trouble import exposed
from gpucloud_adapters.stored.kinds import ALLOCATIONS, NODES
from gpucloud_core.allocations.force import ForceCleanAllocation, ForceRelease
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.fleet.operate import OperateNode
from gpucloud_core.fleet.slots import WithholdSlots
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import NodeId, TenantId, entity_id
from gpucloud_core.nodes.holdings import Stage
from gpucloud_core.nodes.lifecycle import NodeEvent, SlotEvent
from gpucloud_core.nodes.model import Node, NodeStatus

_HOUR: Final = 3600.0
_WHY: Final = "Seen on the node."
_HOME: Final = TenantId(entity_id("ten", 0))  # the operators' own
_PATIENCE: Final = 5
_DETOURS: Final = (
    (NodeEvent.DRAIN,),
    (NodeEvent.TAKE_OFFLINE,),
    (NodeEvent.QUARANTINE,),
    (NodeEvent.DRAIN, NodeEvent.TAKE_OFFLINE, NodeEvent.QUARANTINE),
    (NodeEvent.DRAIN, NodeEvent.QUARANTINE, NodeEvent.DRAIN),
)
"""Ways out of service."""

_BACK: Final = {
    NodeStatus.DRAINING: NodeEvent.UNDRAIN,
    NodeStatus.OFFLINE: NodeEvent.BRING_BACK,
    NodeStatus.QUARANTINED: NodeEvent.CLEAR,
}
"""The way back into it."""


class Operators:
    """Act now and then, or on everything that sticks.

    Args:
        cloud: what they run.
        dice: what they get round to.
        log: told what they do.
    """

    def __init__(self, cloud: MemoryCloud, *, dice: Dice, log: Callable[[str], None]) -> None:
        self._cloud = cloud
        self._dice = dice
        self._log = log

    async def work(self) -> None:
        """Look round every few hours, and end this or that."""
        while True:
            await asyncio.sleep(self._dice.wait(8 * _HOUR))
            rows = self._cloud.transactions.database.rows(ALLOCATIONS)
            stuck = [row for row in rows if row.state is AllocationState.RELEASE_FAILED]
            for row in stuck:
                if self._dice.chance(0.5):
                    await self.mend(row)
            running = [row for row in rows if row.state is AllocationState.ACTIVE]
            if running and self._dice.chance(0.1):
                await self._force(self._dice.pick(running))

    async def tend(self) -> None:
        """Take a node out of service for a while, or some of its slots, and bring it back."""
        while True:
            await asyncio.sleep(self._dice.wait(12 * _HOUR))
            node = self._dice.pick(self._cloud.transactions.database.rows(NODES))
            if self._dice.chance(0.3):
                await self._withhold(node, SlotEvent.DISABLE)
                await asyncio.sleep(self._dice.between(0.1, 3) * _HOUR)
                await self._withhold(node, SlotEvent.ENABLE)
            for verb in self._dice.pick(_DETOURS):
                await self._operate(node, verb)
                await asyncio.sleep(self._dice.between(0.1, 2) * _HOUR)
            await self._back_in_service(node.id)

    async def bring_all_back(self) -> None:
        """Put everything on sale that is not."""
        for node in self._cloud.transactions.database.rows(NODES):
            await self._back_in_service(node.id)
            await self._withhold(node, SlotEvent.ENABLE)

    async def _back_in_service(self, node_id: NodeId) -> None:
        nodes = self._cloud.transactions.database.table(NODES).rows
        for _ in range(_PATIENCE):
            verb = _BACK.get(nodes[node_id].status)
            if verb is None:
                return
            await self._operate(nodes[node_id], verb)

    async def _operate(self, node: Node, verb: NodeEvent) -> None:
        operate = OperateNode(transactions=self._cloud.transactions)
        actor = self._cloud.operator(_HOME)
        act = partial(operate, node_id=node.id, event=verb, reason=_WHY)
        await self._done(f"{verb} {node.name}", act(actor=actor))

    async def _withhold(self, node: Node, event: SlotEvent) -> None:
        withhold = WithholdSlots(transactions=self._cloud.transactions)
        actor = self._cloud.operator(_HOME)
        await self._done(
            f"{event} slots of {node.name}", withhold(actor=actor, node_id=node.id, event=event)
        )

    async def _done(self, what: str, act: Awaitable[object]) -> None:
        """Do something, and say how it went."""
        try:
            with exposed():
                await act
            self._log(f"operator: {what}")
        except DomainError as error:
            self._log(f"operator: {what}: {error.code}")

    async def mend(self, row: Allocation) -> None:
        """Free capacity whose release failed, if nothing of it is on its node any more."""
        if not self._is_clean(row):
            return
        clean = ForceCleanAllocation(transactions=self._cloud.transactions, ids=self._cloud.ids)
        act = partial(clean, allocation_id=row.id, reason=_WHY, runtime_verified_absent=True)
        actor = self._cloud.operator(row.tenant_id)
        await self._done(f"vouch for {row.id}", act(actor=actor))

    async def _force(self, row: Allocation) -> None:
        release = ForceRelease(transactions=self._cloud.transactions, ids=self._cloud.ids)
        actor = self._cloud.operator(row.tenant_id)
        act = release(actor=actor, allocation_id=row.id, reason="The node is needed.")
        await self._done(f"force the end of {row.id}", act)

    def _is_clean(self, row: Allocation) -> bool:
        """Look on the node itself."""
        node = self._cloud.transactions.database.table(NODES).rows[row.node_id]
        left = self._cloud.driver.holdings(node.access.host).records.get(row.claim_id)
        return left is None or left.stage is Stage.WIPED
