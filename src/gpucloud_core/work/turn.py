"""One turn of a task whose row is locked: decide what is next, then write it down.

Deciding is pure: what came of the last call is applied to the row, and the planner says what to
do. Writing calls the hooks of the task's kind, which write what that means beside the task.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from gpucloud_core.kernel.errors import DomainError, ErrorKind
from gpucloud_core.kernel.ids import Ids
from gpucloud_core.kernel.unit import Json
from gpucloud_core.work import plan
from gpucloud_core.work.model import Step, StepStatus, Task, TaskEvent, TaskEventKind, TaskStatus
from gpucloud_core.work.plan import Do, Finish, NextStep, Saga, Undo, Wait
from gpucloud_core.work.ports import WorkUnit

FOR_OTHERS: Final = timedelta(seconds=10)  # they wake it; this is in case they do not

U = TypeVar("U", bound=WorkUnit)
U_contra = TypeVar("U_contra", bound=WorkUnit, contravariant=True)
Result: TypeAlias = Mapping[str, Json]
Taken: TypeAlias = tuple[Task, Do | Undo]
"""A turn that leads to a call: the task as it is written now, and what to do."""


class OutOfTime(DomainError):
    """It was not done within the time that it may take."""

    code = "out_of_time"
    kind = ErrorKind.CONFLICT
    next_step = "Ask for it again if it is still wanted; a launch that came too late is not billed."


class Jitter(Protocol):
    def jitter(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def token(self) -> str: ...


class Actions(Protocol[U_contra]):
    """What one kind of task means. ``do`` and ``undo`` act outside; the rest is transactional."""

    @property
    def saga(self) -> Saga: ...

    async def lock(self, unit: U_contra, task: Task) -> None:
        """Take the locks that come before the task's own, in the global order."""
        ...

    async def do(self, task: Task, step: Step) -> Result:
        """Do one step, idempotently.

        Raises:
            OutOfTime: it is too late for it, so it is not tried again.
            DomainError: it did not work.
        """
        ...

    async def undo(self, task: Task, step: Step) -> None:
        """Undo whatever one step may have left, idempotently."""
        ...

    def intent(self, task: Task, step: str) -> str:
        """Name the outside object the step makes, before it is made."""
        ...

    async def held_back(self, unit: U_contra, task: Task, step: str) -> str:
        """Say why the step has to wait for other tasks; nothing, if it may begin."""
        ...

    async def is_late(self, unit: U_contra, task: Task) -> bool:
        """Tell whether the time is over in which it is tried again: what fails now has failed."""
        ...

    async def step_begun(self, unit: U_contra, task: Task, step: str) -> None:
        """Write what must be true in the database while the step runs."""
        ...

    async def step_done(self, unit: U_contra, task: Task, step: Step) -> None:
        """Write what the step's success means, in the transaction that completes it."""
        ...

    async def undoing(self, unit: U_contra, task: Task) -> None:
        """Write that the task turned round."""
        ...

    async def finished(self, unit: U_contra, task: Task, finish: Finish) -> None:
        """Write what the end of the task means."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the last call, which the row's ``generation`` ordered."""

    generation: int
    move: Do | Undo
    result: Result | None = None
    error: DomainError | None = None


def is_ours(task: Task, token: str, outcome: Outcome | None, now: datetime) -> bool:
    """Tell whether who holds ``token`` may take a turn.

    Not where the task has ended, where another worker's lease lives, or where the lease under
    which ``outcome`` came about is lost: a late result is dropped.
    """
    if task.finished_at is not None:
        return False
    if task.lease_token == token:
        return True
    is_held = task.lease_token is not None and (task.lease_until or now) > now
    return not is_held and outcome is None


def leased(task: Task, now: datetime, lease: timedelta) -> Task:
    return replace(task, lease_until=now + lease, due_at=now + lease)


