"""The statements about one kind of row, each built once.

Lists are keyset reads: conditions and order match an index, and a page costs what it shows. Text
sorts by code point, because the columns that are sorted by are declared so.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from gpucloud_adapters.postgres.mapping import RowMapping
from gpucloud_adapters.stored.kinds import Kind
from gpucloud_adapters.stored.lists import ListPlan

T = TypeVar("T")
_ESCAPE: Final = "\\"
_READ: Final = (11, 26, 51, 101)
"""How many rows a page is read with: one more than it shows, or a few, so that statements are few.

The number stands in the statement: where it is a value, PostgreSQL plans for a tenth of all rows,
finds that dear, and plans each time anew.
"""


class Equals(NamedTuple):
    """Which fields are compared with a value and which with null, whatever the values."""

    given: tuple[str, ...]
    null: tuple[str, ...]

    @classmethod
    def of(cls, kind: Kind[Any], equals: Mapping[str, object]) -> "Equals":
        for name in equals:
            kind.scalar(name)
        return cls(
            tuple(sorted(name for name, value in equals.items() if value is not None)),
            tuple(sorted(name for name, value in equals.items() if value is None)),
        )


class ListShape(NamedTuple):
    """What of a list's plan is in its statement; the rest are values."""

    sort: str
    sort_is_optional: bool
    reads_down: bool
    where: tuple[tuple[str, bool], ...]  # the field, and whether null is among its values
    spans: tuple[tuple[str, bool, bool], ...]  # the field, and which of its ends are given
    has_search: bool
    read: int  # how many rows
    after: bool | None  # whether the row before had a value to sort by; None on the first page

    @classmethod
    def of(cls, plan: ListPlan[Any]) -> "ListShape":
        return cls(
            plan.sort.name,
            plan.sort.optional,
            plan.reads_down,
            tuple(sorted((name, None in values) for name, values in plan.where.items())),
            tuple(
                sorted(
                    (name, since is not None, until is not None)
                    for name, (since, until) in plan.spans.items()
                )
            ),
            bool(plan.search),
            next(rows for rows in _READ if rows > plan.limit),
            None if plan.after is None else plan.after.value is not None,
        )


def list_values(plan: ListPlan[Any]) -> dict[str, Any]:
    """Return the values of the statement of ``ListShape.of(plan)``."""
    values: dict[str, Any] = {}
    for name, allowed in plan.where.items():
        values[f"any_{name}"] = [value for value in allowed if value is not None]
    for name, (since, until) in plan.spans.items():
        ends = {f"from_{name}": since, f"until_{name}": until}
        values.update({key: end for key, end in ends.items() if end is not None})
    if plan.search:
        escaped = plan.search
        for special in (_ESCAPE, "%", "_"):
            escaped = escaped.replace(special, _ESCAPE + special)
        values["search"] = f"%{escaped}%"
    if plan.after is not None:
        values["after_key"] = plan.after.key
        if plan.after.value is not None:
            values["after_value"] = plan.after.value
    return values


