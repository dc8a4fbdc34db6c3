"""Bring a node into the fleet: its row, a slot per GPU, and the capacity that is sold from it.

Narrow on purpose: what discovery found is approved at once where every condition holds. Slots
whose conditions do not hold stay proposed, and are not sold.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpucloud_core.kernel.ids import Ids, NodeId, SlotId
from gpucloud_core.kernel.unit import AuditFact, Scope, Transactions
from gpucloud_core.nodes.model import (
    Node,
    NodeAccess,
    NodeMode,
    NodeStatus,
    Slot,
    SlotState,
    Topology,
)
from gpucloud_core.nodes.slots import is_ready, propose_slots
from gpucloud_core.placement.capacity import capacity_of
from gpucloud_core.placement.ports import PlacementUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What an operator says of a node, and what its discovery found.

    ``endpoints`` are the SSH endpoints its slots answer at, one per GPU, in PCI order.
    """

    name: str
    region: str
    mode: NodeMode
    access: NodeAccess
    topology: Topology
    endpoints: Sequence[tuple[str, int]]
    shared_kernel: bool = False
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollNode:
    """Make a node sellable."""

    transactions: Transactions[PlacementUnit]
    ids: Ids

    async def __call__(self, facts: NodeFacts, *, actor: str = "system") -> Node:
        """Enroll the node; a node of this name that is enrolled already is returned as it is.

        Raises:
            SlotsUnplaced: fewer endpoints than GPUs, or one twice.
        """
        async with self.transactions.begin(Scope.platform()) as unit:
            if known := await unit.nodes.find(name=facts.name):
                return known[0]
            now = await unit.now()
            node = Node(
                id=NodeId(self.ids.new("nod")),
                name=facts.name,
                region=facts.region,
                mode=facts.mode,
                status=NodeStatus.ACTIVE,
                access=facts.access,
                topology=facts.topology,
                simulated=facts.simulated,
                shared_kernel=facts.shared_kernel,
                reachable=True,
                probed_at=now,
                created_at=now,
            )
            proposed = propose_slots(
                node,
                slot_ids=[SlotId(self.ids.new("slt")) for _ in node.topology.gpus],
                endpoints=facts.endpoints,
                at=now,
            )
            slots = [approved(node, slot) for slot in proposed]
            await unit.nodes.add(node)
            for slot in slots:
                await unit.slots.add(slot)
            await unit.fleet.put(capacity_of(node, slots))
            await unit.audit(AuditFact(action="node.enroll", target=node.id, actor=actor))
        return node


def approved(node: Node, slot: Slot) -> Slot:
    """Return the slot as available if it is ready, else as it is."""
    return replace(slot, state=SlotState.AVAILABLE) if is_ready(node, slot) else slot
