"""Lists in pages: a query is checked and planned once, for every store alike.

Pages are read by key, never by offset, so that rows which come and go between two pages neither
repeat nor hide others. Null sorts after every value, text by code point. A cursor holds the sort
and the position it continues from, nothing secret; it is only good for the list it came from.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Generic, TypeAlias, TypeVar

from gpucloud_adapters.stored.fields import Field, Scalar
from gpucloud_adapters.stored.kinds import Kind
from gpucloud_core.kernel.errors import FieldError, ValidationFailed
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.time import rfc3339

T = TypeVar("T")
R = TypeVar("R")
Span: TypeAlias = tuple[datetime | None, datetime | None]
LIMIT_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Position:
    """The sort value and the key of the row a page continues from."""

    value: Scalar | None
    key: str


@dataclass(frozen=True, slots=True)
class ListPlan(Generic[T]):
    """A checked query. Read ``limit + 1`` rows in reading order and hand them to ``page``.

    Attributes:
        sort: the field sorted by; the key breaks ties.
        descending: the order of the list as it is shown.
        backwards: whether this page is read from its end, towards the start of the list.
        after: where reading starts, exclusive.
    """

    kind: Kind[T]
    sort: Field
    descending: bool
    where: Mapping[str, tuple[Scalar | None, ...]]
    spans: Mapping[str, Span]
    search: str
    after: Position | None
    backwards: bool
    limit: int

    @property
    def reads_down(self) -> bool:
        """Tell whether rows are read from the largest to the smallest."""
        return self.descending != self.backwards

    def page(self, rows: Sequence[R], value: Callable[[R, str], Any] = getattr) -> Page[R]:
        """Return the page that these rows, read in reading order, make.

        ``value`` gives a row's value of a field: the key, or what the list is sorted by.
        """
        more = len(rows) > self.limit
        items = tuple(rows[: self.limit])
        if self.backwards:
            items = items[::-1]
        ahead = self.backwards or more
        behind = more if self.backwards else self.after is not None
        return Page(
            items=items,
            next_cursor=self._cursor(items, value, last=True) if ahead else None,
            prev_cursor=self._cursor(items, value, last=False) if behind else None,
        )

    def _cursor(
        self, items: tuple[R, ...], value_of: Callable[[R, str], Any], *, last: bool
    ) -> str | None:
        if items:
            row = items[-1 if last else 0]
            at = Position(value_of(row, self.sort.name), value_of(row, self.kind.key))
        elif self.after is not None:
            at = self.after
        else:
            return None
        value = rfc3339(at.value) if isinstance(at.value, datetime) else at.value
        parts = [self._signature(), "next" if last else "prev", value, at.key]
        text = json.dumps(parts, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def _signature(self) -> str:
        return _signature(self.kind, self.sort, descending=self.descending)


def plan_list(kind: Kind[T], query: ListQuery) -> ListPlan[T]:
    """Return how to read the page that ``query`` asks for.

    Raises:
        ValidationFailed: an unknown field or value, or a cursor that is not of this list.
    """
    if not 1 <= query.limit <= LIMIT_MAX:
        raise _wrong("limit", "out_of_range", f"Ask for 1 to {LIMIT_MAX} rows.")
    descending, name = query.sort.startswith("-"), query.sort.removeprefix("-")
    sort = kind.sort_field(name)
    if sort is None:
        names = ", ".join(("id", *kind.sortable))
        raise _wrong("sort", "unknown_sort", f"This list can be sorted by {names}.")
    if query.search and not kind.searchable:
        raise _wrong("search", "not_searchable", "This list cannot be searched by text.")
    backwards, after = False, None
    if query.cursor is not None:
        signature = _signature(kind, sort, descending=descending)
        backwards, after = _position(query.cursor, signature, sort)
    return ListPlan(
        kind=kind,
        sort=sort,
        descending=descending,
        where={field: _allowed(kind, field, values) for field, values in query.where.items()},
        spans={field: _span(kind, field, span) for field, span in query.spans.items()},
        search=query.search,
        after=after,
        backwards=backwards,
        limit=query.limit,
    )


def _signature(kind: Kind[Any], sort: Field, *, descending: bool) -> str:
    return f"{kind.table}:{'-' if descending else ''}{sort.name}"


def _allowed(kind: Kind[Any], name: str, values: Sequence[object]) -> tuple[Scalar | None, ...]:
    field = kind.fields.get(name)
    if field is None or field.scalar is None:
        raise _wrong(name, "unknown_filter", f"This list has no filter called {name}.")
    return tuple(_checked(field, value) for value in values)


def _span(kind: Kind[Any], name: str, span: Span) -> Span:
    field = kind.fields.get(name)
    if field is None or field.scalar is not datetime:
        raise _wrong(name, "unknown_filter", f"This list has no instant called {name}.")
    return span


def _checked(field: Field, value: object) -> Scalar | None:
    if value is None and field.optional:
        return None
    scalar = field.scalar
    if scalar is not None and issubclass(scalar, StrEnum) and isinstance(value, str):
        if value in scalar.__members__.values():
            return value
        known = ", ".join(scalar)
        raise _wrong(field.name, "unknown_value", f"{field.name} is one of: {known}.")
    if (
        scalar is not None
        and isinstance(value, scalar)
        and isinstance(value, bool) == (scalar is bool)
    ):
        return value
    raise _wrong(field.name, "wrong_type", f"This is no value of {field.name}.")


def _position(cursor: str, signature: str, sort: Field) -> tuple[bool, Position]:
    """Return whether the page is read backwards, and from where."""
    problem = _wrong("cursor", "wrong_cursor", "Start this list again from its first page.")
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        said, direction, value, key = parts
        if value is not None and sort.scalar is datetime:
            value = datetime.fromisoformat(value).astimezone(UTC)
        value = _checked(sort, value)
    except (binascii.Error, ValueError, TypeError, ValidationFailed) as error:
        raise problem from error
    if said != signature or direction not in {"next", "prev"} or not isinstance(key, str):
        raise problem
    return direction == "prev", Position(value, key)


def _wrong(name: str, code: str, detail: str) -> ValidationFailed:
    return ValidationFailed(detail, fields=[FieldError(f"/{name}", code, detail)])
