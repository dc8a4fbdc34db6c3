"""Settling what runs: hourly, a few hundred tenants in one transaction, beside a load of launches.

Tenants with a hundred running allocations each are made by SQL, and paid by the product. Then
the worker's own use case settles them until nothing is due. Beside it, in the same run: one bare
statement that does the sums on tables without walls, and launches that go on meanwhile.

    python benchmarks/bench_settle.py [--json]
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from time import perf_counter
from typing import Any, Final

import asyncpg
from grounds import Report, fdatasync_ms, main, servers

from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_core.billing.due import TENANTS_AT_ONCE, SettleDue
from gpucloud_core.billing.model import AccountKind, Transfer, TransferKind
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.metering.charge import accrued
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.placement.fleet_view import FleetView
from world.market import Customer, Market

SIZES: Final = {10_000: 0.3, 100_000: 2.0}  # allocations, and the bar in seconds
OF_A_TENANT: Final = 100
LAUNCHES_BAR: Final = 0.8
NODES: Final = 500
CLIENTS: Final = 4
TENANTS: Final = 64  # that launch: each may hold 64 GPUs
ALONE_SECONDS: Final = 3.0
DEPOSIT: Final = 10**12

_TENANTS: Final = """
    INSERT INTO tenants SELECT 'ten_' || lpad($1 || '_' || g, 26, '0'), 'x', 'work', 'USD', now()
    FROM generate_series(1, $2::int) g RETURNING id
"""
_PROJECTS: Final = """
    INSERT INTO projects SELECT replace(id, 'ten_', 'prj_'), id, 'x', 'x', now()
    FROM tenants WHERE id = ANY($1)
"""
_ACCOUNTS: Final = """
    INSERT INTO billing_accounts
    SELECT id, 'USD', 'healthy', 24, 60, now() + interval '9 years', now() + interval '8 years',
        '[]', '[]', now() FROM tenants WHERE id = ANY($1)
"""
_SEGMENTS: Final = """
    INSERT INTO usage_segments
    SELECT 'seg_' || substr(md5(t.id || '/' || g), 1, 26), t.id, replace(t.id, 'ten_', 'prj_'),
        'alc_' || t.id || g, 'h200', 1, 3290000 + g, 'USD',
        now() - interval '7 hours' - g * interval '1 second', NULL,
        now() - interval '7 hours' - g * interval '1 second', 0,
        now() - (0.05 + 0.9 * random()) * interval '1 hour'
    FROM tenants t, generate_series(1, $2::int) g WHERE t.id = ANY($1)
"""
_DUE_AGAIN: Final = """
    UPDATE usage_segments SET next_settlement_at =
        now() - (0.05 + 0.9 * random()) * interval '1 hour' WHERE tenant_id = ANY($1)
"""
_BARE: Final = """
    CREATE TABLE lean_segments AS SELECT id, tenant_id, rate_micros_per_hour AS rate, started_at,
        settled_until, settled_micros FROM usage_segments WHERE tenant_id = ANY($1);
"""
_BARE_TABLES: Final = """
    ALTER TABLE lean_segments ADD PRIMARY KEY (id);
    CREATE TABLE lean_accounts (id text PRIMARY KEY, balance bigint NOT NULL);
    CREATE TABLE lean_transfers (id text PRIMARY KEY, at timestamptz NOT NULL);
    CREATE TABLE lean_entries (transfer text, account text, amount bigint, balance_after bigint);
    INSERT INTO lean_accounts SELECT DISTINCT tenant_id || side, 0::bigint
        FROM lean_segments, unnest(ARRAY['p', 'r']) side;
