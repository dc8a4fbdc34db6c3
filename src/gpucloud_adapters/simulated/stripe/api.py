"""The API: one table of operations, and one way through it for every request.

A request is known by its key, found in the table, checked against Stripe's published types, looked
up under its idempotency key, carried out and remembered; the last two in one change.
Source: https://docs.stripe.com/api/idempotent_requests, read 2026-11-22.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import stripe.params as plain
from stripe.params import billing_portal
from stripe.params import checkout as checkout_params

from gpucloud_adapters.simulated.stripe import checkout, customers
from gpucloud_adapters.simulated.stripe.account import Account, Call
from gpucloud_adapters.simulated.stripe.forms import Form, decode
from gpucloud_adapters.simulated.stripe.problems import StripeProblem
from gpucloud_adapters.simulated.stripe.published import checked
from gpucloud_adapters.simulated.stripe.store import Answer, Resource, new_id

REMEMBERED_SECONDS: Final = 24 * 3600
KEY_LENGTH_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Operation:
    """One method and path, with the published type of its parameters.

    ``simulated`` names those of its parameters that do something here. Others that Stripe knows
    are refused rather than ignored: an answer must never look as if they had been heard.
    """

    method: str
    path: str
    parameters: type
    do: Callable[[Account, Call], Resource]
    simulated: str = ""

    def ids(self, method: str, path: str) -> tuple[str, ...] | None:
        """Return the ids in ``path`` if this operation is meant, else None."""
        asked, ours = path.split("/"), self.path.split("/")
        if method != self.method or len(asked) != len(ours):
            return None
        if any(mine not in {"*", part} for mine, part in zip(ours, asked, strict=True)):
            return None
        return tuple(part for mine, part in zip(ours, asked, strict=True) if mine == "*")


def _retrieve(kind: str) -> Callable[[Account, Call], Resource]:
    return lambda account, call: account.find(kind, call.ids[0])


def _list_events(account: Account, call: Call) -> Resource:
    kinds = call.params.get("types") or [call.params.get("type")]

    def keeps(event: Resource) -> bool:
        return kinds == [None] or event["type"] in kinds

    return account.listed("event", "/v1/events", call.params, keeps)


_PAGED: Final = "limit starting_after ending_before created"

OPERATIONS: Final = (
    Operation(
        "POST",
        "checkout/sessions",
        checkout_params.SessionCreateParams,
        checkout.create,
        "mode line_items success_url cancel_url client_reference_id customer customer_email"
        " metadata payment_intent_data expires_at ui_mode submit_type",
    ),
    Operation(
        "GET",
        "checkout/sessions",
        checkout_params.SessionListParams,
        checkout.list_sessions,
        f"{_PAGED} payment_intent customer status",
    ),
    Operation(
        "GET",
        "checkout/sessions/*",
        checkout_params.SessionRetrieveParams,
        checkout.retrieve,
    ),
    Operation(
        "POST",
        "checkout/sessions/*/expire",
        checkout_params.SessionExpireParams,
        checkout.expire,
    ),
    Operation(
        "POST",
        "customers",
        plain.CustomerCreateParams,
        customers.create_customer,
        "description email name metadata",
    ),
    Operation(
        "GET", "customers", plain.CustomerListParams, customers.list_customers, f"{_PAGED} email"
    ),
    Operation(
        "GET",
        "customers/search",
        plain.CustomerSearchParams,
        customers.search_customers,
        "query limit",
    ),
    Operation("GET", "customers/*", plain.CustomerRetrieveParams, customers.retrieve_customer),
    Operation(
        "POST",
        "billing_portal/sessions",
        billing_portal.SessionCreateParams,
        customers.open_portal,
        "customer return_url",
    ),
    Operation(
        "GET",
        "payment_intents/*",
        plain.PaymentIntentRetrieveParams,
        _retrieve("payment_intent"),
    ),
    Operation("GET", "charges/*", plain.ChargeRetrieveParams, _retrieve("charge")),
    Operation("GET", "events", plain.EventListParams, _list_events, f"{_PAGED} type types"),
    Operation("GET", "events/*", plain.EventRetrieveParams, _retrieve("event")),
    Operation(
        "POST",
        "refunds",
        plain.RefundCreateParams,
        customers.create_refund,
        "charge payment_intent amount reason metadata",
    ),
    Operation(
        "GET",
        "refunds",
        plain.RefundListParams,
        customers.list_refunds,
        f"{_PAGED} charge payment_intent",
    ),
    Operation("GET", "refunds/*", plain.RefundRetrieveParams, customers.retrieve_refund),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What came over the wire; ``path`` is without ``/v1/``."""

    method: str
    path: str
    form: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Answers requests of whoever holds the account's secret key."""

    account: Account
    secret_key: str

    def answer(self, request: Request) -> Reply:
        request_id = new_id("req_", 14)
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        try:
            self._authenticate(request.headers.get("authorization", ""))
            operation, ids = _operation(request)
            form = decode(request.form)
            stored = None if key is None else self._stored(key, request, form)
            if stored is not None:
                replay = {"idempotent-replayed": "true", "original-request": stored.request_id}
                return Reply(stored.status, stored.body, {"request-id": request_id, **replay})
            params = _checked(form, operation)
            call = Call(params=params, ids=ids, request_id=request_id, idempotency_key=key)
            answer = self._carry_out(operation, call, _hash(request, form))
        except StripeProblem as problem:
            body = json.dumps(problem.body(), indent=2)
            return Reply(problem.status, body, {"request-id": request_id})
        return Reply(answer.status, answer.body, {"request-id": request_id})

    def _carry_out(self, operation: Operation, call: Call, request_hash: str) -> Answer:
        store = self.account.store
        try:
            with store.change():
                resource = operation.do(self.account, call)
                body = json.dumps(self.account.expanded(resource, call.params), indent=2)
                answer = Answer(request_hash, call.request_id or "", HTTPStatus.OK, body)
                if call.idempotency_key is not None:
                    store.put_answer(call.idempotency_key, answer, self.account.now())
        except StripeProblem as problem:
            if not problem.is_remembered or call.idempotency_key is None:
                raise
            body = json.dumps(problem.body(), indent=2)
            answer = Answer(request_hash, call.request_id or "", problem.status, body)
            with store.change():
                store.put_answer(call.idempotency_key, answer, self.account.now())
        return answer

    def _stored(self, key: str, request: Request, form: Form) -> Answer | None:
        if not 0 < len(key) <= KEY_LENGTH_MAX:
            raise StripeProblem("Idempotency keys have 1 to 255 characters.")
        since = self.account.now() - REMEMBERED_SECONDS
        stored = self.account.store.answer(key, since=since)
        if stored is not None and stored.request_hash != _hash(request, form):
            raise StripeProblem(
                "Keys for idempotent requests can only be used with the same parameters they were"
                f" first used with. Try using a key other than '{key}' if you meant to execute a"
                " different request.",
                kind="idempotency_error",
            )
        return stored

    def _authenticate(self, header: str) -> None:
        given = _key_in(header)
        if not given:
            raise StripeProblem("You did not provide an API key.", status=HTTPStatus.UNAUTHORIZED)
        if not hmac.compare_digest(given.encode(), self.secret_key.encode()):
            raise StripeProblem(
                f"Invalid API Key provided: {given[:8]}****{given[-4:]}",
                status=HTTPStatus.UNAUTHORIZED,
            )


def _key_in(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _operation(request: Request) -> tuple[Operation, tuple[str, ...]]:
    for operation in OPERATIONS:
        ids = operation.ids(request.method, request.path)
        if ids is not None:
            return operation, ids
    raise StripeProblem(
        f"Unrecognized request URL ({request.method}: /v1/{request.path})."
        " The simulated Stripe has only what gpucloud uses.",
        status=HTTPStatus.NOT_FOUND,
    )


def _checked(form: Form, operation: Operation) -> dict[str, Any]:
    params = checked(form, operation.parameters)
    for name in params:
        if name not in {"expand", *operation.simulated.split()}:
            raise StripeProblem(f"The simulated Stripe does not do {name}.", param=name)
    return params


def _hash(request: Request, form: Form) -> str:
    said = json.dumps([request.method, request.path, form], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()
