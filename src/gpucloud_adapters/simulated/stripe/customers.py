"""Customers, the portal where they see their payments, and refunds of those payments."""

from typing import Any, Final

from gpucloud_adapters.simulated.stripe import resources
from gpucloud_adapters.simulated.stripe.account import (
    Account,
    Call,
    checked_metadata,
    matches_search,
)
from gpucloud_adapters.simulated.stripe.problems import StripeProblem, missing
from gpucloud_adapters.simulated.stripe.store import Resource, new_id

_PLAIN_FIELDS: Final = ("description", "email", "name")


def create_customer(account: Account, call: Call) -> Resource:
    told: Resource = {
        name: call.params[name] or None for name in _PLAIN_FIELDS if name in call.params
    }
    customer: Resource = {
        **resources.customer(),
        **told,
        "id": new_id("cus_", 14),
        "created": account.instant(),
        "invoice_prefix": new_id("", 8).upper(),
        "metadata": checked_metadata(call.params),
    }
    account.store.put(customer)
    account.emit("customer.created", customer, call)
    return customer


def retrieve_customer(account: Account, call: Call) -> Resource:
    return account.find("customer", call.ids[0])


def list_customers(account: Account, call: Call) -> Resource:
    email = call.params.get("email")
    return account.listed(
        "customer",
        "/v1/customers",
        call.params,
        lambda customer: email is None or customer["email"] == email,
    )


def search_customers(account: Account, call: Call) -> Resource:
    """Return the customers a query asks for; those just made may not be known yet."""
    known_since = account.instant() - account.search_lag_seconds
    found = [
        customer
        for customer in account.store.newest_first("customer")
        if matches_search(customer, call.params["query"]) and customer["created"] <= known_since
    ]
    return {
        "object": "search_result",
        "data": found[:100],
        "has_more": False,
        "next_page": None,
        "url": "/v1/customers/search",
    }


def open_portal(account: Account, call: Call) -> Resource:
    """Make a page on which the customer sees their payments."""
    if "customer" not in call.params:
        raise missing("customer")
    account.find("customer", call.params["customer"], "customer")
    key = new_id("bps_")
    portal = {
        **resources.portal_session(),
        "id": key,
        "created": account.instant(),
        "customer": call.params["customer"],
        "return_url": call.params.get("return_url"),
        "url": f"{account.base_url}/portal/{key}",
    }
    account.store.put(portal)
    return portal


def payments_of(account: Account, customer_id: str) -> list[Resource]:
    """Return the customer's charges, newest first."""
    charges = account.store.newest_first("charge")
    return [charge for charge in charges if charge["customer"] == customer_id]


def create_refund(account: Account, call: Call) -> Resource:
    """Give money of a charge back, all that is left of it or a part."""
    charge = _charge_of(account, call.params)
    left = charge["amount_captured"] - charge["amount_refunded"]
    if left == 0:
        raise StripeProblem(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    amount = call.params.get("amount", left)
    if not 0 < amount <= left:
        raise StripeProblem(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            param="amount",
        )
    refund = {
        **resources.refund(),
        "id": new_id("re_"),
        "amount": amount,
        "charge": charge["id"],
        "created": account.instant(),
        "currency": charge["currency"],
        "metadata": checked_metadata(call.params),
        "payment_intent": charge["payment_intent"],
        "reason": call.params.get("reason"),
    }
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    account.store.put(refund)
    account.store.put(charge)
    account.emit("refund.created", refund, call)
    account.emit("charge.refunded", charge, call)
    return refund


def retrieve_refund(account: Account, call: Call) -> Resource:
    return account.find("refund", call.ids[0])


def list_refunds(account: Account, call: Call) -> Resource:
    wanted = {
        name: call.params[name] for name in ("charge", "payment_intent") if name in call.params
    }
    return account.listed(
        "refund",
        "/v1/refunds",
        call.params,
        lambda refund: all(refund[name] == value for name, value in wanted.items()),
    )


def _charge_of(account: Account, params: dict[str, Any]) -> Resource:
    if "charge" in params:
        return account.find("charge", params["charge"], "charge")
    if "payment_intent" not in params:
        raise missing("payment_intent")
    intent = account.find("payment_intent", params["payment_intent"], "payment_intent")
    if intent["status"] != "succeeded":
        raise StripeProblem("This PaymentIntent does not have a successful charge to refund.")
    return account.find("charge", intent["latest_charge"])
