"""An operator's verbs for a node: drain, quarantine, take offline, retire, delete, and back again.

Each is an event of the node's lifecycle; what it means for sale follows from the status that is
reached. What ends a node is refused while anybody holds it, with who, and the way out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.fleet.held import holdings_on, in_use
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.fleet.rows import LockedNode, keep_node, lock_node, off_sale
from gpucloud_core.kernel.errors import FieldError, IllegalTransition, ValidationFailed
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.machine import Refused
from gpucloud_core.kernel.unit import Event, Scope, Transactions
from gpucloud_core.nodes.credentials import credential_place
from gpucloud_core.nodes.lifecycle import NODE, NodeEvent, NodeFacts
from gpucloud_core.nodes.model import Node, NodeStatus, Slot, SlotState

E = NodeEvent
REASON_MAX: Final = 500

NEEDS: Final[Mapping[NodeEvent, Action]] = {
    E.DRAIN: Action.NODE_OPERATE,
    E.UNDRAIN: Action.NODE_OPERATE,
    E.TAKE_OFFLINE: Action.NODE_OPERATE,
    E.BRING_BACK: Action.NODE_OPERATE,
    E.QUARANTINE: Action.NODE_OPERATE,
    E.CLEAR: Action.NODE_OPERATE,
    E.RETIRE: Action.NODE_MANAGE,
    E.ENROLL_AGAIN: Action.NODE_MANAGE,
    E.DELETE: Action.NODE_MANAGE,
}
"""What an operator may do to a node, and what it takes. A node is activated by approval only."""

EXPLAINED: Final = frozenset({E.QUARANTINE, E.RETIRE, E.DELETE})
"""Verbs that need a reason."""

_ON_THE_WAY: Final[Mapping[tuple[NodeEvent, NodeStatus], tuple[NodeEvent, ...]]] = {
    (E.RETIRE, NodeStatus.ACTIVE): (E.DRAIN,),
    (E.DELETE, NodeStatus.ACTIVE): (E.DRAIN, E.RETIRE),
    (E.DELETE, NodeStatus.DRAINING): (E.RETIRE,),
    (E.DELETE, NodeStatus.OFFLINE): (E.RETIRE,),
    (E.DELETE, NodeStatus.QUARANTINED): (E.RETIRE,),
}
"""What comes before, in the same transaction, so that an empty node goes in one act."""

_UNSOLD: Final = frozenset({SlotState.PROPOSED, SlotState.DISABLED})


def facts_of(locked: LockedNode, held_by: Sequence[str] = ()) -> NodeFacts:
    """Return what the guards of a node's lifecycle ask."""
    return NodeFacts(
        approved_slots=sum(slot.state not in _UNSOLD for slot in locked.slots),
        held_by=tuple(held_by) or tuple(claim.allocation_id for claim in locked.claims),
    )


def move_node(locked: LockedNode, node: Node, event: NodeEvent, *, reason: str = "") -> Node:
    """Return the node after ``event``.

    Raises:
        IllegalTransition: its lifecycle does not allow it.
    """
    verdict = NODE.decide(node.status, event, facts_of(locked))
    if isinstance(verdict, Refused):
        raise IllegalTransition(f"{node.name}: {verdict.reason}.")
    return replace(node, status=verdict.state, status_reason=reason)


def allowed(node: Node, slots: Sequence[Slot], *, is_held: bool) -> dict[NodeEvent, str]:
    """Return each verb that leads somewhere from here, and why it may not now, if so."""
    facts = NodeFacts(
        approved_slots=sum(slot.state not in _UNSOLD for slot in slots),
        held_by=("its holders",) if is_held else (),
    )
    found = {}
    for event in NEEDS:
        status, verdict = node.status, None
        for each in (*_ON_THE_WAY.get((event, status), ()), event):
            verdict = NODE.decide(status, each, facts)
            if isinstance(verdict, Refused):
                break
            status = verdict.state
        known = event in NODE.moves[node.status] or (event, node.status) in _ON_THE_WAY
        if known and verdict is not None:
            found[event] = verdict.reason if isinstance(verdict, Refused) else ""
    return found


def said(reason: str, *, needed: bool) -> str:
    """Return the reason as it is kept.

    Raises:
        ValidationFailed: it is too long, or missing where one is needed.
    """
    text = " ".join(reason.split())
    if len(text) > REASON_MAX or (needed and not text):
        detail = f"Say why, in at most {REASON_MAX} characters; it stands in the audit log."
        raise ValidationFailed(
            "This needs a reason.", fields=[FieldError("/reason", "required", detail)]
        )
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class OperateNode:
    """Carry one of the verbs out."""

    transactions: Transactions[FleetUnit]

    async def __call__(
        self,
        *,
        actor: Actor,
        node_id: NodeId,
        event: NodeEvent,
        reason: str = "",
    ) -> Node:
        """Return the node as it is then.

        Raises:
            Forbidden: the actor's role does not allow it.
            NotFound: there is no such node.
            ValidationFailed: a reason is needed, and there is none.
            NodeInUse: it ends the node, and somebody holds it.
            IllegalTransition: it is not possible from the node's present status.
        """
        require(actor, NEEDS[event])
        why = said(reason, needed=event in EXPLAINED)
        async with self.transactions.begin(Scope.platform()) as unit:
            locked = await lock_node(unit, node_id)
            if event in {E.RETIRE, E.DELETE} and locked.claims:
                raise in_use(locked.node.name, await holdings_on(unit, [node_id]))
            node = locked.node
            for each in (*_ON_THE_WAY.get((event, node.status), ()), event):
                node = move_node(locked, node, each, reason=why)
            slots = _slots_after(locked, node, await unit.now())
            node = await keep_node(unit, locked, node, slots)
            if node.status is NodeStatus.DELETED:
                await unit.secrets.delete(credential_place(node.access.credential).id)
            await unit.emit(Event(kind=f"node.{node.status}", subject=node.id))
            await unit.audit(
                fact_by(
                    actor,
                    action=f"node.{event}",
                    target=node_id,
                    changes={"status": [locked.node.status, node.status], "reason": [None, why]},
                )
            )
        return node


def _slots_after(locked: LockedNode, node: Node, now: datetime) -> list[Slot]:
    """Return the slots: a retired node's give up their endpoints; enrolled again, they wait."""
    before, after = locked.node.status, node.status
    if after in {NodeStatus.RETIRED, NodeStatus.DELETED}:
        return [off_sale(slot, SlotState.DISABLED, now) for slot in locked.slots]
    if (before, after) == (NodeStatus.RETIRED, NodeStatus.ENROLLING):
        return [off_sale(slot, SlotState.PROPOSED, now) for slot in locked.slots]
    return list(locked.slots)
