"""What has been so for too long: found by looking at the rows, whatever events were lost.

Nothing that moves may be older than three times its limit without an attention row. What is found
opens a row, or moves the one that is open; what is found no more closes it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gpucloud_core.allocations.lifecycle import LIFECYCLE
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.kernel.ids import Ids
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.lifecycle import SLOT
from gpucloud_core.nodes.model import Slot, SlotState
from gpucloud_core.notices.attention import clear, raise_
from gpucloud_core.notices.machine_rules import (
    DEGRADED,
    FAILING_NODE,
    RELEASE_FAILED,
    degraded,
    release_failed,
)
from gpucloud_core.notices.model import AttentionRow, Severity
from gpucloud_core.notices.ports import NoticeUnit
from gpucloud_core.notices.rules import DRIFT
from gpucloud_core.notices.told import Clear, Raise
from gpucloud_core.work.model import Task

TIMES: Final = 3
TASK_MIN: Final = timedelta(minutes=1)
UNHELD: Final = timedelta(minutes=1)
"""How long a task may have neither a due instant nor a living lease."""

ALLOCATION_OVERDUE: Final = "allocation.overdue"
SLOT_OVERDUE: Final = "slot.overdue"
TASK_OVERDUE: Final = "task.overdue"
TASK_ORPHANED: Final = "task.orphaned"
CLEANUP_BLOCKED: Final = "slot.cleanup_blocked"
FOUND_BY_LOOKING: Final = frozenset(
    {
        *(ALLOCATION_OVERDUE, SLOT_OVERDUE, TASK_OVERDUE, TASK_ORPHANED),
        *(RELEASE_FAILED, DEGRADED, CLEANUP_BLOCKED),
    }
)
"""Kinds whose rows close as soon as what they say is not found any more."""

FADING: Final = {DRIFT: timedelta(hours=1), FAILING_NODE: timedelta(days=1)}
"""Kinds, by how they begin, that are told again as long as they last; then they close."""

_WATCHED: Final = tuple(
    state
    for state, row in LIFECYCLE.states.items()
    if row.limit or row.usual or state in {AllocationState.DEGRADED, AllocationState.RELEASE_FAILED}
)
_WATCHED_SLOTS: Final = (SlotState.CLEANING, SlotState.CLEANUP_BLOCKED)


def worrying(
    allocations: Iterable[Allocation], slots: Iterable[Slot], tasks: Iterable[Task], now: datetime
) -> Iterator[Raise]:
    """Give everything among the rows that wants an operator."""
    for allocation in allocations:
        yield from _of_allocation(allocation, now)
    for slot in slots:
        yield from _of_slot(slot, now)
    for task in tasks:
        yield from _of_task(task, now)


def faded(row: AttentionRow, now: datetime) -> bool:
    """Tell whether nobody has noticed it again for so long that it counts as gone."""
    return any(
        row.kind.startswith(kind) and now - row.last_seen >= after for kind, after in FADING.items()
    )


def _of_allocation(allocation: Allocation, now: datetime) -> Iterator[Raise]:
    if allocation.state is AllocationState.RELEASE_FAILED:
        yield release_failed(allocation)
    if allocation.state is AllocationState.DEGRADED:
        yield degraded(allocation)
    row = LIFECYCLE.states[allocation.state]
    expected = row.limit[0] if row.limit else row.usual
    if expected is not None and now - allocation.state_since > TIMES * expected:
        yield Raise(
            kind=ALLOCATION_OVERDUE,
            subject=allocation.id,
            severity=Severity.CRITICAL,
            title=f"An allocation stays {allocation.state}",
            facts={
                **_ages(allocation.state_since, expected),
                "task_id": allocation.task_id,
                "node_id": allocation.node_id,
                "tenant_id": allocation.tenant_id,
            },
        )


def _of_slot(slot: Slot, now: datetime) -> Iterator[Raise]:
    if slot.state is SlotState.CLEANUP_BLOCKED:
        yield Raise(
            kind=CLEANUP_BLOCKED,
            subject=slot.id,
            severity=Severity.WARNING,
            title="A slot is fenced: its wipe was not proven",
            facts={"node_id": slot.node_id, "index": slot.index},
        )
    row = SLOT.states[slot.state]
    expected = row.limit[0] if row.limit else row.usual
    if expected is not None and now - slot.state_since > TIMES * expected:
        yield Raise(
            kind=SLOT_OVERDUE,
            subject=slot.id,
            severity=Severity.WARNING,
            title=f"A slot stays {slot.state}",
            facts={**_ages(slot.state_since, expected), "node_id": slot.node_id},
        )


def _of_task(task: Task, now: datetime) -> Iterator[Raise]:
    if task.finished_at is not None or not task.steps:
        return  # a batch moves when its members do, and those are looked at
    facts = {"kind": task.kind, "allocation_id": task.subject, "tenant_id": task.tenant_id}
    expected = max(TASK_MIN, timedelta(seconds=sum(step.usual_seconds for step in task.steps)))
    if now - task.created_at > TIMES * expected:
        yield Raise(
            kind=TASK_OVERDUE,
            subject=task.id,
            severity=Severity.WARNING,
            title="A task takes much longer than it should",
            facts={
                **_ages(task.created_at, expected),
                **facts,
                "wait_reason": task.wait_reason,
            },
        )
    held_until = task.lease_until if task.lease_token else task.created_at
    if task.due_at is None and now - (held_until or task.created_at) > UNHELD:
        yield Raise(
            kind=TASK_ORPHANED,
            subject=task.id,
            severity=Severity.CRITICAL,
            title="A task is held by nobody and never becomes due",
            facts={**facts, "status": task.status},
        )


def _ages(since: datetime, expected: timedelta) -> dict[str, str | int]:
    return {"since": rfc3339(since), "expected_seconds": int(expected.total_seconds())}


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepAttention:
    """Open, move and close the attention rows of all that is found by looking."""

    transactions: Transactions[NoticeUnit]
    ids: Ids

    async def __call__(self) -> int:
        """Bring the rows up to date; return how many want somebody."""
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            found = {
                (each.kind, each.subject): each
                for each in worrying(
                    await unit.allocations.find_any("state", _WATCHED),
                    await unit.slots.find_any("state", _WATCHED_SLOTS),
                    await unit.tasks.find(finished_at=None),
                    now,
                )
            }
            # One order for all who hold several rows at once.
            for _, raised in sorted(found.items()):
                await raise_(unit, self.ids, raised, now)
            for row in await unit.attention_rows.find(cleared_at=None):
                is_gone = row.kind in FOUND_BY_LOOKING and (row.kind, row.subject) not in found
                if is_gone or faded(row, now):
                    await clear(unit, Clear(kind=row.kind, subject=row.subject), now)
        return len(found)
