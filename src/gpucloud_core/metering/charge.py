"""The price of time, in closed form.

What a segment has cost since it began is ``floor(rate x elapsed / hour)``, rounded once, over the
whole run, in the customer's favour. A settlement posts the difference of two such values, so the
total never depends on how often, how late or how many times we settle. The inverse tells the very
microsecond at which a sum will be reached, so nothing has to tick. All numbers are integers of
any size; SQL that repeats the formula needs ``numeric``.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from gpucloud_core.kernel.time import EPOCH, HOUR_MICROSECONDS, MICROSECOND, microseconds_between
from gpucloud_core.metering.model import UsageSegment

SETTLEMENT_INTERVAL: Final = timedelta(hours=1)
_END_OF_TIME: Final = microseconds_between(EPOCH, datetime.max.replace(tzinfo=EPOCH.tzinfo))


def accrued(rate_micros_per_hour: int, elapsed_microseconds: int) -> int:
    """Return the cumulative charge, in micro-units, of a rate after some time."""
    if rate_micros_per_hour < 0 or elapsed_microseconds < 0:
        raise ValueError("neither a rate nor a run is negative")
    return rate_micros_per_hour * elapsed_microseconds // HOUR_MICROSECONDS


def when_accrued(rate_micros_per_hour: int, micros: int) -> int | None:
    """Return the fewest microseconds after which a rate has come to ``micros``; None if never."""
    if micros <= 0:
        return 0
    if rate_micros_per_hour == 0:
        return None
    return -(-micros * HOUR_MICROSECONDS // rate_micros_per_hour)


def instant_after(since: datetime, elapsed_microseconds: int) -> datetime | None:
    """Return the instant so long after ``since``; None beyond what a calendar can say."""
    instant = microseconds_between(EPOCH, since) + elapsed_microseconds
    return EPOCH + instant * MICROSECOND if instant <= _END_OF_TIME else None


def charged(segment: UsageSegment, until: datetime) -> int:
    """Return what ``segment`` costs from its beginning up to ``until``, or to its own end."""
    return unsettled([segment], until) + segment.settled_micros


def unsettled(segments: Iterable[UsageSegment], until: datetime) -> int:
    """Return what has accrued up to ``until`` and is not on the ledger: a sum of floors.

    For an instant before what is settled, it is negative by what the ledger has too much for it;
    so the balance less this is the same function of time however much is settled.
    """
    return _sum_at(_runs(segments), microseconds_between(EPOCH, until))


def cost_of(segments: Iterable[UsageSegment], until: datetime) -> int:
    """Return what segments cost up to ``until``, or to their own ends, each rounded down once."""
    return sum(charged(segment, segment.ended_at or until) for segment in segments)


def burn_rate(segments: Iterable[UsageSegment]) -> int:
    """Return the micro-units per hour of everything that runs."""
    return sum(segment.rate_micros_per_hour for segment in segments if segment.ended_at is None)


def settlement(segment: UsageSegment, until: datetime) -> tuple[int, UsageSegment]:
    """Return what to post for the time up to ``until``, and the segment after posting it.

    Asked for a time that is settled already, it returns zero and the segment as it is.
    """
    if segment.ended_at is not None:
        until = min(until, segment.ended_at)
    if until <= segment.settled_until:
        return 0, segment
    total = charged(segment, until)
    after = replace(segment, settled_until=until, settled_micros=total)
    return total - segment.settled_micros, after


def ending(segment: UsageSegment, at: datetime) -> tuple[int, UsageSegment]:
    """Return what is still to post when ``segment`` ends at ``at``, and the ended segment.

    The amount is negative, a credit, if time after ``at`` was settled before it proved bad.
    A segment cannot end before it began.
    """
    at = max(at, segment.started_at)
    total = charged(segment, at)
    ended = replace(
        segment, ended_at=at, settled_until=at, settled_micros=total, next_settlement_at=None
    )
    return total - segment.settled_micros, ended


def when_reaches(
    segments: Sequence[UsageSegment], micros: int, *, not_before: datetime
) -> datetime | None:
    """Return the first instant from ``not_before`` on at which ``micros`` are unsettled.

    Exact to the microsecond: the sum of floors lies less than one micro-unit per segment below
    the straight line, which bounds the search. None if it never happens.
    """
    runs = _runs(segments)
    first = microseconds_between(EPOCH, not_before)
    if _sum_at(runs, first) >= micros:
        return not_before
    running = [run for run in runs if run.end is None]
    below = latest = max([first, *(run.end for run in runs if run.end is not None)])
    if rate := sum(run.rate for run in running):
        begun = sum(run.rate * run.start for run in running)
        settled = sum(run.settled for run in running)
        line = (micros + settled) * HOUR_MICROSECONDS + begun
        below = line // rate - 1
        latest = max(latest, -(-(line + len(running) * HOUR_MICROSECONDS) // rate))
    if _sum_at(runs, latest) < micros:
        return None
    # What has ended, or is yet to begin, may lift the sum above the line: then search it all.
    is_bound = first < below < latest and _sum_at(runs, below) < micros
    return _search(runs, micros, below if is_bound else first, latest)


def next_settlement(segment_id: str, after: datetime) -> datetime:
    """Return the segment's next turn after ``after``: hourly, at its own place in the hour.

    The place comes from the id, so that the work is spread over the hour and stays there.
    """
    digest = hashlib.sha256(segment_id.encode()).digest()
    place = timedelta(microseconds=int.from_bytes(digest[:8]) % HOUR_MICROSECONDS)
    turn = EPOCH + (after - EPOCH) // SETTLEMENT_INTERVAL * SETTLEMENT_INTERVAL + place
    return turn if turn > after else turn + SETTLEMENT_INTERVAL


class _Run(NamedTuple):
    """A segment in whole microseconds since the epoch, for sums that are taken many times."""

    rate: int
    start: int
    end: int | None
    settled: int


def _runs(segments: Iterable[UsageSegment]) -> list[_Run]:
    return [
        _Run(
            segment.rate_micros_per_hour,
            microseconds_between(EPOCH, segment.started_at),
            None if segment.ended_at is None else microseconds_between(EPOCH, segment.ended_at),
            segment.settled_micros,
        )
        for segment in segments
    ]


def _sum_at(runs: Iterable[_Run], instant: int) -> int:
    """Add the floors: each run's charge up to ``instant``, less what is settled of it."""
    total = 0
    for rate, start, end, settled in runs:
        until = instant if end is None else min(instant, end)
        total += accrued(rate, max(0, until - start)) - settled
    return total


def _search(runs: Sequence[_Run], micros: int, below: int, enough: int) -> datetime | None:
    """Halve (below, enough] until one instant is left; the sum never falls with time."""
    while enough - below > 1:
        middle = (below + enough) // 2
        if _sum_at(runs, middle) >= micros:
            enough = middle
        else:
            below = middle
    return instant_after(EPOCH, enough)
