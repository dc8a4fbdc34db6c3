"""Reading alone: each statement is a transaction of its own, so that nothing is said around it.

A unit that ``begin`` gives says besides what it reads that it begins, in which role and tenant, and
that it ends. Here the connection has been in the role since it was opened, can change nothing, and
remembers the tenant it is in. What row-level security shows is the same; so is what each statement
sees, since READ COMMITTED gives it a picture of its own anyway.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NoReturn

import asyncpg
from sqlalchemy import Executable

from gpucloud_adapters.postgres.engine import Connection, Engine
from gpucloud_adapters.postgres.session import TROUBLE, Found, Session, ask, role_of, translated
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_core.kernel.unit import Scope


class Look(Session):
    """A session whose statements stand alone. It takes a connection when first asked something."""

    def __init__(self, engine: Engine, scope: Scope) -> None:
        super().__init__(engine, None, scope)
        self._role = role_of(scope)

    async def rows(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | None = None,
        *,
        of: str | None = None,
    ) -> Sequence[Found]:
        """Return what is found. On a connection that broke it is asked once more, on another."""
        await self.write()
        try:
            return await self._read(statement, parameters or {})
        except TROUBLE as error:
            if self._connection is None or not _is_gone(self._connection):
                raise translated(error) from error
        await self.close()
        await self._engine.renew()
        try:
            return await self._read(statement, parameters or {})
        except TROUBLE as error:
            raise translated(error) from error

    async def clock(self) -> datetime:
        if self._connection is None:
            try:
                await self._connected()
            except TROUBLE as error:
                raise translated(error) from error
        return self.now()

    async def write(self) -> None:
        """Refuse whatever waits to be written."""
        if self.writes.take() is not None:
            raise InvariantError("a look changes nothing")

    async def change(self, *_: object, **__: object) -> NoReturn:
        raise InvariantError("a look changes nothing")

    change_each = change
    commit = change

    def within(self, scope: Scope, *, apart: bool) -> NoReturn:
        raise InvariantError("a look has no parts")

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._engine.release(connection, self._role)

    async def _read(self, statement: Executable, given: Mapping[str, Any]) -> Sequence[Found]:
        connection = await self._connected()
        if self.scope.tenant_id is not None:
            await connection.enter(self.scope.tenant_id)
        return await ask(self._engine, connection, statement, given)

    async def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = await self._engine.acquire(self._role)
        return self._connection


def _is_gone(connection: Connection) -> bool:
    """Tell whether it broke. The pool may have taken it back then, and it says nothing."""
    with suppress(asyncpg.InterfaceError):
        return bool(connection.is_closed())
    return True
