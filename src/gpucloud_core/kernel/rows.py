"""What a use case may ask of stored rows: the same few verbs for every kind.

Rows are frozen dataclasses. Implementations keep tenants apart: a unit begun for one tenant
neither sees nor writes another's rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar

T = TypeVar("T")
COUNTED_MAX: Final = 1_000
"""Up to here the rows of what somebody asks for are counted; of more it is said that it is more."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """One page of a list.

    Attributes:
        where: field name to the values allowed for it (any of them).
        search: text looked for, case-insensitively, in the kind's searchable fields.
        sort: a field name; ``-`` in front means largest first. Ties go by id, same direction.
        cursor: opaque, from an earlier page with the same sort; ``None`` is the first page.
        limit: 1 to 100 rows.
        spans: instants a field has to lie between, from the first up to, not including, the
            second; ``None`` leaves an end open.
    """

    where: Mapping[str, Sequence[object]] = field(default_factory=dict)
    search: str = ""
    sort: str = "-id"
    cursor: str | None = None
    limit: int = 50
    spans: Mapping[str, tuple[datetime | None, datetime | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows in order, and where the neighbours begin."""

    items: tuple[T, ...]
    next_cursor: str | None = None
    prev_cursor: str | None = None


class Rows(Protocol[T]):
    """All rows of one kind that the present unit may see. Keys are the dataclass's first field."""

    async def get(self, key: str) -> T | None:
        """Return the row, without a lock."""
        ...

    async def lock(self, key: str) -> T | None:
        """Return the row and hold it until the unit ends; waits for whoever holds it."""
        ...

    async def add(self, row: T) -> None:
        """Store a new row.

        Raises:
            AlreadyExists: its key, or a value that must be unique, is taken.
        """
        ...

    async def put(self, row: T) -> None:
        """Store the new value of an existing row.

        Raises:
            NotFound: there is no such row in this scope.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove the row; absent is fine."""
        ...

    async def find(self, **equals: object) -> tuple[T, ...]:
        """Return the rows whose fields equal these (``None`` means null), by key."""
        ...

    async def find_any(
        self, field: str, values: Sequence[object], **equals: object
    ) -> tuple[T, ...]:
        """Return the rows ``find`` would whose ``field`` is one of ``values``, by key."""
        ...

    async def count_by(self, field: str, **equals: object) -> dict[object, int]:
        """Return how many of the rows ``find`` would return have each value of ``field``."""
        ...

    async def count(self, **equals: object) -> int:
        """Return how many rows ``find`` would."""
        ...

    async def matching(self, query: ListQuery, *, at_most: int) -> int:
        """Return how many rows all pages of ``query`` have together, counting up to ``at_most``.

        Raises:
            ValidationFailed: as for a page.
        """
        ...

    async def page(self, query: ListQuery) -> Page[T]:
        """Return one page.

        Raises:
            ValidationFailed: an unknown field, or a cursor that is not of this list.
        """
        ...
