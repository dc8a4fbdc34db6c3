"""A node that shows another host key than the pinned one is not trusted until people have looked.

It may have been installed anew, or somebody may stand between us and it. Either way nothing more
is sold from it, nobody is sent there, and the key is never accepted by a program.
"""

from dataclasses import dataclass

from gpucloud_core.fleet.operate import move_node
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.fleet.rows import keep_node, lock_node
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.unit import AuditFact, Event, Scope, Transactions
from gpucloud_core.nodes.lifecycle import NODE, NodeEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class DistrustNode:
    """Quarantine a node on evidence, and tell operators."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, node_id: NodeId, *, why: str) -> bool:
        """Return whether it was trusted until now; done twice, it is done once.

        Raises:
            NotFound: there is no such node.
        """
        async with self.transactions.begin(Scope.platform()) as unit:
            locked = await lock_node(unit, node_id)
            if NodeEvent.QUARANTINE not in NODE.moves[locked.node.status]:
                return False
            node = move_node(locked, locked.node, NodeEvent.QUARANTINE, reason=why)
            await keep_node(unit, locked, node, locked.slots)
            await unit.audit(
                AuditFact(
                    action="node.quarantine",
                    target=node_id,
                    via="worker",
                    changes={
                        "status": [locked.node.status, node.status],
                        "reason": [None, why],
                    },
                )
            )
            await unit.emit(
                Event(
                    kind="node.distrusted",
                    subject=node_id,
                    payload={"name": node.name, "host": node.access.host, "reason": why},
                )
            )
        return True
