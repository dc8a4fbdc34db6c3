"""Checkout sessions from their making to their end, and the payments made in them.

A session is open until it is paid or expires; a payment that fails leaves it open for another
try. A bank debit completes the session at once and is paid, or not, a moment later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from gpucloud_adapters.simulated.stripe import payments, resources
from gpucloud_adapters.simulated.stripe.account import (
    ITSELF,
    Account,
    Call,
    checked_metadata,
)
from gpucloud_adapters.simulated.stripe.cards import (
    NOT_AUTHENTICATED,
    BankAccount,
    Decline,
    Entry,
    Fate,
    expiry_of,
    find_account,
    find_card,
)
from gpucloud_adapters.simulated.stripe.problems import StripeProblem, missing
from gpucloud_adapters.simulated.stripe.published import Params
from gpucloud_adapters.simulated.stripe.store import Resource, new_id

SETTLE: Final = "settle"
EXPIRE: Final = "expire"

_HOUR: Final = 3600
_AMOUNT_MIN: Final = 50
_AMOUNT_MAX: Final = 99_999_999


@dataclass(frozen=True, slots=True)
class Completed:
    """The session is complete; the money may still be on its way."""

    session: Resource


@dataclass(frozen=True, slots=True)
class Asks:
    """The bank wants its customer to approve first."""

    session: Resource


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was paid; the words are for whoever pays, and they may try again."""

    session: Resource
    words: str


Outcome: TypeAlias = Completed | Asks | Refused


# ---- the API -------------------------------------------------------------------------------


def create(account: Account, call: Call) -> Resource:
    """Make a session and its pay page."""
    params = call.params
    currency, subtotal, name = _priced(params)
    _check_urls(params)
    if "customer" in params:
        account.find("customer", params["customer"], "customer")
    created = account.instant()
    session_id = new_id("cs_test_", 58)
    session = {
        **resources.checkout_session(),
        "id": session_id,
        "amount_subtotal": subtotal,
        "amount_total": subtotal,
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "created": created,
        "currency": currency,
        "customer": params.get("customer"),
        "customer_creation": None if "customer" in params else "if_required",
        "customer_email": params.get("customer_email"),
        "expires_at": _expires_at(params, created),
        "metadata": checked_metadata(params),
        "success_url": params["success_url"],
        "url": f"{account.base_url}/pay/{session_id}",
    }
    account.store.put(session)
    intent_data = params.get("payment_intent_data", {})
    facts = {
        "name": name,
        "intent_metadata": checked_metadata(intent_data, "payment_intent_data[metadata]"),
        "intent_description": intent_data.get("description"),
        "receipt_email": intent_data.get("receipt_email"),
    }
    account.store.put_private(session_id, facts)
    account.store.add_errand(EXPIRE, session_id, session["expires_at"])
    account.wake()
    return session


def retrieve(account: Account, call: Call) -> Resource:
    return account.find("checkout.session", call.ids[0], "session")


def list_sessions(account: Account, call: Call) -> Resource:
    params = call.params
    wanted = {
        name: params[name] for name in ("payment_intent", "customer", "status") if name in params
    }

    def keeps(session: Resource) -> bool:
        return all(session[name] == value for name, value in wanted.items())

    return account.listed("checkout.session", "/v1/checkout/sessions", params, keeps)


def expire(account: Account, call: Call) -> Resource:
    """End an open session, so that nobody can pay it."""
    session = account.find("checkout.session", call.ids[0], "session")
    if session["status"] != "open":
        raise StripeProblem(
            'Only Checkout Sessions with a status in ["open"] can be expired.'
            f" This Checkout Session has a status of `{session['status']}`."
        )
    return _expired(account, session, call)


# ---- the pay page --------------------------------------------------------------------------


def pay_by_card(account: Account, session: Resource, entry: Entry) -> Outcome:
    """Try to pay an open session with a card that was checked for form."""
    if session["status"] != "open":
        return Completed(session)
    card = find_card(entry.digits)
    month, year = expiry_of(entry)
    means = {
        "brand": card.brand,
        "exp_month": month,
        "exp_year": year,
        "last4": card.number[-4:],
    }
    intent = _intent(account, session, entry.name.strip())
    if card.fate is Fate.DECLINED and card.decline is not None:
        return _refused(account, session, intent, payments.card_details(means), card.decline)
    if card.fate is Fate.SUCCEEDS:
        return _paid(account, session, intent, payments.card_details(means))
    account.store.put_private(
        session["id"],
        {**account.store.private(session["id"]), "asking": {"number": card.number, **means}},
    )
    payments.update(
        account,
        intent,
        "payment_intent.requires_action",
        status="requires_action",
        next_action={"type": "use_stripe_sdk", "use_stripe_sdk": {}},
    )
    return Asks(session)


def authenticate(account: Account, session: Resource, *, approved: bool) -> Outcome:
    """Go on after the bank asked its customer."""
    private = account.store.private(session["id"])
    asking = private.pop("asking", None)
    if session["status"] != "open" or asking is None:
        return Completed(session)
    account.store.put_private(session["id"], private)
    card = find_card(asking["number"])
    intent = account.find("payment_intent", session["payment_intent"])
    details = payments.card_details(asking, authenticated=approved)
    if not approved:
        return _refused(account, session, intent, details, NOT_AUTHENTICATED)
    if card.decline is not None:
        return _refused(account, session, intent, details, card.decline)
    return _paid(account, session, intent, details)


def is_asking(account: Account, session: Resource) -> bool:
    return "asking" in account.store.private(session["id"])


