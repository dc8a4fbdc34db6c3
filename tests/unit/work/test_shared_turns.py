"""Turns of many tasks in one transaction: each task comes to what it would have come to alone.

Seen to fail when two runs of one task in one transaction were both given the row (a step was done
twice), when what one hook raised was raised to everyone of its transaction (others were not
finished), and when a shared turn did not ask whose lease the row is under.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
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
from gpucloud_core.work.together import Together

SECOND = timedelta(seconds=1)
START = datetime(2026, 11, 22, tzinfo=UTC)


def saga(*, shares: bool) -> Saga:
    def step(
        key: str, *, leaves: bool = False, ends_alone: bool = False, commits: bool = False
    ) -> StepPlan:
        return StepPlan(
            key=key,
            title=key,
            usual=SECOND,
            attempts=2,
            leaves=leaves,
            commits=commits,
            shares_begin=shares,
            shares_end=shares and not ends_alone,
        )

    return Saga(
        kind="build",
        title="Build",
        undoes=True,
        undo_attempts=3,
        shares_finish=shares,
        steps=(
            step("look"),
            step("wall", leaves=True),
            step("roof", leaves=True, ends_alone=True),
            step("paint"),
            step("open", commits=True),
        ),
    )


KEYS = [plan.key for plan in saga(shares=True).steps]


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


class Clock:
    instant = START

    def now(self) -> datetime:
        return self.instant


class Numbers:
    """Ids and tokens that count."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def new(self, prefix: str) -> str:
        return entity_id(prefix, next(self._numbers))

    def token(self) -> str:
        return f"lease-{next(self._numbers)}"

    def jitter(self) -> float:
        return 0.5


@dataclass
class Site:
    """Where houses are built; each has faults of its own, which its calls take in order."""

    saga: Saga
    faults: dict[str, list[str]] = field(default_factory=dict)
    standing: set[tuple[str, str]] = field(default_factory=set)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    ends: dict[str, list[TaskStatus]] = field(default_factory=dict)
    poisoned: str = ""  # whose hooks fail

    async def lock(self, unit: MemoryUnit, task: Task) -> None: ...

    def intent(self, task: Task, step: str) -> str:
        return f"{step} of {task.subject}"

    async def held_back(self, unit: MemoryUnit, task: Task, step: str) -> str:
        return ""

    async def is_late(self, unit: MemoryUnit, task: Task) -> bool:
        return False

    async def step_begun(self, unit: MemoryUnit, task: Task, step: str) -> None: ...

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        self.calls[task.subject, step.key] += 1
        await asyncio.sleep(0)
        return self._strike(task, step, standing=True)

    async def undo(self, task: Task, step: Step) -> None:
        self._strike(task, step, standing=False)

    def _strike(self, task: Task, step: Step, *, standing: bool) -> Mapping[str, Json]:
        faults = self.faults.get(task.subject, [])
        fault = faults.pop(0) if faults else "fine"
        if fault == "killed_before":
            raise Killed
        if fault == "fails":
            raise Unavailable("it did not work")
        change = self.standing.add if standing else self.standing.discard
        change((task.subject, step.key))
        if fault == "answer_lost":
            raise Unavailable("no answer")
        if fault == "killed_after":
            raise Killed
        return {"made": step.key}

    async def step_done(self, unit: MemoryUnit, task: Task, step: Step) -> None:
        if task.subject == self.poisoned:
            raise RuntimeError("nobody foresaw this")

    async def undoing(self, unit: MemoryUnit, task: Task) -> None: ...

    async def finished(self, unit: MemoryUnit, task: Task, finish: Finish) -> None:
        self.ends.setdefault(task.subject, []).append(finish.status)


