"""Who reads a task: its project, and for what is the platform's own every operator of it.

Seen to fail when a task of another tenant's launch could be read by an operator, and when a task
of a node could be read only where it was asked for.
"""

from dataclasses import replace

import pytest

from gpucloud_core.access.model import Actor, PlatformRole
from gpucloud_core.allocations.queries import ListTaskEvents, ReadTask
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import TaskId
from operator_world import Operator


@pytest.fixture
async def olga() -> Operator:
    return await Operator.arrive()


async def read(olga: Operator, actor: Actor, task_id: TaskId) -> list[str]:
    """Return the kinds of the task's events; both use cases have to agree."""
    view = await ReadTask(transactions=olga.transactions)(actor=actor, task_id=task_id)
    story = await ListTaskEvents(transactions=olga.transactions)(actor=actor, task_id=task_id)
    assert view.task.id == task_id
    return [event.kind for event in story.items]


async def other(olga: Operator, role: PlatformRole) -> Actor:
    """Return somebody in a tenant of their own, with a role of the platform."""
    return replace(await olga.cloud.sign_up(f"other-{role}"), platform_role=role)


class TestTasksOfNodes:
    @pytest.mark.parametrize("role", [PlatformRole.ADMIN, PlatformRole.OPS])
    async def test_are_read_by_every_operator(self, olga: Operator, role: PlatformRole) -> None:
        task_id = await olga.probe(await olga.only_node())

        assert "task.succeeded" in await read(olga, await other(olga, role), task_id)

    @pytest.mark.parametrize("role", [PlatformRole.BILLING_OPERATOR, PlatformRole.USER])
    async def test_are_nobody_elses_to_know_of(self, olga: Operator, role: PlatformRole) -> None:
        task_id = await olga.probe(await olga.only_node())
        actor = await other(olga, role)

        with pytest.raises(NotFound):
            await ReadTask(transactions=olga.transactions)(actor=actor, task_id=task_id)
        with pytest.raises(NotFound):
            await ListTaskEvents(transactions=olga.transactions)(actor=actor, task_id=task_id)


class TestTasksOfTenants:
    async def test_stay_theirs_before_operators_too(self, olga: Operator) -> None:
        accepted = await olga.cloud.launch(olga.ada.actor, olga.ada.request(1))

        for actor in (olga.actor, await other(olga, PlatformRole.OPS)):
            with pytest.raises(NotFound):
                await ReadTask(transactions=olga.transactions)(
                    actor=actor, task_id=accepted.task_id
                )
            with pytest.raises(NotFound):
                await ListTaskEvents(transactions=olga.transactions)(
                    actor=actor, task_id=accepted.task_id
                )
