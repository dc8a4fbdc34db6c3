"""Payment intents and their charges: what is made of money that comes, or does not come.

A payment intent is one wish to be paid; each try makes a charge, and the last one may succeed.
"""

from collections.abc import Mapping
from typing import Any

from gpucloud_adapters.simulated.stripe import resources
from gpucloud_adapters.simulated.stripe.account import Account
from gpucloud_adapters.simulated.stripe.cards import BankAccount, Decline
from gpucloud_adapters.simulated.stripe.store import Resource, new_id


def open_intent(account: Account, session: Resource, facts: Mapping[str, Any]) -> Resource:
    """Make the payment intent of a session, with what was asked for it."""
    key = new_id("pi_")
    intent = {
        **resources.payment_intent(),
        "id": key,
        "amount": session["amount_total"],
        "client_secret": f"{key}_secret_{new_id('')}",
        "created": account.instant(),
        "currency": session["currency"],
        "customer": session["customer"],
        "description": facts["intent_description"],
        "metadata": facts["intent_metadata"],
        "payment_method_types": session["payment_method_types"],
        "receipt_email": facts["receipt_email"],
    }
    account.store.put(intent)
    account.emit("payment_intent.created", intent)
    return intent


def update(account: Account, intent: Resource, event: str, **changes: object) -> None:
    intent.update(changes)
    account.store.put(intent)
    account.emit(event, intent)


def _charge(
    account: Account, intent: Resource, details: Mapping[str, Any], **facts: object
) -> Resource:
    key = new_id("ch_")
    charge = {
        **resources.charge(),
        "id": key,
        "amount": intent["amount"],
        "created": account.instant(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "metadata": intent["metadata"],
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "payment_method_details": dict(details),
        "receipt_email": intent["receipt_email"],
        **facts,
    }
    account.store.put(charge)
    intent["latest_charge"] = key
    return charge


def succeed(account: Account, intent: Resource, details: Mapping[str, Any]) -> None:
    intent["payment_method"] = new_id("pm_")
    charge = _charge(
        account,
        intent,
        details,
        amount_captured=intent["amount"],
        captured=True,
        paid=True,
        status="succeeded",
        outcome=_outcome("authorized", "approved_by_network", "Payment complete."),
    )
    charge["receipt_url"] = f"{account.base_url}/receipts/{charge['id']}"
    account.store.put(charge)
    account.emit("charge.succeeded", charge)
    update(
        account,
        intent,
        "payment_intent.succeeded",
        amount_received=intent["amount"],
        last_payment_error=None,
        next_action=None,
        status="succeeded",
    )


def fail(account: Account, intent: Resource, details: Mapping[str, Any], decline: Decline) -> None:
    charge = _charge(
        account,
        intent,
        details,
        failure_code=decline.code,
        failure_message=decline.words,
        status="failed",
        outcome=_outcome("issuer_declined", "declined_by_network", decline.words),
    )
    account.emit("charge.failed", charge)
    error = {
        "charge": charge["id"],
        "code": decline.code,
        "message": decline.words,
        "type": "card_error",
    }
    if decline.decline_code:
        error["decline_code"] = decline.decline_code
    update(
        account,
        intent,
        "payment_intent.payment_failed",
        last_payment_error=error,
        next_action=None,
        status="requires_payment_method",
    )


def _outcome(kind: str, network_status: str, message: str) -> Resource:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": network_status,
        "reason": None,
        "seller_message": message,
        "type": kind,
    }


def card_details(means: Mapping[str, Any], *, authenticated: bool | None = None) -> Resource:
    card = {name: means[name] for name in ("brand", "exp_month", "exp_year", "last4")}
    secure = None
    if authenticated is not None:
        secure = {"result": "authenticated" if authenticated else "failed", "version": "2.2.0"}
    return {
        "card": {**card, "country": "US", "funding": "credit", "three_d_secure": secure},
        "type": "card",
    }


def bank_details(bank: BankAccount) -> Resource:
    account = {
        "bank_name": "SIMULATED BANK",
        "last4": bank.number[-4:],
        "routing_number": "110000000",
    }
    return {"type": "us_bank_account", "us_bank_account": account}
