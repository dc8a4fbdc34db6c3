"""One transaction of one scope: statements go in, rows come out, refusals in the core's words."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from sqlalchemy import Executable, Row, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_core.kernel.errors import (
    AlreadyExists,
    Conflict,
    DomainError,
    Unavailable,
    ValidationFailed,
)
from gpucloud_core.kernel.unit import Scope

Found: TypeAlias = Row[*tuple[Any, ...]]

_OPEN: Final = text("""
    SELECT set_config('role', :role, true), set_config('gpucloud.tenant', :tenant, true),
           clock_timestamp()
""")
_RETRY_SECONDS: Final = 2

_NO_ANSWER: Final = {"", "08", "53", "57", "58"}  # connection, resources, shut down or late, I/O
_BAD_VALUE: Final = "22"  # the class: too long, no such character, out of range
_REFUSALS: Final[Mapping[str, Callable[[], DomainError]]] = {
    "40001": lambda: Conflict("Someone else changed this at the same moment."),
    "40P01": lambda: Conflict("Someone else changed this at the same moment."),
    "55P03": lambda: Conflict("Someone else is changing this; it took too long."),
    "23505": lambda: AlreadyExists("Another object has this name or value."),
    "23503": lambda: Conflict("Something this refers to, or that refers to this, is in the way."),
}
_WRONG_PROGRAM: Final = {"23502", "23514", "23P01", "42501"}  # null, check, exclusion, privilege


class Session:
    """An open transaction. Only ``PostgresTransactions`` opens, commits and closes one."""

    def __init__(self, connection: AsyncConnection, scope: Scope, opened_at: datetime) -> None:
        self.scope = scope
        self._connection = connection
        self._opened_at = opened_at
        self._opened = time.monotonic()

    @classmethod
    async def open(cls, engine: AsyncEngine, scope: Scope) -> "Session":
        """Begin a transaction that can only do what ``scope`` may.

        A connection that broke while it waited in the pool is replaced once: nothing was done on
        it yet.
        """
        try:
            return await cls._open(engine, scope)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise translated(error) from error
        except (PoolTimeout, OSError) as error:
            raise _unavailable() from error
        try:
            return await cls._open(engine, scope)
        except (SQLAlchemyError, OSError) as error:
            raise translated(error) from error

    @classmethod
    async def _open(cls, engine: AsyncEngine, scope: Scope) -> "Session":
        connection = await engine.connect()
        try:
            opened = await connection.execute(_OPEN, _settings(scope))
            return cls(connection, scope, opened.one()[2])
        except BaseException:
            await connection.close()
            raise

    def now(self) -> datetime:
        """Return the database's wall clock: as it was at the opening, and the time since then.

        One reading serves the whole transaction, without asking again: how much time has gone by
        is the same on both sides, whatever this machine's wall clock says.
        """
        return self._opened_at + timedelta(seconds=time.monotonic() - self._opened)

    async def rows(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Found]:
        try:
            return (await self._connection.execute(statement, parameters)).all()
        except (SQLAlchemyError, OSError) as error:
            raise translated(error) from error

    async def first(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Found | None:
        """Return the first row, if there is one."""
        found = await self.rows(statement, parameters)
        return found[0] if found else None

    async def value(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the first column of the first row; None if there is no row."""
        row = await self.first(statement, parameters)
        return None if row is None else row[0]

    async def change(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> int:
        """Run a statement that returns nothing; return how many rows it changed.

        Several sets of parameters go to the database together.
        """
        try:
            return (await self._connection.execute(statement, parameters)).rowcount
        except (SQLAlchemyError, OSError) as error:
            raise translated(error) from error

    @asynccontextmanager
    async def within(self, scope: Scope) -> AsyncIterator[None]:
        """Do a part of the transaction in ``scope``, behind a savepoint."""
        around = self.scope
        try:
            savepoint = await self._connection.begin_nested()
            await self._enter(scope)
        except (SQLAlchemyError, OSError) as error:
            raise translated(error) from error
        try:
            yield
        except BaseException:
            await self._leave(savepoint.rollback())  # role and tenant go back with it
            self.scope = around
            raise
        await self._leave(savepoint.commit())
        await self._leave(self._enter(around))

    async def _leave(self, step: Awaitable[None]) -> None:
        try:
            await step
        except (SQLAlchemyError, OSError) as error:
            raise translated(error) from error

    async def _enter(self, scope: Scope) -> None:
        if scope != self.scope:
            await self._connection.execute(_OPEN, _settings(scope))
            self.scope = scope

    async def commit(self) -> None:
        try:
            await self._connection.commit()
        except (SQLAlchemyError, OSError) as error:
            raise translated(error) from error

    async def close(self) -> None:
        """Give the connection back; what was not committed is rolled back."""
        await self._connection.close()


def _settings(scope: Scope) -> dict[str, str]:
    role = "gpucloud_platform" if scope.tenant_id is None else "gpucloud_app"
    return {"role": role, "tenant": scope.tenant_id or ""}


def translated(error: Exception) -> Exception:
    """Return the core's word for what the database, or the way to it, answered."""
    if not isinstance(error, DBAPIError):
        return _unavailable()
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if error.connection_invalidated or state[:2] in _NO_ANSWER:
        return _unavailable()
    if refusal := _REFUSALS.get(state):
        return refusal()
    if state in _WRONG_PROGRAM:
        return InvariantError(str(error.orig))
    if state.startswith(_BAD_VALUE):
        return ValidationFailed("A value is too large, or holds a character that cannot be kept.")
    return error


def _unavailable() -> Unavailable:
    return Unavailable("The database does not answer.", retry_after_seconds=_RETRY_SECONDS)
