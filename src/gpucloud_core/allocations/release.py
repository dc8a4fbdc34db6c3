"""Use cases that end an allocation: release, and cancel before it is active."""

from dataclasses import dataclass

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations import gang
from gpucloud_core.allocations.apply import Cause, advance, lock_allocation
from gpucloud_core.allocations.errors import NotCancellable, NotReleasable
from gpucloud_core.allocations.lifecycle import CANCELLABLE, LIFECYCLE, AllocationEvent, Facts
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.ids import AllocationId, Ids
from gpucloud_core.kernel.machine import Refused
from gpucloud_core.kernel.unit import Scope, Transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAllocation:
    """Stop the meter at once, and queue cutting off, wiping and proving it."""

    transactions: Transactions[AllocationUnit]
    ids: Ids

    async def __call__(
        self,
        *,
        actor: Actor,
        allocation_id: AllocationId,
        reason: str = "",
    ) -> Allocation:
        """Release; asked again while it is under way or done, nothing more happens.

        Raises:
            NotFound: not there, or not theirs.
            NotReleasable: it was never active, or is still being made.
        """
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            allocation = await lock_allocation(unit, actor.tenant_id, allocation_id)
            require(
                actor,
                Action.ALLOCATION_RELEASE,
                tenant_id=allocation.tenant_id,
                project_id=allocation.project_id,
            )
            if allocation.state in {AllocationState.RELEASING, AllocationState.RELEASED}:
                return allocation
            verdict = LIFECYCLE.decide(allocation.state, AllocationEvent.RELEASE, Facts())
            if isinstance(verdict, Refused):
                raise NotReleasable(f"It is {allocation.state}; {NotReleasable.next_step}")
            now = await unit.now(not_before=allocation.state_since)
            cause = Cause(actor=actor.username, at=now, reason=reason)
            released = await begin_release(unit, self.ids, allocation, cause)
            await unit.audit(
                fact_by(
                    actor,
                    action="allocation.release",
                    target=released.id,
                    project_id=released.project_id,
                    changes={"state": [allocation.state, released.state]},
                )
            )
        return released


async def begin_release(
    unit: AllocationUnit, ids: Ids, allocation: Allocation, cause: Cause
) -> Allocation:
    """Move an active, degraded or release_failed allocation to releasing. Locks are held."""
    changes: dict[str, object] = {"release_failed_reason": None, "releases_at": None}
    if allocation.release_requested_at is None:
        changes["release_requested_at"] = cause.at
    return await advance(unit, ids, allocation, AllocationEvent.RELEASE, cause, changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAllocation:
    """Ask a launch to stop at its next step boundary and leave nothing behind."""

    transactions: Transactions[AllocationUnit]

    async def __call__(self, *, actor: Actor, allocation_id: AllocationId) -> Allocation:
        """Cancel; asked again, nothing more happens.

        Raises:
            NotFound: not there, or not theirs.
            NotCancellable: it is active, or ended; or it runs together with others, and these are
                being handed over.
        """
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            allocation = await lock_allocation(unit, actor.tenant_id, allocation_id)
            require(
                actor,
                Action.ALLOCATION_CANCEL,
                tenant_id=allocation.tenant_id,
                project_id=allocation.project_id,
            )
            if allocation.state is AllocationState.CANCELLED or allocation.cause == "cancelled":
                return allocation
            if allocation.state not in CANCELLABLE:
                raise NotCancellable(f"It is {allocation.state}; {NotCancellable.next_step}")
            await gang.cancel(unit, allocation.task_id)
            await unit.audit(
                fact_by(
                    actor,
                    action="allocation.cancel",
                    target=allocation.id,
                    project_id=allocation.project_id,
                )
            )
        return allocation
