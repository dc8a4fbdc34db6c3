"""Tables in memory with the promises of a database: unique keys, tenants apart, rollback.

Transactions are serial: one unit holds the database until it ends, so that a unit never sees
another's half. Each change leaves its undoing in a journal, which a rollback plays backwards; so
the cost of a transaction is what it changes, not what is stored.
"""

import asyncio
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, cast

from gpucloud_adapters.stored.kinds import (
    AUDIT_ROWS,
    KINDS,
    LEDGER_TRANSFERS,
    NODE_CAPACITY,
    Kind,
)
from gpucloud_core.billing.model import AccountKind, Transfer
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.errors import AlreadyExists
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.placement.model import NodeCapacity

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
_GONE: Final = object()  # equals no value of any field


class Journal:
    """How to undo what the present transaction did."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def assign(self, mapping: dict[K, V], key: K, value: V) -> None:
        """Set ``mapping[key]``, to be undone by a rollback."""
        if key in mapping:
            before = mapping[key]
            self._undo.append(lambda: mapping.__setitem__(key, before))
        else:
            self._undo.append(lambda: mapping.__delitem__(key))
        mapping[key] = value

    def remove(self, mapping: dict[K, V], key: K) -> None:
        """Delete ``mapping[key]``, to be undone by a rollback."""
        before = mapping.pop(key)
        self._undo.append(lambda: mapping.__setitem__(key, before))

    @property
    def mark(self) -> int:
        """How much there is to undo; ``roll_back`` returns to it."""
        return len(self._undo)

    def roll_back(self, mark: int = 0) -> None:
        while len(self._undo) > mark:
            self._undo.pop()()

    def forget(self) -> None:
        self._undo.clear()


class Table(Generic[T]):
    """The rows of one kind by key, the values that must stay unique, and its indexes."""

    def __init__(self, kind: Kind[T], journal: Journal) -> None:
        self.kind = kind
        self.rows: dict[str, T] = {}
        self._journal = journal
        self._taken: list[dict[tuple[object, ...], str]] = [{} for _ in kind.unique]
        self._found: dict[str, dict[object, dict[str, None]]] = {name: {} for name in kind.found_by}

    def candidates(self, equals: Mapping[str, object]) -> Collection[T]:
        """Return rows among which are all whose fields equal these, by an index where one helps."""
        if self.kind.key in equals:
            row = self.rows.get(str(equals[self.kind.key]))
            return [] if row is None else [row]
        for unique, taken in zip(self.kind.unique, self._taken, strict=True):
            if unique.among is None and equals.keys() >= set(unique.fields):
                values = tuple(equals[name] for name in unique.fields)
                if None not in values:
                    return [self.rows[taken[values]]] if values in taken else []
        fitting = (
            index.get(equals[name], {}) for name, index in self._found.items() if name in equals
        )
        fewest = min(fitting, key=len, default=None)
        return self.rows.values() if fewest is None else [self.rows[key] for key in fewest]

    def insert(self, row: T) -> None:
        """Store a new row.

        Raises:
            AlreadyExists: its key, or a value that must be unique, is taken.
        """
        key = self.kind.key_of(row)
        if key in self.rows:
            raise AlreadyExists(f"There is a row {key} in {self.kind.table} already.")
        self._refuse_twins(key, row)
        self._index(key, None, row)
        self._journal.assign(self.rows, key, row)

    def replace(self, row: T) -> None:
        """Store the new value of a row that is there.

        Raises:
            AlreadyExists: a value that must be unique is taken.
        """
        key = self.kind.key_of(row)
        self._refuse_twins(key, row)
        self._index(key, self.rows[key], row)
        self._journal.assign(self.rows, key, row)

    def remove(self, key: str) -> None:
        self._index(key, self.rows[key], None)
        self._journal.remove(self.rows, key)

    def _refuse_twins(self, key: str, row: T) -> None:
        for unique, taken in zip(self.kind.unique, self._taken, strict=True):
            value = unique.value_of(row)
            if value is not None and taken.get(value, key) != key:
                names = ", ".join(unique.fields)
                raise AlreadyExists(f"Another of {self.kind.table} has this {names}.")

    def _index(self, key: str, before: T | None, after: T | None) -> None:
        for unique, taken in zip(self.kind.unique, self._taken, strict=True):
            old = None if before is None else unique.value_of(before)
            new = None if after is None else unique.value_of(after)
            if old is not None and old != new:
                self._journal.remove(taken, old)
            if new is not None and old != new:
                self._journal.assign(taken, new, key)
        for name, index in self._found.items():
            if before is not None and getattr(before, name) != getattr(after, name, _GONE):
                self._journal.remove(index[getattr(before, name)], key)
            if after is not None and getattr(after, name) != getattr(before, name, _GONE):
                self._journal.assign(index.setdefault(getattr(after, name), {}), key, None)


@dataclass(slots=True)
class FleetStamps:
    """When each node's capacity last changed, as a count of all changes so far."""

    latest: int = 0
    of_node: dict[str, int] = field(default_factory=dict)


class MemoryDatabase:
    """All that is stored. Tests may look here behind the ports' backs.

    Args:
        journal: notes every change; whoever wants to see what is committed passes one that tells.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self.journal: Final = journal or Journal()
        self.tables: Final[dict[str, Table[Any]]] = {
            kind.table: Table(kind, self.journal) for kind in KINDS
        }
        self.balances: Final[dict[tuple[TenantId, AccountKind], int]] = {}
        self.fleet_stamps: Final = FleetStamps()
        self.step_seconds: Final[dict[tuple[str, str], dict[str, int]]] = {}
        self.events: Final[dict[int, StoredEvent]] = {}
        self.published: Final[dict[int, bool]] = {}
        self.numbers: Final = itertools.count(1)
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None

    def table(self, kind: Kind[T]) -> Table[T]:
        return cast("Table[T]", self.tables[kind.table])

    def rows(self, kind: Kind[T]) -> tuple[T, ...]:
        """Return every committed row of a kind, whoever's it is."""
        return tuple(self.table(kind).rows.values())

    @property
    def outbox(self) -> tuple[StoredEvent, ...]:
        return tuple(self.events.values())

    @property
    def audit_rows(self) -> tuple[AuditRow, ...]:
        return self.rows(AUDIT_ROWS)

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        return self.rows(LEDGER_TRANSFERS)

    @property
    def capacity(self) -> dict[str, NodeCapacity]:
        return dict(self.table(NODE_CAPACITY).rows)

    async def acquire(self) -> None:
        """Wait until no other unit is open.

        Raises:
            RuntimeError: the unit that is open is this task's own, which would wait for itself.
        """
        me = asyncio.current_task()
        if self._holder is me and me is not None:
            raise RuntimeError("this task has a unit of work open already; units do not nest")
        await self._lock.acquire()
        self._holder = me

    def release(self) -> None:
        self._holder = None
        self._lock.release()

    @contextmanager
    def change(self) -> Iterator[None]:
        """Commit what the block changes, or undo it if the block fails."""
        try:
            yield
        except BaseException:
            self.journal.roll_back()
            raise
        self.journal.forget()

    @contextmanager
    def part(self) -> Iterator[None]:
        """Undo what the block changes if it fails; the unit around it decides about the rest."""
        mark = self.journal.mark
        try:
            yield
        except BaseException:
            self.journal.roll_back(mark)
            raise