def pay_by_bank(account: Account, session: Resource, bank: BankAccount, name: str) -> Outcome:
    """Complete an open session with a debit that settles later."""
    if session["status"] != "open":
        return Completed(session)
    intent = _intent(account, session, name)
    account.store.put_private(
        session["id"], {**account.store.private(session["id"]), "bank": bank.number}
    )
    payments.update(
        account, intent, "payment_intent.processing", status="processing", next_action=None
    )
    session = _completed(account, session, "unpaid")
    account.emit("checkout.session.completed", session)
    account.store.add_errand(SETTLE, session["id"], account.now() + account.settle_seconds)
    return Completed(session)


# ---- what happens by itself ----------------------------------------------------------------


def settle(account: Account, session_id: str) -> None:
    """Let a bank debit arrive, or fail."""
    session = account.find("checkout.session", session_id)
    bank = find_account(account.store.private(session_id)["bank"])
    intent = account.find("payment_intent", session["payment_intent"])
    if bank is None or session["payment_status"] == "paid":
        return
    details = payments.bank_details(bank)
    if bank.failure is not None:
        payments.fail(account, intent, details, bank.failure)
        account.emit("checkout.session.async_payment_failed", session)
        return
    payments.succeed(account, intent, details)
    session["payment_status"] = "paid"
    account.store.put(session)
    account.emit("checkout.session.async_payment_succeeded", session)


def expire_if_open(account: Account, session_id: str) -> None:
    session = account.find("checkout.session", session_id)
    if session["status"] == "open":
        _expired(account, session, ITSELF)


# ---- how ------------------------------------------------------------------------------------


def _priced(params: Params) -> tuple[str, int, str]:
    """Return currency, amount and name of what is sold."""
    if params.get("mode", "payment") != "payment":
        raise StripeProblem("The simulated Stripe takes mode=payment only.", param="mode")
    if "mode" not in params:
        raise missing("mode")
    if not params.get("line_items"):
        raise StripeProblem("`line_items` are required in payment mode.", param="line_items")
    prices = [_item_price(item, f"line_items[{n}]") for n, item in enumerate(params["line_items"])]
    total = sum(units for _, units in prices)
    currencies = {currency for currency, _ in prices}
    name: str = params["line_items"][0]["price_data"]["product_data"]["name"]
    if len(currencies) > 1:
        raise StripeProblem("All line items must have the same currency.", param="line_items")
    if total < _AMOUNT_MIN:
        raise StripeProblem(
            "The Checkout Session's total amount must convert to at least 50 cents.",
            code="amount_too_small",
        )
    if total > _AMOUNT_MAX:
        raise StripeProblem(
            "The Checkout Session's total amount must be no more than $999,999.99.",
            code="amount_too_large",
        )
    return currencies.pop(), total, name


def _item_price(item: Params, within: str) -> tuple[str, int]:
    price = item.get("price_data")
    if price is None:
        raise StripeProblem("The simulated Stripe knows no prices; give price_data.", param=within)
    for needed in ("unit_amount", "product_data"):
        if needed not in price:
            raise missing(f"{within}[price_data][{needed}]")
    if "quantity" not in item:
        raise missing(f"{within}[quantity]")
    return price["currency"].lower(), price["unit_amount"] * item["quantity"]


def _check_urls(params: Params) -> None:
    if "success_url" not in params:
        raise missing("success_url")
    for name in ("success_url", "cancel_url"):
        parts = urlsplit(params.get(name, "https://absent.invalid"))
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise StripeProblem("Not a valid URL", code="url_invalid", param=name)


def _expires_at(params: Params, created: int) -> int:
    expires_at: int = params.get("expires_at", created + 24 * _HOUR)
    if not created + _HOUR // 2 <= expires_at <= created + 24 * _HOUR:
        raise StripeProblem(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from now.",
            param="expires_at",
        )
    return expires_at


def _intent(account: Account, session: Resource, payer: str) -> Resource:
    """Return the session's payment intent, made at the first try to pay."""
    private = account.store.private(session["id"])
    account.store.put_private(session["id"], {**private, "payer": payer})
    if session["payment_intent"] is not None:
        return account.find("payment_intent", session["payment_intent"])
    intent = payments.open_intent(account, session, private)
    session["payment_intent"] = intent["id"]
    account.store.put(session)
    return intent


def _paid(
    account: Account, session: Resource, intent: Resource, details: Mapping[str, Any]
) -> Completed:
    payments.succeed(account, intent, details)
    session = _completed(account, session, "paid")
    account.emit("checkout.session.completed", session)
    return Completed(session)


def _refused(
    account: Account,
    session: Resource,
    intent: Resource,
    details: Mapping[str, Any],
    decline: Decline,
) -> Refused:
    payments.fail(account, intent, details, decline)
    return Refused(session, decline.words)


def _completed(account: Account, session: Resource, payment_status: str) -> Resource:
    private = account.store.private(session["id"])
    session.update(
        status="complete",
        payment_status=payment_status,
        url=None,
        customer_details={
            "address": None,
            "business_name": None,
            "email": session["customer_email"] or private["receipt_email"],
            "individual_name": None,
            "name": private["payer"],
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": [],
        },
    )
    account.store.put(session)
    account.store.drop_errands(EXPIRE, session["id"], account.now())
    return session


def _expired(account: Account, session: Resource, call: Call) -> Resource:
    session.update(status="expired", url=None)
    account.store.put(session)
    account.store.drop_errands(EXPIRE, session["id"], account.now())
    account.emit("checkout.session.expired", session, call)
    return session
