"""The tasks about what is the platform's own: nodes, images, the audit trail.

They belong to the operator who asked, in that person's own tenant and project, so that they are
followed like any other task.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.errors import FieldError, ValidationFailed
from gpucloud_core.kernel.ids import Ids, ProjectId, TaskId
from gpucloud_core.kernel.unit import Event, Json
from gpucloud_core.nodes.model import Node
from gpucloud_core.work.model import Task
from gpucloud_core.work.plan import Saga, StepPlan

PROBE_NODE: Final = Saga(
    kind="probe_node",
    title="Probe a node",
    undoes=False,
    shares_finish=True,
    steps=(
        StepPlan(
            key="reach",
            title="Sign in and read its GPUs",
            usual=timedelta(seconds=2),
            timeout=timedelta(seconds=30),
            attempts=3,
            shares_begin=True,
            shares_end=True,
        ),
        StepPlan(
            key="compare",
            title="Compare them with what is known",
            usual=timedelta(seconds=1),
            shares_begin=True,
            shares_end=True,
        ),
    ),
)

DISCOVER_NODE: Final = Saga(
    kind="discover_node",
    title="Discover a node",
    undoes=False,
    shares_finish=True,
    steps=(
        StepPlan(
            key="read",
            title="Run the node's own tools and read its inside",
            usual=timedelta(seconds=4),
            timeout=timedelta(seconds=90),
            attempts=3,
            shares_begin=True,
            shares_end=True,
        ),
        StepPlan(
            key="propose",
            title="Propose slots, or say what differs",
            usual=timedelta(seconds=1),
            shares_begin=True,
            shares_end=True,
        ),
    ),
)

CHANGE_MODE: Final = Saga(
    kind="change_mode",
    title="Change a node's mode",
    undoes=False,
    shares_finish=True,
    steps=(
        StepPlan(
            key="change",
            title="Take it off sale, change its mode and read it back",
            usual=timedelta(seconds=10),
            timeout=timedelta(minutes=10),
            attempts=3,
            shares_begin=True,
            shares_end=True,
        ),
    ),
)

VERIFY_IMAGE: Final = Saga(
    kind="verify_image",
    title="Verify an image",
    undoes=False,
    steps=(
        StepPlan(
            key="read",
            title="Read it from where it is kept",
            usual=timedelta(seconds=10),
            timeout=timedelta(hours=2),
            attempts=3,
        ),
        StepPlan(
            key="compare",
            title="Compare it with what it is named by",
            usual=timedelta(seconds=1),
            attempts=1,
        ),
    ),
)

VERIFY_AUDIT: Final = Saga(
    kind="verify_audit",
    title="Verify the audit trail",
    undoes=False,
    steps=(
        StepPlan(
            key="rows",
            title="Compute every row and its place again",
            usual=timedelta(seconds=10),
            timeout=timedelta(hours=2),
            attempts=3,
        ),
        StepPlan(
            key="compare",
            title="Compare them with what was recorded and anchored",
            usual=timedelta(seconds=1),
            attempts=1,
        ),
    ),
)

PLAN_CAPACITY: Final = Saga(
    kind="plan_capacity",
    title="Plan capacity",
    undoes=False,
    steps=(
        StepPlan(
            key="play",
            title="Play the demand against the fleet",
            usual=timedelta(seconds=3),
            timeout=timedelta(minutes=15),
            attempts=2,
        ),
    ),
)

PLATFORM_SAGAS: Final = {
    saga.kind: saga
    for saga in (
        PROBE_NODE,
        DISCOVER_NODE,
        CHANGE_MODE,
        VERIFY_IMAGE,
        VERIFY_AUDIT,
        PLAN_CAPACITY,
    )
}


async def queue_on_node(
    unit: AllocationUnit,
    ids: Ids,
    actor: Actor,
    node: Node,
    saga: Saga,
    *,
    data: Mapping[str, Json] | None = None,
) -> Task:
    """Write a task for ``node`` and the event that wakes a worker; one under way is returned.

    Raises:
        ValidationFailed: the operator's tenant has no project that the task could be in.
    """
    return await queue_about(unit, ids, actor, node.id, saga, data=data)


async def queue_about(
    unit: AllocationUnit,
    ids: Ids,
    actor: Actor,
    subject: str,
    saga: Saga,
    *,
    data: Mapping[str, Json] | None = None,
    joins: bool = True,
) -> Task:
    """Write a task about ``subject``, likewise; one that does not join is always a new one."""
    earlier = await unit.tasks.find(subject=subject, kind=saga.kind, finished_at=None)
    if earlier and joins:
        return earlier[0]
    usual = await unit.tasks.usual_seconds(saga.kind, saga.keys)
    now = await unit.now()
    task = Task(
        id=TaskId(ids.new("tsk")),
        tenant_id=actor.tenant_id,
        project_id=await _project_of(unit, actor),
        kind=saga.kind,
        subject=subject,
        steps=saga.fresh_steps(usual),
        due_at=now,
        data=data or {},
        created_at=now,
    )
    await unit.tasks.add(task)
    await unit.emit(Event(kind="task.queued", subject=task.id, tenant_id=task.tenant_id))
    return task


async def _project_of(unit: AllocationUnit, actor: Actor) -> ProjectId:
    projects = await unit.projects.find(tenant_id=actor.tenant_id, deleted_at=None)
    if not projects:
        detail = "Work on the platform is followed in a project of yours; make one first."
        raise ValidationFailed(detail, fields=[FieldError("", "no_project", detail)])
    return projects[0].id
