"""A saga under every failure: each step repeated, each step failing, each undo repeated.

Seen to fail when ``RunTask`` applied a late result without comparing lease tokens (the outside
work was then counted done by a worker that had lost it), when an undo skipped steps that were only
``active`` (a slice made by a killed worker stayed), and when an outcome that a commit without an
answer had applied was applied again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucloud_adapters.memory.unit import MemoryTransactions, MemoryUnit
from gpucloud_core.kernel.errors import Unavailable
from gpucloud_core.kernel.ids import ProjectId, TaskId, TenantId, entity_id
from gpucloud_core.kernel.unit import Json, Scope
from gpucloud_core.work.model import Step, StepStatus, Task, TaskStatus
from gpucloud_core.work.plan import Finish, Saga, StepPlan
from gpucloud_core.work.run import RunTask

SECOND = timedelta(seconds=1)
SAGA = Saga(
    kind="build",
    title="Build",
    undoes=True,
    undo_attempts=4,
    steps=(
        StepPlan(key="look", title="Look", usual=SECOND, attempts=3),
        StepPlan(key="wall", title="Wall", usual=SECOND, attempts=3, leaves=True),
        StepPlan(key="roof", title="Roof", usual=SECOND, attempts=3, leaves=True),
        StepPlan(key="open", title="Open", usual=SECOND, commits=True),
    ),
)
KEYS = [plan.key for plan in SAGA.steps]


class SteppingClock:
    def __init__(self) -> None:
        self.instant = datetime(2026, 11, 22, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant


class CountedIds:
    def __init__(self) -> None:
        self._numbers = count(1)

    def new(self, prefix: str) -> str:
        return entity_id(prefix, next(self._numbers))


class CountedTokens:
    def __init__(self) -> None:
        self._numbers = count(1)

    def token(self) -> str:
        return f"lease-{next(self._numbers)}"

    def jitter(self) -> float:
        return 0.5


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


@dataclass
class Site:
    """The outside world of the saga, and what goes wrong in it.

    ``faults`` are taken in order at each call: fine, fails, works but the answer is lost, or the
    worker is killed before or after the work.
    """

    faults: list[str] = field(default_factory=list)
    standing: set[str] = field(default_factory=set)
    opened: int = 0
    ends: list[TaskStatus] = field(default_factory=list)
    saga: Saga = SAGA
    late: bool = False

    async def lock(self, unit: MemoryUnit, task: Task) -> None: ...

    def intent(self, task: Task, step: str) -> str:
        return f"{step} of {task.id}"

    async def step_begun(self, unit: MemoryUnit, task: Task, step: str) -> None: ...

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        self._strike(lambda: self.standing.add(step.key))
        return {"made": step.key}

    async def undo(self, task: Task, step: Step) -> None:
        self._strike(lambda: self.standing.discard(step.key))

    def _strike(self, work: Callable[[], None]) -> None:
        fault = self.faults.pop(0) if self.faults else "fine"
        if fault == "killed_before":
            raise Killed
        if fault == "fails":
            raise Unavailable("it did not work")
        work()
        if fault == "answer_lost":
            raise Unavailable("no answer")
        if fault == "killed_after":
            raise Killed

    async def step_done(self, unit: MemoryUnit, task: Task, step: Step) -> None:
        if step.key == "open":
            self.opened += 1

    async def undoing(self, unit: MemoryUnit, task: Task) -> None: ...

    async def held_back(self, unit: MemoryUnit, task: Task, step: str) -> str:
        return ""

    async def is_late(self, unit: MemoryUnit, task: Task) -> bool:
        return self.late

    async def finished(self, unit: MemoryUnit, task: Task, finish: Finish) -> None:
        self.ends.append(finish.status)


@dataclass
class Shaky:
    """A database that does not answer at a commit: it has done it, or it has not."""

    transactions: MemoryTransactions
    faults: list[str]

    @asynccontextmanager
    async def begin(self, scope: Scope) -> AsyncIterator[MemoryUnit]:
        fault = self.faults.pop(0) if self.faults else "fine"
        async with self.transactions.begin(scope) as unit:
            yield unit
            if fault == "rolled_back":
                raise Unavailable("no answer")
        if fault == "committed":
            raise Unavailable("no answer")

    look = begin


class World:
    def __init__(self, faults: list[str], commits: Sequence[str] = ()) -> None:
        self.clock = SteppingClock()
        self.transactions = MemoryTransactions(self.clock)
        self.site = Site(faults=faults)
        self.run: RunTask[MemoryUnit] = RunTask(
            transactions=Shaky(self.transactions, list(commits)),
            ids=CountedIds(),
            jitter=CountedTokens(),
            actions={"build": self.site},
            pause=timedelta(0),
        )
        self.task_id = TaskId(entity_id("tsk", 1))

    async def queue(self) -> None:
        task = Task(
            id=self.task_id,
            tenant_id=TenantId(entity_id("ten", 1)),
            project_id=ProjectId(entity_id("prj", 1)),
            kind="build",
            subject="house",
            steps=SAGA.fresh_steps({}),
            due_at=self.clock.now(),
            created_at=self.clock.now(),
        )
        async with self.transactions.begin(Scope.platform()) as unit:
            await unit.tasks.add(task)

    async def task(self) -> Task:
        async with self.transactions.begin(Scope.platform()) as unit:
            task = await unit.tasks.get(self.task_id)
        assert task is not None
        return task

    async def told(self, kind: str) -> list[str]:
        """Return the steps that events of this kind were about, in order."""
        async with self.transactions.begin(Scope.platform()) as unit:
            return [event.step for event in await unit.task_events.find(kind=kind)]

    async def ask_to_cancel(self) -> None:
        async with self.transactions.begin(Scope.platform()) as unit:
            task = await unit.tasks.lock(self.task_id)
            assert task is not None
            if task.finished_at is None:
                await unit.tasks.put(replace(task, cancel_requested_at=await unit.now()))

    async def turn(self) -> None:
        """Let a worker have a go; it may be killed in the middle."""
        with contextlib.suppress(Killed):
            await self.run(self.task_id)

    async def settle(self) -> Task:
        """Sweep due rows until nothing is due any more."""
        for _ in range(60):
            if (task := await self.task()).finished_at is not None:
                return task
            await self.turn()
            self.clock.instant += timedelta(minutes=3)
        raise AssertionError(f"it never ends: {await self.task()}")


FAULTS = ["fine", "fails", "answer_lost", "killed_before", "killed_after"]


class TestRunTask:
    @given(
        faults=st.lists(st.sampled_from(FAULTS), max_size=12),
        cancel_after=st.one_of(st.none(), st.integers(0, 3)),
    )
    @settings(max_examples=150, deadline=None)
    def test_ends_with_everything_or_nothing_standing(
        self, faults: list[str], cancel_after: int | None
    ) -> None:
        async def story() -> tuple[Task, Site]:
            world = World(list(faults))
            await world.queue()
            for _ in range(cancel_after or 0):
                await world.turn()
                world.clock.instant += timedelta(minutes=3)
            if cancel_after is not None:
                await world.ask_to_cancel()
            return await world.settle(), world.site

        task, site = asyncio.run(story())

        assert site.ends == [task.status], "the end is told once"
        if task.status is TaskStatus.SUCCEEDED:
            assert site.standing == {*KEYS}
            assert site.opened == 1
        elif task.error != "unwind_failed":
            assert not site.standing & {"wall", "roof"}, "undone, so nothing is left"
            assert site.opened == 0

    @pytest.mark.parametrize("place", range(4))
    @pytest.mark.parametrize("fault", ["answer_lost", "killed_before", "killed_after"])
    async def test_repeats_a_step_whose_outcome_is_unknown(self, place: int, fault: str) -> None:
        world = World(["fine"] * place + [fault])
        await world.queue()

        task = await world.settle()

        assert task.status is TaskStatus.SUCCEEDED
        assert task.steps[place].attempt == 2
        assert task.steps[place].intent == f"{KEYS[place]} of {world.task_id}"

    @pytest.mark.parametrize("place", range(1, 3))
    async def test_undoes_in_reverse_when_a_step_fails_for_good(self, place: int) -> None:
        world = World(["fine"] * place + ["fails"] * 3)
        await world.queue()

        task = await world.settle()

        assert task.status is TaskStatus.FAILED
        assert task.error == "unavailable"
        assert not world.site.standing & {"wall", "roof"}
        assert [step.status for step in task.steps][place:][1:] == [
            StepStatus.SKIPPED for _ in KEYS[place + 1 :]
        ]

    @pytest.mark.parametrize("fault", ["answer_lost", "killed_after", "fails"])
    async def test_repeats_an_undo(self, fault: str) -> None:
        world = World(["fine", "fine", "fails", "fails", "fails", fault])
        await world.queue()

        task = await world.settle()

        assert task.status is TaskStatus.FAILED
        assert not world.site.standing & {"wall", "roof"}

    async def test_gives_up_an_undo_that_never_works_and_says_so(self) -> None:
        world = World(["fine", "fine"] + ["fails"] * 20)
        await world.queue()

        task = await world.settle()

        assert (task.status, task.error) == (TaskStatus.FAILED, "unwind_failed")

    async def test_drops_the_result_of_a_worker_that_lost_its_lease(self) -> None:
        world = World(["fails"])
        await world.queue()
        gate, original, calls = asyncio.Event(), world.site.do, count()

        async def paused(task: Task, step: Step) -> Mapping[str, Json]:
            if next(calls) == 0:
                await gate.wait()
                return {"made": "late"}
            return await original(task, step)

        world.site.do = paused  # type: ignore[method-assign]  # the first worker hangs in a step
        first = asyncio.create_task(world.run(world.task_id))
        await asyncio.sleep(0.01)
        world.clock.instant += timedelta(minutes=5)
        await world.run(world.task_id)  # the second one fails, and waits for its next try
        waiting = await world.task()
        assert waiting.lease_token is None

        gate.set()
        await first

        assert await world.task() == waiting, "the late result changed nothing"

    async def test_undoes_what_a_killed_worker_may_have_made(self) -> None:
        world = World(["fine", "killed_after"])
        await world.queue()
        await world.turn()
        assert "wall" in world.site.standing

        await world.ask_to_cancel()
        task = await world.settle()

        assert task.status is TaskStatus.CANCELLED
        assert "wall" not in world.site.standing

    @given(commits=st.lists(st.sampled_from(["fine", "rolled_back", "committed"]), max_size=8))
    def test_goes_on_when_the_database_did_not_answer_for_a_moment(
        self, commits: list[str]
    ) -> None:
        async def story() -> tuple[World, Task]:
            world = World([], commits)
            await world.queue()
            await world.turn()
            return world, await world.task()

        world, task = asyncio.run(story())

        assert task.status is TaskStatus.SUCCEEDED
        assert asyncio.run(world.told("step.completed")) == KEYS
        assert asyncio.run(world.told("task.succeeded")) == [""]

    async def test_keeps_its_lease_for_as_long_as_a_step_takes(self) -> None:
        world = World([])
        await world.queue()
        run = replace(world.run, lease=timedelta(seconds=0.03))
        original = world.site.do

        async def slow(task: Task, step: Step) -> Mapping[str, Json]:
            begun = await world.task()
            world.clock.instant += timedelta(minutes=5)
            async with asyncio.timeout(5):
                while (await world.task()).lease_until == begun.lease_until:  # noqa: ASYNC110  time passes
                    await asyncio.sleep(0.01)
            assert replace(await world.task(), lease_until=None, due_at=None) == replace(
                begun, lease_until=None, due_at=None
            )
            return await original(task, step)

        world.site.do = slow  # type: ignore[method-assign]  # a node takes its time

        await run(world.task_id)

        assert (await world.task()).status is TaskStatus.SUCCEEDED
        assert world.site.opened == 1

    @pytest.mark.parametrize("works", [0, 2])
    async def test_tries_nothing_again_once_its_time_is_over(self, works: int) -> None:
        world = World(["fine"] * works + ["fails", "fails"])
        world.site.late = True
        await world.queue()

        task = await world.settle()

        assert task.status is TaskStatus.FAILED
        assert all(step.attempt <= 1 for step in task.steps)

    async def test_does_not_run_what_another_worker_holds(self) -> None:
        world = World(["killed_before"])
        await world.queue()
        await world.turn()

        await world.turn()

        assert (await world.task()).steps[0].attempt == 1

    async def test_lets_a_cancel_that_came_first_win_over_the_last_step(self) -> None:
        world = World([])
        await world.queue()
        original = world.site.do

        async def cancel_meanwhile(task: Task, step: Step) -> Mapping[str, Json]:
            if step.key == "open":
                await world.ask_to_cancel()
            return await original(task, step)

        world.site.do = cancel_meanwhile  # type: ignore[method-assign]  # a tenant is quicker

        task = await world.settle()

        assert task.status is TaskStatus.CANCELLED
        assert world.site.opened == 0