"""
_BARE_TICK: Final = """
    WITH due AS (
        UPDATE lean_segments s SET settled_until = now(),
            settled_micros = t.total
        FROM (SELECT id, div(rate::numeric * extract(epoch FROM now() - started_at) * 1000000,
            3600000000)::bigint AS total, settled_micros AS was FROM lean_segments) t
        WHERE t.id = s.id RETURNING s.id, s.tenant_id, t.total - t.was AS micros
    ), posted AS (
        INSERT INTO lean_transfers SELECT id || now(), now() FROM due
    ), entry AS (
        SELECT id, tenant_id || 'p' AS account, -micros AS amount FROM due
        UNION ALL SELECT id, tenant_id || 'r', micros FROM due
    ), moved AS (
        UPDATE lean_accounts a SET balance = balance + e.amount
        FROM (SELECT account, sum(amount)::bigint AS amount FROM entry GROUP BY account) e
        WHERE a.id = e.account RETURNING a.id, a.balance - e.amount AS before
    )
    INSERT INTO lean_entries SELECT e.id || now(), e.account, e.amount,
        m.before + sum(e.amount) OVER (PARTITION BY e.account ORDER BY e.id)
    FROM entry e JOIN moved m ON m.id = e.account
"""
_OWED: Final = """
    SELECT rate_micros_per_hour, CAST(extract(epoch FROM settled_until - started_at) * 1000000
        AS bigint), settled_micros, next_settlement_at > now()
    FROM usage_segments WHERE tenant_id = ANY($1)
"""
_REVENUE: Final = """
    SELECT CAST(sum(balance_micros) AS bigint) FROM ledger_accounts
    WHERE account = 'revenue' AND tenant_id = ANY($1)
