"""Holds: money set aside while an allocation lives, given back at its end.

A hold never pays normal usage. Only an allocation that was told to run on its reserve may spend
its own, and only after the balance is gone; that part is captured when it ends.
"""

from dataclasses import replace
from datetime import datetime

from gpucloud_core.billing import ledger
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.credit import Parts, set_aside, spend, total
from gpucloud_core.billing.model import Hold, HoldState
from gpucloud_core.billing.settlement import expired, forfeited
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.metering.model import UsageSegment


def held(
    books: Books,
    *,
    hold_id: str,
    allocation_id: AllocationId,
    micros: int,
    run_on_reserve: bool,
    now: datetime,
) -> Books:
    """Set ``micros`` aside for an allocation.

    Raises:
        InsufficientBalance: it is more than what is available.
        AccountSuspended: nothing new may be started.
    """
    books = expired(books, now)
    if (refusal := books.why_not(micros, now)) is not None:
        raise refusal
    parts, left = set_aside(books.account.credits, books.prepaid_micros, micros)
    hold = Hold(
        id=hold_id,
        tenant_id=books.account.tenant_id,
        allocation_id=allocation_id,
        amount_micros=micros,
        from_prepaid_micros=parts.prepaid_micros,
        from_promotional_micros=total(parts.credits),
        from_credits=parts.credits,
        run_on_reserve=run_on_reserve,
        created_at=now,
    )
    books = replace(books.with_credits(left), holds=(*books.holds, hold))
    return books.posted(ledger.hold(hold=hold, at=now)) if micros else books


def voided(books: Books, allocation_id: AllocationId, now: datetime) -> Books:
    """Give the allocation's hold back; without one, return the books as they are."""
    books = expired(books, now)
    hold = books.hold_of(allocation_id)
    if hold is None:
        return books
    books = books.with_hold(replace(hold, state=HoldState.VOIDED, closed_at=now))
    if hold.amount_micros:
        books = books.posted(ledger.void(hold=hold, at=now), lots=hold.from_credits)
    for lot in hold.from_credits:
        if lot.expires_at is not None and lot.expires_at <= now:
            books = forfeited(books, lot, now, hold_id=hold.id)
    return books


def captured(
    books: Books, segment: UsageSegment, until: datetime, micros: int, now: datetime
) -> Books:
    """Charge ``micros`` for [settled, ``until``) of a segment to its allocation's reserve."""
    hold = books.hold_of(segment.allocation_id)
    if hold is None or not hold.run_on_reserve:
        raise ValueError(f"{segment.id} ran past the balance without a reserve")
    parts, left = spend(hold.from_credits, hold.from_prepaid_micros, micros)
    rest = replace(
        hold,
        amount_micros=hold.amount_micros - micros,
        from_prepaid_micros=hold.from_prepaid_micros - parts.prepaid_micros,
        from_promotional_micros=total(left),
        from_credits=left,
    )
    charge = ledger.usage(
        segment=segment,
        since=segment.settled_until,
        until=until,
        parts=Parts(held_micros=micros),
        at=now,
    )
    return books.with_hold(rest).posted(charge)
