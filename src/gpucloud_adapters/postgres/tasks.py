"""Tasks: what has come due, and many rows with the lines of their stories written in one go."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    TableValuedAlias,
    Text,
    any_,
    bindparam,
    cast,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from gpucloud_adapters.postgres.rows import PostgresRows
from gpucloud_adapters.postgres.statements import Statements
from gpucloud_adapters.stored import kinds
from gpucloud_adapters.stored.kinds import Kind
from gpucloud_adapters.stored.steps import ENOUGH, LATEST, completed_seconds
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.work.model import Task, TaskEvent

TASKS: Final = Statements(kinds.TASKS)
_EVENTS: Final = Statements(kinds.TASK_EVENTS)
_FIXED: Final = frozenset(
    {"id", "tenant_id", "project_id", "kind", "subject", "parent_id", "created_at"}
)
"""What of a task never changes."""
_CHANGING: Final = tuple(name for name in kinds.TASKS.fields if name not in _FIXED)
_NOW: Final = bindparam("now", type_=DateTime(timezone=True))


def _given(kind: Kind[Any], statements: Statements[Any], prefix: str) -> TableValuedAlias:
    """Return many rows of a kind as a table: an array for each field, ``jsonb`` as its text."""
    arrays = []
    for name, field in kind.fields.items():
        of = Text() if field.scalar is None else statements.columns[name].type
        arrays.append(bindparam(f"{prefix}_{name}", type_=ARRAY(of)))
    return func.unnest(*arrays).table_valued(*kind.fields, name=prefix).render_derived()


def _arrays(kind: Kind[Any], prefix: str, rows: Sequence[object]) -> dict[str, list[Any]]:
    """Return the values of the parameters of ``_given``."""
    values: dict[str, list[Any]] = {}
    for name, field in kind.fields.items():
        column = [getattr(row, name) for row in rows]
        if field.scalar is None:
            column = [msgspec.json.encode(value).decode() for value in column]
        values[f"{prefix}_{name}"] = column
    return values


_task = TASKS.columns
_kept: Final = _given(kinds.TASKS, TASKS, "kept")
_line: Final = _given(kinds.TASK_EVENTS, _EVENTS, "line")
_TOLD: Final = (
    insert(_EVENTS.mapping.table)
    .from_select(list(kinds.TASK_EVENTS.fields), select(*_line.c))
    .cte("told")
)
_KEEP: Final = TASKS.put.add_cte(_TOLD)
_KEEP_ALL: Final = (
    update(TASKS.mapping.table)
    .where(_task.id == _kept.c.id)
    .values(
        {
            name: cast(_kept.c[name], JSONB)
            if kinds.TASKS.fields[name].scalar is None
            else _kept.c[name]
            for name in _CHANGING
        }
    )
    .add_cte(_TOLD)
)
_LOCK_FREE: Final = (
    TASKS.select.where(_task.id == any_(bindparam("ids", type_=ARRAY(Text))))
    .order_by(_task.id)
    .with_for_update(skip_locked=True)
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
    .with_for_update(skip_locked=True)
)
_NOTE_SECONDS: Final = text("""
    INSERT INTO step_durations (kind, task_id, step, finished_at, seconds)
    SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:tasks AS text[]), CAST(:steps AS text[]),
                         CAST(:ends AS timestamptz[]), CAST(:seconds AS bigint[]))
    ON CONFLICT DO NOTHING
""")
_USUAL_SECONDS: Final = text("""
    SELECT wanted.step, percentile_disc(0.5) WITHIN GROUP (ORDER BY latest.seconds)
    FROM unnest(CAST(:steps AS text[])) AS wanted (step), LATERAL (
        SELECT seconds FROM step_durations AS d
        WHERE d.kind = :kind AND d.step = wanted.step ORDER BY d.finished_at DESC LIMIT :latest
    ) AS latest
    GROUP BY wanted.step HAVING count(*) >= :enough
""")


class PostgresTasks(PostgresRows[Task]):
    """Tasks, and how long their steps took, which is known across tenants."""

    async def add(self, row: Task) -> None:
        await super().add(row)
        await self._note_seconds([row])

    async def put(self, row: Task) -> None:
        await super().put(row)
        await self._note_seconds([row])

    async def keep(self, task: Task, story: Sequence[TaskEvent]) -> None:
        values = self.statements.mapping.encode(task)
        values["row_key"] = values.pop(self.kind.key)
        if not await self.session.change(_KEEP, values | _arrays(_EVENTS.kind, "line", story)):
            raise NotFound
        await self._note_seconds([task])

    async def keep_all(self, kept: Sequence[tuple[Task, Sequence[TaskEvent]]]) -> None:
        if not kept:
            return
        tasks = [task for task, _ in kept]
        lines = [line for _, story in kept for line in story]
        values = _arrays(self.kind, "kept", tasks) | _arrays(_EVENTS.kind, "line", lines)
        if await self.session.change(_KEEP_ALL, values) != len(tasks):
            raise NotFound
        await self._note_seconds(tasks)

    async def lock_free(self, task_ids: Sequence[TaskId]) -> Sequence[Task]:
        return await self.read(_LOCK_FREE, {"ids": list(task_ids)})

    async def due(self, now: datetime, *, limit: int) -> Sequence[TaskId]:
        found = await self.session.rows(_DUE, {"now": now, "row_limit": limit})
        return [TaskId(row[0]) for row in found]

    async def usual_seconds(self, kind: str, steps: Sequence[str]) -> Mapping[str, int]:
        given = {"kind": kind, "steps": list(steps), "latest": LATEST, "enough": ENOUGH}
        return {row[0]: row[1] for row in await self.session.rows(_USUAL_SECONDS, given)}

    async def _note_seconds(self, tasks: Sequence[Task]) -> None:
        """Keep the seconds of each completed step of those that have finished, once."""
        done = [
            (task.kind, task.id, *one)
            for task in tasks
            if task.finished_at is not None
            for one in completed_seconds(task)
        ]
        if done:
            named, ids, steps, ends, seconds = map(list, zip(*done, strict=True))
            await self.session.change(
                _NOTE_SECONDS,
                {"kinds": named, "tasks": ids, "steps": steps, "ends": ends, "seconds": seconds},
            )
