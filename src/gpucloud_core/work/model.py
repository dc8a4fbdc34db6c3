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


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """A line of a task's story. Ids increase, so that a stream can resume after one."""

    id: str
    tenant_id: TenantId
    task_id: TaskId
    at: datetime
    kind: str  # "step.active", "step.completed", "step.retrying", "task.succeeded" ...
    step: str = ""
    text: str = ""
