"""Hand a node's GPUs out another way: only while it is empty, and discovered anew afterwards.

The rows change first, and with them nothing of the node is sold any more; then the node is told,
and asked what it is now. Until the node itself says that it is in the mode of its row, no slot
of it can be approved, so that a change that broke half-way sells nothing and is simply repeated.
"""

from dataclasses import dataclass, replace

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.kernel.ids import Ids, NodeId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.discovery import read_topology
from gpucloud_core.nodes.model import Findings, Node, NodeMode
from gpucloud_core.nodes.ports import NodeDriver
from gpucloud_core.nodes.review import NodeReview, review
from gpucloud_core.placement.onboard import locked
from gpucloud_core.placement.ports import PlacementUnit
from gpucloud_core.placement.rediscover import found_beside, propose_anew


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeNodeMode:
    """Bare metal, containers, virtual machines, or MIG instances: what the node is sold as."""

    transactions: Transactions[PlacementUnit]
    driver: NodeDriver
    ids: Ids

    async def __call__(self, *, actor: Actor, node_id: NodeId, mode: NodeMode) -> NodeReview:
        """Change the mode and return what there is to approve. Repeated, it goes on.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such node.
            NodeInUse: somebody holds a part of it.
            Conflict: a launch took a part of it at the same moment.
            NodeRefused: the node cannot be in that mode; its row says so and nothing is sold.
            NodeUnreachable, HostKeyChanged: as for the driver; ask again.
            DiscoveryUnreadable: its tools say nothing that can be read; ask again.
        """
        require(actor, Action.NODE_MANAGE)
        node = await self._take_off_sale(actor, node_id, mode)
        really = await self.driver.set_mode(node.access, mode)
        discovered = read_topology((await self.driver.discover(node.access)).outputs)
        async with self.transactions.begin(Scope.platform()) as unit:
            node = await locked(unit, node_id)
            now = await unit.now()
            findings = found_beside(node, discovered, now, mode=really)
            seen = replace(node, findings=findings)
            await unit.nodes.put(seen)
            return review(seen, await unit.slots.find(node_id=node_id))

    async def _take_off_sale(self, actor: Actor, node_id: NodeId, mode: NodeMode) -> Node:
        async with self.transactions.begin(Scope.platform()) as unit:
            node = await locked(unit, node_id)
            if node.mode is mode:
                return node  # a repetition: the node is asked again, and what it says is kept
            known = node.findings or Findings(at=await unit.now())
            was = replace(known, mode=known.mode or node.mode)
            changed = replace(node, mode=mode, findings=was, version=node.version + 1)
            await propose_anew(unit, self.ids, changed)
            await unit.audit(
                fact_by(
                    actor,
                    action="node.change_mode",
                    target=node_id,
                    changes={"mode": [node.mode, mode]},
                )
            )
        return changed
