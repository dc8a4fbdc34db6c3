"""The connection pool: how long anything may take, and how much may happen at once.

READ COMMITTED, with explicit row locks in a fixed order, is the isolation every use case is
written for. Each wait has a limit: for a connection, for a lock, for a statement, and for a
program that forgets an open transaction. Statements go to the driver as they are: all layers in
between cost more than what most of our statements cost the database.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import asyncpg
import msgspec
from sqlalchemy import URL, make_url

from gpucloud_adapters.postgres.clock import ServerClock

CONNECT_TIMEOUT: Final = timedelta(seconds=5)
STATEMENT_TIMEOUT: Final = timedelta(seconds=15)
ANSWER_TIMEOUT: Final = timedelta(seconds=20)  # the server's own limits come first, if it lives
LOCK_TIMEOUT: Final = timedelta(seconds=5)
IDLE_TIMEOUT: Final = timedelta(seconds=30)  # in an open transaction
SPARE_TIMEOUT: Final = timedelta(minutes=5)  # after which a connection that nobody uses is closed
LOOKING: Final = 8  # connections that only read, in each of the two roles
STATEMENTS_KEPT: Final = 400  # prepared, on each connection; we have fewer

_DRIVER: Final = "postgresql+asyncpg"

Connection: TypeAlias = asyncpg.Connection


def driver_url(database_url: str) -> URL:
    """Return ``postgresql://...`` as SQLAlchemy wants it, with libpq's ``sslmode`` understood."""
    scheme, separator, rest = database_url.partition("://")
    if not separator or scheme not in {"postgres", "postgresql", _DRIVER}:
        raise ValueError("a database address begins with postgresql://")
    url = make_url(f"{_DRIVER}://{rest}")
    if mode := url.query.get("sslmode"):
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return url


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """Given back, it is only rolled back: whatever a unit sets lasts for its transaction.

    What looks is in one role for good, and in a tenant until it is told another.
    """

    tenant = ""

    def get_reset_query(self) -> str:
        return ""

    async def enter(self, tenant: str) -> None:
        """Be in ``tenant`` from now on; whoever is cut off while changing is in none."""
        if self.tenant != tenant:
            self.tenant = ""
            await self.fetch("SELECT set_config('gpucloud.tenant', $1, false)", tenant)
            self.tenant = tenant


class Engine:
    """Connections to one database, made when first needed. Belongs to one event loop.

    Attributes:
        wait_seconds: for how long someone waits while every connection is taken.
        heard: is told each message to the database, by whoever counts them.
    """

    def __init__(self, database_url: str, *, connections: int) -> None:
        driver_url(database_url)  # refuses what is no address of a database
        self.wait_seconds = CONNECT_TIMEOUT.total_seconds()
        self.heard: Callable[[str], None] | None = None
        self._address = f"postgresql://{database_url.partition('://')[2]}"
        self._connections = connections
        self._pools: dict[str, asyncpg.Pool] = {}
        self._opening: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._clock = ServerClock()

    def now(self) -> datetime:
        """Return the database's wall clock, as it was read on one of the connections."""
        return self._clock.now()

    async def acquire(self, role: str = "") -> Connection:
        """Return a connection of the caller's own until it is released.

        Args:
            role: what it is in for good, and then it only reads; empty for one in no role yet.

        Raises:
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: there is none.
        """
        pool = self._pools.get(role) or await self._open(role)
        connection = await pool.acquire(timeout=self.wait_seconds)
        if self._clock.is_due(time.monotonic()):
            try:
                await self._read_clock(connection)
            except BaseException:
                await pool.release(connection)
                raise
        return connection

    async def release(self, connection: Connection, role: str = "") -> None:
        """Give a connection back; what was not committed on it is rolled back."""
        pool = self._pools.get(role)
        if pool is None:
            return
        try:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if connection.is_in_transaction() and not connection.is_closed():
                    await connection.execute("ROLLBACK")
        finally:  # whoever asked may be cancelled just now
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await pool.release(connection)  # one that cannot be given back is cut by the pool

    async def renew(self) -> None:
        """Have every connection made anew before it is used again: one of them was broken."""
        for pool in self._pools.values():
            await pool.expire_connections()

    async def dispose(self) -> None:
        """Close all connections; those that are in use are cut."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.terminate()
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await pool.close()

    async def _open(self, role: str) -> asyncpg.Pool:
        looking = {"role": role, "default_transaction_read_only": "on"} if role else {}
        async with self._opening[role]:
            if role not in self._pools:
                self._pools[role] = await asyncpg.create_pool(
                    self._address,
                    min_size=0,
                    max_size=LOOKING if role else self._connections,
                    max_inactive_connection_lifetime=SPARE_TIMEOUT.total_seconds(),
                    connection_class=_Connection,
                    init=self._begin,
                    timeout=CONNECT_TIMEOUT.total_seconds(),
                    command_timeout=ANSWER_TIMEOUT.total_seconds(),
                    statement_cache_size=STATEMENTS_KEPT,
                    max_cached_statement_lifetime=0,
                    server_settings={
                        "application_name": "gpucloud",
                        "timezone": "UTC",
                        "default_transaction_isolation": "read committed",
                        "statement_timeout": _milliseconds(STATEMENT_TIMEOUT),
                        "lock_timeout": _milliseconds(LOCK_TIMEOUT),
                        "idle_in_transaction_session_timeout": _milliseconds(IDLE_TIMEOUT),
                        "jit": "off",  # our statements are short: compiling them never pays
                        **looking,
                    },
                )
            return self._pools[role]

    async def _begin(self, connection: Connection) -> None:
        await _with_json(connection)
        await self._read_clock(connection)  # it may be another server's now

    async def _read_clock(self, connection: Connection) -> None:
        asked = time.monotonic()
        at: datetime = await connection.fetchval("SELECT clock_timestamp()")
        self._clock.note(at, asked, time.monotonic())


def create_engine(database_url: str, *, connections: int = 10, overflow: int = 10) -> Engine:
    """Return an engine; it connects when first used. Dispose of it in the end.

    Args:
        database_url: ``postgresql://user:password@host:port/name``.
        connections: how many there are at most in the ordinary course.
        overflow: how many more may be open while much is going on.
    """
    return Engine(database_url, connections=connections + overflow)


async def _with_json(connection: Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: msgspec.json.encode(value).decode(),
        decoder=msgspec.json.decode,
    )


def _milliseconds(limit: timedelta) -> str:
    return str(limit // timedelta(milliseconds=1))
