"""How long the steps of tasks took: what is kept of them, and what is usual."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median_low
from typing import Final

from gpucloud_core.work.model import StepStatus, Task

LATEST: Final = 50  # successes that make the median
ENOUGH: Final = 5  # fewer say nothing
_SECOND: Final = timedelta(seconds=1)


def completed_seconds(task: Task) -> list[tuple[str, datetime, int]]:
    """Return key, end and seconds (rounded up) of each step of ``task`` that succeeded."""
    return [
        (step.key, step.finished_at, -((step.started_at - step.finished_at) // _SECOND))
        for step in task.steps
        if step.status is StepStatus.COMPLETED
        and step.started_at is not None
        and step.finished_at is not None
    ]


def usual(seconds: Sequence[int]) -> int | None:
    """Return the median of the latest successes, given oldest first; None if too few."""
    latest = seconds[-LATEST:]
    return median_low(latest) if len(latest) >= ENOUGH else None
