"""One transaction of one scope: statements go in, rows come out, refusals in the core's words.

Each message to the database costs more than what most of ours ask of it. So the role and the
tenant go with the BEGIN, and rows wait for each other (see ``writes``): a statement says which
table it is about, and only what waits for that table is written before it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg
from sqlalchemy import Executable

from gpucloud_adapters.postgres.compiled import compiled
from gpucloud_adapters.postgres.engine import Connection, Engine
from gpucloud_adapters.postgres.writes import Writes
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_core.kernel.errors import (
    AlreadyExists,
    Conflict,
    DomainError,
    NotFound,
    Unavailable,
    ValidationFailed,
)
from gpucloud_core.kernel.unit import Scope

Found: TypeAlias = asyncpg.Record
T = TypeVar("T")

_RETRY_SECONDS: Final = 2

TROUBLE: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
_NO_ANSWER: Final = {"", "08", "53", "57", "58"}  # connection, resources, shut down or late, I/O
_BAD_VALUE: Final = "22"  # the class: too long, no such character, out of range
_REFUSALS: Final[Mapping[str, Callable[[], DomainError]]] = {
    "40001": lambda: Conflict("Someone else changed this at the same moment."),
    "40P01": lambda: Conflict("Someone else changed this at the same moment."),
    "55P03": lambda: Conflict("Someone else is changing this; it took too long."),
    "23505": lambda: AlreadyExists("Another object has this name or value."),
    "23503": lambda: Conflict("Something this refers to, or that refers to this, is in the way."),
}
# Null, check, exclusion, privilege, a change in what only reads.
_WRONG_PROGRAM: Final = {"23502", "23514", "23P01", "42501", "25006"}


class Session:
    """An open transaction. Only ``PostgresTransactions`` opens, commits and closes one."""

    def __init__(self, engine: Engine, connection: Connection, scope: Scope) -> None:
        self.scope = scope
        self.writes = Writes()
        self._engine = engine
        self._connection = connection
        self._depth = 0

    @classmethod
    async def open(cls, engine: Engine, scope: Scope) -> "Session":
        """Begin a transaction that can only do what ``scope`` may.

        A connection that broke while it waited in the pool is replaced once: nothing was done on
        it yet.
        """
        try:
            return await cls._open(engine, scope)
        except TROUBLE as error:
            if not _is_broken(error):
                raise translated(error) from error
        await engine.renew()
        try:
            return await cls._open(engine, scope)
        except TROUBLE as error:
            raise translated(error) from error

    @classmethod
    async def _open(cls, engine: Engine, scope: Scope) -> "Session":
        connection = await engine.acquire()
        try:
            begin = f"BEGIN; {_entering(scope)}"
            _tell(engine, begin)
            await connection.execute(begin)
            return cls(engine, connection, scope)
        except BaseException:
            await engine.release(connection)
            raise

    async def clock(self) -> datetime:
        """Return what ``now`` does, also where it has to be asked for first."""
        return self.now()

    def now(self) -> datetime:
        """Return the database's wall clock, without asking it."""
        return self._engine.now()

    async def rows(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | None = None,
        *,
        of: str | None = None,
    ) -> Sequence[Found]:
        """Return what a statement finds, after whatever waits for the table ``of``.

        Without ``of`` it comes after all rows that wait, but not after records.
        """
        await self._settle(of)
        try:
            return await ask(self._engine, self._connection, statement, parameters or {})
        except TROUBLE as error:
            raise translated(error) from error

    async def first(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | None = None,
        *,
        of: str | None = None,
    ) -> Found | None:
        """Return the first row, if there is one."""
        found = await self.rows(statement, parameters, of=of)
        return found[0] if found else None

    async def value(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | None = None,
        *,
        of: str | None = None,
    ) -> Any:
        """Return the first column of the first row; None if there is no row."""
        row = await self.first(statement, parameters, of=of)
        return None if row is None else row[0]

    async def change(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | None = None,
        *,
        of: str | None = None,
    ) -> int:
        """Run a statement that returns nothing; return how many rows it changed."""
        await self._settle(of)
        given = parameters or {}
        made = compiled(statement, given)
        _tell(self._engine, made.sql)
        said: str = await self._sure(self._connection.execute, made.sql, *made.arguments(given))
        count = said.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    async def change_each(
        self, statement: Executable, parameters: Sequence[Mapping[str, Any]]
    ) -> None:
        """Run a statement with each of several sets of values, which go together."""
        await self._settle(None)
        made = compiled(statement, parameters[0])
        _tell(self._engine, made.sql)
        rows = [made.arguments(given) for given in parameters]
        await self._sure(self._connection.executemany, made.sql, rows)

    async def write(self) -> None:
        """Write whatever waits.

        Raises:
            NotFound: a row that has a new value is not there.
        """
        waited = self.writes.take()
        if waited is None:
            return
        try:
            found = await ask(self._engine, self._connection, waited.statement, waited.values)
        except TROUBLE as error:
            raise translated(error) from error
        if waited.puts and tuple(found[0]) != waited.puts:
            raise NotFound

    @asynccontextmanager
    async def within(self, scope: Scope, *, apart: bool) -> AsyncIterator[None]:
        """Do a part of the transaction in ``scope``; ``apart`` it can be undone alone.

        Then it is behind a savepoint, which nobody releases: it ends with the transaction.
        """
        around = self.scope
        await self.write()  # what waits is not of this part
        if not apart:
            await self._enter(scope)
            yield
            await self._enter(around)
            return
        self._depth += 1
        name = f"part_{self._depth}"
        try:
            entering = "" if scope == around else f"; {_entering(scope)}"
            await self._say(f"SAVEPOINT {name}{entering}")
            self.scope = scope
            try:
                yield
            except BaseException:
                self.writes.forget()
                await self._say(f"ROLLBACK TO SAVEPOINT {name}")  # role and tenant go back with it
                self.scope = around
                raise
            await self._enter(around)
        finally:
            self._depth -= 1

    async def commit(self) -> None:
        """Keep what was done, and write what waits.

        Raises:
            NotFound: see ``write``.
            InvariantError: a statement had failed and its error was swallowed; the database says
                ROLLBACK to a COMMIT then, and nothing is kept.
        """
        await self.write()
        if await self._say("COMMIT") != "COMMIT":
            raise InvariantError("a use case went on after a statement that failed")

    async def close(self) -> None:
        """Give the connection back; what was not committed is rolled back."""
        await self._engine.release(self._connection)

    async def _settle(self, table: str | None) -> None:
        if self.writes.concern(table):
            await self.write()

    async def _enter(self, scope: Scope) -> None:
        if scope != self.scope:
            await self.write()
            await self._say(_entering(scope))
            self.scope = scope

    async def _say(self, command: str) -> str:
        _tell(self._engine, command)
        answer: str = await self._sure(self._connection.execute, command)
        return answer

    async def _sure(self, say: Callable[..., Awaitable[T]], *given: Any) -> T:
        try:
            return await say(*given)  # one that was cut off refuses at the call already
        except TROUBLE as error:
            raise translated(error) from error