@dataclass(slots=True, kw_only=True)
class Turn(Generic[U]):
    """One turn. ``decide``, ``write``, store ``task`` with its ``story``, ``close``: in this order.

    Attributes:
        task: as it was read under its lock; in the end, as it is to be stored.
        token: of the worker whose turn it is; the row carries it, or nobody's that lives.
        move: what is next, once it is decided.
    """

    actions: Actions[U]
    task: Task
    token: str
    outcome: Outcome | None
    now: datetime
    lease: timedelta
    ids: Ids
    jitter: Jitter
    move: NextStep = field(init=False)
    story: list[TaskEvent] = field(default_factory=list)
    _completed: Step | None = None
    _has_turned_round: bool = False

    @property
    def news(self) -> Outcome | None:
        """What came of the last call, unless it is written down already."""
        is_new = self.outcome is not None and self.outcome.generation == self.task.generation
        return self.outcome if is_new else None

    def decide(self, *, is_late: bool = False) -> None:
        """Apply the outcome and plan what is next, without touching anything outside.

        ``is_late``: what has failed now is not tried again.
        """
        news = self.news
        if self.task.lease_token == self.token:
            self.task = replace(self.task, due_at=None)  # it is ours to do, and now
        if news is not None:
            self._apply(news, is_late=is_late)
        self.move = plan.next_step(self.actions.saga, self.task, self.now)

    @property
    def may_share(self) -> bool:
        """Tell whether what is decided was declared to lock nothing but the task's own row."""
        saga, done = self.actions.saga, self._completed
        if done is not None:
            if not saga.plan_of(done.key).shares_end:
                return False
        elif self.story:
            return False  # something failed or is being undone
        match self.move:
            case Do(key):
                return saga.plan_of(key).shares_begin
            case Finish(status):
                return status is TaskStatus.SUCCEEDED and saga.shares_finish
            case Wait():
                return True
            case Undo():
                return False

    async def write(self, unit: U) -> None:
        """Write what the decision means beside the task, and make the task's new row."""
        if self._completed is not None:
            await self.actions.step_done(unit, self.task, self._completed)
        elif self._has_turned_round:
            await self.actions.undoing(unit, self.task)
        if isinstance(self.move, Do):
            why = await self.actions.held_back(unit, self.task, self.move.step)
            if why:
                self.move = Wait(why, self.now + FOR_OTHERS)
        match self.move:
            case Wait(reason, until):
                self.task = replace(self.task, wait_reason=reason, due_at=until, lease_token=None)
            case Finish():
                self._finish(self.move)
            case Do(key):
                intent = self.actions.intent(self.task, key)
                self.task = plan.started(self.task, key, self.now, intent)
                await self.actions.step_begun(unit, self.task, key)
                self._tell(TaskEventKind.STEP_ACTIVE, key)
                self._take()
            case Undo(key):
                if not self.task.undoing:
                    self.task = replace(self.task, undoing=True)
                    await self.actions.undoing(unit, self.task)
                self._tell(TaskEventKind.STEP_UNDOING, key)
                self._take()

    async def close(self, unit: U) -> Taken | None:
        """Write what the end means, if this is one; return what to do, if anything is."""
        match self.move:
            case Finish() as finish:
                await self.actions.finished(unit, self.task, finish)
                return None
            case Wait():
                return None
            case Do() | Undo() as move:
                return self.task, move

    def _take(self) -> None:
        self.task = replace(
            leased(self.task, self.now, self.lease),
            status=TaskStatus.RUNNING,
            started_at=self.task.started_at or self.now,
            lease_token=self.token,
            wait_reason="",
            generation=self.task.generation + 1,
        )

    def _apply(self, outcome: Outcome, *, is_late: bool) -> None:
        saga, task, now, key = self.actions.saga, self.task, self.now, outcome.move.step
        match outcome:
            case Outcome(move=Do(), error=None) if (
                task.cancel_requested_at is not None and saga.plan_of(key).commits
            ):
                pass  # the cancel came first: the planner turns round
            case Outcome(move=Do(), error=None):
                self.task = plan.completed(task, key, now, outcome.result or {})
                self._completed = self.task.step(key)
                self._tell(TaskEventKind.STEP_COMPLETED, key)
            case Outcome(move=Undo(), error=None):
                self.task = plan.undone(task, key, now)
                self._tell(TaskEventKind.STEP_UNDONE, key)
            case Outcome(move=Do(), error=DomainError() as error):
                self.task = plan.attempt_failed(
                    saga,
                    task,
                    key,
                    now,
                    code=error.code,
                    reason=error.detail,
                    jitter=self.jitter.jitter(),
                    unknown=error.kind is ErrorKind.UNAVAILABLE,
                    for_good=isinstance(error, OutOfTime) or is_late,
                )
                failed = self.task.step(key).status is StepStatus.FAILED
                kind = TaskEventKind.STEP_FAILED if failed else TaskEventKind.STEP_RETRYING
                self._tell(kind, key, error.detail)
                self._has_turned_round = self.task.undoing
            case Outcome(move=Undo(), error=DomainError() as error):
                self.task = plan.undo_failed(
                    saga,
                    task,
                    key,
                    now,
                    reason=error.detail,
                    jitter=self.jitter.jitter(),
                    for_good=is_late,
                )
                self._tell(TaskEventKind.STEP_UNDO_RETRYING, key, error.detail)

    def _finish(self, finish: Finish) -> None:
        self.task = replace(
            plan.skip_rest(self.task),
            status=finish.status,
            error=finish.error,
            error_detail=finish.detail,
            finished_at=self.now,
            due_at=None,
            lease_token=None,
            lease_until=None,
            wait_reason="",
        )
        self._tell(TaskEventKind(f"task.{finish.status}"), "", finish.detail)

    def _tell(self, kind: TaskEventKind, step: str, text: str = "") -> None:
        self.story.append(
            TaskEvent(
                id=self.ids.new("evt"),
                tenant_id=self.task.tenant_id,
                task_id=self.task.id,
                at=self.now,
                kind=kind,
                step=step,
                text=text,
            )
        )
