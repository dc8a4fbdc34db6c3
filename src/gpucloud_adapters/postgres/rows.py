"""Rows of one kind in their table, as one unit may see them.

Which rows those are is decided by the database, by row-level security: here nobody adds a tenant
to a statement, and so nobody can forget one.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from sqlalchemy import Select

from gpucloud_adapters.postgres.session import Session
from gpucloud_adapters.postgres.statements import Equals, ListShape, Statements, list_values
from gpucloud_adapters.postgres.writes import ADDED_LATE, PUT_LATE
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_adapters.stored.kinds import Tenancy
from gpucloud_adapters.stored.lists import plan_list
from gpucloud_core.kernel.errors import AlreadyExists, NotFound
from gpucloud_core.kernel.rows import ListQuery, Page

T = TypeVar("T")


class PostgresRows(Generic[T]):
    """The rows of one kind that the session's scope lets it see."""

    def __init__(self, session: Session, statements: Statements[T]) -> None:
        self.session = session
        self.statements = statements
        self.kind = statements.kind
        if self.kind.tenancy is Tenancy.PLATFORM and session.scope.tenant_id is not None:
            raise InvariantError(f"{self.kind.table} are the platform's alone")

    async def get(self, key: str) -> T | None:
        return await self.read_one(self.statements.get, {"row_key": key})

    async def lock(self, key: str) -> T | None:
        self._require_writable()
        return await self.read_one(self.statements.lock, {"row_key": key})

    async def add(self, row: T) -> None:
        self._require_writable()
        if (target := ADDED_LATE.get(self.kind.table)) is not None:
            self.session.writes.add(target, self.kind.key_of(row), row)
            return
        values = self.statements.mapping.encode(row)
        added = await self.session.rows(self.statements.add, values, of=self.kind.table)
        if not added:
            raise AlreadyExists(f"Another of {self.kind.table} has this name or value.")

    async def put(self, row: T) -> None:
        self._require_writable()
        if (target := PUT_LATE.get(self.kind.table)) is not None:
            self.session.writes.put(target, self.kind.key_of(row), row)
            return
        values = self.statements.mapping.encode(row)
        values["row_key"] = values.pop(self.kind.key)
        if not await self.session.change(self.statements.put, values, of=self.kind.table):
            raise NotFound

    async def delete(self, key: str) -> None:
        self._require_writable()
        given = {"row_key": key}
        await self.session.change(self.statements.delete, given, of=self.kind.table)

    async def find(self, **equals: object) -> tuple[T, ...]:
        shape = Equals.of(self.kind, equals)
        return await self.read(self.statements.find(shape), _equal_values(equals))

    async def find_any(
        self, field: str, values: Sequence[object], **equals: object
    ) -> tuple[T, ...]:
        shape = Equals.of(self.kind, equals)
        statement = self.statements.find_any(field, or_null=None in values, equals=shape)
        given = [value for value in values if value is not None]
        return await self.read(statement, {"any_value": given, **_equal_values(equals)})

    async def count_by(self, field: str, **equals: object) -> dict[object, int]:
        statement = self.statements.count_by(field, Equals.of(self.kind, equals))
        counted = await self.session.rows(statement, _equal_values(equals), of=self.kind.table)
        decode = self.statements.mapping.decoder_of(field)
        return {decode(value): number for value, number in counted}

    async def count(self, **equals: object) -> int:
        statement = self.statements.count(Equals.of(self.kind, equals))
        values = _equal_values(equals)
        return int(await self.session.value(statement, values, of=self.kind.table))

    async def matching(self, query: ListQuery, *, at_most: int) -> int:
        plan = plan_list(self.kind, replace(query, cursor=None))
        statement = self.statements.matching(ListShape.of(plan))
        values = list_values(plan) | {"row_limit": at_most}
        return int(await self.session.value(statement, values))

    async def page(self, query: ListQuery) -> Page[T]:
        plan = plan_list(self.kind, query)
        statement = self.statements.page(ListShape.of(plan))
        return plan.page(await self.read(statement, list_values(plan)))

    async def read(self, statement: Select[Any], values: dict[str, Any]) -> tuple[T, ...]:
        """Return the rows of a statement that selects this kind's columns."""
        decode = self.statements.mapping.decode
        found = await self.session.rows(statement, values, of=self.kind.table)
        return tuple([decode(row) for row in found])

    async def read_one(self, statement: Select[Any], values: dict[str, Any]) -> T | None:
        found = await self.session.first(statement, values, of=self.kind.table)
        return None if found is None else self.statements.mapping.decode(found)

    def _require_writable(self) -> None:
        if self.session.scope.tenant_id is not None and self.kind.tenancy is not Tenancy.OWNED:
            raise InvariantError(f"a tenant's unit may only read {self.kind.table}")


def _equal_values(equals: dict[str, object]) -> dict[str, Any]:
    return {f"is_{name}": value for name, value in equals.items() if value is not None}
