"""A batch derives everything from its members; it owns neither money nor capacity."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gpucloud_core.allocations.lifecycle import LIVE
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.placement.model import Place
from gpucloud_core.work.model import Task, TaskStatus

_STAYS: Final = LIVE - {AllocationState.UNWINDING, AllocationState.RELEASING}
_RUNNING = frozenset({TaskStatus.QUEUED, TaskStatus.RUNNING})


def batch_status(members: Sequence[TaskStatus]) -> TaskStatus:
    """Return the status of a batch: running while any member moves, then the worst of them."""
    if any(status in _RUNNING for status in members):
        return TaskStatus.RUNNING
    for status in (TaskStatus.FAILED, TaskStatus.CANCELLED):
        if status in members:
            return status
    return TaskStatus.SUCCEEDED


async def child_finished(unit: AllocationUnit, task: Task) -> None:
    """Bring the parent of a finished task up to date, in the same transaction."""
    if task.parent_id is None:
        return
    parent = await unit.tasks.lock(task.parent_id)
    if parent is None:
        return
    members = await unit.tasks.find(parent_id=parent.id)
    status = batch_status([task.status if m.id == task.id else m.status for m in members])
    now = await unit.now()
    finished_at = None if status in _RUNNING else now
    await unit.tasks.put(
        replace(parent, status=status, started_at=parent.started_at or now, finished_at=finished_at)
    )


async def reopen(unit: AllocationUnit, batch: TaskId) -> None:
    """Let a batch run again because it gets new members, in the same transaction."""
    parent = await unit.tasks.lock(batch)
    if parent is None:
        raise NotFound("There is no batch with this id.")
    await unit.tasks.put(replace(parent, status=TaskStatus.RUNNING, finished_at=None, error=""))


async def places_of(unit: AllocationUnit, batch: TaskId) -> list[Place]:
    """Return where those members of a batch are that run, or are still to run."""
    members = await unit.tasks.find(parent_id=batch)
    rows = await unit.allocations.find_any("id", [member.subject for member in members])
    return [
        Place(node_id=row.node_id, mask=row.mask, node_version=0)
        for row in rows
        if row.state in _STAYS
    ]
