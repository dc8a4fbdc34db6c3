"""What a task does next: a pure function of its stored steps.

A saga is a literal list of steps. The planner never asks the world; whoever carries a step out
reads back what is there first, so that repeating any step is safe. Undoing walks the same list
backwards over what may have left something behind.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from gpucloud_core.kernel.unit import Json
from gpucloud_core.work.model import Step, StepStatus, Task, TaskStatus

FIRST_RETRY: Final = timedelta(seconds=2)
LAST_RETRY: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """One step of a saga, as written.

    Attributes:
        usual: how long it takes until history says better.
        timeout: after which an attempt's outcome is unknown and read back.
        attempts: how often it is tried before it has failed.
        leaves: it can leave something outside, so it has an undo.
        commits: its success is the point of no return; a cancel that came first wins.
        shares_begin: writing that it begins locks nothing but the task's own row, and it is held
            back by nobody; so that may be written in one transaction with other tasks'.
        shares_end: the same of writing what its success means.
    """

    key: str
    title: str
    usual: timedelta
    timeout: timedelta = timedelta(seconds=60)
    attempts: int = 5
    leaves: bool = False
    commits: bool = False
    shares_begin: bool = False
    shares_end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Saga:
    """A kind of task: its steps in order, and whether a failure or a cancel undoes them.

    ``shares_finish``: writing what its success means locks nothing but the task's own row.
    """

    kind: str
    title: str
    steps: tuple[StepPlan, ...]
    undoes: bool
    undo_attempts: int = 8
    shares_finish: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(plan.key for plan in self.steps)

    def plan_of(self, key: str) -> StepPlan:
        return next(plan for plan in self.steps if plan.key == key)

    def may_share_after(self, key: str) -> bool:
        """Tell whether what follows the success of ``key`` locks the task's own row only."""
        place = next(place for place, plan in enumerate(self.steps) if plan.key == key)
        if not self.steps[place].shares_end:
            return False
        is_last = place + 1 == len(self.steps)
        return self.shares_finish if is_last else self.steps[place + 1].shares_begin

    def fresh_steps(self, usual: Mapping[str, int]) -> tuple[Step, ...]:
        """Return a new task's steps; ``usual`` has seconds from history where there are any."""
        return tuple(
            Step(
                key=plan.key,
                title=plan.title,
                usual_seconds=max(1, usual.get(plan.key, int(plan.usual.total_seconds()))),
            )
            for plan in self.steps
        )


@dataclass(frozen=True, slots=True)
class Do:
    step: str


@dataclass(frozen=True, slots=True)
class Undo:
    step: str


@dataclass(frozen=True, slots=True)
class Wait:
    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Finish:
    status: TaskStatus
    error: str = ""
    detail: str = ""


NextStep: TypeAlias = Do | Undo | Wait | Finish
StepChange: TypeAlias = Callable[[Step], Step]


def next_step(saga: Saga, task: Task, now: datetime) -> NextStep:
    """Return the one thing to do now. Total, and the same every time for the same rows."""
    if task.due_at is not None and task.due_at > now:
        return Wait(task.wait_reason or "it is not due yet", task.due_at)
    failed = next((step for step in task.steps if step.status is StepStatus.FAILED), None)
    cancelled = task.cancel_requested_at is not None and not is_committed(saga, task)
    doomed = bool(task.error) and not is_committed(saga, task)  # by what failed beside it
    if task.undoing or (saga.undoes and (cancelled or failed or doomed)):
        return _undo(saga, task)
    if failed is not None:
        return Finish(TaskStatus.FAILED, task.error or "step_failed", failed.reason)
    for step in task.steps:
        if step.status in {StepStatus.PENDING, StepStatus.ACTIVE}:
            return Do(step.key)
    return Finish(TaskStatus.SUCCEEDED)


def is_committed(saga: Saga, task: Task) -> bool:
    """Tell whether the task is past its point of no return."""
    return any(
        step.status is StepStatus.COMPLETED and saga.plan_of(step.key).commits
        for step in task.steps
    )