"""
_WRITTEN: Final = "SELECT count(*) FROM ledger_transfers"


async def seeded(
    connection: asyncpg.Connection, transactions: PostgresTransactions, size: int
) -> list[TenantId]:
    """Store tenants with what runs for them, and their money; return them."""
    found = await connection.fetch(_TENANTS, str(size), size // OF_A_TENANT)
    tenants = [TenantId(row[0]) for row in found]
    for statement in (_PROJECTS, _ACCOUNTS):
        await connection.execute(statement, tenants)
    await connection.execute(_SEGMENTS, tenants, OF_A_TENANT)
    async with transactions.begin(Scope.platform()) as unit:
        now = await unit.now()
        await unit.ledger.post_many(
            [
                Transfer(
                    id=f"trf_{tenant}",
                    tenant_id=tenant,
                    kind=TransferKind.PAYMENT,
                    idempotency_key="deposit",
                    entries={AccountKind.PREPAID: DEPOSIT, AccountKind.CASH: -DEPOSIT},
                    at=now,
                )
                for tenant in tenants
            ]
        )
    await connection.execute("VACUUM ANALYZE")
    return tenants


async def settle_all(settle: SettleDue) -> float:
    """Settle until nothing is due; return the seconds it took."""
    begun = perf_counter()
    while await settle() == TENANTS_AT_ONCE:
        pass
    return perf_counter() - begun


async def bare_tick(connection: asyncpg.Connection, tenants: list[TenantId]) -> float:
    """Return the seconds of one statement on tables without walls."""
    names = ", ".join(f"'{tenant}'" for tenant in tenants)
    await connection.execute(_BARE.replace("ANY($1)", f"ANY(ARRAY[{names}])") + _BARE_TABLES)
    await connection.execute("VACUUM ANALYZE lean_segments, lean_accounts")
    begun = perf_counter()
    await connection.execute(_BARE_TICK)
    elapsed = perf_counter() - begun
    await connection.execute(
        "DROP TABLE lean_segments, lean_accounts, lean_transfers, lean_entries"
    )
    return elapsed


async def is_exact(connection: asyncpg.Connection, tenants: list[TenantId]) -> bool:
    """Tell whether every segment and the ledger hold what the core says, to the micro-unit."""
    rows = await connection.fetch(_OWED, tenants)
    expected = [accrued(rate, gone) for rate, gone, _, _ in rows]
    return (
        expected == [settled for _, _, settled, _ in rows]
        and all(ahead for *_, ahead in rows)
        and await connection.fetchval(_REVENUE, tenants) == sum(expected)
    )


class Load:
    """Clients that launch, one machine after the other."""

    def __init__(self, market: Market, customers: list[Customer]) -> None:
        self.done = 0
        self._market = market
        self._customers = customers
        self._fleet = FleetView()
        self._turn = count()

    async def _client(self) -> None:
        while True:
            customer = self._customers[next(self._turn) % len(self._customers)]
            await self._market.launch(customer, customer.request(1), fleet=self._fleet)
            self.done += 1

    async def during(self, work: Callable[[], Awaitable[float]]) -> tuple[float, float]:
        """Return the launches per second while ``work`` lasts, and the seconds it took."""
        clients = [asyncio.create_task(self._client()) for _ in range(CLIENTS)]
        before, begun = self.done, perf_counter()
        seconds = await work()
        rate = (self.done - before) / (perf_counter() - begun)
        for client in clients:
            client.cancel()
            with suppress(asyncio.CancelledError):
                await client
        return rate, seconds


async def opened(market: Market) -> Load:
    """Put nodes in service, and let those who launch sign up."""
    await market.open()
    for number in range(NODES):
        name = f"node-{number}"
        access = NodeAccess(host=name, port=22, username="g", host_key="k", credential="c")
        endpoints = [(f"10.0.{number}.{index + 1}", 22) for index in range(8)]
        await market.enroll(name, hgx_h200(seed=name), access, endpoints)
    return Load(market, await market.customers(TENANTS))


async def pause() -> float:
    await asyncio.sleep(ALONE_SECONDS)
    return ALONE_SECONDS


async def measured(database_url: str, superuser_url: str) -> list[dict[str, Any]]:
    engine = create_engine(database_url, connections=CLIENTS + 2)
    transactions = PostgresTransactions(engine)
    connection = await asyncpg.connect(superuser_url)
    settle = SettleDue(transactions=transactions)
    load = await opened(Market(transactions=transactions))
    found = []
    for size in SIZES:
        tenants = await seeded(connection, transactions, size)
        bare = await bare_tick(connection, tenants)
        alone = await settle_all(settle)
        exact = await is_exact(connection, tenants)
        written = await connection.fetchval(_WRITTEN)
        idle = await settle_all(settle)
        nothing = await connection.fetchval(_WRITTEN) == written
        await connection.execute(_DUE_AGAIN, tenants)
        await connection.execute("VACUUM ANALYZE")
        quiet, _ = await load.during(pause)
        busy, beside = await load.during(lambda: settle_all(settle))
        found.append(
            {
                "allocations": size,
                "settled_s": round(alone, 2),
                "beside_launches_s": round(beside, 2),
                "bare_s": round(bare, 2),
                "idle_ms": round(1000 * idle, 1),
                "exact": exact and await is_exact(connection, tenants),
                "nothing_between": nothing,
                "launches_per_s": round(quiet, 1),
                "launches_beside_per_s": round(busy, 1),
            }
        )
    await engine.dispose()
    await connection.close()
    return found


def measure() -> Report:
    report = Report(benchmark="settle")
    with servers() as on:
        report.results = asyncio.run(measured(on.database_url, on.superuser_url))
        sync = fdatasync_ms(on.folder)
    for each in report.results:
        size = each["allocations"]
        report.ratios[f"bare_to_settled_{size}"] = round(each["bare_s"] / each["settled_s"], 2)
        kept = each["launches_beside_per_s"] / each["launches_per_s"]
        report.ratios[f"launches_kept_{size}"] = round(kept, 2)
        report.at_most(f"seconds_{size}", each["settled_s"], SIZES[size])
        report.at_least(f"launches_kept_{size}", kept, LAUNCHES_BAR)
        report.at_least(f"exact_{size}", float(each["exact"] and each["nothing_between"]), 1)
    report.results.append({"fdatasync_ms": sync})
    return report


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
