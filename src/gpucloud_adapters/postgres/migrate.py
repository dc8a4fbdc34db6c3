"""Brings a database to the newest schema: ``python -m gpucloud_adapters.postgres.migrate``.

Safe to run twice and by several starters at once: they take turns on an advisory lock, and the
later ones find nothing left to do. Each migration is one transaction.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from gpucloud_adapters.postgres.engine import driver_url

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_TURN: Final = 0x6770_7563_6C6F_7564  # "gpucloud": the advisory lock that migrations hold


def upgrade(database_url: str) -> None:
    """Bring the database to the newest schema. Not from a running event loop."""
    asyncio.run(_upgrade(database_url))


def config() -> Config:
    """Return Alembic's configuration; there is no file of it."""
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return made


async def _upgrade(database_url: str) -> None:
    # A migration that cannot have its lock soon gives up, instead of queueing everyone behind it.
    settings = {"application_name": "gpucloud migrate", "lock_timeout": "5s"}
    engine = create_async_engine(
        driver_url(database_url), poolclass=NullPool, connect_args={"server_settings": settings}
    )
    try:
        async with engine.begin() as turn:
            await turn.execute(text("SET LOCAL lock_timeout = 0"))
            await turn.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})
            async with engine.connect() as connection:
                await connection.run_sync(_run)
    finally:
        await engine.dispose()


def _run(connection: Connection) -> None:
    configuration = config()
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, "head")


if __name__ == "__main__":
    address = os.environ.get("DATABASE_URL")
    if not address:
        sys.exit("Set DATABASE_URL to the database to migrate, as postgresql://user@host/name.")
    upgrade(address)
