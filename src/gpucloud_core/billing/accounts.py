"""The shell around a tenant's books: read under the account's lock, decide, write.

Other concepts call these inside their own transactions, after whatever comes before the account
in the lock order. Each reads the rows anew, so that several of them in one transaction see each
other's changes, and each leaves standing and deadlines as they must be.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol, TypeVar, runtime_checkable

from gpucloud_core.access.model import Tenant
from gpucloud_core.billing import holds, meter
from gpucloud_core.billing.balance import end_of_balance_plan
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.model import BillingAccount, Hold, Transfer, TransferKind
from gpucloud_core.billing.ports import BillingAccounts, BillingUnit
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import AllocationId, ProjectId, SkuId, TenantId
from gpucloud_core.kernel.rows import ListQuery, Rows
from gpucloud_core.kernel.unit import Event, Unit
from gpucloud_core.metering.model import UsageSegment

R = TypeVar("R")
_PAGE: Final = 100


@runtime_checkable
class _AccountsUnit(Protocol):
    @property
    def billing_accounts(self) -> BillingAccounts: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRequest:
    """What one allocation of a launch needs set aside."""

    allocation_id: AllocationId
    micros: int
    run_on_reserve: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalCharge:
    """How an allocation's meter ended.

    ``stopped_at`` is up to when time was charged; None if it never ran.
    """

    stopped_at: datetime | None
    cost_micros: int


async def open_account(unit: Unit, tenant: Tenant) -> None:
    """Give a new tenant its billing account; a ``Founding`` of the concept ``access``.

    One adapter's unit serves every concept, so the unit of a sign-up has billing's rows as well.
    """
    if not isinstance(unit, _AccountsUnit):
        raise TypeError("this unit of work has no billing accounts")
    await unit.billing_accounts.add(
        BillingAccount(tenant_id=tenant.id, currency=tenant.currency, created_at=tenant.created_at)
    )


async def lock_account(unit: BillingUnit, tenant_id: TenantId) -> BillingAccount:
    """Return the tenant's account, held until the unit ends: first lock of any money's change.

    Raises:
        NotFound: there is no such tenant.
    """
    account = await unit.billing_accounts.lock(tenant_id)
    if account is None:
        raise NotFound("There is no billing account of this tenant.")
    return account


async def read_books(unit: BillingUnit, account: BillingAccount) -> Books:
    """Return the tenant's books as they are; to change them, lock the account first."""
    rows = await unit.ledger.open_rows(account.tenant_id)
    return Books(account=account, balances=rows.balances, segments=rows.segments, holds=rows.holds)


async def keep_books(unit: BillingUnit, before: Books, after: Books) -> None:
    """Write what changed between two books of one tenant, transfers first."""
    transfers = after.postings[len(before.postings) :]
    posted = await unit.ledger.post_many(transfers) if transfers else ()
    for transfer in transfers:
        if transfer.id not in posted:
            raise ValueError(f"{transfer.idempotency_key} was posted by someone without the lock")
    await _keep_rows(
        unit.usage_segments,
        {segment.id: segment for segment in before.segments},
        {segment.id: segment for segment in after.segments},
    )
    await _keep_rows(
        unit.holds,
        {hold.id: hold for hold in before.holds},
        {hold.id: hold for hold in after.holds},
    )
    if after.account != before.account:
        await unit.billing_accounts.put(after.account)
    if after.account.standing is not before.account.standing:
        await unit.emit(
            Event(
                kind="billing.standing_changed",
                subject=after.account.tenant_id,
                tenant_id=after.account.tenant_id,
                payload={"from": before.account.standing, "to": after.account.standing},
            )
        )


async def place_holds(
    unit: BillingUnit,
    account: BillingAccount,
    requests: Sequence[HoldRequest],
    *,
    now: datetime,
    new_id: Callable[[str], str],
    books: Books | None = None,
) -> tuple[Hold, ...]:
    """Set money aside for every allocation of a launch, or for none.

    ``books`` spare a second reading, where they were read under the account's lock in this unit
    and nothing has changed them since.

    Raises:
        InsufficientBalance: together they are more than what is available.
        AccountSuspended: nothing new may be started.
    """
    before = await _fresh(unit, account) if books is None else books
    refusal = before.why_not(sum(request.micros for request in requests), now)
    if refusal is not None:
        raise refusal
    after = before
    for request in requests:
        after = holds.held(
            after,
            hold_id=new_id("hld"),
            allocation_id=request.allocation_id,
            micros=request.micros,
            run_on_reserve=request.run_on_reserve,
            now=now,
        )
    await keep_books(unit, before, after.ready(now))
    return after.holds[len(before.holds) :]


async def place_hold(
    unit: BillingUnit,
    account: BillingAccount,
    allocation_id: AllocationId,
    amount: int,
    now: datetime,
    new_id: Callable[[str], str],
    *,
    run_on_reserve: bool = False,
) -> Hold:
    """Set ``amount`` micro-units aside for one allocation; see ``place_holds``."""
    request = HoldRequest(allocation_id=allocation_id, micros=amount, run_on_reserve=run_on_reserve)
    (hold,) = await place_holds(unit, account, [request], now=now, new_id=new_id)
    return hold


