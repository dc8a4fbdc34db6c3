"""What workers do about money when its time has come: settle usage, meet deadlines.

Both are due rows, found anew each time, one transaction per tenant; two workers at once, a late
one or one that dies change nothing about the amounts.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gpucloud_core.billing.accounts import keep_books, lock_account, read_books
from gpucloud_core.billing.balance import end_of_balance_plan
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.deadlines import all_passed, notice_due
from gpucloud_core.billing.ports import BillingUnit
from gpucloud_core.billing.settlement import expired, is_plain, settled
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import Event, Scope, Transactions

TENANTS_AT_ONCE: Final = 500


def meet(books: Books, now: datetime) -> tuple[Books, tuple[Event, ...]]:
    """Return the books after everything due at ``now``, and what to tell.

    At most one notice: the most urgent of those whose time has come. As long as something has to
    be released for want of money, it is announced again and again.
    """
    books = expired(books, now).ready(now)
    events = []
    level = notice_due(books.account, now)
    if level is not None:
        events.append(_notice(books, level, now))
        done = replace(books.account, notices_sent=all_passed(books.account, now))
        books = replace(books, account=done)
    plan = end_of_balance_plan(books.run, books.running, now)
    if plan:
        events.append(
            Event(
                kind="billing.depleted",
                subject=books.account.tenant_id,
                tenant_id=books.account.tenant_id,
                payload={"allocations": {key: rfc3339(end) for key, end in plan.items()}},
            )
        )
    return books.ready(now, announced=bool(plan)), tuple(events)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleDue:
    """Post what has accrued to the ledger, for segments whose turn of the hour has come.

    Most tenants are settled together; the others one by one, each in a transaction of its own.
    """

    transactions: Transactions[BillingUnit]

    async def __call__(self, *, limit: int = TENANTS_AT_ONCE) -> int:
        """Settle up to ``limit`` tenants and return how many; fewer than ``limit``: all done."""
        async with self.transactions.begin(Scope.platform()) as unit:
            tenants = await unit.usage_segments.tenants_due(await unit.now(), limit=limit)
        plain = await self._together(tenants)
        alone = [each for each in tenants if each not in plain]
        await _each(alone, self._settle, among=len(tenants))
        return len(tenants)

    async def _together(self, tenants: Sequence[TenantId]) -> frozenset[TenantId]:
        try:
            async with self.transactions.begin(Scope.platform()) as unit:
                return frozenset(await unit.billing_accounts.settle_plain(tenants))
        except Exception:  # noqa: BLE001  whose fault it is comes out when each is settled alone
            return frozenset()

    async def _settle(self, tenant_id: TenantId) -> None:
        async with self.transactions.begin(Scope.platform()) as unit:
            before = await read_books(unit, await lock_account(unit, tenant_id))
            now = await unit.now(not_before=latest(before))
            await keep_books(unit, before, settled(before, now).ready(now))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetDeadline:
    """Send notices, expire credit, move standings and announce ends of balance, as they come.

    What the announcement ``billing.depleted`` names is released by the concept ``allocations``,
    which asks ``end_of_balance`` again under the account's lock.
    """

    transactions: Transactions[BillingUnit]

    async def __call__(self, *, limit: int = TENANTS_AT_ONCE) -> int:
        """Meet the deadlines of up to ``limit`` tenants and return how many were due."""
        async with self.transactions.begin(Scope.platform()) as unit:
            tenants = await unit.billing_accounts.due(await unit.now(), limit=limit)
        await _each(tenants, self._meet, among=len(tenants))
        return len(tenants)

    async def _meet(self, tenant_id: TenantId) -> None:
        async with self.transactions.begin(Scope.platform()) as unit:
            before = await read_books(unit, await lock_account(unit, tenant_id))
            now = await unit.now(not_before=latest(before))
            after, events = meet(before, now)
            await keep_books(unit, before, after)
            for event in events:
                await unit.emit(event)


async def settle_plain(unit: BillingUnit, tenant_ids: Sequence[TenantId]) -> list[TenantId]:
    """Do what ``BillingAccounts.settle_plain`` promises, one tenant after the other."""
    settled_ones = []
    for tenant_id in tenant_ids:
        account = await unit.billing_accounts.lock(tenant_id)
        now = await unit.now()
        if account is None or not is_plain(account, now):
            continue
        before = await read_books(unit, account)
        if latest(before) <= now:
            await keep_books(unit, before, settled(before, now).ready(now))
            settled_ones.append(tenant_id)
    return settled_ones


async def _each(
    tenants: Sequence[TenantId], act: Callable[[TenantId], Awaitable[None]], *, among: int
) -> None:
    """Act on each tenant, and raise what went wrong only after all had their turn."""
    errors: list[Exception] = []
    for tenant_id in tenants:
        try:
            await act(tenant_id)
        except Exception as error:  # noqa: BLE001  one tenant's trouble must not hold up the rest
            error.add_note(f"while the money of {tenant_id} was due")
            errors.append(error)
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {among} tenants failed", errors)


def latest(books: Books) -> datetime:
    """Return the last instant the books know of: no clock that lags may go behind it."""
    known = (segment.settled_until for segment in books.running)
    return max(known, default=books.account.created_at)


def _notice(books: Books, level: str, now: datetime) -> Event:
    balance = books.balance(now)
    ends = balance.depletes_at
    return Event(
        kind="billing.notice",
        subject=books.account.tenant_id,
        tenant_id=books.account.tenant_id,
        payload={
            "level": level,
            "depletes_at": None if ends is None else rfc3339(ends),
            "available_micros": balance.available_micros,
            "burn_rate_micros_per_hour": balance.burn_rate_micros_per_hour,
            "currency": balance.currency,
        },
    )