class Statements(Generic[T]):
    """Everything that is ever said to the database about rows of one kind.

    Args:
        kind: which rows.
        derived: columns that are not the table's own, by field name.
        fields: those that are read, if not all of them; then nothing is decoded into rows.
    """

    def __init__(
        self,
        kind: Kind[T],
        derived: Mapping[str, ColumnElement[Any]] | None = None,
        *,
        fields: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self.mapping = RowMapping(kind)
        self.columns = self.mapping.table.c
        own = {name: self.columns[name] for name in fields or kind.fields}
        selected = {**own, **(derived or {})}
        self.select: Select[Any] = select(*selected.values())
        key = self.columns[kind.key] == bindparam("row_key", type_=Text)
        table = self.mapping.table
        self.get = self.select.where(key)
        self.lock = self.get.with_for_update(key_share=True)  # keys never change
        self.add = insert(table).on_conflict_do_nothing().returning(self.columns[kind.key])
        self.put = update(table).where(key)
        self.delete = delete(table).where(key)
        self._kept: dict[object, Select[Any]] = {}

    @property
    def key(self) -> Column[Any]:
        return self.columns[self.kind.key]

    def find(self, equals: Equals) -> Select[Any]:
        return self._keep(
            ("find", equals),
            lambda: self.select.where(*self._equal(equals)).order_by(self.key),
        )

    def count(self, equals: Equals) -> Select[Any]:
        return self._keep(
            ("count", equals),
            lambda: select(func.count(self.key)).where(*self._equal(equals)),
        )

    def count_by(self, field: str, equals: Equals) -> Select[Any]:
        column = self.columns[self.kind.scalar(field).name]
        return self._keep(
            ("count_by", field, equals),
            lambda: (
                select(column, func.count(self.key)).where(*self._equal(equals)).group_by(column)
            ),
        )

    def find_any(self, field: str, *, or_null: bool, equals: Equals) -> Select[Any]:
        column = self.columns[self.kind.scalar(field).name]
        return self._keep(
            ("find_any", field, or_null, equals),
            lambda: self.select.where(
                _is_any(column, "any_value", or_null=or_null), *self._equal(equals)
            ).order_by(self.key),
        )

    def page(self, shape: ListShape) -> Select[Any]:
        return self._keep(shape, lambda: self._page(shape))

    def matching(self, shape: ListShape) -> Select[Any]:
        def build() -> Select[Any]:
            limit = bindparam("row_limit", type_=BigInteger)
            some = select(self.key).where(*self._conditions(shape)).limit(limit)
            return select(func.count()).select_from(some.subquery())

        return self._keep(("matching", shape), build)

    def _keep(self, name: object, build: Callable[[], Select[Any]]) -> Select[Any]:
        statement = self._kept.get(name)
        if statement is None:
            statement = self._kept[name] = build()
        return statement

    def _equal(self, equals: Equals) -> list[ColumnElement[bool]]:
        return [
            *(
                self.columns[name] == bindparam(f"is_{name}", type_=self.columns[name].type)
                for name in equals.given
            ),
            *(self.columns[name].is_(None) for name in equals.null),
        ]

    def _conditions(self, shape: ListShape) -> list[ColumnElement[bool]]:
        conditions = [
            _is_any(self.columns[name], f"any_{name}", or_null=or_null)
            for name, or_null in shape.where
        ]
        conditions += self._spanned(shape)
        if shape.has_search:
            conditions.append(self._contains())
        return conditions

    def _page(self, shape: ListShape) -> Select[Any]:
        conditions = self._conditions(shape)
        if shape.after is not None:
            conditions.append(self._comes_after(shape, has_value=shape.after))
        columns = dict.fromkeys((self.columns[shape.sort], self.key))
        order = [column.desc() if shape.reads_down else column.asc() for column in columns]
        limit: ColumnElement[int] = literal_column(str(shape.read), BigInteger)
        return self.select.where(*conditions).order_by(*order).limit(limit)

    def _spanned(self, shape: ListShape) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        for name, has_since, has_until in shape.spans:
            column = self.columns[name]
            if has_since:
                found.append(column >= bindparam(f"from_{name}", type_=column.type))
            if has_until:
                found.append(column < bindparam(f"until_{name}", type_=column.type))
        return found

    def _contains(self) -> ColumnElement[bool]:
        """Return whether a searchable field contains the text, in the database's own alphabet."""
        pattern = bindparam("search", type_=Text)
        columns = [self.columns[name] for name in self.kind.searchable]
        return or_(
            *(column.collate("default").ilike(pattern, escape=_ESCAPE) for column in columns)
        )

    def _comes_after(self, shape: ListShape, *, has_value: bool) -> ColumnElement[bool]:
        """Return whether a row is read later than the position; null is the largest value."""
        column, key = self.columns[shape.sort], bindparam("after_key", type_=Text)
        later_key = self.key < key if shape.reads_down else self.key > key
        if column is self.key:
            return later_key
        if not has_value:
            among_nulls = and_(column.is_(None), later_key)
            return or_(among_nulls, column.is_not(None)) if shape.reads_down else among_nulls
        value = bindparam("after_value", type_=column.type)
        here, position = tuple_(column, self.key), tuple_(value, key)
        later = here < position if shape.reads_down else here > position
        if shape.sort_is_optional and not shape.reads_down:
            return or_(later, column.is_(None))
        return later


def _is_any(column: Column[Any], name: str, *, or_null: bool) -> ColumnElement[bool]:
    found: ColumnElement[bool] = column == any_(bindparam(name, type_=ARRAY(column.type)))
    return or_(found, column.is_(None)) if or_null else found
