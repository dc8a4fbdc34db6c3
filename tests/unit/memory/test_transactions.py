"""Every contract of a store, kept in memory."""

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
from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_core.kernel.unit import Transactions
from row_builders import FixedClock


class InMemory(StoreContract):
    @pytest.fixture
    def transactions(self) -> Transactions[StoreUnit]:
        return MemoryTransactions(FixedClock())

    async def committed(
        self, transactions: Transactions[StoreUnit], table: str, column: str, value: str
    ) -> int:
        assert isinstance(transactions, MemoryTransactions)
        if table == "outbox":
            return sum(
                getattr(stored.event, column) == value for stored in transactions.database.outbox
            )
        rows = transactions.database.tables[table].rows.values()
        return sum(getattr(row, column) == value for row in rows)


class TestMemoryTransactions(InMemory, TransactionsContract):
    pass


class TestMemoryOnce(InMemory, OnceContract):
    pass


class TestMemoryRows(InMemory, RowsContract):
    pass


class TestMemoryLists(InMemory, ListsContract):
    pass


class TestMemoryLedger(InMemory, LedgerContract):
    pass


class TestMemoryFleet(InMemory, FleetContract):
    pass


class TestMemoryDueRows(InMemory, DueContract):
    pass


class TestMemoryLaunchRows(InMemory, LaunchRowsContract):
    pass
