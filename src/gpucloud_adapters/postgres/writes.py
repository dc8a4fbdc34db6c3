"""Rows that wait for the end of their unit, and are written there in one statement.

Whatever a unit tells of itself (events, audit rows, steps of lifecycles) waits, and so do new rows
and new values of the kinds below. Nobody else can be in their way: their ids are the program's
own, and whoever changes one of them holds its lock or that of its tenant's account. Should one
still be refused, the whole unit is. Whatever is read, or written at once, comes after the waiting
rows that it might be about; see ``Session``.
"""

# ruff: noqa: S608  names are those of our own tables and fields; values are parameters

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from gpucloud_adapters.stored import kinds
from gpucloud_adapters.stored.kinds import Kind
from gpucloud_core.kernel.errors import AlreadyExists


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Where rows go.

    Attributes:
        is_record: nothing but a read of its own table comes after what waits for it.
        on_conflict: what to do with a row that is there already, in SQL.
    """

    table: str
    columns: tuple[str, ...]
    is_record: bool = False
    on_conflict: str = ""

    @property
    def key(self) -> str:
        return self.columns[0]


def _of(kind: Kind[Any], *, is_record: bool = False) -> Target:
    return Target(kind.table, tuple(kind.fields), is_record)


EVENTS: Final = Target("outbox", ("kind", "subject", "tenant_id", "payload"), is_record=True)
FACTS: Final = _of(kinds.AUDIT_ROWS, is_record=True)
STEP_DURATIONS: Final = Target(
    "step_durations",
    ("task_id", "step", "kind", "finished_at", "seconds"),
    is_record=True,
    on_conflict="ON CONFLICT DO NOTHING",
)
_STATE_CHANGES: Final = _of(kinds.STATE_CHANGES, is_record=True)
TASK_EVENTS: Final = _of(kinds.TASK_EVENTS, is_record=True)
_ALLOCATIONS: Final = _of(kinds.ALLOCATIONS)
_TASKS: Final = _of(kinds.TASKS)
_HOLDS: Final = _of(kinds.HOLDS)
_SEGMENTS: Final = _of(kinds.USAGE_SEGMENTS)
ADDED_LATE: Final[Mapping[str, Target]] = {
    target.table: target
    for target in (_STATE_CHANGES, TASK_EVENTS, _ALLOCATIONS, _TASKS, _HOLDS, _SEGMENTS)
}
PUT_LATE: Final[Mapping[str, Target]] = {
    target.table: target
    for target in (
        _ALLOCATIONS,
        _TASKS,
        _HOLDS,
        _SEGMENTS,
        _of(kinds.BILLING_ACCOUNTS),
        _of(kinds.STORED_RESPONSES),
    )
}
Rows: TypeAlias = dict[Target, dict[object, object]]


@dataclass(frozen=True, slots=True)
class Write:
    """All that waited, as one statement. It returns how many rows each ``put`` has changed."""

    statement: TextClause
    values: dict[str, list[object]]
    puts: tuple[int, ...]  # how many there should be


class Writes:
    """What one unit has still to write; each row once, as it was last."""

    def __init__(self) -> None:
        self._added: Rows = {}
        self._put: Rows = {}

    def add(self, target: Target, key: object, row: object) -> None:
        """Have ``row`` written; ``key`` tells it from the others of its target."""
        rows = self._added.setdefault(target, {})
        if key in rows:
            raise AlreadyExists(f"Another of {target.table} has this name or value.")
        rows[key] = row

    def put_new(self, target: Target, key: object, row: object) -> None:
        """Have ``row`` written, whether or not it waits or is there already."""
        self._added.setdefault(target, {})[key] = row

    def put(self, target: Target, key: object, row: object) -> None:
        added = self._added.get(target, {})
        (added if key in added else self._put.setdefault(target, {}))[key] = row

    def tell(self, target: Target, row: object) -> None:
        """Have a row written that has no key of its own."""
        rows = self._added.setdefault(target, {})
        rows[len(rows)] = row

    def concern(self, table: str | None) -> bool:
        """Tell whether anything waits that a statement about ``table`` has to come after.

        None is for a statement that may be about any table but those of records.
        """
        for rows in (self._added, self._put):
            for target in rows:
                if target.table == table or (table is None and not target.is_record):
                    return True
        return False

    def forget(self) -> None:
        self._added, self._put = {}, {}

    def take(self) -> Write | None:
        """Return what waited, and wait for nothing any more."""
        added, put = self._added, self._put
        if not added and not put:
            return None
        self.forget()
        values = {f"add_{target.table}": list(rows.values()) for target, rows in added.items()}
        values |= {f"put_{target.table}": list(rows.values()) for target, rows in put.items()}
        return Write(
            _statement(
                tuple(added), tuple((target, len(rows) == 1) for target, rows in put.items())
            ),
            values,
            tuple(map(len, put.values())),
        )


@lru_cache(maxsize=1024)
def _statement(added: tuple[Target, ...], put: tuple[tuple[Target, bool], ...]) -> TextClause:
    parts = [_insertion(number, target) for number, target in enumerate(added)]
    parts += [_change(number, *change) for number, change in enumerate(put)]
    counts = [f"(SELECT count(*) FROM changed_{number})" for number in range(len(put))]
    names = [f"add_{target.table}" for target in added]
    names += [f"put_{target.table}" for target, _ in put]
    return text(f"WITH {', '.join(parts)} SELECT {', '.join(counts) or '1'}").bindparams(
        *(bindparam(name, type_=JSONB) for name in names)
    )


def _insertion(number: int, target: Target) -> str:
    table, columns = target.table, ", ".join(target.columns)
    return f"""added_{number} AS (
        INSERT INTO {table} ({columns})
        SELECT {columns} FROM jsonb_populate_recordset(CAST(NULL AS {table}), :add_{table})
        {target.on_conflict}
    )"""


def _change(number: int, target: Target, is_one: bool) -> str:
    """A single row is said to be one, so that it is found by its key whatever the plan."""
    table, key = target.table, target.key
    changes = ", ".join(f"{name} = given.{name}" for name in target.columns[1:])
    limit = "LIMIT 1" if is_one else ""
    return f"""changed_{number} AS (
        UPDATE {table} AS kept SET {changes}
        FROM (SELECT * FROM jsonb_populate_recordset(CAST(NULL AS {table}), :put_{table}) {limit})
            AS given
        WHERE kept.{key} = given.{key} RETURNING 1
    )"""
