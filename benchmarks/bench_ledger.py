"""Transfers per second, one a transaction: the product's unit of work beside a bare loop.

The product's way is what every use case does with money: begin in the tenant's scope, lock the
account, post under an idempotency key through the one function that may, commit; its walls check
sums and balances at the commit. The bare loop is four statements on tables without walls, on
asyncpg itself. Both run with the same number of clients, on many tenants and on one. Last, as many
transfers in one transaction as a batch has.

    python benchmarks/bench_ledger.py [--json]
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from statistics import median
from time import perf_counter
from typing import Any, Final

import asyncpg
from grounds import Report, fdatasync_ms, main, servers

from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.system import SystemIds
from gpucloud_core.billing.model import AccountKind, Transfer, TransferKind
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.unit import Scope
from world.market import Market

TENANTS: Final = 20
CLIENTS: Final = 8
EACH: Final = 60  # transfers of a client
ROUNDS: Final = 3
TRANSFERS_BAR: Final = 0.8
HOT_BAR: Final = 0.9
BATCH: Final = 2_000
BATCH_BAR: Final = 8_000
Act = Callable[[int, int], Awaitable[None]]

LEAN: Final = """
    CREATE TABLE lean_transfers (id text PRIMARY KEY, at timestamptz NOT NULL);
    CREATE TABLE lean_accounts (id text PRIMARY KEY, balance bigint NOT NULL);
    CREATE TABLE lean_entries (transfer text, account text, amount bigint, balance_after bigint);
"""


async def spread(act: Act) -> float:
    """Return transfers per second with all clients at work."""

    async def client(number: int) -> None:
        for turn in range(EACH):
            await act(number, turn)

    begun = perf_counter()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return CLIENTS * EACH / (perf_counter() - begun)


async def bare(pool: "asyncpg.Pool[asyncpg.Record]", number: str, account: str) -> None:
    """Four statements and a commit."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("INSERT INTO lean_transfers VALUES ($1, now())", number)
        change = "UPDATE lean_accounts SET balance = balance + $2 WHERE id = $1 RETURNING balance"
        ours = await connection.fetchval(change, f"{account}/cash", -1)
        theirs = await connection.fetchval(change, f"{account}/prepaid", 1)
        await connection.execute(
            "INSERT INTO lean_entries VALUES ($1, $2, -1, $3), ($1, $4, 1, $5)",
            *(number, f"{account}/cash", ours, f"{account}/prepaid", theirs),
        )


async def post(transactions: PostgresTransactions, number: str, tenant_id: TenantId) -> None:
    """What a use case does with money."""
    async with transactions.begin(Scope.tenant(tenant_id)) as unit:
        await unit.billing_accounts.lock(tenant_id)
        await unit.ledger.post(a_transfer(number, tenant_id, await unit.now()))


def a_transfer(number: str, tenant_id: TenantId, at: datetime) -> Transfer:
    return Transfer(
        id=number,
        tenant_id=tenant_id,
        kind=TransferKind.GOODWILL,
        idempotency_key=number,
        entries={AccountKind.PREPAID: 1, AccountKind.CASH: -1},
        at=at,
    )


async def post_batch(
    transactions: PostgresTransactions, ids: SystemIds, tenants: list[TenantId]
) -> float:
    """Return transfers per second, when a transaction holds a batch of them."""
    begun = perf_counter()
    async with transactions.begin(Scope.platform()) as unit:
        now = await unit.now()
        batch = [
            a_transfer(ids.new("trf"), tenants[number % TENANTS], now) for number in range(BATCH)
        ]
        await unit.ledger.post_many(batch)
    return BATCH / (perf_counter() - begun)


async def prepared(superuser_url: str, tenants: list[TenantId]) -> None:
    connection = await asyncpg.connect(superuser_url)
    await connection.execute(LEAN)
    names = [f"{tenant}/{side}" for tenant in tenants for side in ("cash", "prepaid")]
    await connection.executemany(
        "INSERT INTO lean_accounts VALUES ($1, 0)", [(name,) for name in names]
    )
    await connection.close()


async def measured(database_url: str, superuser_url: str) -> list[dict[str, Any]]:
    engine = create_engine(database_url, connections=CLIENTS)
    transactions = PostgresTransactions(engine)
    market = Market(transactions=transactions)
    tenants = [each.actor.tenant_id for each in await market.customers(TENANTS)]
    await prepared(superuser_url, tenants)
    ids = SystemIds()
    async with asyncpg.create_pool(superuser_url, min_size=CLIENTS, max_size=CLIENTS) as pool:

        def by_hand(client: int, turn: int) -> Awaitable[None]:
            return bare(pool, ids.new("trf"), tenants[(client * 7 + turn) % TENANTS])

        def product(client: int, turn: int) -> Awaitable[None]:
            return post(transactions, ids.new("trf"), tenants[(client * 7 + turn) % TENANTS])

        def by_hand_hot(_client: int, _turn: int) -> Awaitable[None]:
            return bare(pool, ids.new("trf"), tenants[0])

        def product_hot(_client: int, _turn: int) -> Awaitable[None]:
            return post(transactions, ids.new("trf"), tenants[0])

        ways: dict[str, Act] = {
            "bare_many_per_s": by_hand,
            "many_per_s": product,
            "bare_hot_per_s": by_hand_hot,
            "hot_per_s": product_hot,
        }
        results = [
            {name: round(await spread(act), 1) for name, act in ways.items()} for _ in range(ROUNDS)
        ]
        for result in results:
            result["batch_per_s"] = round(await post_batch(transactions, ids, tenants), 1)
    await engine.dispose()
    return results


def measure() -> Report:
    report = Report(benchmark="ledger")
    with servers() as on:
        report.results = asyncio.run(measured(on.database_url, on.superuser_url))
        sync = fdatasync_ms(on.folder)
    for name, bar in (("many", TRANSFERS_BAR), ("hot", HOT_BAR)):
        ratio = median(
            each[f"{name}_per_s"] / each[f"bare_{name}_per_s"] for each in report.results
        )
        report.ratios[f"{name}_to_bare"] = round(ratio, 2)
        report.at_least(f"{name}_to_bare", ratio, bar)
    batch = median(each["batch_per_s"] for each in report.results)
    report.at_least("batch_per_s", batch, BATCH_BAR)
    report.results.append({"clients": CLIENTS, "fdatasync_ms": sync})
    return report


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
