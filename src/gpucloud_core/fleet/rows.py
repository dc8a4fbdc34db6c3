"""What every act on a node begins and ends with: its rows under their locks, and its capacity.

The node's row is locked first, then its gate: from then on nobody claims or gives back slots of
it, so that what is decided here is still so when it is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.machine import Decision
from gpucloud_core.nodes.lifecycle import SLOT, SlotEvent, SlotFacts
from gpucloud_core.nodes.model import Node, NodeStatus, Slot, SlotState
from gpucloud_core.placement.capacity import capacity_of
from gpucloud_core.placement.model import Claim, NodeCapacity


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedNode:
    """A node that nobody else changes until the unit ends."""

    node: Node
    slots: tuple[Slot, ...]
    claims: tuple[Claim, ...]  # open ones
    capacity: NodeCapacity | None


async def lock_node(unit: FleetUnit, node_id: NodeId) -> LockedNode:
    """Lock the node and its gate.

    Raises:
        NotFound: there is no such node, or it was deleted.
    """
    node = await unit.nodes.lock(node_id)
    if node is None or node.status is NodeStatus.DELETED:
        raise NotFound("There is no node with this id.")
    capacity = await unit.fleet.lock(node_id)
    slots = await unit.slots.find(node_id=node_id)
    return LockedNode(
        node=node,
        slots=tuple(sorted(slots, key=lambda slot: slot.index)),
        claims=await unit.claims.find(node_id=node_id, released_at=None),
        capacity=capacity,
    )


async def keep_node(unit: FleetUnit, locked: LockedNode, node: Node, slots: Sequence[Slot]) -> Node:
    """Write the node, the slots that changed, and the capacity that follows from them."""
    kept = replace(node, version=locked.node.version + 1)
    await unit.nodes.put(kept)
    known = {slot.id: slot for slot in locked.slots}
    for slot in slots:
        if slot.id not in known:
            await unit.slots.add(slot)
        elif slot != known[slot.id]:
            await unit.slots.put(slot)
    if slots:
        version = locked.capacity.version if locked.capacity else 0
        await unit.fleet.put(capacity_of(kept, slots, claims=locked.claims, version=version))
    return kept


_OFF_SALE: Final[Mapping[tuple[SlotState, SlotState], tuple[SlotEvent, ...]]] = {
    (SlotState.AVAILABLE, SlotState.DISABLED): (SlotEvent.DISABLE,),
    (SlotState.AVAILABLE, SlotState.PROPOSED): (SlotEvent.DISABLE, SlotEvent.REDISCOVER),
    (SlotState.DISABLED, SlotState.PROPOSED): (SlotEvent.REDISCOVER,),
}


def off_sale(slot: Slot, wanted: SlotState, at: datetime) -> Slot:
    """Return a slot that nobody holds taken off sale; one that is off sale so stays as it is."""
    for event in _OFF_SALE.get((slot.state, wanted), ()):
        verdict = SLOT.decide(slot.state, event, SlotFacts())
        if isinstance(verdict, Decision):
            slot = replace(slot, state=verdict.state, state_since=at, reason="")
    return slot
