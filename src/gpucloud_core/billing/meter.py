"""The meter of one allocation starts and ends: decisions on a tenant's books.

It ends at the release, at the evidence, or when its money is gone, whichever is first, however
late that is carried out. Time that was settled and later proves bad comes back as corrections
that name the entries.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from gpucloud_core.billing import ledger
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.holds import captured
from gpucloud_core.billing.model import Transfer
from gpucloud_core.billing.settlement import charged_up_to, expired
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.metering.charge import ending, next_settlement
from gpucloud_core.metering.model import UsageSegment


def started(books: Books, segment: UsageSegment) -> Books:
    """Let ``segment`` run from its ``started_at`` on."""
    turn = next_settlement(segment.id, segment.started_at)
    return replace(books, segments=(*books.segments, replace(segment, next_settlement_at=turn)))


def ended(
    books: Books,
    allocation_id: AllocationId,
    at: datetime,
    now: datetime,
    *,
    entries: Iterable[Transfer] = (),
) -> Books:
    """End what runs of the allocation and settle it for good.

    Args:
        books: if nothing of the allocation runs in them, they stay as they are, but for one whose
            money had ended it later than ``at``: that one ends at ``at`` instead.
        allocation_id: whose segment.
        at: when its time stopped counting; the end of its money is taken if that was earlier.
        now: when this is posted.
        entries: usage entries of the segment, newest first; needed if ``at`` lies before what is
            settled, to name those that are given back.
    """
    books = expired(books, min(at, now))
    segment = books.segment_of(allocation_id)
    if segment is None:
        late = ended_after(books.segments, allocation_id, at)
        return books if late is None else _closed(books, late, at, now, entries)
    run = books.run
    at = max(segment.started_at, run.paid_until(segment, min(at, now)))
    books = charged_up_to(books, segment, run.balance_pays_until(segment, at), now)
    segment = books.segment_of(allocation_id) or segment
    return expired(_closed(books, segment, at, now, entries), now)


def ended_after(
    segments: Iterable[UsageSegment], allocation_id: AllocationId, at: datetime
) -> UsageSegment | None:
    """Return the allocation's last segment, if it has ended, and later than ``at``."""
    ends = [s for s in segments if s.allocation_id == allocation_id and s.ended_at is not None]
    last = max(ends, key=lambda segment: segment.settled_until, default=None)
    return last if last is not None and last.settled_until > max(at, last.started_at) else None


def _closed(
    books: Books, segment: UsageSegment, at: datetime, now: datetime, entries: Iterable[Transfer]
) -> Books:
    """End ``segment`` at ``at``: the reserve pays the rest, or what is too much goes back."""
    micros, over = ending(segment, at)
    books = books.with_segment(over)
    if micros > 0:
        return captured(books, segment, at, micros, now)
    if micros < 0:
        memo = f"Settled, but it does not count from {rfc3339(at)} on"
        given = ledger.corrections(newest_first=entries, micros=-micros, at=now, memo=memo)
        for back, lot in given:
            books = books.posted(back, lots=(lot,))
    return books
