"""Carries tasks out: lease, plan, write the intent, act outside, apply if the lease still holds.

Each turn is one transaction that applies the last outcome and writes the next intent, and then
one call outside any transaction. A worker that lost its lease finds another token in the row and
drops its result. Losing a worker loses nothing: the row falls due again, soon, as a lease is short
and is renewed for as long as the call takes. Losing the database for a moment costs that moment:
a turn is taken again until it is certain, and an outcome that a commit without an answer had
applied is known by the row's generation.

Turns that lock nothing but their task's own row, as their saga declares, share a transaction with
those that are due at the same moment. Such a transaction waits for no row: whoever finds its row
held, or is to do something else after all, takes its turn alone, and so does everyone of a
transaction that was refused.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Generic, TypeAlias

from gpucloud_core.kernel.errors import Conflict, DomainError, ErrorKind, Unavailable
from gpucloud_core.kernel.faults import outside
from gpucloud_core.kernel.ids import Ids, TaskId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.work.model import Task
from gpucloud_core.work.plan import Do, Undo
from gpucloud_core.work.together import Together
from gpucloud_core.work.turn import Actions, Jitter, Outcome, Taken, Turn, U, is_ours, leased

LEASE: Final = timedelta(seconds=15)
BEATS: Final = 3  # how often a lease is renewed before it would end
PAUSE: Final = timedelta(seconds=1)
PATIENCE: Final = timedelta(seconds=30)

_CALL: Final = outside(
    "work",
    "call",
    before="The intent is committed under a lease; nothing was asked of the outside.",
    after="The outside has answered in full, and nobody has written it down.",
)


class StepTimedOut(DomainError):
    """A step did not answer in time; what it did is read back before it is tried again."""

    code = "step_timed_out"
    kind = ErrorKind.UNAVAILABLE
    next_step = "Nothing to do: it is read back and tried again."


@dataclass(frozen=True, slots=True)
class _Wish:
    """Whose turn it is, for a transaction that many share."""

    task_id: TaskId
    token: str
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class _Alone:
    """This turn needs a transaction of its own; ``seen`` is the row, if it was read."""

    seen: Task | None = None


_Answer: TypeAlias = Taken | _Alone | None


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
    together: Together[_Wish, _Answer] = field(default_factory=Together, repr=False)

    async def __call__(self, task_id: TaskId) -> None:
        token = self.jitter.token()
        outcome: Outcome | None = None
        task: Task | None = None
        while True:
            turn = await self._sure_turn(task_id, token, outcome, task)
            if turn is None:
                return
            task, move = turn
            async with _CALL, self._held(task_id, token):
                outcome = await self._act(task, move)

    async def _sure_turn(
        self, task_id: TaskId, token: str, outcome: Outcome | None, known: Task | None
    ) -> Taken | None:
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
                    await unit.tasks.put(leased(task, await unit.now(), self.lease))

    async def _turn(
        self, task_id: TaskId, token: str, outcome: Outcome | None, known: Task | None
    ) -> Taken | None:
        """Apply the last outcome and write the next intent; None ends the run."""
        if not self._may_share(outcome, known):
            return await self._turn_alone(task_id, token, outcome, known)
        try:
            answer = await self.together(_Wish(task_id, token, outcome), self._turns)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001  one's fault is not the others': each finds out alone
            answer = _Alone()
        if isinstance(answer, _Alone):
            return await self._turn_alone(task_id, token, outcome, known or answer.seen)
        return answer

    def _may_share(self, outcome: Outcome | None, known: Task | None) -> bool:
        """Tell whether it is worth while to ask for a shared turn."""
        if known is None or outcome is None:
            return known is None
        is_done = isinstance(outcome.move, Do) and outcome.error is None
        return is_done and self.actions[known.kind].saga.may_share_after(outcome.move.step)

    async def _turn_alone(
        self, task_id: TaskId, token: str, outcome: Outcome | None, known: Task | None
    ) -> Taken | None:
        """Take a turn in a transaction of its own.

        What the task is about never changes, so ``known``, the row as this run last saw it, is as
        good as another look at which locks come first.
        """
        async with self.transactions.begin(Scope.platform()) as unit:
            peek = known or await unit.tasks.get(task_id)
            if peek is None or peek.kind not in self.actions:
                return None
            actions = self.actions[peek.kind]
            await actions.lock(unit, peek)
            task = await unit.tasks.lock(task_id)
            now = await unit.now()
            if task is None or not is_ours(task, token, outcome, now):
                return None
            turn = self._turn_of(task, token, outcome, now)
            has_failed = turn.news is not None and turn.news.error is not None
            turn.decide(is_late=has_failed and await actions.is_late(unit, task))
            await turn.write(unit)
            await unit.tasks.keep(turn.task, turn.story)
            return await turn.close(unit)

    async def _turns(self, wishes: Sequence[_Wish]) -> Sequence[_Answer]:
        """Take the turns that may be shared, in one transaction; the others are to be alone."""
        answers: dict[int, _Answer] = {}
        async with self.transactions.begin(Scope.platform()) as unit:
            rows = {task.id: task for task in await unit.tasks.lock_free(_ids(wishes))}
            now = await unit.now()
            turns: dict[int, Turn[U]] = {}
            for place, wish in enumerate(wishes):
                task = rows.pop(wish.task_id, None)  # of two runs of a task, one gets the row
                if task is None:
                    answers[place] = _Alone()
                elif task.kind not in self.actions or not is_ours(
                    task, wish.token, wish.outcome, now
                ):
                    answers[place] = None
                else:
                    turn = self._turn_of(task, wish.token, wish.outcome, now)
                    turn.decide()
                    if turn.may_share:
                        turns[place] = turn
                    else:
                        answers[place] = _Alone(task)
            for turn in turns.values():
                await turn.write(unit)
            await unit.tasks.keep_all([(turn.task, turn.story) for turn in turns.values()])
            for place, turn in turns.items():
                answers[place] = await turn.close(unit)
        return [answers[place] for place in range(len(wishes))]

    def _turn_of(self, task: Task, token: str, outcome: Outcome | None, now: datetime) -> Turn[U]:
        return Turn(
            actions=self.actions[task.kind],
            task=task,
            token=token,
            outcome=outcome,
            now=now,
            lease=self.lease,
            ids=self.ids,
            jitter=self.jitter,
        )

    async def _act(self, task: Task, move: Do | Undo) -> Outcome:
        actions = self.actions[task.kind]
        step = task.step(move.step)
        timeout = actions.saga.plan_of(move.step).timeout.total_seconds()
        try:
            async with asyncio.timeout(timeout):
                if isinstance(move, Undo):
                    await actions.undo(task, step)
                    return Outcome(task.generation, move)
                return Outcome(task.generation, move, await actions.do(task, step))
        except TimeoutError:
            late = StepTimedOut(f"no answer within {timeout:.0f} s")
            return Outcome(task.generation, move, error=late)
        except DomainError as error:
            return Outcome(task.generation, move, error=error)


def _ids(wishes: Sequence[_Wish]) -> Sequence[TaskId]:
    return list(dict.fromkeys(wish.task_id for wish in wishes))