def _undo(saga: Saga, task: Task) -> NextStep:
    if task.data.get("unwind_failed"):
        return Finish(TaskStatus.FAILED, "unwind_failed", task.wait_reason)
    for step in reversed(task.steps):
        touched = step.status in {StepStatus.ACTIVE, StepStatus.COMPLETED, StepStatus.FAILED}
        if touched and saga.plan_of(step.key).leaves:
            return Undo(step.key)
    if task.error:
        return Finish(TaskStatus.FAILED, task.error, task.error_detail)
    return Finish(TaskStatus.CANCELLED)


def retry_delay(attempt: int, jitter: float) -> timedelta:
    """Return how long to wait after failed attempt ``attempt`` (from 1); jitter in [0, 1)."""
    delay = min(FIRST_RETRY * (1 << min(attempt - 1, 16)), LAST_RETRY)
    return delay * (0.75 + 0.5 * jitter)


def started(task: Task, key: str, now: datetime, intent: str) -> Task:
    """Return the task with step ``key`` under way, its intent written down."""
    return _with_step(
        task,
        key,
        lambda step: replace(
            step,
            status=StepStatus.ACTIVE,
            attempt=step.attempt + 1,
            intent=step.intent or intent,
            started_at=step.started_at or now,
            reason="",
        ),
    )


def completed(task: Task, key: str, now: datetime, result: Mapping[str, object]) -> Task:
    """Return the task with step ``key`` done and its result kept."""
    kept = {name: value for name, value in result.items() if isinstance(value, str | int | bool)}
    return _with_step(
        task,
        key,
        lambda step: replace(
            step, status=StepStatus.COMPLETED, finished_at=now, reason="", result=kept
        ),
    )


def attempt_failed(
    saga: Saga,
    task: Task,
    key: str,
    now: datetime,
    *,
    code: str,
    reason: str,
    jitter: float,
    unknown: bool = False,
    for_good: bool = False,
) -> Task:
    """Return the task after a failed attempt: to be tried again later, or failed for good.

    ``unknown``: nobody knows whether it was done, so the next attempt reads back first.
    """
    step = task.step(key)
    if step.attempt < saga.plan_of(key).attempts and not for_good:
        later = now + retry_delay(step.attempt, jitter)
        waiting = _with_step(task, key, lambda s: replace(s, reason=reason))
        doing = "checking what became of it" if unknown else "trying again"
        return replace(waiting, due_at=later, wait_reason=f"{doing}: {reason}")
    failed = _with_step(
        task, key, lambda s: replace(s, status=StepStatus.FAILED, finished_at=now, reason=reason)
    )
    return replace(failed, error=code, error_detail=reason, undoing=saga.undoes)


def undone(task: Task, key: str, now: datetime) -> Task:
    return replace(
        _with_step(task, key, lambda s: replace(s, status=StepStatus.UNDONE, finished_at=now)),
        undoing=True,
    )


def undo_failed(
    saga: Saga,
    task: Task,
    key: str,
    now: datetime,
    *,
    reason: str,
    jitter: float,
    for_good: bool = False,
) -> Task:
    """Return the task after a failed undo: to be tried again, or given up and left to people."""
    attempts = task.data.get("undo_attempts", 0)
    count = (attempts if isinstance(attempts, int) else 0) + 1
    gave_up = for_good or count >= saga.undo_attempts
    data: dict[str, Json] = {**task.data, "undo_attempts": count}
    if gave_up:
        data["unwind_failed"] = True
    return replace(
        _with_step(task, key, lambda s: replace(s, reason=reason)),
        undoing=True,
        data=data,
        due_at=None if gave_up else now + retry_delay(count, jitter),
        wait_reason=f"undoing again: {reason}",
    )


def skip_rest(task: Task) -> Task:
    """Return the task with steps that never began marked skipped, for when it ended early."""
    return replace(
        task,
        steps=tuple(
            replace(step, status=StepStatus.SKIPPED) if step.status is StepStatus.PENDING else step
            for step in task.steps
        ),
    )


def _with_step(task: Task, key: str, change: StepChange) -> Task:
    return replace(
        task, steps=tuple(change(step) if step.key == key else step for step in task.steps)
    )
