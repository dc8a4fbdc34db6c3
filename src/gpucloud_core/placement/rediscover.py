"""Look at a node again: keep what differs for an operator, and change nothing by itself.

What is sold follows the topology that was approved. A later look that finds something else is
drift: it stands beside the node until an operator accepts it, which takes an empty node and puts
every slot back to be approved anew, or until another look finds it as it was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.kernel.errors import DomainError, ErrorKind, IllegalTransition, NotFound
from gpucloud_core.kernel.ids import Ids, NodeId, SlotId
from gpucloud_core.kernel.machine import Refused
from gpucloud_core.kernel.unit import AuditFact, Scope, Transactions
from gpucloud_core.nodes.differences import differences
from gpucloud_core.nodes.discovery import Discovered, read_topology
from gpucloud_core.nodes.lifecycle import SLOT, SlotEvent, SlotFacts
from gpucloud_core.nodes.model import Findings, Node, NodeMode, Slot, SlotState
from gpucloud_core.nodes.ports import NodeDriver
from gpucloud_core.nodes.review import NodeReview, review
from gpucloud_core.nodes.slots import propose_slots
from gpucloud_core.placement.capacity import capacity_of
from gpucloud_core.placement.model import Claim
from gpucloud_core.placement.onboard import locked
from gpucloud_core.placement.ports import PlacementUnit

_NAMED: Final = 3
_DISCOVER: Final = "node.discover"


class NodeInUse(DomainError):
    """Somebody holds a part of the node."""

    code = "node_in_use"
    kind = ErrorKind.CONFLICT
    next_step = "Drain it, wait for its holders to leave or release them, then ask again."


class NothingFound(DomainError):
    """The last discovery found the node as it is."""

    code = "nothing_to_accept"
    kind = ErrorKind.CONFLICT
    next_step = "Discover the node again if you expect something else."


@dataclass(frozen=True, slots=True, kw_only=True)
class RediscoverNode:
    """Read a node's own tools again and keep what they say beside what was approved."""

    transactions: Transactions[PlacementUnit]
    driver: NodeDriver

    async def __call__(self, *, actor: Actor, node_id: NodeId) -> NodeReview:
        """Return the review with every difference; nothing that is sold has changed.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: there is no such node.
            NodeUnreachable, NodeRefused, HostKeyChanged: as for the driver.
            DiscoveryUnreadable: its tools say nothing that can be read.
        """
        require(actor, Action.NODE_OPERATE)
        return await self._look(node_id, fact_by(actor, action=_DISCOVER, target=node_id))

    async def unasked(self, node_id: NodeId) -> NodeReview:
        """Do the same by ourselves.

        Raises:
            NotFound, NodeUnreachable, NodeRefused, HostKeyChanged, DiscoveryUnreadable: as above.
        """
        return await self._look(node_id, AuditFact(action=_DISCOVER, target=node_id, via="worker"))

    async def _look(self, node_id: NodeId, fact: AuditFact) -> NodeReview:
        async with self.transactions.begin(Scope.platform()) as unit:
            node = await unit.nodes.get(node_id)
        if node is None:
            raise NotFound("There is no node with this id.")
        outputs = (await self.driver.discover(node.access)).outputs
        discovered = read_topology(outputs)
        async with self.transactions.begin(Scope.platform()) as unit:
            node = await locked(unit, node_id)
            now = await unit.now()
            seen = replace(node, findings=found_beside(node, discovered, now))
            await unit.nodes.put(seen)
            await unit.audit(fact)
            return review(seen, await unit.slots.find(node_id=node_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptFindings:
    """Take what was found as the node's inside from now on. Every slot is to be approved anew."""

    transactions: Transactions[PlacementUnit]
    ids: Ids

    async def __call__(
        self, *, actor: Actor, node_id: NodeId, endpoints: Sequence[tuple[str, int]] = ()
    ) -> NodeReview:
        """Accept, on an empty node; ``endpoints`` are for GPUs beyond those it had.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such node.
            NothingFound: there is nothing that differs.
            NodeInUse: somebody holds a part of it.
            SlotsUnplaced: it has more GPUs now than endpoints.
            Conflict: a launch took a part of it at the same moment.
        """
        require(actor, Action.NODE_MANAGE)
        async with self.transactions.begin(Scope.platform()) as unit:
            node = await locked(unit, node_id)
            if node.findings is None or node.findings.found is None:
                raise NothingFound
            accepted = replace(
                node,
                topology=node.findings.found,
                findings=replace(node.findings, found=None),
                version=node.version + 1,
            )
            slots = await propose_anew(unit, self.ids, accepted, endpoints)
            await unit.audit(
                fact_by(
                    actor,
                    action="node.accept_findings",
                    target=node_id,
                    changes={"system": [node.topology.system, accepted.topology.system]},
                )
            )
        return review(accepted, slots)


def found_beside(
    node: Node, discovered: Discovered, now: datetime, *, mode: NodeMode | None = None
) -> Findings:
    """Return what to keep of a look: the topology only where it differs from the node's own."""
    differs = bool(differences(node.topology, discovered.topology))
    known = node.findings.mode if node.findings else None
    return Findings(
        at=now,
        faults=discovered.faults,
        found=discovered.topology if differs else None,
        mode=mode or known,
    )


async def propose_anew(
    unit: PlacementUnit, ids: Ids, node: Node, endpoints: Sequence[tuple[str, int]] = ()
) -> tuple[Slot, ...]:
    """Store the node, every slot of its topology as proposed, and a capacity that sells nothing.

    Slots keep their ids and SSH endpoints by their place in PCI order.

    Raises:
        NodeInUse: a claim on the node is open.
        SlotsUnplaced: it has more GPUs than endpoints.
        IllegalTransition: a slot is still being cleaned.
        Conflict: a launch took a part of it at the same moment.
    """
    before = await unit.fleet.get(node.id)
    refuse_if_held(await unit.claims.find(node_id=node.id, released_at=None))
    known = sorted(await unit.slots.find(node_id=node.id), key=lambda slot: slot.index)
    now = await unit.now()
    for slot in known:
        _check_withdrawn(slot)
    missing = max(0, len(node.topology.gpus) - len(known))
    slots = propose_slots(
        node,
        slot_ids=[slot.id for slot in known] + [SlotId(ids.new("slt")) for _ in range(missing)],
        endpoints=[(slot.ssh_host, slot.ssh_port) for slot in known] + list(endpoints),
        at=now,
    )
    await unit.nodes.put(node)
    await _store(unit, known, slots)
    version = before.version if before else 0
    await unit.fleet.put(capacity_of(node, slots, version=version))
    return slots


def refuse_if_held(claims: Iterable[Claim]) -> None:
    """Return if nobody holds a part of the node.

    Raises:
        NodeInUse: with the allocations that do.
    """
    holders = sorted(claim.allocation_id for claim in claims)
    if holders:
        named, more = ", ".join(holders[:_NAMED]), len(holders) - _NAMED
        rest = f" and {more} more" if more > 0 else ""
        raise NodeInUse(f"It is held by {named}{rest}.")


def _check_withdrawn(slot: Slot) -> None:
    """Walk the slot's own table back to proposed: off sale first, then found anew."""
    state = slot.state
    for event in (SlotEvent.DISABLE, SlotEvent.REDISCOVER):
        if state is SlotState.PROPOSED or (state, event) == (SlotState.DISABLED, SlotEvent.DISABLE):
            continue
        decision = SLOT.decide(state, event, SlotFacts())
        if isinstance(decision, Refused):
            raise IllegalTransition(f"Slot {slot.index}: {decision.reason}.")
        state = decision.state


async def _store(unit: PlacementUnit, known: Sequence[Slot], slots: Sequence[Slot]) -> None:
    for slot in known[len(slots) :]:
        await unit.slots.delete(slot.id)
    for slot in slots[: len(known)]:
        await unit.slots.put(slot)
    for slot in slots[len(known) :]:
        await unit.slots.add(slot)
