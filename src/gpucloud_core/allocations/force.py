"""What only operators may do to any tenant's allocation, always with a reason."""

from dataclasses import dataclass, replace

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations import gang
from gpucloud_core.allocations.apply import Cause, advance, lock_allocation
from gpucloud_core.allocations.errors import NotReleasable
from gpucloud_core.allocations.lifecycle import CANCELLABLE, LIFECYCLE, AllocationEvent, Facts
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.release import begin_release
from gpucloud_core.kernel.errors import FieldError, NotFound, ValidationFailed
from gpucloud_core.kernel.ids import AllocationId, Ids
from gpucloud_core.kernel.machine import Refused
from gpucloud_core.kernel.unit import Scope, Transactions

REASON_LENGTH_MAX = 500


def _reason(text: str) -> str:
    reason = " ".join(text.split())
    if not reason or len(reason) > REASON_LENGTH_MAX:
        detail = f"Say why, in at most {REASON_LENGTH_MAX} characters; it stands in the audit log."
        fields = [FieldError("/reason", "required", detail)]
        raise ValidationFailed("This needs a reason.", fields=fields)
    return reason


async def _locked(unit: AllocationUnit, actor: Actor, allocation_id: AllocationId) -> Allocation:
    require(actor, Action.ANY_ALLOCATION_FORCE)
    known = await unit.allocations.get(allocation_id)
    if known is None:
        raise NotFound("There is no allocation with this id.")
    return await lock_allocation(unit, known.tenant_id, allocation_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceRelease:
    """End any allocation: release what runs, cancel what is being made."""

    transactions: Transactions[AllocationUnit]
    ids: Ids

    async def __call__(
        self, *, actor: Actor, allocation_id: AllocationId, reason: str
    ) -> Allocation:
        """End it; asked again while it ends, nothing more happens.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            ValidationFailed: no reason is given.
            NotReleasable: it ended already.
            NotCancellable: it runs together with others, and these are being handed over.
        """
        said = _reason(reason)
        async with self.transactions.begin(Scope.platform()) as unit:
            allocation = await _locked(unit, actor, allocation_id)
            now = await unit.now(not_before=allocation.state_since)
            cause = Cause(actor=actor.username, at=now, reason=said)
            if allocation.state in {AllocationState.RELEASING, AllocationState.UNWINDING}:
                return allocation
            if allocation.state in CANCELLABLE:
                await gang.cancel(unit, allocation.task_id)
                ended = allocation
            else:
                verdict = LIFECYCLE.decide(allocation.state, AllocationEvent.RELEASE, Facts())
                if isinstance(verdict, Refused):
                    raise NotReleasable(f"It is {allocation.state}.")
                ended = await begin_release(unit, self.ids, allocation, cause)
            await unit.audit(
                replace(
                    fact_by(
                        actor,
                        action="allocation.force_release",
                        target=allocation.id,
                        project_id=allocation.project_id,
                        changes={
                            "state": [allocation.state, ended.state],
                            "reason": [None, said],
                        },
                    ),
                    tenant_id=allocation.tenant_id,
                )
            )
        return ended


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceCleanAllocation:
    """Free fenced capacity because an operator has verified that nothing runs there."""

    transactions: Transactions[AllocationUnit]
    ids: Ids

    async def __call__(
        self,
        *,
        actor: Actor,
        allocation_id: AllocationId,
        reason: str,
        runtime_verified_absent: bool,
    ) -> Allocation:
        """Queue the cleanup of a release that failed.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            ValidationFailed: no reason, or nobody has looked.
            IllegalTransition: its release has not failed.
        """
        said = _reason(reason)
        if not runtime_verified_absent:
            detail = "Look on the node that nothing of the claim is left, then say so."
            fields = [FieldError("/runtime_verified_absent", "required", detail)]
            raise ValidationFailed(detail, fields=fields)
        async with self.transactions.begin(Scope.platform()) as unit:
            allocation = await _locked(unit, actor, allocation_id)
            now = await unit.now(not_before=allocation.state_since)
            cause = Cause(actor=actor.username, at=now, reason=said)
            changes: dict[str, object] = {"release_failed_reason": None}
            cleaned = await advance(
                unit, self.ids, allocation, AllocationEvent.FORCE_CLEAN, cause, changes
            )
            await unit.audit(
                replace(
                    fact_by(
                        actor,
                        action="allocation.force_cleanup",
                        target=allocation.id,
                        project_id=allocation.project_id,
                        changes={
                            "state": [allocation.state, cleaned.state],
                            "reason": [None, said],
                        },
                    ),
                    tenant_id=allocation.tenant_id,
                )
            )
        return cleaned
