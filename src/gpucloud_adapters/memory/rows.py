"""Rows of one kind in memory, as one unit may see them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, TypeVar

from gpucloud_adapters.memory.database import MemoryDatabase, Table
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_adapters.stored.kinds import (
    Kind,
    Tenancy,
)
from gpucloud_adapters.stored.lists import ListPlan, Span, plan_list
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.unit import Scope

T = TypeVar("T")


class MemoryRows(Generic[T]):
    """The rows of one kind that a unit of ``scope`` may see."""

    def __init__(self, database: MemoryDatabase, scope: Scope, kind: Kind[T]) -> None:
        self.database = database
        self.scope = scope
        self.kind = kind
        if kind.tenancy is Tenancy.PLATFORM and scope.tenant_id is not None:
            raise InvariantError(f"{kind.table} are the platform's alone")

    @cached_property
    def table(self) -> Table[T]:
        return self.database.table(self.kind)

    async def get(self, key: str) -> T | None:
        row = self.table.rows.get(key)
        return row if row is not None and self._is_visible(row) else None

    async def lock(self, key: str) -> T | None:
        self._require_writable()
        return await self.get(key)

    async def add(self, row: T) -> None:
        self._require_writable()
        self._require_own(row)
        self.table.insert(row)

    async def put(self, row: T) -> None:
        self._require_writable()
        if await self.get(self.kind.key_of(row)) is None:
            raise NotFound
        self._require_own(row)
        self.table.replace(row)

    async def delete(self, key: str) -> None:
        self._require_writable()
        if await self.get(key) is not None:
            self.table.remove(key)

    async def find(self, **equals: object) -> tuple[T, ...]:
        for name in equals:
            self.kind.scalar(name)
        found = [
            row
            for row in self.table.candidates(equals)
            if self._is_visible(row)
            and all(getattr(row, name) == value for name, value in equals.items())
        ]
        return tuple(sorted(found, key=self.kind.key_of))

    async def find_any(
        self, field: str, values: Sequence[object], **equals: object
    ) -> tuple[T, ...]:
        for name in (field, *equals):
            self.kind.scalar(name)
        found = {
            self.kind.key_of(row): row
            for value in values
            for row in self.table.candidates({field: value})
            if self._is_visible(row)
            and getattr(row, field) == value
            and all(getattr(row, name) == wanted for name, wanted in equals.items())
        }
        return tuple(found[key] for key in sorted(found))

    async def count_by(self, field: str, **equals: object) -> dict[object, int]:
        self.kind.scalar(field)
        return dict(Counter(getattr(row, field) for row in await self.find(**equals)))

    async def count(self, **equals: object) -> int:
        return len(await self.find(**equals))

    async def matching(self, query: ListQuery, *, at_most: int) -> int:
        plan = plan_list(self.kind, replace(query, cursor=None))
        return min(at_most, len(self.having(lambda row: _matches(plan, row))))

    async def page(self, query: ListQuery) -> Page[T]:
        plan = plan_list(self.kind, query)
        found = sorted(
            self.having(lambda row: _matches(plan, row)),
            key=lambda row: _place(plan, row),
            reverse=plan.reads_down,
        )
        return plan.page([row for row in found if _is_after(plan, row)][: plan.limit + 1])

    def having(
        self, condition: Callable[[T], bool], *, among: Sequence[Mapping[str, object]] = ({},)
    ) -> list[T]:
        """Return the visible rows that meet ``condition``.

        ``among`` says which fields all of them have, one way or another, so that an index helps.
        """
        return [
            row
            for equals in among
            for row in self.table.candidates(equals)
            if self._is_visible(row) and condition(row)
        ]

    def _is_visible(self, row: T) -> bool:
        if self.scope.tenant_id is None or self.kind.tenancy is Tenancy.SHARED:
            return True
        return self.kind.tenant_of(row) == self.scope.tenant_id

    def _require_writable(self) -> None:
        if self.scope.tenant_id is not None and self.kind.tenancy is not Tenancy.OWNED:
            raise InvariantError(f"a tenant's unit may only read {self.kind.table}")

    def _require_own(self, row: T) -> None:
        if not self._is_visible(row):
            raise InvariantError(f"this row of {self.kind.table} is another tenant's")


def _is_in(instant: datetime | None, span: Span) -> bool:
    since, until = span
    if instant is None:
        return span == (None, None)
    return (since is None or since <= instant) and (until is None or instant < until)


def _matches(plan: ListPlan[T], row: T) -> bool:
    if not all(getattr(row, name) in values for name, values in plan.where.items()):
        return False
    if not all(_is_in(getattr(row, name), span) for name, span in plan.spans.items()):
        return False
    wanted = plan.search.lower()
    return not wanted or any(
        wanted in (getattr(row, name) or "").lower() for name in plan.kind.searchable
    )


def _place(plan: ListPlan[T], row: T) -> tuple[Any, ...]:
    return _ordered(getattr(row, plan.sort.name), plan.kind.key_of(row))


def _ordered(value: object, key: str) -> tuple[Any, ...]:
    """Return what sorts like the value, null last, and then like the key."""
    return (value is None, 0 if value is None else value, key)


def _is_after(plan: ListPlan[T], row: T) -> bool:
    if plan.after is None:
        return True
    here, start = _place(plan, row), _ordered(plan.after.value, plan.after.key)
    return here < start if plan.reads_down else here > start
