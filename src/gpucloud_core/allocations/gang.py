"""Machines that run together or not at all: one fate for the members of a launch.

None is handed over, and so none is billed, before all of them passed the health gate; when one
fails or is cancelled on the way there, all of them turn round. Once the first handover has begun
nobody turns back: a cancel is refused, and a late handover is still made. A turn of a task holds
its tenant's account, and so does a cancel, so members never judge each other in the same moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from gpucloud_core.allocations.apply import ask_to_cancel
from gpucloud_core.allocations.errors import NotCancellable
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.allocations.saga import PROVISION
from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.kernel.unit import Event, Json
from gpucloud_core.work.model import StepStatus, Task
from gpucloud_core.work.plan import is_committed

NAME: Final = "gang"
LAST: Final = "hand_over"
_SOON: Final = "The others follow in a moment."


def of_launch(request: LaunchRequest, first: str) -> Mapping[str, Json]:
    """Return what a member's task carries; nothing for machines that stand alone."""
    return {NAME: first} if request.together and request.count > 1 else {}


async def others_of(unit: AllocationUnit, task: Task) -> Sequence[Task]:
    """Return the tasks that share this one's fate."""
    name = task.data.get(NAME)
    if name is None or task.parent_id is None:
        return ()
    members = await unit.tasks.find(parent_id=task.parent_id)
    return [one for one in members if one.id != task.id and one.data.get(NAME) == name]


def is_ready(task: Task) -> bool:
    """Tell whether a member has passed everything before the handover, and is to go there."""
    turns_round = task.undoing or task.error or task.cancel_requested_at is not None
    before = [step for step in task.steps if step.key != LAST]
    return not turns_round and all(step.status is StepStatus.COMPLETED for step in before)


async def is_handed_over(unit: AllocationUnit, task_id: TaskId) -> bool:
    """Tell whether a handover has begun, this member's or another's; never for one alone."""
    task = await unit.tasks.get(task_id)
    others = () if task is None else await others_of(unit, task)
    return any(_is_at_last(one) for one in (task, *others) if one is not None and others)


async def cancel(unit: AllocationUnit, task_id: TaskId) -> None:
    """Ask a launch to stop at its next step boundary; locks are held.

    Raises:
        NotCancellable: it runs together with others, and a handover has begun.
    """
    if await is_handed_over(unit, task_id):
        raise NotCancellable(f"Its machines run together, and the first is handed over. {_SOON}")
    await ask_to_cancel(unit, task_id)


def _is_at_last(task: Task) -> bool:
    touched = {StepStatus.ACTIVE, StepStatus.COMPLETED}
    return any(step.key == LAST and step.status in touched for step in task.steps)


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