@dataclass
class Counting:
    """Transactions that are counted, and fail to answer when told so."""

    inner: MemoryTransactions
    begun: int = 0
    faults: list[str] = field(default_factory=list)

    def begin(self, scope: Scope) -> AbstractAsyncContextManager[MemoryUnit]:
        return self._begin(scope)

    look = begin

    @asynccontextmanager
    async def _begin(self, scope: Scope) -> AsyncIterator[MemoryUnit]:
        self.begun += 1
        fault = self.faults.pop(0) if self.faults else "fine"
        async with self.inner.begin(scope) as unit:
            yield unit
            if fault == "rolled_back":
                raise Unavailable("no answer")
        if fault == "committed":
            raise Unavailable("no answer")


class World:
    def __init__(self, houses: int, *, shares: bool = True) -> None:
        self.clock = Clock()
        self.store = MemoryTransactions(self.clock)
        self.transactions = Counting(self.store)
        self.site = Site(saga(shares=shares))
        self.task_ids = [TaskId(entity_id("tsk", number + 1)) for number in range(houses)]
        self.run: RunTask[MemoryUnit] = RunTask(
            transactions=self.transactions,
            ids=Numbers(),
            jitter=Numbers(),
            actions={"build": self.site},
            pause=timedelta(0),
        )

    async def queue(self) -> None:
        async with self.store.begin(Scope.platform()) as unit:
            for number, task_id in enumerate(self.task_ids):
                await unit.tasks.add(
                    Task(
                        id=task_id,
                        tenant_id=TenantId(entity_id("ten", 1)),
                        project_id=ProjectId(entity_id("prj", 1)),
                        kind="build",
                        subject=f"house {number}",
                        steps=self.site.saga.fresh_steps({}),
                        due_at=START,
                        created_at=START,
                    )
                )

    async def tasks(self) -> Sequence[Task]:
        async with self.store.begin(Scope.platform()) as unit:
            return await unit.tasks.find()

    async def story(self, task: Task) -> list[tuple[str, str]]:
        async with self.store.begin(Scope.platform()) as unit:
            events = await unit.task_events.find(task_id=task.id)
        return [(event.kind, event.step) for event in events]

    async def cancel(self, task_id: TaskId) -> None:
        async with self.store.begin(Scope.platform()) as unit:
            task = await unit.tasks.lock(task_id)
            assert task is not None
            await unit.tasks.put(replace(task, cancel_requested_at=self.clock.now()))

    async def go(self) -> None:
        """Let a worker have all tasks at once; any of its runs may be killed."""

        async def one(task_id: TaskId) -> None:
            with contextlib.suppress(Killed):
                await self.run(task_id)

        await asyncio.gather(*(one(task_id) for task_id in self.task_ids))

    async def settle(self) -> Sequence[Task]:
        for _ in range(40):
            await self.go()
            self.clock.instant += timedelta(minutes=3)
            if all(task.finished_at for task in await self.tasks()):
                return await self.tasks()
        raise AssertionError("it never ends")


FAULTS = st.sampled_from(["fine", "fails", "answer_lost", "killed_before", "killed_after"])
PLANS = st.lists(st.tuples(st.lists(FAULTS, max_size=8), st.booleans()), min_size=2, max_size=4)


