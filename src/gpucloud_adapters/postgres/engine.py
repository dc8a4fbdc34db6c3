"""The connection pool: how long anything may take, and how much may happen at once.

READ COMMITTED, with explicit row locks in a fixed order, is the isolation every use case is
written for. Each wait has a limit: for a connection, for a lock, for a statement, and for a
program that forgets an open transaction.
"""

from datetime import timedelta
from typing import Final

import msgspec
from sqlalchemy import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

CONNECT_TIMEOUT: Final = timedelta(seconds=5)
STATEMENT_TIMEOUT: Final = timedelta(seconds=15)
ANSWER_TIMEOUT: Final = timedelta(seconds=20)  # the server's own limits come first, if it lives
LOCK_TIMEOUT: Final = timedelta(seconds=5)
IDLE_TIMEOUT: Final = timedelta(seconds=30)  # in an open transaction
CONNECTION_AGE: Final = timedelta(minutes=30)

_DRIVER: Final = "postgresql+asyncpg"


def driver_url(database_url: str) -> URL:
    """Return ``postgresql://...`` as SQLAlchemy wants it, with libpq's ``sslmode`` understood."""
    scheme, separator, rest = database_url.partition("://")
    if not separator or scheme not in {"postgres", "postgresql", _DRIVER}:
        raise ValueError("a database address begins with postgresql://")
    url = make_url(f"{_DRIVER}://{rest}")
    if mode := url.query.get("sslmode"):
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return url


def create_engine(database_url: str, *, connections: int = 10, overflow: int = 10) -> AsyncEngine:
    """Return an engine; it connects when first used. Dispose of it in the end.

    Args:
        database_url: ``postgresql://user:password@host:port/name``.
        connections: how many are kept open.
        overflow: how many more may be open for a moment.
    """
    return create_async_engine(
        driver_url(database_url),
        pool_size=connections,
        max_overflow=overflow,
        pool_timeout=CONNECT_TIMEOUT.total_seconds(),
        pool_recycle=int(CONNECTION_AGE.total_seconds()),
        isolation_level="READ COMMITTED",
        json_serializer=_to_json,
        json_deserializer=msgspec.json.decode,
        connect_args={
            "timeout": CONNECT_TIMEOUT.total_seconds(),
            "command_timeout": ANSWER_TIMEOUT.total_seconds(),
            "server_settings": {
                "application_name": "gpucloud",
                "timezone": "UTC",
                "statement_timeout": _milliseconds(STATEMENT_TIMEOUT),
                "lock_timeout": _milliseconds(LOCK_TIMEOUT),
                "idle_in_transaction_session_timeout": _milliseconds(IDLE_TIMEOUT),
                "jit": "off",  # our statements are short; compiling them costs more than it saves
            },
        },
    )


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _milliseconds(limit: timedelta) -> str:
    return str(limit // timedelta(milliseconds=1))
