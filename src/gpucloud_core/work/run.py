"""Carries tasks out: lease, plan, write the intent, act outside, apply if the lease still holds.

Each turn is one transaction that applies the last outcome and writes the next intent, and then
one call outside any transaction. A worker that lost its lease finds another token in the row and
drops its result. Losing a worker loses nothing: the row falls due again, soon, as a lease is short
and is renewed for as long as the call takes. Losing the database for a moment costs that moment:
a turn is taken again until it is certain, and an outcome that a commit without an answer had
applied is known by the row's generation.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from gpucloud_core.kernel.errors import Conflict, DomainError, ErrorKind, Unavailable
from gpucloud_core.kernel.faults import outside
from gpucloud_core.kernel.ids import Ids, TaskId
from gpucloud_core.kernel.unit import Json, Scope, Transactions
from gpucloud_core.work import plan
from gpucloud_core.work.model import Step, StepStatus, Task, TaskEvent, TaskEventKind, TaskStatus
from gpucloud_core.work.plan import Do, Finish, NextStep, Saga, Undo, Wait
from gpucloud_core.work.ports import WorkUnit

LEASE: Final = timedelta(seconds=15)
BEATS: Final = 3  # how often a lease is renewed before it would end
PAUSE: Final = timedelta(seconds=1)
PATIENCE: Final = timedelta(seconds=30)
FOR_OTHERS: Final = timedelta(seconds=10)  # they wake it; this is in case they do not

_CALL: Final = outside(
    "work",
    "call",
    before="The intent is committed under a lease; nothing was asked of the outside.",
    after="The outside has answered in full, and nobody has written it down.",
)

U = TypeVar("U", bound=WorkUnit)
U_contra = TypeVar("U_contra", bound=WorkUnit, contravariant=True)
Result: TypeAlias = Mapping[str, Json]


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
class _Outcome:
    """What came of the last call, which the row's ``generation`` ordered."""

    generation: int
    move: Do | Undo
    result: Result | None = None
    error: DomainError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTask(Generic[U]):
    """Take a task as far as it goes now. Safe to call any number of times, from anywhere.

    ``lease`` is for how long a worker that is not heard of keeps its task. While the database
    does not answer, a turn is tried again after each ``pause``, as long as ``patience`` lasts.
    """

    transactions: Transactions[U]
    ids: Ids
    jitter: Jitter
    actions: Mapping[str, Actions[U]]
    lease: timedelta = LEASE
    pause: timedelta = PAUSE
    patience: timedelta = PATIENCE

    async def __call__(self, task_id: TaskId) -> None:
        token = self.jitter.token()
        outcome: _Outcome | None = None
        task: Task | None = None
        while True:
            turn = await self._sure_turn(task_id, token, outcome, task)
            if turn is None:
                return
            task, move = turn
            async with _CALL, self._held(task_id, token):
                outcome = await self._act(task, move)

    async def _sure_turn(
        self, task_id: TaskId, token: str, outcome: _Outcome | None, known: Task | None
    ) -> tuple[Task, Do | Undo] | None:
        """Take a turn; while the rows cannot be had, again and again.

        Whether a turn that ended in trouble was committed is not known, and need not be.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + self.patience.total_seconds()
        while True:
            try:
                return await self._turn(task_id, token, outcome, known)
            except (Unavailable, Conflict):
                if clock() >= end:
                    raise
                await asyncio.sleep(self.pause.total_seconds())

    @asynccontextmanager
    async def _held(self, task_id: TaskId, token: str) -> AsyncIterator[None]:
        """Keep the lease for as long as the block takes."""
        beating = asyncio.create_task(self._beat(task_id, token))
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.wait({beating})

    async def _beat(self, task_id: TaskId, token: str) -> None:
        while True:
            await asyncio.sleep(self.lease.total_seconds() / BEATS)
            with suppress(Unavailable, Conflict):  # the next beat may still be in time
                async with self.transactions.begin(Scope.platform()) as unit:
                    task = await unit.tasks.lock(task_id)
                    if task is None or task.lease_token != token:
                        return
                    await unit.tasks.put(self._leased(task, await unit.now()))

    def _leased(self, task: Task, now: datetime) -> Task:
        return replace(task, lease_until=now + self.lease, due_at=now + self.lease)

    async def _turn(
        self, task_id: TaskId, token: str, outcome: _Outcome | None, known: Task | None
    ) -> tuple[Task, Do | Undo] | None:
        """Apply the last outcome and write the next intent; None ends the run.

        What the task is about never changes, so ``known``, the row as this run last saw it, is as
        good as another look at which locks come first.
        """
        story: list[TaskEvent] = []
        async with self.transactions.begin(Scope.platform()) as unit:
            peek = known or await unit.tasks.get(task_id)
            if peek is None or peek.kind not in self.actions:
                return None
            actions = self.actions[peek.kind]
            await actions.lock(unit, peek)
            task = await unit.tasks.lock(task_id)
            if task is None or task.finished_at is not None:
                return None
            now = await unit.now()
            held = task.lease_token is not None and task.lease_until is not None
            if held and task.lease_token != token and (task.lease_until or now) > now:
                return None  # another worker's
            if outcome is not None and task.lease_token != token:
                return None  # ours no longer: drop the late result
            if task.lease_token == token:
                task = replace(task, due_at=None)  # it is ours to do, and now
            if outcome is not None and outcome.generation == task.generation:
                task = await self._apply(unit, actions, task, outcome, story)
            move = plan.next_step(actions.saga, task, now)
            if isinstance(move, Do) and (why := await actions.held_back(unit, task, move.step)):
                move = Wait(why, now + FOR_OTHERS)
            return await self._prepare(unit, actions, task, move, token, story)

    async def _prepare(
        self,
        unit: U,
        actions: Actions[U],
        task: Task,
        move: NextStep,
        token: str,
        story: list[TaskEvent],
    ) -> tuple[Task, Do | Undo] | None:
        now = await unit.now()
        match move:
            case Wait(reason, until):
                waiting = replace(task, wait_reason=reason, due_at=until, lease_token=None)
                await unit.tasks.keep(waiting, story)
                return None
            case Finish():
                await self._finish(unit, actions, task, move, story)
                return None
            case Do(key):
                task = plan.started(task, key, now, actions.intent(task, key))
                await actions.step_begun(unit, task, key)
                story.append(self._line(task, now, TaskEventKind.STEP_ACTIVE, key))
            case Undo(key):
                if not task.undoing:
                    task = replace(task, undoing=True)
                    await actions.undoing(unit, task)
                story.append(self._line(task, now, TaskEventKind.STEP_UNDOING, key))
        task = replace(
            self._leased(task, now),
            status=TaskStatus.RUNNING,
            started_at=task.started_at or now,
            lease_token=token,
            wait_reason="",
            generation=task.generation + 1,
        )
        await unit.tasks.keep(task, story)
        return task, move

    async def _act(self, task: Task, move: Do | Undo) -> _Outcome:
        actions = self.actions[task.kind]
        step = next(step for step in task.steps if step.key == move.step)
        timeout = actions.saga.plan_of(move.step).timeout.total_seconds()
        try:
            async with asyncio.timeout(timeout):
                if isinstance(move, Undo):
                    await actions.undo(task, step)
                    return _Outcome(task.generation, move)
                return _Outcome(task.generation, move, await actions.do(task, step))
        except TimeoutError:
            late = StepTimedOut(f"no answer within {timeout:.0f} s")
            return _Outcome(task.generation, move, error=late)
        except DomainError as error:
            return _Outcome(task.generation, move, error=error)

    async def _apply(
        self,
        unit: U,
        actions: Actions[U],
        task: Task,
        outcome: _Outcome,
        story: list[TaskEvent],
    ) -> Task:
        now, key = await unit.now(), outcome.move.step
        match outcome:
            case _Outcome(move=Do(), error=None) if (
                task.cancel_requested_at is not None and actions.saga.plan_of(key).commits
            ):
                pass  # the cancel came first: the planner turns round
            case _Outcome(move=Do(), error=None):
                task = plan.completed(task, key, now, outcome.result or {})
                step = next(step for step in task.steps if step.key == key)
                await actions.step_done(unit, task, step)
                story.append(self._line(task, now, TaskEventKind.STEP_COMPLETED, key))
            case _Outcome(move=Undo(), error=None):
                task = plan.undone(task, key, now)
                story.append(self._line(task, now, TaskEventKind.STEP_UNDONE, key))
            case _Outcome(move=Do(), error=DomainError() as error):
                task = plan.attempt_failed(
                    actions.saga,
                    task,
                    key,
                    now,
                    code=error.code,
                    reason=error.detail,
                    jitter=self.jitter.jitter(),
                    unknown=error.kind is ErrorKind.UNAVAILABLE,
                    for_good=isinstance(error, OutOfTime) or await actions.is_late(unit, task),
                )
                failed = any(s.key == key and s.status is StepStatus.FAILED for s in task.steps)
                kind = TaskEventKind.STEP_FAILED if failed else TaskEventKind.STEP_RETRYING
                story.append(self._line(task, now, kind, key, error.detail))
                if task.undoing:
                    await actions.undoing(unit, task)
            case _Outcome(move=Undo(), error=DomainError() as error):
                jitter = self.jitter.jitter()
                task = plan.undo_failed(
                    actions.saga,
                    task,
                    key,
                    now,
                    reason=error.detail,
                    jitter=jitter,
                    for_good=await actions.is_late(unit, task),
                )
                story.append(
                    self._line(task, now, TaskEventKind.STEP_UNDO_RETRYING, key, error.detail)
                )
        return task

    async def _finish(
        self,
        unit: U,
        actions: Actions[U],
        task: Task,
        finish: Finish,
        story: list[TaskEvent],
    ) -> None:
        now = await unit.now()
        done = replace(
            plan.skip_rest(task),
            status=finish.status,
            error=finish.error,
            error_detail=finish.detail,
            finished_at=now,
            due_at=None,
            lease_token=None,
            lease_until=None,
            wait_reason="",
        )
        last = self._line(done, now, TaskEventKind(f"task.{finish.status}"), "", finish.detail)
        await unit.tasks.keep(done, (*story, last))
        await actions.finished(unit, done, finish)

    def _line(
        self, task: Task, now: datetime, kind: TaskEventKind, step: str, text: str = ""
    ) -> TaskEvent:
        return TaskEvent(
            id=self.ids.new("evt"),
            tenant_id=task.tenant_id,
            task_id=task.id,
            at=now,
            kind=kind,
            step=step,
            text=text,
        )


class StepTimedOut(DomainError):
    """A step did not answer in time; what it did is read back before it is tried again."""

    code = "step_timed_out"
    kind = ErrorKind.UNAVAILABLE
    next_step = "Nothing to do: it is read back and tried again."


class OutOfTime(DomainError):
    """It was not done within the time that it may take."""

    code = "out_of_time"
    kind = ErrorKind.CONFLICT
    next_step = "Ask for it again if it is still wanted; a launch that came too late is not billed."
