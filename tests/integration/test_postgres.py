"""Every contract of a store, kept in PostgreSQL."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from contracts.fleet import FleetContract
from contracts.launch_rows import LaunchRowsContract
from contracts.ledger import LedgerContract
from contracts.lists import ListsContract
from contracts.once import OnceContract
from contracts.rows import RowsContract
from contracts.stores import StoreContract, StoreUnit
from contracts.transactions import TransactionsContract
from contracts.work import DueContract
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_core.kernel.unit import Transactions


class InPostgres(StoreContract):
    @pytest.fixture
    async def transactions(self, database_url: str) -> AsyncIterator[Transactions[StoreUnit]]:
        self.database_url = database_url
        engine = create_engine(database_url)
        yield PostgresTransactions(engine)
        await engine.dispose()

    async def committed(
        self, transactions: Transactions[StoreUnit], table: str, column: str, value: str
    ) -> int:
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute("SET ROLE gpucloud_platform")
            statement = f"SELECT count(*) FROM {table} WHERE {column} = $1"  # noqa: S608  ours
            return int(await connection.fetchval(statement, value))
        finally:
            await connection.close()


class TestPostgresTransactions(InPostgres, TransactionsContract):
    pass


class TestPostgresOnce(InPostgres, OnceContract):
    pass


class TestPostgresRows(InPostgres, RowsContract):
    pass


class TestPostgresLists(InPostgres, ListsContract):
    pass


class TestPostgresLedger(InPostgres, LedgerContract):
    pass


class TestPostgresFleet(InPostgres, FleetContract):
    pass


class TestPostgresDueRows(InPostgres, DueContract):
    pass


class TestPostgresLaunchRows(InPostgres, LaunchRowsContract):
    pass
