"""Compares nodes and money with the rows, and heals or reports what differs.

A node is asked outside any transaction; then each disagreement is looked at once more in a
transaction of its own, under the locks of whoever it is about, with its rows read again. Nothing
is destroyed here: what has to go is given to a task, and only by a tag whose claim is closed.

Each round tells anew what is still so: events of the kind ``drift.<kind>``, whose consumers keep
one row for each subject.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gpucloud_core.allocations import faults
from gpucloud_core.allocations.apply import Cause, advance, lock_allocation, queue
from gpucloud_core.allocations.drift import (
    Booked,
    Drift,
    Recorded,
    Remedy,
    Seen,
    compare,
    last_proof,
)
from gpucloud_core.allocations.lifecycle import AllocationEvent
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.saga import CLEAN_UP, EDIT_KEYS
from gpucloud_core.billing.model import HoldState
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import AllocationId, ClaimId, Ids, NodeId, TaskId
from gpucloud_core.kernel.unit import AuditFact, Event, Json, Scope, Transactions
from gpucloud_core.nodes.model import Node
from gpucloud_core.nodes.ports import NodeDriver
from gpucloud_core.work.model import TaskStatus
from gpucloud_core.work.plan import Saga

RECONCILER: Final = "gpucloud"  # who did it, in a timeline
_HANDED_OVER: Final = frozenset({AllocationState.ACTIVE, AllocationState.DEGRADED})
AGAIN: Final = timedelta(hours=1)  # how long a remedy that failed is left to people


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """What both reconcilers share: to look at one disagreement again, and to act on it."""

    transactions: Transactions[AllocationUnit]
    ids: Ids

    async def _settle(self, drift: Drift, node_id: NodeId | None, seen: Seen) -> bool:
        """Heal or report ``drift`` if it is still so; tell whether it was."""
        async with self.transactions.begin(Scope.platform()) as unit:
            allocation = await _locked(unit, drift.allocation_id)
            claims = [drift.claim_id] if drift.claim_id else []
            allocations = [drift.allocation_id] if drift.allocation_id else []
            recorded, booked = await read_rows(unit, node_id, claims, allocations)
            now = next((d for d in compare(recorded, seen, booked) if d.is_same(drift)), None)
            if now is None:
                return False
            task_id = await self._heal(unit, now, allocation) if allocation else None
            await unit.emit(_event(now, node_id, allocation, task_id))
        return True

    async def _heal(
        self, unit: AllocationUnit, drift: Drift, allocation: Allocation
    ) -> TaskId | None:
        match drift.remedy:
            case Remedy.CLEAN_UP:
                return await self._open_task(unit, drift, allocation, CLEAN_UP)
            case Remedy.APPLY_KEYS:
                return await self._open_task(unit, drift, allocation, EDIT_KEYS)
            case Remedy.DEGRADE:
                node = await unit.nodes.get(allocation.node_id)
                proof = last_proof(allocation, node.probed_at if node else None)
                cause = Cause(actor=RECONCILER, at=proof, reason=f"Its node says: {drift.found}.")
                await advance(unit, self.ids, allocation, AllocationEvent.DEGRADE, cause)
                await unit.audit(_fact(drift, allocation))
            case Remedy.RECOVER:
                now = await unit.now(not_before=allocation.state_since)
                cause = Cause(actor=RECONCILER, at=now, reason=f"Its node says: {drift.found}.")
                await advance(unit, self.ids, allocation, AllocationEvent.RECOVER, cause)
                await unit.audit(_fact(drift, allocation))
            case Remedy.REPORT:
                pass
        return None

    async def _open_task(
        self, unit: AllocationUnit, drift: Drift, allocation: Allocation, saga: Saga
    ) -> TaskId | None:
        """Queue ``saga``, unless it failed a short while ago: then people have to look."""
        now = await unit.now()
        earlier = await unit.tasks.find(subject=allocation.id, kind=saga.kind)
        failed = (task.finished_at for task in earlier if task.status is TaskStatus.FAILED)
        if any(at is not None and at > now - AGAIN for at in failed):
            return None
        task = await queue(unit, self.ids, allocation, saga, now)
        await unit.audit(_fact(drift, allocation))
        return task.id


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileNode(Reconciler):
    """Compare one node with its rows and their money."""

    driver: NodeDriver

    async def __call__(self, node_id: NodeId) -> tuple[Drift, ...]:
        """Return what was found; all of it is healed, on its way, or reported.

        A node that does not answer proves nothing, so nothing is done about what is on it.

        Raises:
            NotFound: there is no such node.
            NodeUnreachable, NodeRefused, HostKeyChanged: as the driver says.
        """
        node, steady, began_at = await self._before(node_id)
        async with faults.LOOK:
            seen = await self._look(node, steady, began_at)
        async with self.transactions.begin(Scope.platform()) as unit:
            open_here = await unit.claims.find(node_id=node_id, released_at=None)
            named = {claim.id for claim in open_here} | {each.claim_id for each in seen.slices}
            recorded, booked = await read_rows(unit, node_id, named)
        found = compare(recorded, seen, booked)
        settled = tuple([drift for drift in found if await self._settle(drift, node_id, seen)])
        await self._note_proof(node_id, began_at)
        return settled

    async def _before(self, node_id: NodeId) -> tuple[Node, tuple[Allocation, ...], datetime]:
        """Return the node, what is handed over there and left alone, and when that was so."""
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            node = await unit.nodes.get(node_id)
            if node is None:
                raise NotFound("There is no node with this id.")
            claims = await unit.claims.find(node_id=node_id, released_at=None)
            recorded, _ = await read_rows(unit, node_id, [claim.id for claim in claims])
        steady = tuple(
            allocation
            for _, allocation in recorded.open_here
            if allocation.state in _HANDED_OVER and allocation.id not in recorded.busy
        )
        return node, steady, now

    async def _look(self, node: Node, steady: tuple[Allocation, ...], began_at: datetime) -> Seen:
        slices = await self.driver.list_ours(node.access)
        running = {each.claim_id for each in slices if each.running}
        evidence = {
            allocation.claim_id: await self.driver.verify(node.access, allocation.claim_id)
            for allocation in steady
            if allocation.claim_id in running
        }
        return Seen(
            began_at=began_at,
            slices=slices,
            evidence=evidence,
            steady={allocation.id: allocation.generation for allocation in steady},
        )

    async def _note_proof(self, node_id: NodeId, began_at: datetime) -> None:
        """Keep that whatever is still active here ran at ``began_at``.

        Last of all: if we die before, the proof stays older, which is in the customer's favour.
        """
        async with self.transactions.begin(Scope.platform()) as unit:
            node = await unit.nodes.lock(node_id)
            if node is not None and (node.probed_at is None or node.probed_at < began_at):
                await unit.nodes.put(replace(node, probed_at=began_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileMoney(Reconciler):
    """Compare every open hold and running meter with the allocation it is for."""

    async def __call__(self) -> tuple[Drift, ...]:
        """Return what was found; all of it is reported."""
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            holds = await unit.holds.find(state=HoldState.OPEN)
            segments = await unit.usage_segments.find(ended_at=None)
            subjects = {hold.allocation_id for hold in holds}
            subjects |= {segment.allocation_id for segment in segments}
            recorded, booked = await read_rows(unit, None, (), subjects)
        seen = Seen(began_at=now)
        found = compare(recorded, seen, booked)
        return tuple([drift for drift in found if await self._settle(drift, None, seen)])


async def read_rows(
    unit: AllocationUnit,
    node_id: NodeId | None,
    claims: Collection[ClaimId],
    allocations: Collection[AllocationId] = (),
) -> tuple[Recorded, Booked]:
    """Read everything about these claims and allocations that a comparison needs."""
    known = await unit.claims.find_any("id", sorted(claims))
    subjects = sorted({claim.allocation_id for claim in known} | set(allocations))
    rows = await unit.allocations.find_any("id", subjects)
    tasks = await unit.tasks.find_any("subject", subjects)
    holds = await unit.holds.find_any("allocation_id", subjects)
    segments = await unit.usage_segments.find_any("allocation_id", subjects)
    recorded = Recorded(
        node_id=node_id,
        claims={claim.id: claim for claim in known},
        allocations={row.id: row for row in rows},
        slots=await unit.slots.find(node_id=node_id) if node_id else (),
        busy=_ids(task.subject for task in tasks if task.finished_at is None),
    )
    return recorded, Booked(
        holds=_ids(hold.allocation_id for hold in holds if hold.state is HoldState.OPEN),
        meters=_ids(each.allocation_id for each in segments if each.ended_at is None),
    )


def _ids(subjects: Iterable[str]) -> frozenset[AllocationId]:
    return frozenset(AllocationId(subject) for subject in subjects)


async def _locked(unit: AllocationUnit, allocation_id: AllocationId | None) -> Allocation | None:
    """Lock who it is about, in the order everyone keeps; None if no row is known of them."""
    known = await unit.allocations.get(allocation_id) if allocation_id else None
    return await lock_allocation(unit, known.tenant_id, known.id) if known else None


def _event(
    drift: Drift, node_id: NodeId | None, allocation: Allocation | None, task_id: TaskId | None
) -> Event:
    """Return the event for operators: both sides, and what is being done. No tenant's own."""
    payload: dict[str, Json] = {
        "node_id": node_id or (allocation.node_id if allocation else None),
        "claim_id": drift.claim_id,
        "allocation_id": drift.allocation_id,
        "tenant_id": allocation.tenant_id if allocation else None,
        "expected": drift.expected,
        "found": drift.found,
        "remedy": drift.remedy,
        "task_id": task_id,
    }
    return Event(kind=f"drift.{drift.kind}", subject=drift.subject, payload=payload)


def _fact(drift: Drift, allocation: Allocation) -> AuditFact:
    return AuditFact(
        action=f"drift.{drift.remedy}",
        target=allocation.id,
        tenant_id=allocation.tenant_id,
        project_id=allocation.project_id,
        via="worker",
        changes={"found": [drift.expected, drift.found]},
    )