async def start_segment(
    unit: BillingUnit,
    account: BillingAccount,
    *,
    allocation_id: AllocationId,
    project_id: ProjectId,
    sku_id: SkuId,
    gpu_count: int,
    rate_micros_per_hour: int,
    at: datetime,
    new_id: Callable[[str], str],
) -> UsageSegment:
    """Start the meter of an allocation at ``at``; once it runs, return what runs."""
    before = await _fresh(unit, account)
    if (known := before.segment_of(allocation_id)) is not None:
        return known
    segment = UsageSegment(
        id=new_id("seg"),
        tenant_id=account.tenant_id,
        project_id=project_id,
        allocation_id=allocation_id,
        sku_id=sku_id,
        gpu_count=gpu_count,
        rate_micros_per_hour=rate_micros_per_hour,
        currency=account.currency,
        started_at=at,
        settled_until=at,
    )
    after = meter.started(before, segment).ready(at)
    await keep_books(unit, before, after)
    return after.segments[-1]


async def end_segment(
    unit: BillingUnit, account: BillingAccount, allocation_id: AllocationId, at: datetime
) -> FinalCharge:
    """Stop the meter of an allocation at ``at`` and settle it; its hold stays."""
    return await _end(unit, account, allocation_id, at, void=False)


async def end_segment_and_void(
    unit: BillingUnit, account: BillingAccount, allocation_id: AllocationId, at: datetime
) -> FinalCharge:
    """Stop the meter of an allocation, settle it and give its hold back, in this transaction.

    Time is never charged beyond the instant at which its money was gone, so ``stopped_at`` may
    lie before ``at``. Without a running segment nothing is charged; done twice, it is done once.
    """
    return await _end(unit, account, allocation_id, at, void=True)


async def void_hold(
    unit: BillingUnit, account: BillingAccount, allocation_id: AllocationId, now: datetime
) -> None:
    """Give back the hold of an allocation that never ran, or runs no more."""
    before = await _fresh(unit, account)
    await keep_books(unit, before, holds.voided(before, allocation_id, now).ready(now))


async def refresh_deadline(
    unit: BillingUnit, account: BillingAccount, now: datetime
) -> BillingAccount:
    """Compute standing and deadlines anew, after a change of policy such as the low mark."""
    before = await _fresh(unit, account)
    after = before.ready(now)
    await keep_books(unit, before, after)
    return after.account


async def end_of_balance(
    unit: BillingUnit, account: BillingAccount, now: datetime
) -> dict[AllocationId, datetime]:
    """Return what has to be released for want of money, and up to when each is paid for.

    Asked again under the account's lock before anything is released: a top-up that landed first
    leaves nothing to release.
    """
    books = await _fresh(unit, account)
    return end_of_balance_plan(books.run, books.running, now)


async def _end(
    unit: BillingUnit,
    account: BillingAccount,
    allocation_id: AllocationId,
    at: datetime,
    *,
    void: bool,
) -> FinalCharge:
    before = await _fresh(unit, account)
    now = await unit.now(not_before=at)
    segment = before.segment_of(allocation_id)
    if segment is None:
        known = await unit.usage_segments.find(allocation_id=allocation_id)
        segment = meter.ended_after(known, allocation_id, at)
        before = (
            before if segment is None else replace(before, segments=(*before.segments, segment))
        )
    entries = await _entries_of(unit, segment, since=at) if segment is not None else ()
    after = meter.ended(before, allocation_id, at, now, entries=entries)
    if void:
        after = holds.voided(after, allocation_id, now)
    await keep_books(unit, before, after.ready(now))
    segments = await unit.usage_segments.find(allocation_id=allocation_id)
    stops = [s.ended_at for s in segments if s.ended_at is not None]
    return FinalCharge(
        stopped_at=max(stops, default=None),
        cost_micros=sum(s.settled_micros for s in segments),
    )


async def _entries_of(
    unit: BillingUnit, segment: UsageSegment, *, since: datetime
) -> tuple[Transfer, ...]:
    """Return the segment's usage entries, newest first, if time after ``since`` is settled."""
    if segment.settled_until <= since:
        return ()
    found: list[Transfer] = []
    cursor: str | None = None
    while True:
        page = await unit.ledger.transfers(
            ListQuery(
                where={
                    "tenant_id": [segment.tenant_id],
                    "allocation_id": [segment.allocation_id],
                    "kind": [TransferKind.USAGE],
                },
                sort="-id",
                cursor=cursor,
                limit=_PAGE,
            )
        )
        found += [t for t in page.items if t.idempotency_key.startswith(f"usage:{segment.id}:")]
        cursor = page.next_cursor
        if cursor is None:
            return tuple(found)


async def _keep_rows(rows: Rows[R], before: Mapping[str, R], after: Mapping[str, R]) -> None:
    for key, row in after.items():
        if key not in before:
            await rows.add(row)
        elif row != before[key]:
            await rows.put(row)


async def _fresh(unit: BillingUnit, account: BillingAccount) -> Books:
    return await read_books(unit, await lock_account(unit, account.tenant_id))
