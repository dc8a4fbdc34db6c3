"""A node's way into service: proposed by discovery, reviewed and approved by an operator, sold.

Discovery alone sells nothing. A proposed slot is approved only while every readiness condition
holds, and the node is in service from its first approved slot on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.kernel.errors import (
    AlreadyExists,
    DomainError,
    ErrorKind,
    IllegalTransition,
    NotFound,
)
from gpucloud_core.kernel.ids import Ids, NodeId, SlotId
from gpucloud_core.kernel.machine import Refused
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.lifecycle import NODE, SLOT, NodeEvent, NodeFacts, SlotEvent, SlotFacts
from gpucloud_core.nodes.model import Findings, Node, NodeStatus, Slot, SlotState
from gpucloud_core.nodes.review import NodeReview, SlotReview, review
from gpucloud_core.nodes.slots import propose_slots
from gpucloud_core.placement.capacity import capacity_of
from gpucloud_core.placement.enroll import NodeFacts as EnrolledFacts
from gpucloud_core.placement.ports import PlacementUnit


class SlotNotReady(DomainError):
    """A readiness condition of the slot does not hold."""

    code = "slot_not_ready"
    kind = ErrorKind.CONFLICT
    next_step = "Mend what the condition names, and discover the node again."


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeNode:
    """Take a node in from what its discovery found. Nothing of it is sold yet."""

    transactions: Transactions[PlacementUnit]
    ids: Ids

    async def __call__(
        self, *, actor: Actor, facts: EnrolledFacts, findings: Findings
    ) -> NodeReview:
        """Store the node as enrolling and its slots as proposed, and return what there is to see.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            AlreadyExists: a node of this name is in service or on its way.
            SlotsUnplaced: fewer endpoints than GPUs, or one twice.
        """
        require(actor, Action.NODE_MANAGE)
        async with self.transactions.begin(Scope.platform()) as unit:
            if await in_service(unit, facts.name):
                raise AlreadyExists(f"There is a node named {facts.name} already.")
            now = await unit.now()
            node = Node(
                id=NodeId(self.ids.new("nod")),
                name=facts.name,
                region=facts.region,
                mode=facts.mode,
                status=NodeStatus.ENROLLING,
                access=facts.access,
                topology=facts.topology,
                simulated=facts.simulated,
                shared_kernel=facts.shared_kernel,
                reachable=True,
                probed_at=now,
                created_at=now,
                findings=findings,
            )
            slots = propose_slots(
                node,
                slot_ids=[SlotId(self.ids.new("slt")) for _ in node.topology.gpus],
                endpoints=facts.endpoints,
                at=now,
            )
            await unit.nodes.add(node)
            for slot in slots:
                await unit.slots.add(slot)
            await unit.fleet.put(capacity_of(node, slots))
            await unit.audit(fact_by(actor, action="node.propose", target=node.id))
        return review(node, slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewNode:
    """What an operator looks at: each slot with its conditions, and what has changed since."""

    transactions: Transactions[PlacementUnit]

    async def __call__(self, *, actor: Actor, node_id: NodeId) -> NodeReview:
        """Return the review as of now.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: there is no such node.
        """
        require(actor, Action.NODE_READ)
        async with self.transactions.begin(Scope.platform()) as unit:
            node = await unit.nodes.get(node_id)
            if node is None:
                raise NotFound("There is no node with this id.")
            return review(node, await unit.slots.find(node_id=node_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveSlots:
    """Accept what discovery proposed. From here on it is sold."""

    transactions: Transactions[PlacementUnit]

    async def __call__(
        self, *, actor: Actor, node_id: NodeId, slot_ids: Sequence[SlotId] = ()
    ) -> NodeReview:
        """Approve these proposed slots; none named means all that are ready.

        Asked again, it finds them approved and changes nothing.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such node, or no such slot on it.
            SlotNotReady: a slot named is not ready, or none is; with each condition that fails.
            Conflict: the node's capacity changed at the same moment.
        """
        require(actor, Action.NODE_MANAGE)
        async with self.transactions.begin(Scope.platform()) as unit:
            node = await locked(unit, node_id)
            before = await unit.fleet.get(node_id)
            slots = {slot.id: slot for slot in await unit.slots.find(node_id=node_id)}
            now = await unit.now()
            chosen = _chosen(review(node, slots.values()), slot_ids)
            for seen in chosen:
                slots[seen.slot.id] = _approved(seen, now)
                await unit.slots.put(slots[seen.slot.id])
            node = await _in_service(unit, node, slots.values())
            claims = await unit.claims.find(node_id=node_id, released_at=None)
            version = before.version if before else 0
            await unit.fleet.put(capacity_of(node, slots.values(), claims=claims, version=version))
            named = ", ".join(str(seen.slot.index) for seen in chosen)
            await unit.audit(
                fact_by(
                    actor,
                    action="node.approve",
                    target=node_id,
                    changes={"approved": [None, named]},
                )
            )
        return review(node, slots.values())


async def in_service(unit: PlacementUnit, name: str) -> bool:
    """Tell whether a node of this name is known and not out of service for good."""
    gone = {NodeStatus.RETIRED, NodeStatus.DELETED}
    return any(node.status not in gone for node in await unit.nodes.find(name=name))


async def locked(unit: PlacementUnit, node_id: NodeId) -> Node:
    """Return the node, held until the unit ends.

    Raises:
        NotFound: there is no such node.
    """
    node = await unit.nodes.lock(node_id)
    if node is None:
        raise NotFound("There is no node with this id.")
    return node


def _chosen(seen: NodeReview, slot_ids: Sequence[SlotId]) -> tuple[SlotReview, ...]:
    known = {each.slot.id: each for each in seen.slots}
    if absent := [slot_id for slot_id in slot_ids if slot_id not in known]:
        raise NotFound(f"The node has no slot {absent[0]}.")
    proposed = [
        each
        for each in (seen.slots if not slot_ids else map(known.__getitem__, slot_ids))
        if each.slot.state is SlotState.PROPOSED
    ]
    unready = [each for each in proposed if not each.is_ready]
    if unready and (slot_ids or len(unready) == len(proposed)):
        raise SlotNotReady(" ".join(_why(each) for each in unready))
    return tuple(each for each in proposed if each.is_ready)


def _why(seen: SlotReview) -> str:
    reasons = " ".join(condition.reason for condition in seen.wanting)
    return f"Slot {seen.slot.index}: {reasons}"


def _approved(seen: SlotReview, now: datetime) -> Slot:
    decision = SLOT.decide(seen.slot.state, SlotEvent.APPROVE, SlotFacts(is_ready=seen.is_ready))
    if isinstance(decision, Refused):  # pragma: no cover  only proposed, ready slots come here
        raise IllegalTransition(f"{decision.reason}.")
    return replace(seen.slot, state=decision.state, state_since=max(now, seen.slot.state_since))


async def _in_service(unit: PlacementUnit, node: Node, slots: Iterable[Slot]) -> Node:
    """Return the node, in service if it was only waiting for its first approved slot."""
    if node.status is not NodeStatus.ENROLLING:
        return node
    approved = sum(slot.state is not SlotState.PROPOSED for slot in slots)
    decision = NODE.decide(node.status, NodeEvent.ACTIVATE, NodeFacts(approved_slots=approved))
    if isinstance(decision, Refused):
        return node
    active = replace(node, status=decision.state, version=node.version + 1)
    await unit.nodes.put(active)
    return active
