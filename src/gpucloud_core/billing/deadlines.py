"""What becomes due for a tenant, and when: one instant per tenant, computed.

A notice has a level and an instant before the depletion. Each is sent once per approach: it may
be sent again only after the runway has become longer than its level. A change that shortens the
runway past a level skips that level, for whoever made the change was told; a late worker sends
the most urgent of those that came while it slept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gpucloud_core.billing.balance import Runway, end_of_balance_plan
from gpucloud_core.billing.model import BillingAccount
from gpucloud_core.metering.model import UsageSegment

LOW: Final = "low"
ZERO: Final = "0"
LEVELS: Final[Mapping[str, timedelta]] = {
    "4h": timedelta(hours=4),
    "1h": timedelta(hours=1),
    "15m": timedelta(minutes=15),
    ZERO: timedelta(0),
}
"""How long before the depletion each notice is due; ``low`` comes from the tenant's policy."""

REMIND_AFTER: Final = timedelta(seconds=30)
"""How soon an unfinished end of balance is announced again."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The next thing due, and when."""

    at: datetime
    what: str  # "expiry", "notice <level>", "end_of_balance", "reserve_spent", "reminder"


def notice_instants(depletes_at: datetime | None, low_balance_hours: int) -> dict[str, datetime]:
    """Return when each notice is due, the earliest first."""
    if depletes_at is None:
        return {}
    leads = {LOW: timedelta(hours=low_balance_hours), **LEVELS}
    ordered = sorted(leads.items(), key=lambda item: item[1], reverse=True)
    return {level: depletes_at - lead for level, lead in ordered}


def notices_kept(
    account: BillingAccount, depletes_at: datetime | None, now: datetime
) -> tuple[str, ...]:
    """Return the levels done with, after the runway changed to end at ``depletes_at``.

    ``account`` still carries the old depletion. What the change itself has passed is skipped, but
    never the last one; what is ahead again may be sent again.
    """
    passed = _passed(depletes_at, account.low_balance_hours, now)
    was_passed = _passed(account.depletes_at, account.low_balance_hours, now)
    return tuple(
        level
        for level in passed
        if level in account.notices_sent or (level not in was_passed and level != ZERO)
    )


def notice_due(account: BillingAccount, now: datetime) -> str | None:
    """Return the most urgent notice whose instant has come and which was not sent."""
    unsent = [
        level
        for level in _passed(account.depletes_at, account.low_balance_hours, now)
        if level not in account.notices_sent
    ]
    return unsent[-1] if unsent else None


def all_passed(account: BillingAccount, now: datetime) -> tuple[str, ...]:
    """Return every level whose instant has come."""
    return _passed(account.depletes_at, account.low_balance_hours, now)


def next_deadline(
    account: BillingAccount,
    run: Runway,
    segments: tuple[UsageSegment, ...],
    now: datetime,
    *,
    announced: bool = False,
) -> Deadline | None:
    """Return what is due next; its instant may have passed already.

    Args:
        account: with the new ``depletes_at``, ``notices_sent`` and ``credits``.
        run: the runway of the account as it is.
        segments: what runs.
        now: the present.
        announced: the end of balance has just been announced; remind only after a while.
    """
    due = [Deadline(lot.expires_at, "expiry") for lot in account.credits if lot.expires_at]
    instants = notice_instants(account.depletes_at, account.low_balance_hours)
    due += [
        Deadline(at, f"notice {level}")
        for level, at in instants.items()
        if level not in account.notices_sent
    ]
    if plan := end_of_balance_plan(run, segments, now):
        ends = min(plan.values())
        due.append(
            Deadline(now + REMIND_AFTER, "reminder")
            if announced
            else Deadline(ends, "end_of_balance")
        )
    else:
        due += [
            Deadline(end, "reserve_spent")
            for key, end in run.ends.items()
            if key in run.on_reserve and end is not None and end > now
        ]
    return min(due, key=lambda deadline: deadline.at, default=None)


def _passed(depletes_at: datetime | None, low_hours: int, now: datetime) -> tuple[str, ...]:
    instants = notice_instants(depletes_at, low_hours)
    return tuple(level for level, at in instants.items() if at <= now)
