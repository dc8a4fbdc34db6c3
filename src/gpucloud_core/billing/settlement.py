"""What has accrued moves to the ledger, and credit expires: decisions on a tenant's books.

Usage is settled no further than the balance pays for, so no entry can ever overdraw it; what a
reserve pays is posted when the allocation ends. Credit expires only after all usage up to its
expiry is settled, so that it is spent while it can be.
"""

from dataclasses import replace
from datetime import datetime

from gpucloud_core.billing import ledger
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.credit import spend
from gpucloud_core.billing.model import BillingAccount, CreditLot
from gpucloud_core.metering.charge import next_settlement, settlement
from gpucloud_core.metering.model import UsageSegment


def is_plain(account: BillingAccount, now: datetime) -> bool:
    """Tell whether settling up to ``now`` can only move paid money to revenue.

    There is no credit to spend first, nothing is depleted, and no deadline has come; so standing
    and deadlines stay what they are.
    """
    deadlines = (account.depletes_at, account.next_deadline_at)
    return not account.credits and not any(at is not None and at <= now for at in deadlines)


def settled(books: Books, now: datetime) -> Books:
    """Settle every segment whose turn has come, up to ``now``."""
    books = expired(books, now)
    run = books.run
    for segment in books.running:
        if segment.next_settlement_at is not None and segment.next_settlement_at <= now:
            turned = replace(segment, next_settlement_at=next_settlement(segment.id, now))
            until = run.balance_pays_until(segment, now)
            books = charged_up_to(books.with_segment(turned), turned, until, now)
    return books


def expired(books: Books, now: datetime) -> Books:
    """Take back credit that has expired by ``now``, after settling all usage up to then."""
    for lot in books.account.credits:
        if lot.expires_at is not None and lot.expires_at <= now:
            run = books.run
            for segment in books.running:
                until = run.balance_pays_until(segment, lot.expires_at)
                books = charged_up_to(books, segment, until, now)
            books = forfeited(books, lot, now)
    return books


def charged_up_to(books: Books, segment: UsageSegment, until: datetime, now: datetime) -> Books:
    """Charge one segment up to ``until``, in spending order; posted at ``now``."""
    micros, after = settlement(segment, until)
    books = books.with_segment(after)
    if not micros:
        return books
    parts, left = spend(books.account.credits, books.prepaid_micros, micros)
    charge = ledger.usage(
        segment=segment, since=segment.settled_until, until=until, parts=parts, at=now
    )
    return books.with_credits(left).posted(charge)


def forfeited(books: Books, lot: CreditLot, now: datetime, *, hold_id: str | None = None) -> Books:
    """Take back what is left of one lot; ``hold_id`` if it has just come out of that hold."""
    left = next((other for other in books.account.credits if other.id == lot.id), None)
    if left is None:
        return books
    taken = ledger.expiry(tenant_id=books.account.tenant_id, lot=left, at=now, hold_id=hold_id)
    rest = (other for other in books.account.credits if other.id != lot.id)
    return books.with_credits(rest).posted(taken)
