"""Tasks, steps and their events as rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gpucloud_core.kernel.ids import ProjectId, TaskId, TenantId
from gpucloud_core.kernel.unit import Json


class TaskStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One idempotent piece of a task. ``intent`` names the outside object before it is made."""

    key: str
    title: str
    status: StepStatus = StepStatus.PENDING
    attempt: int = 0
    intent: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    usual_seconds: int = 0
    reason: str = ""  # the last error, or why it waits
    result: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A saga as stored. Due when ``due_at`` has come and no lease holds it.

    ``generation`` fences: a worker whose lease token is not the row's has its writes refused.
    """

    id: TaskId
    tenant_id: TenantId
    project_id: ProjectId
    kind: str  # "provision", "release", "batch", "restart"
    subject: str  # allocation id, or empty for a batch
    parent_id: TaskId | None = None
    status: TaskStatus = TaskStatus.QUEUED
    steps: tuple[Step, ...] = ()
    undoing: bool = False
    cancel_requested_at: datetime | None = None
    error: str = ""  # code
    error_detail: str = ""
    wait_reason: str = ""
    due_at: datetime | None = None  # None once finished
    lease_token: str | None = None
    lease_until: datetime | None = None
    generation: int = 0
    data: Mapping[str, Json] = field(default_factory=dict)
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def step(self, key: str) -> Step:
        return next(step for step in self.steps if step.key == key)


class TaskEventKind(StrEnum):
    """What a line of a task's story tells."""

    STEP_ACTIVE = "step.active"  # a step has begun, or is tried again
    STEP_COMPLETED = "step.completed"  # it is done
    STEP_RETRYING = "step.retrying"  # it did not work, and is tried again
    STEP_FAILED = "step.failed"  # it did not work, and is not tried again
    STEP_UNDOING = "step.undoing"  # what it may have left is being undone
    STEP_UNDONE = "step.undone"  # nothing of it is left
    STEP_UNDO_RETRYING = "step.undo_retrying"  # undoing did not work, and is tried again
    TASK_SUCCEEDED = "task.succeeded"  # everything is done
    TASK_FAILED = "task.failed"  # it did not work; what was made is undone
    TASK_CANCELLED = "task.cancelled"  # it was stopped; what was made is undone


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """A line of a task's story. Ids increase, so that a stream can resume after one."""

    id: str
    tenant_id: TenantId
    task_id: TaskId
    at: datetime
    kind: str  # a ``TaskEventKind``
    step: str = ""
    text: str = ""
