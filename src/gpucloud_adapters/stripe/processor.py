"""Takes money with Stripe Checkout.

Each object we make carries our ids, and each call that makes one an idempotency key of ours, so a
call whose answer was lost is simply made again. A tenant is one Stripe customer, found by our id
in its metadata: that is where the portal shows their cards and receipts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import stripe
import structlog

from gpucloud_adapters.stripe.amounts import to_stripe
from gpucloud_adapters.stripe.http import HttpClient
from gpucloud_adapters.stripe.readings import checkout_of, stored_event, verified_event
from gpucloud_core.billing.ports import (
    Checkout,
    CheckoutRequest,
    ProcessorRefused,
    ProcessorUnavailable,
    ProviderEvent,
)
from gpucloud_core.kernel.ids import TenantId

_TIMEOUT_SECONDS: Final = 20
_RETRIES: Final = 1
_SERVER_ERRORS: Final = 500
_CONFLICT: Final = 409

log = structlog.get_logger()


class StripeProcessor:
    """Satisfies ``PaymentProcessor`` with the account of ``secret_key``."""

    def __init__(
        self, *, secret_key: str, webhook_secret: str, api_base: str | None = None
    ) -> None:
        """Make the client; nothing is sent yet.

        Args:
            secret_key: of the Stripe account.
            webhook_secret: with which Stripe signs what it sends to our endpoint.
            api_base: address of a Stripe-shaped server; None is Stripe itself.
        """
        self._webhook_secret = webhook_secret
        self._http = HttpClient(timeout=_TIMEOUT_SECONDS)
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_base} if api_base else {},
            http_client=self._http,
            max_network_retries=_RETRIES,
        )

    async def open_checkout(self, request: CheckoutRequest) -> Checkout:
        """Make a pay page, once per ``request.key``; again with the same key returns the first."""
        ours = {"payment_id": request.key, "tenant_id": request.tenant_id}
        intent: stripe.params.checkout.SessionCreateParamsPaymentIntentData = {"metadata": ours}
        if request.customer_email:
            intent["receipt_email"] = request.customer_email
        amount = to_stripe(request.amount_micros, request.currency)
        with _in_our_words():
            customer = await self._customer(request.tenant_id)
            session = await self._client.v1.checkout.sessions.create_async(
                {
                    "mode": "payment",
                    "client_reference_id": request.key,
                    "customer": customer,
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": request.currency.lower(),
                                "unit_amount": amount,
                                "product_data": {"name": "Account credit"},
                            },
                        }
                    ],
                    "success_url": request.success_url,
                    "cancel_url": request.cancel_url,
                    "metadata": ours,
                    "payment_intent_data": intent,
                },
                {"idempotency_key": request.key},
            )
        return checkout_of(session.to_dict())

    async def read_checkout(self, provider_id: str) -> Checkout:
        """Return the session as Stripe has it now."""
        with _in_our_words():
            session = await self._client.v1.checkout.sessions.retrieve_async(provider_id)
        return checkout_of(session.to_dict())

    async def open_portal(self, *, key: str, tenant_id: TenantId, return_url: str) -> str:
        """Return the address of Stripe's page for cards and receipts."""
        with _in_our_words():
            customer = await self._customer(tenant_id)
            portal = await self._client.v1.billing_portal.sessions.create_async(
                {"customer": customer, "return_url": return_url}, {"idempotency_key": key}
            )
        return portal.url

    def verify_event(self, body: bytes, signature: str) -> ProviderEvent:
        """Return the event that ``body`` is, if it is signed and fresh."""
        return verified_event(body, signature, self._webhook_secret)

    def parse_event(self, body: str) -> ProviderEvent:
        """Return a stored, already verified event."""
        return stored_event(body)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # Stripe left it untyped

    async def _customer(self, tenant_id: TenantId) -> str:
        """Return the tenant's customer, made on first use.

        A search lags behind by up to a minute; until then the idempotency key finds the customer.
        """
        query = f"metadata['tenant_id']:'{tenant_id}'"
        found = await self._client.v1.customers.search_async({"query": query})
        if found.data:
            return min(found.data, key=lambda customer: (customer.created, customer.id)).id
        made = await self._client.v1.customers.create_async(
            {"metadata": {"tenant_id": tenant_id}}, {"idempotency_key": f"customer-{tenant_id}"}
        )
        return made.id


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Turn Stripe's errors into the port's: refused, or unknown and worth asking again."""
    try:
        yield
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise ProcessorUnavailable from error
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        log.exception("stripe.not_permitted", request_id=error.request_id)
        raise ProcessorUnavailable("Payments are not set up correctly on our side.") from error
    except stripe.StripeError as error:
        status = error.http_status or _SERVER_ERRORS
        if status >= _SERVER_ERRORS or status == _CONFLICT:
            raise ProcessorUnavailable from error
        reason = error.user_message or "No reason was given."
        raise ProcessorRefused(f"The payment provider said: {reason}") from error
