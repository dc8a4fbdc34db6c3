"""Settling many tenants in one go is, to the micro-unit, what the core does with each of them.

Seen to fail when the charge was rounded from what was settled last and not from the segment's
beginning, when a turn in the past was only moved on by one hour, when a tenant whose deadline had
come was settled with the others, and when credit was left unspent.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.stores import PLATFORM, StoreUnit
from contracts.transactions import ChangedMindError
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_core.billing.accounts import read_books
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.due import latest
from gpucloud_core.billing.model import AccountKind, CreditLot, Transfer, TransferKind
from gpucloud_core.billing.settlement import is_plain, settled
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.metering.charge import accrued, next_settlement
from row_builders import a_billing_account, a_project, a_segment, a_tenant, a_transfer, fresh

A = AccountKind
HOUR = 3_600_000_000


@dataclass(frozen=True)
class Meter:
    """A running segment, in microseconds before now."""

    rate: int
    started: int
    settled: int  # of what has gone by, in thousandths
    turns_missed: int  # -1: it is not its turn


@dataclass(frozen=True)
class Payer:
    prepaid: int
    credit: int
    meters: tuple[Meter, ...]


meters = st.builds(
    Meter,
    rate=st.sampled_from([0, 1, 3_290_000, 3_599_999_999]) | st.integers(0, 10**10),
    started=st.integers(0, 40 * HOUR),
    settled=st.integers(0, 1000),
    turns_missed=st.integers(-1, 3),
)
payers = st.builds(
    Payer,
    prepaid=st.sampled_from([0, 5_000_000, 10**13, 10**15]),
    credit=st.sampled_from([0, 0, 0, 0, 7_000_000]),
    meters=st.lists(meters, max_size=4).map(tuple),
)


async def founded(unit: StoreUnit, payer: Payer, now: datetime) -> TenantId:
    """Store a tenant whose books were in order when they were last looked at."""
    tenant = a_tenant()
    project = a_project(tenant.id)
    await unit.tenants.add(tenant)
    await unit.projects.add(project)
    segments, since = [], now
    for meter in payer.meters:
        started_at = now - timedelta(microseconds=meter.started)
        gone = meter.started * meter.settled // 1000
        settled_until = started_at + timedelta(microseconds=gone)
        since = min(since, settled_until)
        key = fresh("seg")
        turn = next_settlement(key, now) - timedelta(hours=1 + meter.turns_missed)
        segments.append(
            a_segment(
                project,
                id=key,
                rate_micros_per_hour=meter.rate,
                started_at=started_at,
                settled_until=settled_until,
                settled_micros=accrued(meter.rate, gone),
                next_settlement_at=turn,
            )
        )
    given = a_transfer(tenant.id, entries={A.PREPAID: payer.prepaid, A.CASH: -payer.prepaid})
    credit = a_transfer(tenant.id, entries={A.PROMOTIONAL: payer.credit, A.GOODWILL: -payer.credit})
    lots = (CreditLot(id=credit.id, remaining_micros=payer.credit),) if payer.credit else ()
    account = a_billing_account(tenant.id, credits=lots, created_at=since)
    await unit.ledger.post_many([given, credit])
    books = Books(
        account=account,
        balances=await unit.ledger.balances(tenant.id),
        segments=tuple(segments),
    ).ready(since)
    await unit.billing_accounts.add(books.account)
    for segment in segments:
        await unit.usage_segments.add(segment)
    return tenant.id


async def usage_of(unit: StoreUnit, tenant_id: TenantId) -> list[Transfer]:
    where = {"tenant_id": (tenant_id,), "kind": (TransferKind.USAGE,)}
    return list((await unit.ledger.transfers(ListQuery(where=where, sort="id"))).items)


def without_id(transfer: Transfer) -> Transfer:
    return replace(transfer, id="")


async def compare(transactions: PostgresTransactions, given_: list[Payer]) -> None:
    with suppress(ChangedMindError):
        async with transactions.begin(PLATFORM) as unit:
            begun = await unit.now()
            ids = [await founded(unit, payer, begun) for payer in given_]
            before = {
                each: await read_books(unit, account)
                for each in ids
                if (account := await unit.billing_accounts.get(each)) is not None
            }

            done = await unit.billing_accounts.settle_plain(ids)

            assert set(done) <= set(ids)
            for each, books in before.items():
                account = await unit.billing_accounts.get(each)
                assert account is not None
                after = await read_books(unit, account)
                posted = await usage_of(unit, each)
                if each in done:
                    moved = [segment for segment in after.segments if segment not in books.segments]
                    now = moved[0].settled_until if moved else await unit.now()
                    assert is_plain(books.account, now)
                    expected = settled(books, now).ready(now)
                    assert list(map(without_id, posted)) == list(map(without_id, expected.postings))
                    assert after == replace(expected, postings=())
                else:
                    now = await unit.now()
                    assert not is_plain(books.account, now) or latest(books) > begun
                    assert after == books
                    assert posted == []
            raise ChangedMindError


class TestSettling:
    def test_many_is_settling_each(self, database_url: str) -> None:
        with asyncio.Runner() as runner:
            engine = create_engine(database_url)
            transactions = PostgresTransactions(engine)

            @settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
            @given(given_=st.lists(payers, min_size=1, max_size=4))
            def check(given_: list[Payer]) -> None:
                runner.run(compare(transactions, given_))

            check()
            runner.run(engine.dispose())
