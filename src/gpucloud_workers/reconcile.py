"""Has every node in service compared with its rows about once a minute, several at a time.

Any number of workers may do this: a node that another has read meanwhile is left out, and reading
one twice is harmless. A node that does not answer keeps nobody waiting but itself; one
that shows another host key is quarantined.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.reconcile import ReconcileMoney, ReconcileNode
from gpucloud_core.fleet.distrust import DistrustNode
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.model import Node, NodeStatus
from gpucloud_core.nodes.ports import HostKeyChanged

log = structlog.get_logger(__name__)

EVERY: Final = timedelta(seconds=60)
AT_ONCE: Final = 8  # nodes asked at the same time
READ: Final = frozenset(
    {NodeStatus.ACTIVE, NodeStatus.OFFLINE, NodeStatus.QUARANTINED, NodeStatus.DRAINING}
)
"""Statuses of nodes that may hold something of ours."""


@dataclass(slots=True, kw_only=True)
class ReconcileFleet:
    """Compare nodes that were not read for a while, and then the money."""

    transactions: Transactions[AllocationUnit]
    reconcile_node: ReconcileNode
    reconcile_money: ReconcileMoney
    distrust: DistrustNode
    _tried: dict[NodeId, datetime] = field(default_factory=dict)

    async def __call__(self) -> int:
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            due = [node.id for node in await unit.nodes.find() if self._is_due(node, now)]
        self._tried = {node: at for node, at in self._tried.items() if now - at < EVERY}
        self._tried |= dict.fromkeys(due, now)
        gate = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for node_id in due:
                group.create_task(self._node(node_id, gate))
        for drift in await self.reconcile_money():
            log.warning("drift.found", kind=drift.kind, subject=drift.subject)
        return 0

    def _is_due(self, node: Node, now: datetime) -> bool:
        read_at = max(filter(None, (node.probed_at, self._tried.get(node.id))), default=None)
        return node.status in READ and (read_at is None or now - read_at >= EVERY / 2)

    async def _node(self, node_id: NodeId, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                found = await self.reconcile_node(node_id)
            except HostKeyChanged as error:
                if await self.distrust(node_id, why=error.detail):
                    log.warning("node.distrusted", node=node_id)
                return
            except DomainError as error:
                log.warning("reconcile.node_unread", node=node_id, code=error.code)
                return
        for drift in found:
            log.warning("drift.found", kind=drift.kind, subject=drift.subject, node=node_id)