class TestSharedTurns:
    @given(plans=PLANS)
    @settings(max_examples=100, deadline=None)
    def test_bring_each_task_to_what_it_would_be_alone(
        self, plans: list[tuple[list[str], bool]]
    ) -> None:
        async def story(*, shares: bool) -> list[tuple[object, ...]]:
            world = World(len(plans), shares=shares)
            await world.queue()
            for task_id, (faults, cancels) in zip(world.task_ids, plans, strict=True):
                world.site.faults[f"house {world.task_ids.index(task_id)}"] = list(faults)
                if cancels and len(faults) % 2:
                    await world.cancel(task_id)
            await world.go()
            for task, (faults, cancels) in zip(await world.tasks(), plans, strict=True):
                if cancels and not len(faults) % 2 and task.finished_at is None:
                    await world.cancel(task.id)
            ended = await world.settle()
            assert world.site.ends == {task.subject: [task.status] for task in ended}
            return [
                (
                    task.status,
                    task.error,
                    [(step.status, step.attempt, step.intent, step.result) for step in task.steps],
                    await world.story(task),
                    {key for subject, key in world.site.standing if subject == task.subject},
                    {key: n for (of, key), n in world.site.calls.items() if of == task.subject},
                )
                for task in ended
            ]

        assert asyncio.run(story(shares=True)) == asyncio.run(story(shares=False))

    async def test_cost_a_few_transactions_however_many_tasks_there_are(self) -> None:
        few, many = World(1), World(50)
        for world in (few, many):
            await world.queue()
            await world.go()
            assert all(task.status is TaskStatus.SUCCEEDED for task in await world.tasks())

        after_the_roof = 50  # its end is not shared
        assert few.transactions.begun == len(KEYS) + 1
        assert many.transactions.begun <= after_the_roof + 4 * len(KEYS)

    @pytest.mark.parametrize("runs", [2, 5])
    async def test_give_a_task_to_one_of_its_runs_only(self, runs: int) -> None:
        world = World(1)
        await world.queue()

        await asyncio.gather(*(world.run(world.task_ids[0]) for _ in range(runs)))

        [task] = await world.tasks()
        assert task.status is TaskStatus.SUCCEEDED
        assert set(world.site.calls.values()) == {1}

    async def test_leave_alone_what_another_worker_holds(self) -> None:
        world = World(2)
        world.site.faults["house 0"] = ["fine", "killed_before"]
        await world.queue()
        await world.go()
        dead, _ = await world.tasks()

        await world.go()

        assert (await world.tasks())[0] == dead
        assert dead.step("wall").status is StepStatus.ACTIVE

    async def test_let_only_the_one_fail_whose_fault_it_is(self) -> None:
        world = World(5)
        world.site.poisoned = "house 3"
        await world.queue()

        ends = await asyncio.gather(
            *(world.run(task_id) for task_id in world.task_ids), return_exceptions=True
        )

        assert [isinstance(end, RuntimeError) for end in ends] == [n == 3 for n in range(5)]
        statuses = [task.status is TaskStatus.SUCCEEDED for task in await world.tasks()]
        assert statuses == [n != 3 for n in range(5)]

    @given(commits=st.lists(st.sampled_from(["fine", "rolled_back", "committed"]), max_size=8))
    @settings(deadline=None)
    def test_go_on_when_the_database_did_not_answer_for_a_moment(self, commits: list[str]) -> None:
        async def story() -> tuple[World, Sequence[Task]]:
            world = World(3)
            world.transactions.faults = list(commits)
            await world.queue()
            await world.go()
            return world, await world.tasks()

        world, tasks = asyncio.run(story())

        for task in tasks:
            assert task.status is TaskStatus.SUCCEEDED
            told = asyncio.run(world.story(task))
            assert [step for kind, step in told if kind == "step.completed"] == KEYS


class TestTogether:
    async def test_answers_each_its_own(self) -> None:
        sizes: list[int] = []

        async def double(numbers: Sequence[int]) -> Sequence[int]:
            sizes.append(len(numbers))
            await asyncio.sleep(0)
            return [number * 2 for number in numbers]

        together: Together[int, int] = Together(room=16, calls=2)
        said = await asyncio.gather(*(together(number, double) for number in range(100)))

        assert said == [number * 2 for number in range(100)]
        assert sum(sizes) == 100
        assert max(sizes) == 16
        assert len(sizes) <= 8

    async def test_forgets_whoever_went_away(self) -> None:
        seen: list[int] = []

        async def note(numbers: Sequence[int]) -> Sequence[int]:
            seen.extend(numbers)
            return list(numbers)

        together: Together[int, int] = Together()
        asked = [asyncio.create_task(together(number, note)) for number in range(3)]
        await asyncio.sleep(0)
        asked[1].cancel()

        assert [await asked[0], await asked[2]] == [0, 2]
        assert 1 not in seen
