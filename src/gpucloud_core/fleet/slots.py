"""Take free slots of a node off sale, and put them on sale again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.fleet.rows import LockedNode, keep_node, lock_node
from gpucloud_core.kernel.errors import FieldError, IllegalTransition, ValidationFailed
from gpucloud_core.kernel.ids import NodeId, SlotId
from gpucloud_core.kernel.machine import Refused
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.lifecycle import SLOT, SlotEvent, SlotFacts
from gpucloud_core.nodes.model import Node, Slot
from gpucloud_core.nodes.slots import is_ready


@dataclass(frozen=True, slots=True, kw_only=True)
class WithholdSlots:
    """Take slots off sale, or put them on sale again; what is held stays with its holder."""

    transactions: Transactions[FleetUnit]

    async def __call__(
        self,
        *,
        actor: Actor,
        node_id: NodeId,
        event: SlotEvent,
        indexes: Collection[int] | None = None,
    ) -> tuple[Slot, ...]:
        """Move the slots named, or all that can be; return the node's slots as they are then.

        Args:
            actor: who asks.
            node_id: whose slots.
            event: ``DISABLE`` or ``ENABLE``.
            indexes: which; None means every slot that can be moved so.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such node.
            ValidationFailed: a slot is named that the node does not have, or none can be moved.
            IllegalTransition: a slot named is not in a state for this; nothing was changed.
        """
        require(actor, Action.NODE_MANAGE)
        async with self.transactions.begin(Scope.platform()) as unit:
            locked = await lock_node(unit, node_id)
            chosen = _chosen(locked, event, indexes)
            moved = _moved(locked.node, chosen, event, await unit.now())
            slots = tuple(moved.get(slot.id, slot) for slot in locked.slots)
            await keep_node(unit, locked, locked.node, slots)
            await unit.audit(
                fact_by(
                    actor,
                    action=f"node.slots.{event}",
                    target=node_id,
                    changes={"slots": [None, [*(slot.index for slot in chosen)]]},
                )
            )
        return slots


def _chosen(
    locked: LockedNode, event: SlotEvent, indexes: Collection[int] | None
) -> tuple[Slot, ...]:
    if indexes is None:
        able = tuple(slot for slot in locked.slots if event in SLOT.moves[slot.state])
        if not able:
            detail = f"No slot of {locked.node.name} can be moved so now."
            raise ValidationFailed(detail, fields=[FieldError("/slots", "none", detail)])
        return able
    return slots_named(locked.node, locked.slots, indexes)


def slots_named(node: Node, slots: Sequence[Slot], indexes: Collection[int]) -> tuple[Slot, ...]:
    """Return the slots with these indexes.

    Raises:
        ValidationFailed: the node has no such slot.
    """
    known = {slot.index: slot for slot in slots}
    if strange := sorted(set(indexes) - set(known)):
        detail = f"{node.name} has no slot {', '.join(map(str, strange))}."
        raise ValidationFailed(detail, fields=[FieldError("/slots", "unknown", detail)])
    return tuple(known[index] for index in sorted(set(indexes)))


def new_endpoints(node: Node) -> list[tuple[str, int]]:
    """Return SSH endpoints for the GPUs that a discovery found beyond those the node has."""
    found = node.findings.found if node.findings else None
    total = len(found.gpus) if found else 0
    known = len(node.topology.gpus)
    return [(node.slot_host, node.slot_port + index) for index in range(known, total)]


def _moved(
    node: Node, slots: Sequence[Slot], event: SlotEvent, now: datetime
) -> dict[SlotId, Slot]:
    moved, faults = {}, []
    for slot in slots:
        verdict = SLOT.decide(slot.state, event, SlotFacts(is_ready=is_ready(node, slot)))
        if isinstance(verdict, Refused):
            said = f"Slot {slot.index}: {verdict.reason}."
            faults.append(FieldError(f"/slots/{slot.index}", "state", said))
        else:
            moved[slot.id] = replace(slot, state=verdict.state, state_since=now, reason="")
    if faults:
        said = " ".join(fault.detail for fault in faults[:3])
        raise IllegalTransition(f"{said} Nothing was changed.", fields=faults)
    return moved
