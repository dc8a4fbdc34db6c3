"""Tasks: what has come due, and many rows with the lines of their stories written in one go."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ARRAY, BigInteger, DateTime, Text, any_, bindparam, select, text

from gpucloud_adapters.postgres.rows import PostgresRows
from gpucloud_adapters.postgres.statements import Statements
from gpucloud_adapters.postgres.writes import STEP_DURATIONS, TASK_EVENTS
from gpucloud_adapters.stored import kinds
from gpucloud_adapters.stored.steps import ENOUGH, LATEST, completed_seconds
from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.work.model import Task, TaskEvent

TASKS: Final = Statements(kinds.TASKS)
_NOW: Final = bindparam("now", type_=DateTime(timezone=True))


_task = TASKS.columns
_LOCK_FREE: Final = (
    TASKS.select.where(_task.id == any_(bindparam("ids", type_=ARRAY(Text))))
    .order_by(_task.id)
    .with_for_update(skip_locked=True, key_share=True)
)
_DUE: Final = (
    select(_task.id)
    .where(
        _task.due_at <= _NOW,
        _task.finished_at.is_(None),
        _task.lease_token.is_(None) | _task.lease_until.is_(None) | (_task.lease_until <= _NOW),
    )
    .order_by(_task.due_at)
    .limit(bindparam("row_limit", type_=BigInteger))
    .with_for_update(skip_locked=True, key_share=True)
)
USUAL_SECONDS: Final = """
    SELECT wanted.step, percentile_disc(0.5) WITHIN GROUP (ORDER BY latest.seconds)
    FROM unnest(CAST(:steps AS text[])) AS wanted (step), LATERAL (
        SELECT seconds FROM step_durations AS d
        WHERE d.kind = :kind AND d.step = wanted.step ORDER BY d.finished_at DESC LIMIT :latest
    ) AS latest
    GROUP BY wanted.step HAVING count(*) >= :enough
"""
"""Each step with its usual seconds: part of a statement, and one by itself."""
_USUAL_SECONDS: Final = text(USUAL_SECONDS)


class PostgresTasks(PostgresRows[Task]):
    """Tasks, and how long their steps took, which is known across tenants."""

    async def add(self, row: Task) -> None:
        await super().add(row)
        self._note_seconds(row)

    async def put(self, row: Task) -> None:
        await super().put(row)
        self._note_seconds(row)

    async def keep(self, task: Task, story: Sequence[TaskEvent]) -> None:
        await self.put(task)
        for line in story:
            self.session.writes.add(TASK_EVENTS, line.id, line)

    async def keep_all(self, kept: Sequence[tuple[Task, Sequence[TaskEvent]]]) -> None:
        for task, story in kept:
            await self.keep(task, story)

    async def lock_free(self, task_ids: Sequence[TaskId]) -> Sequence[Task]:
        return await self.read(_LOCK_FREE, {"ids": list(task_ids)})

    async def due(self, now: datetime, *, limit: int) -> Sequence[TaskId]:
        found = await self.session.rows(_DUE, {"now": now, "row_limit": limit})
        return [TaskId(row[0]) for row in found]

    async def usual_seconds(self, kind: str, steps: Sequence[str]) -> Mapping[str, int]:
        given = {"kind": kind, "steps": list(steps), "latest": LATEST, "enough": ENOUGH}
        found = await self.session.rows(_USUAL_SECONDS, given, of=STEP_DURATIONS.table)
        return {row[0]: row[1] for row in found}

    def _note_seconds(self, task: Task) -> None:
        """Keep the seconds of each completed step of a task that has finished, once."""
        if task.finished_at is None:
            return
        for step, finished_at, seconds in completed_seconds(task):
            row = {
                "task_id": task.id,
                "step": step,
                "kind": task.kind,
                "finished_at": finished_at,
                "seconds": seconds,
            }
            self.session.writes.put_new(STEP_DURATIONS, (task.id, step), row)
