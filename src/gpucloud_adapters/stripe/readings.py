"""What Stripe says, in our words: a Checkout session, and an event after its signature."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import stripe

from gpucloud_adapters.stripe.amounts import from_stripe
from gpucloud_core.billing.ports import (
    Aftermath,
    AftermathKind,
    Checkout,
    ProviderEvent,
    SignatureInvalid,
)

TOLERANCE_SECONDS: Final = 300
"""How old a signature may be. Source: https://docs.stripe.com/webhooks, read 2026-11-22."""

_CHECKOUT: Final = "checkout.session."
_DISPUTE: Final = "charge.dispute."
_REFUND: Final = ("refund.", "charge.refund.")
_REFUNDED: Final = "charge.refunded"


def checkout_of(session: Mapping[str, Any]) -> Checkout:
    """Return our words for a ``checkout.session`` object."""
    currency = str(session["currency"] or "usd")
    total = int(session["amount_total"] or 0)
    tax = int((session["total_details"] or {}).get("amount_tax") or 0)
    intent = session["payment_intent"]
    return Checkout(
        provider_id=session["id"],
        url=session["url"],
        status=session["status"] or "open",
        paid=session["payment_status"] == "paid",
        amount_micros=from_stripe(total - tax, currency),
        tax_micros=from_stripe(tax, currency),
        currency=currency.upper(),
        payment_id=intent if intent is None or isinstance(intent, str) else intent["id"],
        reference=session["client_reference_id"],
    )


def aftermath_of(kind: str, about: Mapping[str, Any]) -> Aftermath | None:
    """Return what an event says of a payment after it was made, if that is what it is about."""
    currency = str(about.get("currency") or "usd")
    if kind.startswith(_DISPUTE):
        said, amount = AftermathKind.DISPUTE, about.get("amount")
    elif kind.startswith(_REFUND) or kind == _REFUNDED:
        said, amount = AftermathKind.REFUND, about.get("amount_refunded", about.get("amount"))
    else:
        return None
    intent = about.get("payment_intent")
    return Aftermath(
        kind=said,
        payment_id=intent if intent is None or isinstance(intent, str) else intent["id"],
        amount_micros=from_stripe(int(amount or 0), currency),
        currency=currency.upper(),
        status=str(about.get("status") or ""),
    )


def verified_event(body: bytes, signature: str, secret: str) -> ProviderEvent:
    """Return the event that ``body`` is, if Stripe signed it within the last minutes.

    Raises:
        SignatureInvalid: forged, altered, too old, or no event at all.
    """
    try:
        event = stripe.Webhook.construct_event(body, signature, secret, TOLERANCE_SECONDS)
        return _event_of(event.to_dict())
    except (stripe.SignatureVerificationError, ValueError, KeyError, TypeError) as error:
        raise SignatureInvalid from error


def stored_event(body: str) -> ProviderEvent:
    """Return an event that was verified before it was stored."""
    event = stripe.Webhook.construct_event_without_verification(body)
    return _event_of(event.to_dict())


def _event_of(event: Mapping[str, Any]) -> ProviderEvent:
    about = event["data"]["object"]
    kind = str(event["type"])
    return ProviderEvent(
        id=event["id"],
        kind=kind,
        object_id=str(about.get("id", "")),
        created_at=datetime.fromtimestamp(event["created"], UTC),
        checkout=checkout_of(about) if kind.startswith(_CHECKOUT) else None,
        aftermath=aftermath_of(kind, about),
    )
