"""Nodes in service are discovered anew once a day, whoever asked or did not.

What differs is drift: it is told, and waits for an operator. When a node is due stands in its own
row; whoever takes it up moves that on first, so that no two workers look at once, and so that one
that dies, or finds nobody there, leaves the node due again soon.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from gpucloud_core.fleet.look import tell_drift
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.ports import LOOK_EVERY, NodeDriver
from gpucloud_core.placement.rediscover import RediscoverNode

AGAIN: Final = timedelta(hours=1)  # where a look came to nothing
_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAgain:
    """Look at the nodes that are due."""

    transactions: Transactions[FleetUnit]
    driver: NodeDriver

    async def __call__(self) -> int:
        """Look at a few of them, and return how many were due."""
        due = await self._take_up()
        for node_id in due:
            await self._look(node_id)
        return len(due)

    async def _take_up(self) -> list[NodeId]:
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            due = await unit.nodes.due(now, limit=_AT_ONCE)
            for node in due:
                await unit.nodes.put(replace(node, look_due_at=now + AGAIN))
        return [node.id for node in due]

    async def _look(self, node_id: NodeId) -> None:
        look = RediscoverNode(transactions=self.transactions, driver=self.driver)
        try:
            seen = await look.unasked(node_id)
        except DomainError:
            return  # not there, or not to be read: probes tell of that, and it is due again
        async with self.transactions.begin(Scope.platform()) as unit:
            node = await unit.nodes.lock(node_id)
            if node is None:
                return
            await unit.nodes.put(replace(node, look_due_at=await unit.now() + LOOK_EVERY))
            if seen.differences:
                await tell_drift(unit, seen)
