"""Carries a lifecycle decision out, inside one unit of work.

``advance`` is the only writer of an allocation's state: it asks the table, carries out the
effects the table names, and writes the row, its timeline and the event, all in the caller's
transaction. The caller holds the tenant's billing account and the allocation, in this order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gpucloud_core.allocations.lifecycle import LIFECYCLE, AllocationEvent, Effect, Facts
from gpucloud_core.allocations.model import Allocation, AllocationState, StateChange
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.saga import FORCE_CLEANUP, RELEASE
from gpucloud_core.billing.accounts import (
    end_segment,
    end_segment_and_void,
    lock_account,
    start_segment,
    void_hold,
)
from gpucloud_core.kernel.errors import IllegalTransition, NotFound
from gpucloud_core.kernel.ids import AllocationId, Ids, TaskId, TenantId
from gpucloud_core.kernel.machine import Refused
from gpucloud_core.kernel.unit import Event, Json
from gpucloud_core.nodes.model import SlotState
from gpucloud_core.placement.model import Claim
from gpucloud_core.work.model import Task, TaskStatus
from gpucloud_core.work.plan import Saga
from gpucloud_core.work.ports import WorkUnit

SLOTS_OF: Final = {
    Effect.SLOTS_IN_USE: SlotState.IN_USE,
    Effect.SLOTS_CLEANING: SlotState.CLEANING,
    Effect.FENCE_CAPACITY: SlotState.CLEANUP_BLOCKED,
}
_ENDS: Final = frozenset(
    {AllocationState.RELEASED, AllocationState.CANCELLED, AllocationState.FAILED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a change happens: who did it, when, and a reason for the timeline."""

    actor: str
    at: datetime
    reason: str = ""


async def lock_allocation(
    unit: AllocationUnit, tenant_id: TenantId, allocation_id: AllocationId
) -> Allocation:
    """Lock the tenant's account, then the allocation: the order everyone keeps.

    Raises:
        NotFound: there is no such allocation in this scope.
    """
    await lock_account(unit, tenant_id)
    allocation = await unit.allocations.lock(allocation_id)
    if allocation is None:
        raise NotFound("There is no allocation with this id.")
    return allocation


async def advance(
    unit: AllocationUnit,
    ids: Ids,
    allocation: Allocation,
    event: AllocationEvent,
    cause: Cause,
    changes: Mapping[str, object] | None = None,
) -> Allocation:
    """Move ``allocation`` by ``event`` and carry out what follows.

    ``changes`` are further fields of the row that change with the state.

    Raises:
        IllegalTransition: the table does not allow it.
    """
    wanted = replace(allocation, **(changes or {}))  # type: ignore[arg-type]  # checked by replace
    decision = LIFECYCLE.decide(allocation.state, event, Facts(cause=wanted.cause))
    if isinstance(decision, Refused):
        raise IllegalTransition(f"{decision.reason}.")
    now = max(cause.at, allocation.state_since)
    moved = replace(
        wanted, state=decision.state, state_since=now, generation=allocation.generation + 1
    )
    if decision.state in _ENDS:
        moved = replace(moved, ended_at=now)
    for effect in decision.effects:
        moved = await _carry_out(unit, ids, moved, effect, now)
    await unit.allocations.put(moved)
    await unit.state_changes.add(
        StateChange(
            id=ids.new("evt"),
            tenant_id=moved.tenant_id,
            allocation_id=moved.id,
            at=now,
            state=moved.state,
            event=event,
            actor=cause.actor,
            reason=cause.reason,
        )
    )
    await unit.emit(
        Event(
            kind=f"allocation.{moved.state}",
            subject=moved.id,
            tenant_id=moved.tenant_id,
            payload={"generation": moved.generation, "task_id": moved.task_id},
        )
    )
    return moved


