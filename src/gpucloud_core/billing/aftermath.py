"""What the provider says of a payment after it was made: that it was refunded, or is disputed.

Neither is started by the platform, and neither moves the ledger by itself: an operator sees it and
puts it right. Events may come in any order and any number of times, also before the payment's own;
what counts is the newest that was received of the same object.
"""

from collections.abc import Callable, Iterable
from typing import Final

from gpucloud_core.billing.ports import Aftermath, AftermathKind, BillingUnit, ProviderEvent
from gpucloud_core.kernel.unit import Event

DISPUTE_WON: Final = frozenset({"won", "warning_closed", "prevented"})
"""States of a dispute in which the money stayed. Source: https://docs.stripe.com/api/disputes/object,
``status``, read 2026-11-28."""
DISPUTE_LOST: Final = "lost"

Parse = Callable[[str], ProviderEvent]


def newest(events: Iterable[ProviderEvent]) -> Aftermath | None:
    """Return what was said last: by the provider's clock, and at the end if at one instant."""
    told = [event for event in events if event.aftermath is not None]
    last = max(told, key=_place, default=None)
    return None if last is None else last.aftermath


def _place(event: ProviderEvent) -> tuple[object, ...]:
    ended = event.aftermath is not None and event.aftermath.status in {*DISPUTE_WON, DISPUTE_LOST}
    return event.created_at, ended, event.id


async def take_note(unit: BillingUnit, event: ProviderEvent, said: Aftermath, parse: Parse) -> str:
    """Emit what is so of a refund or a dispute now; return it in words."""
    stored = await unit.webhook_events.find(object_id=event.object_id)
    now = newest([event, *(parse(each.payload) for each in stored)]) or said
    known = await unit.payments.find(provider_payment_id=now.payment_id) if now.payment_id else ()
    session = known[0] if known else None
    kind = "payment.refunded"
    if now.kind is AftermathKind.DISPUTE:
        kind = "payment.dispute_won" if now.status in DISPUTE_WON else "payment.disputed"
    await unit.emit(
        Event(
            kind=kind,
            subject=event.object_id,
            tenant_id=session.tenant_id if session else None,
            payload={
                "event_id": event.id,
                "payment_id": now.payment_id,
                "session_id": session.id if session else None,
                "amount_micros": now.amount_micros,
                "currency": now.currency,
                "status": now.status,
            },
        )
    )
    return f"noted for operators: {kind} ({now.status or 'no status'})"
