"""What events of money tell: the owners, who pay, and whoever keeps the books."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from gpucloud_core.billing.aftermath import DISPUTE_LOST
from gpucloud_core.kernel.unit import Event
from gpucloud_core.notices.model import NoticeLevel, Severity
from gpucloud_core.notices.told import (
    NOTHING,
    Clear,
    Known,
    Rule,
    Told,
    amount,
    for_operators,
    to_owners,
)

_RUNWAY: Final = {
    "low": "Your balance is getting low",
    "4h": "Your balance lasts less than four hours",
    "1h": "Your balance lasts less than an hour",
    "15m": "Your balance lasts less than 15 minutes",
    "0": "Your balance is used up",
}


def _runway(event: Event, _: Known) -> Told:
    level = str(event.payload.get("level"))
    rate = amount(event.payload.get("burn_rate_micros_per_hour"), event)
    left = amount(event.payload.get("available_micros"), event)
    return to_owners(
        event,
        NoticeLevel.BAD if level in {"15m", "0"} else NoticeLevel.WARNING,
        _RUNWAY.get(level, _RUNWAY["low"]),
        f"{left} is left, and what runs costs {rate} an hour. Add money, or release what you do "
        "not need: whatever is not paid for is released when the balance ends.",
    )


def _depleted(event: Event, _: Known) -> Told:
    return to_owners(
        event,
        NoticeLevel.BAD,
        "Your balance has ended",
        "What ran on it is being released, as chosen at launch. Nothing starts again by itself "
        "after you add money.",
        once=_what_ended(event),
    )


def _what_ended(event: Event) -> str:
    """Name what is released and when it ended: announced again, as a reminder, it is the same."""
    ended = json.dumps(event.payload.get("allocations"), sort_keys=True)
    return hashlib.sha256(ended.encode()).hexdigest()[:32]


def _standing(event: Event, _: Known) -> Told:
    if event.payload.get("to") != "suspended":
        return NOTHING
    return to_owners(
        event,
        NoticeLevel.BAD,
        "Your account is suspended",
        "A payment is disputed. Nothing new can be started until that is settled.",
    )


def _paid(event: Event, _: Known) -> Told:
    paid = amount(event.payload.get("amount_micros"), event)
    text = f"{paid} was added to your balance."
    return to_owners(event, NoticeLevel.GOOD, "Payment received", text)


def _unmatched(event: Event, _: Known) -> Told:
    return for_operators(
        event, Severity.CRITICAL, "A payment at the provider belongs to no payment of ours"
    )


def _refunded(event: Event, _: Known) -> Told:
    return for_operators(
        event, Severity.WARNING, "A payment was refunded at the provider; the ledger is as before"
    )


def _disputed(event: Event, _: Known) -> Told:
    title = "A payment is disputed at the provider; answer there"
    if event.payload.get("status") == DISPUTE_LOST:
        title = "A dispute was lost, and the money is gone; the ledger is as before"
    return for_operators(event, Severity.CRITICAL, title)


def _dispute_won(event: Event, _: Known) -> Told:
    return Told(clears=(Clear(kind="payment.disputed", subject=event.subject),))


def _unreconciled(event: Event, _: Known) -> Told:
    return for_operators(event, Severity.WARNING, "A payment could not be matched with its effect")


MONEY_RULES: Final[Mapping[str, Rule]] = {
    "billing.notice": _runway,
    "billing.depleted": _depleted,
    "billing.standing_changed": _standing,
    "payment.completed": _paid,
    "payment.unmatched": _unmatched,
    "payment.failed_reconcile": _unreconciled,
    "payment.refunded": _refunded,
    "payment.disputed": _disputed,
    "payment.dispute_won": _dispute_won,
}
