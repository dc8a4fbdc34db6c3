"""Turns that share a transaction in PostgreSQL: whoever's row is held waits, and nobody else does.

Seen to fail when the rows were locked without ``SKIP LOCKED``: one row that was held kept every
task of its worker waiting.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import pytest

from contracts.stores import PLATFORM, StoreUnit, settle
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.system import SystemIds, SystemSecrets
from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.kernel.unit import Json, Transactions
from gpucloud_core.work.model import Step, Task, TaskStatus
from gpucloud_core.work.plan import Finish, Saga, StepPlan
from gpucloud_core.work.run import RunTask
from row_builders import a_task

STEPS: Final = 3
SAGA: Final = Saga(
    kind="count",
    title="Count",
    undoes=False,
    shares_finish=True,
    steps=tuple(
        StepPlan(
            key=f"step_{number}",
            title="Step",
            usual=timedelta(seconds=1),
            shares_begin=True,
            shares_end=True,
        )
        for number in range(STEPS)
    ),
)


@dataclass(slots=True)
class Counts:
    """Steps that do nothing but count."""

    saga: Saga = SAGA
    done: list[str] = field(default_factory=list)

    async def lock(self, unit: Any, task: Task) -> None: ...

    def intent(self, task: Task, step: str) -> str:
        return ""

    async def held_back(self, unit: Any, task: Task, step: str) -> str:
        return ""

    async def is_late(self, unit: Any, task: Task) -> bool:
        return False

    async def step_begun(self, unit: Any, task: Task, step: str) -> None: ...

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        self.done.append(task.id)
        return {}

    async def undo(self, task: Task, step: Step) -> None: ...

    async def step_done(self, unit: Any, task: Task, step: Step) -> None: ...

    async def undoing(self, unit: Any, task: Task) -> None: ...

    async def finished(self, unit: Any, task: Task, finish: Finish) -> None: ...


@pytest.fixture
async def transactions(database_url: str) -> AsyncIterator[PostgresTransactions]:
    engine = create_engine(database_url)
    yield PostgresTransactions(engine)
    await engine.dispose()


async def queued(transactions: Transactions[StoreUnit], count: int) -> list[Task]:
    home = await settle(transactions)
    async with transactions.begin(PLATFORM) as unit:
        now = await unit.now()
        tasks = [
            a_task(home.tenant.id, home.project.id, kind="count", steps=SAGA.fresh_steps({}))
            for _ in range(count)
        ]
        for task in tasks:
            await unit.tasks.add(Task(**{**_facts(task), "due_at": now, "created_at": now}))
    return tasks


def _facts(task: Task) -> dict[str, Any]:
    return {name: getattr(task, name) for name in Task.__dataclass_fields__}


class TestSharedTurns:
    async def test_pass_by_a_row_that_is_held(self, transactions: PostgresTransactions) -> None:
        tasks = await queued(transactions, 3)
        actions = Counts()
        run = RunTask(
            transactions=transactions,
            ids=SystemIds(),
            jitter=SystemSecrets(),
            actions={"count": actions},
        )

        async with transactions.begin(PLATFORM) as holding:
            assert await holding.tasks.lock(tasks[1].id)
            async with transactions.begin(PLATFORM) as unit:
                free = await unit.tasks.lock_free([task.id for task in tasks])
            assert {task.id for task in free} == {tasks[0].id, tasks[2].id}
            runs = [asyncio.create_task(run(task.id)) for task in tasks]
            await asyncio.gather(runs[0], runs[2])
            assert not runs[1].done()
        await runs[1]

        assert sorted(actions.done) == sorted(TaskId(task.id) for task in tasks for _ in SAGA.steps)
        async with transactions.begin(PLATFORM) as unit:
            for task in tasks:
                ended = await unit.tasks.get(task.id)
                assert ended is not None
                assert ended.status is TaskStatus.SUCCEEDED
                told = await unit.task_events.find(task_id=task.id)
                assert [event.kind for event in told].count("step.completed") == STEPS