async def ask(
    engine: Engine, connection: Connection, statement: Executable, given: Mapping[str, Any]
) -> Sequence[Found]:
    """Say one statement on a connection; return what the driver gives."""
    made = compiled(statement, given)
    _tell(engine, made.sql)
    found: Sequence[Found] = await connection.fetch(made.sql, *made.arguments(given))
    return found


def _tell(engine: Engine, sql: str) -> None:
    if engine.heard is not None:
        engine.heard(sql)


def _entering(scope: Scope) -> str:
    """Return what takes on the role and the tenant of ``scope``, until the transaction ends."""
    tenant = (scope.tenant_id or "").replace("'", "''")
    return f"SET LOCAL ROLE {role_of(scope)}; SET LOCAL gpucloud.tenant = '{tenant}'"


def role_of(scope: Scope) -> str:
    """Return which role of the database may do what ``scope`` may."""
    return "gpucloud_platform" if scope.tenant_id is None else "gpucloud_app"


def translated(error: Exception) -> Exception:
    """Return the core's word for what the database, or the way to it, answered."""
    state = _state_of(error) if isinstance(error, asyncpg.PostgresError) else ""
    if state[:2] in _NO_ANSWER:
        return _unavailable()
    if refusal := _REFUSALS.get(state):
        return refusal()
    if state in _WRONG_PROGRAM:
        return InvariantError(str(error))
    if state.startswith(_BAD_VALUE):
        return ValidationFailed("A value is too large, or holds a character that cannot be kept.")
    return error


def _state_of(error: Exception) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def _is_broken(error: Exception) -> bool:
    """Tell whether it was the connection that failed, and not the wait for one."""
    if isinstance(error, asyncpg.PostgresError):
        return _state_of(error)[:2] in {"08", "57"}
    return not isinstance(error, TimeoutError)


def _unavailable() -> Unavailable:
    return Unavailable("The database does not answer.", retry_after_seconds=_RETRY_SECONDS)
