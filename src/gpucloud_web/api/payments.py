"""Money in: the provider's pay page, how a payment stands, and the provider's events."""

from datetime import datetime

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, Request, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gpucloud_core.access.model import Actor
from gpucloud_core.billing.model import PaymentSession
from gpucloud_core.billing.payments import (
    CheckoutAsked,
    OpenPortal,
    PaymentView,
    ReadPayment,
    StartCheckout,
)
from gpucloud_core.billing.webhooks import ReceiveWebhook
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_web.keyed import OPT, Once


class CheckoutBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How much to add, in micro-units (whole cents), and where to come back to."""

    amount_micros: int
    currency: str
    success_url: str | None = None
    cancel_url: str | None = None


class CheckoutOpenedBody(msgspec.Struct):
    """Open ``url`` to pay; credit follows when the provider says the money is there."""

    id: str
    url: str | None
    status: str

    @classmethod
    def of(cls, session: PaymentSession) -> "CheckoutOpenedBody":
        return cls(session.id, session.url, session.state)


class PaymentBody(msgspec.Struct, kw_only=True):
    id: str
    status: str
    confirming: bool
    amount_micros: int
    credited_micros: int
    currency: str
    url: str | None
    failure: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, view: PaymentView) -> "PaymentBody":
        session = view.session
        return cls(
            id=session.id,
            status=session.state,
            confirming=view.confirming,
            amount_micros=session.amount_micros,
            credited_micros=session.credited_micros,
            currency=session.currency,
            url=session.url,
            failure=session.failure,
            created_at=session.created_at,
            updated_at=session.updated_at,
        )


class PortalAskedBody(msgspec.Struct, forbid_unknown_fields=True):
    return_url: str | None = None


class PortalBody(msgspec.Struct):
    url: str


class ReceivedBody(msgspec.Struct):
    received: bool


class Payments(Controller):
    path = "/payments"
    tags = ["payments"]

    @post(
        "/checkout-session",
        operation_id="startCheckout",
        status_code=201,
        opt={OPT: Once.INTENT},
    )
    async def start(
        self,
        data: JSONBody[CheckoutBody],
        actor: NamedDependency[Actor],
        idempotency: NamedDependency[IdempotencyKey | None],
        start_checkout: FromDishka[StartCheckout],
    ) -> CheckoutOpenedBody:
        """Get a pay page for an amount."""
        asked = CheckoutAsked(
            amount_micros=data.amount_micros,
            currency=data.currency,
            success_url=data.success_url,
            cancel_url=data.cancel_url,
        )
        session = await start_checkout(actor=actor, asked=asked, idempotency=idempotency)
        return CheckoutOpenedBody.of(session)

    @get("/checkout-session/{payment_id:str}", operation_id="getCheckout")
    async def show(
        self,
        payment_id: FromPath[str],
        actor: NamedDependency[Actor],
        read_payment: FromDishka[ReadPayment],
    ) -> PaymentBody:
        """Read how a payment stands; reading never credits."""
        return PaymentBody.of(await read_payment(actor=actor, payment_id=payment_id))

    @post(
        "/customer-portal-session",
        operation_id="openPortal",
        status_code=201,
        opt={OPT: Once.INTENT},
    )
    async def portal(
        self,
        data: JSONBody[PortalAskedBody],
        actor: NamedDependency[Actor],
        idempotency: NamedDependency[IdempotencyKey | None],
        open_portal: FromDishka[OpenPortal],
    ) -> PortalBody:
        """Get the provider's page for cards and receipts."""
        url = await open_portal(actor=actor, return_url=data.return_url, idempotency=idempotency)
        return PortalBody(url)

    @post(
        "/webhook",
        operation_id="receiveWebhook",
        status_code=200,
        security=[{}],
        opt={OPT: Once.NEVER},
    )
    async def webhook(
        self,
        request: Request[object, object, State],
        receive_webhook: FromDishka[ReceiveWebhook],
    ) -> ReceivedBody:
        """Take an event of the payment provider and keep it; a worker gives it its effect."""
        await receive_webhook(
            body=await request.body(), signature=request.headers.get("stripe-signature", "")
        )
        return ReceivedBody(received=True)
