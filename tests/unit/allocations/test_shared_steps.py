"""What sagas declare of their steps: whatever shares a transaction locks, reads and stores nothing.

Seen to fail when ``create`` of a launch was declared to share its end, which stores where the
slice answers, and when a launch's first step locked its allocation.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import pytest

from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.ids import ProjectId, TaskId, TenantId, entity_id
from gpucloud_core.kernel.unit import Event
from gpucloud_core.work.model import StepStatus, Task, TaskStatus
from gpucloud_core.work.plan import Finish, Saga, completed, started
from gpucloud_core.work.turn import Actions

NOW: Final = datetime(2026, 11, 22, tzinfo=UTC)


class Untouchable:
    """A unit that may be told of events, and has nothing that could be locked, read or stored."""

    async def now(self, *, not_before: datetime | None = None) -> datetime:
        return not_before or NOW

    async def emit(self, event: Event) -> None: ...


UNTOUCHABLE: Final = cast("AllocationUnit", Untouchable())


def a_task(saga: Saga) -> Task:
    return Task(
        id=TaskId(entity_id("tsk", 1)),
        tenant_id=TenantId(entity_id("ten", 1)),
        project_id=ProjectId(entity_id("prj", 1)),
        kind=saga.kind,
        subject=entity_id("alc", 1),
        parent_id=TaskId(entity_id("tsk", 2)),
        steps=saga.fresh_steps({}),
        data={"gang": "alc_1"},
        created_at=NOW,
    )


@pytest.fixture
async def actions() -> dict[str, Actions[Any]]:
    return dict((await MemoryCloud.found()).runner().actions)


class TestSharedSteps:
    async def test_touch_nothing(self, actions: dict[str, Actions[Any]]) -> None:
        assert actions.keys() >= {"provision", "release"}
        for means in actions.values():
            await touch_nothing(means)


async def touch_nothing(means: Actions[Any]) -> None:
    """Go through what a kind of task says may be shared."""
    saga = means.saga
    task = a_task(saga)
    for plan in saga.steps:
        task = started(task, plan.key, NOW, means.intent(task, plan.key))
        if plan.shares_begin:
            assert not await means.held_back(UNTOUCHABLE, task, plan.key)
            await means.step_begun(UNTOUCHABLE, task, plan.key)
        task = completed(task, plan.key, NOW + timedelta(seconds=1), {})
        if plan.shares_end:
            await means.step_done(UNTOUCHABLE, task, task.step(plan.key))
    assert all(step.status is StepStatus.COMPLETED for step in task.steps)
    if saga.shares_finish:
        await means.finished(UNTOUCHABLE, task, Finish(TaskStatus.SUCCEEDED))
