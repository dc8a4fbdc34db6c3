"""Rows of work."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.kernel.unit import Unit
from gpucloud_core.work.model import Task, TaskEvent


class Tasks(Rows[Task], Protocol):
    async def keep(self, task: Task, story: Sequence[TaskEvent]) -> None:
        """Store a task's new value, as ``put`` does, and the new lines of its story with it."""
        ...

    async def keep_all(self, kept: Sequence[tuple[Task, Sequence[TaskEvent]]]) -> None:
        """Do what ``keep`` does for many tasks, in one go."""
        ...

    async def lock_free(self, task_ids: Sequence[TaskId]) -> Sequence[Task]:
        """Lock those of the tasks that nobody else has locked, and return them; wait for nobody."""
        ...

    async def due(self, now: datetime, *, limit: int) -> Sequence[TaskId]:
        """Return unfinished tasks that are due and not under a living lease, oldest first."""
        ...

    async def usual_seconds(self, kind: str, steps: Sequence[str]) -> Mapping[str, int]:
        """Return the median of the last 50 successes of each step; none under five of them.

        Successes count when their task has finished.
        """
        ...


class WorkUnit(Unit, Protocol):
    @property
    def tasks(self) -> Tasks: ...
    @property
    def task_events(self) -> Rows[TaskEvent]: ...
