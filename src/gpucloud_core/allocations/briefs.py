"""What the list that programs ask for most shows of each allocation, and no more.

``lists.read_briefs`` says what a brief is, by the rows around it. A store may read the same in
one go; then a property test compares the two.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from gpucloud_core.allocations.lifecycle import PublicStatus, public_status
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.kernel.ids import AllocationId, ProjectId, SkuId, TaskId
from gpucloud_core.work.model import Task


class AllocationBrief(NamedTuple):
    """One row of the list."""

    id: AllocationId
    name: str
    status: PublicStatus
    shape: str
    sku: SkuId
    gpu_count: int
    project_id: ProjectId
    task_id: TaskId
    node: str
    region: str
    step: str  # "Make the slice (3 of 6)" while it moves
    requested_at: datetime
    active_at: datetime | None
    billing_stopped_at: datetime | None
    failure_reason: str | None
    release_failed_reason: str | None
    rate_micros_per_hour: int
    cost_micros: int  # up to this instant
    currency: str


def step_words(titles: Sequence[str], finished: int) -> str:
    """Return which of its steps a task is at, in words, when so many of them are over."""
    at = min(finished, len(titles) - 1)
    return f"{titles[at]} ({at + 1} of {len(titles)})" if titles else ""


def step_line(task: Task | None) -> str:
    """Return which step a moving task is at, in words."""
    if task is None or task.finished_at is not None:
        return ""
    finished = sum(1 for step in task.steps if step.finished_at is not None)
    return step_words([step.title for step in task.steps], finished)


def status_of(allocation: Allocation, task: Task | None) -> PublicStatus:
    """Return what everyone sees of an allocation that ``task`` moves."""
    asked = task is not None and task.cancel_requested_at is not None
    return public_status(allocation.state, cause=allocation.cause, cancel_asked=asked)
