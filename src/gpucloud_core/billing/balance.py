"""The balance as a function of time, and the instants at which something is due.

``available(t) = posted - held - unsettled(t)``. Nothing polls it: from the rates, the credit and
its expiry, and the holds, the instant at which it reaches zero is computed, to the microsecond.
Past that instant an allocation that runs on its reserve is paid from its own hold, and everything
else has stopped, however late the worker is that carries it out. A balance is never negative: if
a microsecond costs more than is left, the last one that is fully paid is the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gpucloud_core.billing.credit import in_spending_order
from gpucloud_core.billing.model import AccountKind, Balance, BillingAccount, CreditLot, Hold
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.time import MICROSECOND
from gpucloud_core.metering.charge import (
    burn_rate,
    instant_after,
    settlement,
    unsettled,
    when_accrued,
    when_reaches,
)
from gpucloud_core.metering.model import UsageSegment

RESERVE_MINUTES: Final = range(15, 241)
_MINUTES_AN_HOUR: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Runway:
    """How long the money lasts if nothing changes.

    Attributes:
        depletes_at: the instant at which nothing is available any more; None if never.
        ends: for each running allocation, up to when its time is paid for: the depletion, or the
            end of its reserve; None if for ever. Never before what is already settled.
        on_reserve: the allocations that go on after the depletion, from their own holds.
    """

    depletes_at: datetime | None = None
    ends: Mapping[AllocationId, datetime | None] = field(default_factory=dict)
    on_reserve: frozenset[AllocationId] = frozenset()

    def is_depleted(self, now: datetime) -> bool:
        return self.depletes_at is not None and self.depletes_at <= now

    def paid_until(self, segment: UsageSegment, now: datetime) -> datetime:
        """Return up to when ``segment`` has accrued by ``now``: no longer than it is paid for."""
        end = self.ends.get(segment.allocation_id)
        return now if end is None else min(now, end)

    def balance_pays_until(self, segment: UsageSegment, now: datetime) -> datetime:
        """Return up to when the balance pays ``segment``; a reserve pays the rest."""
        if self.depletes_at is None:
            return now
        return min(now, max(self.depletes_at, segment.settled_until))


def hold_amount(rate_micros_per_hour: int, reserve_minutes: int) -> int:
    """Return what a hold for so many minutes is, rounded up so that it covers all of them."""
    if reserve_minutes not in RESERVE_MINUTES:
        raise ValueError(f"a reserve is 15 to 240 minutes, not {reserve_minutes}")
    return -(-rate_micros_per_hour * reserve_minutes // _MINUTES_AN_HOUR)


def spendable(balances: Mapping[AccountKind, int]) -> int:
    """Return what the ledger has for usage: paid money and credit, without what is held."""
    return balances.get(AccountKind.PREPAID, 0) + balances.get(AccountKind.PROMOTIONAL, 0)


def expired_by(
    credits_: Sequence[CreditLot],
    segments: Sequence[UsageSegment],
    until: datetime,
    *,
    depletes_at: datetime | None = None,
) -> int:
    """Return the credit that expires unspent up to ``until``, if usage is as ``segments`` say.

    Nothing is spent any more from ``depletes_at`` on, but the dust that is left still expires.
    """
    spent = lost = 0
    for lot in in_spending_order(credits_):
        if lot.expires_at is None or lot.expires_at > until:
            break
        end = lot.expires_at if depletes_at is None else min(lot.expires_at, depletes_at)
        used = min(lot.remaining_micros, unsettled(segments, end) - spent)
        spent += used
        lost += lot.remaining_micros - used
    return lost


def depletes_at(
    *, spendable_micros: int, credits_: Sequence[CreditLot], segments: Sequence[UsageSegment]
) -> datetime | None:
    """Return the first instant at which nothing is available, given what runs; None if never.

    Looked for from the oldest unsettled instant on, so that the answer stays the same however
    late it is asked for. Between two expiries the sum to reach does not change.
    """
    running = [s for s in segments if s.ended_at is None and s.rate_micros_per_hour]
    if not running:
        return None
    since = min(segment.settled_until for segment in running)
    lost = 0
    for expires_at in sorted({lot.expires_at for lot in credits_ if lot.expires_at is not None}):
        found = when_reaches(segments, spendable_micros - lost, not_before=since)
        if found is not None and found < expires_at:
            break
        since = max(since, expires_at)
        lost = expired_by(credits_, segments, expires_at)
    else:
        found = when_reaches(segments, spendable_micros - lost, not_before=since)
    if found is not None and unsettled(segments, found) > spendable_micros - lost:
        return found - MICROSECOND
    return found


def runway(
    *,
    balances: Mapping[AccountKind, int],
    credits_: Sequence[CreditLot],
    segments: Sequence[UsageSegment],
    holds: Sequence[Hold],
) -> Runway:
    """Return how long the money lasts, for the tenant and for each running allocation."""
    at = depletes_at(spendable_micros=spendable(balances), credits_=credits_, segments=segments)
    running = [segment for segment in segments if segment.ended_at is None]
    if at is None:
        return Runway(ends={segment.allocation_id: None for segment in running})
    reserves = {h.allocation_id: h.amount_micros for h in holds if h.run_on_reserve}
    ends: dict[AllocationId, datetime | None] = {}
    for segment in running:
        stop = max(at, segment.settled_until)
        reserve = reserves.get(segment.allocation_id)
        if segment.rate_micros_per_hour == 0:
            ends[segment.allocation_id] = None
        elif reserve is None:
            ends[segment.allocation_id] = stop
        else:
            ends[segment.allocation_id] = _reserve_end(segment, stop, reserve)
    return Runway(depletes_at=at, ends=ends, on_reserve=frozenset(reserves.keys() & ends.keys()))


def available(
    *,
    balances: Mapping[AccountKind, int],
    credits_: Sequence[CreditLot],
    segments: Sequence[UsageSegment],
    run: Runway,
    now: datetime,
) -> int:
    """Return what can be spent or held at ``now``; zero from the depletion on, but for dust."""
    until = now if run.depletes_at is None else min(now, run.depletes_at)
    lost = expired_by(credits_, segments, now, depletes_at=run.depletes_at)
    return spendable(balances) - lost - unsettled(segments, until)


def balance_at(
    account: BillingAccount,
    balances: Mapping[AccountKind, int],
    segments: Sequence[UsageSegment],
    holds: Sequence[Hold],
    now: datetime,
) -> Balance:
    """Return the tenant's money at ``now``.

    ``posted - held - pending = available`` always. A reserve that is being spent moves from held
    to pending; credit that has expired but is not taken back yet counts as pending.
    """
    run = runway(balances=balances, credits_=account.credits, segments=segments, holds=holds)
    free = available(
        balances=balances, credits_=account.credits, segments=segments, run=run, now=now
    )
    on_reserve = sum(
        unsettled([segment], run.paid_until(segment, now))
        - unsettled([segment], run.balance_pays_until(segment, now))
        for segment in segments
        if segment.allocation_id in run.on_reserve
    )
    held = balances.get(AccountKind.HELD, 0) - on_reserve
    posted = spendable(balances) + balances.get(AccountKind.HELD, 0)
    return Balance(
        currency=account.currency,
        posted_micros=posted,
        held_micros=held,
        pending_micros=posted - held - free,
        available_micros=free,
        burn_rate_micros_per_hour=burn_rate(segments),
        depletes_at=run.depletes_at,
        standing=account.standing,
        as_of=now,
        parts=dict(balances),
    )


def balance_after(balance: Balance, hold_micros: int, rate_micros_per_hour: int) -> datetime | None:
    """Return when ``balance`` would be gone if so much more were held and so much more ran.

    For a quote: as if it ran at once, and leaving the expiry of credit aside. None if never.
    """
    rate = balance.burn_rate_micros_per_hour + rate_micros_per_hour
    left = max(0, balance.available_micros - hold_micros)
    elapsed = when_accrued(rate, left)
    return None if elapsed is None else instant_after(balance.as_of, elapsed)


def end_of_balance_plan(
    run: Runway, segments: Sequence[UsageSegment], now: datetime
) -> dict[AllocationId, datetime]:
    """Return what has to be released for want of money, and up to when each is paid for.

    At the depletion everything goes that does not run on its reserve. What those hold is
    returned, so the rest is judged again afterwards; it goes when its own reserve is spent.
    """
    if not run.is_depleted(now):
        return {}
    due = {
        segment.allocation_id: end
        for segment in segments
        if (end := run.ends.get(segment.allocation_id)) is not None and end <= now
    }
    first = {key: end for key, end in due.items() if key not in run.on_reserve}
    return first or due


def _reserve_end(segment: UsageSegment, since: datetime, reserve_micros: int) -> datetime | None:
    _, at_depletion = settlement(segment, since)
    found = when_reaches([at_depletion], reserve_micros, not_before=since)
    if found is not None and unsettled([at_depletion], found) > reserve_micros:
        return found - MICROSECOND
    return found