async def _carry_out(
    unit: AllocationUnit, ids: Ids, allocation: Allocation, effect: Effect, now: datetime
) -> Allocation:
    match effect:
        case Effect.START_METER:
            account = await lock_account(unit, allocation.tenant_id)
            await start_segment(
                unit,
                account,
                allocation_id=allocation.id,
                project_id=allocation.project_id,
                sku_id=allocation.sku_id,
                gpu_count=allocation.gpu_count,
                rate_micros_per_hour=allocation.rate_micros_per_hour,
                at=now,
                new_id=ids.new,
            )
        case Effect.STOP_METER:
            account = await lock_account(unit, allocation.tenant_id)
            charge = await end_segment_and_void(unit, account, allocation.id, now)
            return replace(allocation, billing_stopped_at=charge.stopped_at or now)
        case Effect.PAUSE_METER:
            account = await lock_account(unit, allocation.tenant_id)
            await end_segment(unit, account, allocation.id, now)
        case Effect.VOID_HOLD:
            account = await lock_account(unit, allocation.tenant_id)
            await void_hold(unit, account, allocation.id, now)
        case Effect.SLOTS_IN_USE | Effect.SLOTS_CLEANING | Effect.FENCE_CAPACITY:
            claim = await claim_of(unit, allocation)
            await unit.fleet.set_slots(claim, SLOTS_OF[effect])
        case Effect.FREE_CAPACITY:
            claim = await claim_of(unit, allocation)
            await unit.fleet.give_back(replace(claim, released_at=now))
        case Effect.QUEUE_RELEASE | Effect.QUEUE_CLEANUP:
            saga = RELEASE if effect is Effect.QUEUE_RELEASE else FORCE_CLEANUP
            task = await queue(unit, ids, allocation, saga, now)
            return replace(allocation, task_id=task.id)
    return allocation


async def claim_of(unit: AllocationUnit, allocation: Allocation) -> Claim:
    claim = await unit.claims.get(allocation.claim_id)
    if claim is None:
        raise NotFound("The allocation's claim is gone.")
    return claim


async def queue(
    unit: WorkUnit,
    ids: Ids,
    allocation: Allocation,
    saga: Saga,
    now: datetime,
    *,
    task_id: TaskId | None = None,
    parent_id: TaskId | None = None,
    data: Mapping[str, Json] | None = None,
) -> Task:
    """Write a task for ``allocation`` and the event that wakes a worker."""
    usual = await unit.tasks.usual_seconds(saga.kind, saga.keys)
    task = new_task(
        ids, allocation, saga, now, usual=usual, task_id=task_id, parent_id=parent_id, data=data
    )
    await enqueue(unit, task)
    return task


async def enqueue(unit: WorkUnit, task: Task) -> None:
    await unit.tasks.add(task)
    await unit.emit(Event(kind="task.queued", subject=task.id, tenant_id=task.tenant_id))


def new_task(
    ids: Ids,
    allocation: Allocation,
    saga: Saga,
    now: datetime,
    *,
    usual: Mapping[str, int],
    task_id: TaskId | None = None,
    parent_id: TaskId | None = None,
    data: Mapping[str, Json] | None = None,
) -> Task:
    """Return a task for ``allocation`` that is not written yet.

    ``usual`` are the seconds that its steps usually take, where that is known.
    """
    return Task(
        id=task_id or TaskId(ids.new("tsk")),
        tenant_id=allocation.tenant_id,
        project_id=allocation.project_id,
        kind=saga.kind,
        subject=allocation.id,
        parent_id=parent_id,
        steps=saga.fresh_steps(usual),
        due_at=now,
        data=data or {},
        created_at=now,
    )


async def ask_to_cancel(unit: AllocationUnit, task_id: TaskId) -> None:
    """Ask a task to stop at its next step boundary. Asked twice, it is asked once."""
    task = await unit.tasks.lock(task_id)
    if task is None:
        raise NotFound("The launch's task is gone.")
    if task.finished_at is not None or task.cancel_requested_at is not None:
        return
    now = await unit.now()
    waiting = task.lease_token is None or task.status is TaskStatus.QUEUED
    await unit.tasks.put(
        replace(
            task,
            cancel_requested_at=now,
            due_at=now if waiting else task.due_at,  # a worker at it sees it at its boundary
        )
    )
    await unit.emit(Event(kind="task.queued", subject=task.id, tenant_id=task.tenant_id))
