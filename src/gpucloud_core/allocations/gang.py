"""Machines that run together or not at all: one fate for the members of a launch.

None is handed over, and so none is billed, before all of them passed the health gate; when one
fails or is cancelled on the way there, all of them turn round. A turn of a task holds its tenant's
account, so members never judge each other in the same moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.release import ask_to_cancel
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.allocations.saga import PROVISION
from gpucloud_core.kernel.unit import Event, Json
from gpucloud_core.work.model import StepStatus, Task
from gpucloud_core.work.plan import is_committed

_NAME: Final = "gang"
LAST: Final = "hand_over"


def of_launch(request: LaunchRequest, first: str) -> Mapping[str, Json]:
    """Return what a member's task carries; nothing for machines that stand alone."""
    return {_NAME: first} if request.together and request.count > 1 else {}


async def others_of(unit: AllocationUnit, task: Task) -> Sequence[Task]:
    """Return the tasks that share this one's fate."""
    name = task.data.get(_NAME)
    if name is None or task.parent_id is None:
        return ()
    members = await unit.tasks.find(parent_id=task.parent_id)
    return [one for one in members if one.id != task.id and one.data.get(_NAME) == name]


def is_ready(task: Task) -> bool:
    """Tell whether a member has passed everything that comes before the handover."""
    before = [step for step in task.steps if step.key != LAST]
    return all(step.status is StepStatus.COMPLETED for step in before)


async def held_back(unit: AllocationUnit, task: Task, step: str) -> str:
    """Say why a member is not handed over yet; nothing, if it may be."""
    if step != LAST:
        return ""
    waiting = sum(1 for one in await others_of(unit, task) if not is_ready(one))
    if not waiting:
        return ""
    others = "another machine" if waiting == 1 else f"{waiting} other machines"
    return f"it waits for {others} of its launch: they run together"


async def wake(unit: AllocationUnit, task: Task) -> None:
    """Have the others look again, once ``task`` was the last to become ready."""
    others = await others_of(unit, task)
    if all(is_ready(one) for one in others):
        for one in others:
            await _due_now(unit, one, {})


async def share_failure(unit: AllocationUnit, task: Task) -> None:
    """Turn the others round, because ``task`` failed."""
    said = {"error": "sibling_failed", "error_detail": "Another machine of this launch failed."}
    for one in await others_of(unit, task):
        if not one.error and not is_committed(PROVISION, one):
            await _due_now(unit, one, said)


async def share_cancel(unit: AllocationUnit, task: Task) -> None:
    """Cancel the others, because ``task`` was cancelled."""
    for one in await others_of(unit, task):
        if not is_committed(PROVISION, one):
            await ask_to_cancel(unit, one.id)


async def _due_now(unit: AllocationUnit, seen: Task, changes: Mapping[str, str]) -> None:
    task = await unit.tasks.lock(seen.id)
    if task is None or task.finished_at is not None:
        return
    due_at = await unit.now() if task.lease_token is None else task.due_at
    await unit.tasks.put(replace(task, due_at=due_at, **changes))  # type: ignore[arg-type]  # texts
    await unit.emit(Event(kind="task.queued", subject=task.id, tenant_id=task.tenant_id))
