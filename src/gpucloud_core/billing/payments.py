"""Money in: the way to the provider's pay page and back.

The intent is stored before the provider is asked, and our id is the provider's key, so a crash in
between is mended by asking again. Coming back from the page proves nothing: only the provider's
signed event credits, in ``webhooks``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gpucloud_core.access.acting import fact_by, person
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.billing.accounts import lock_account
from gpucloud_core.billing.amounts import CENT_MICROS, PAYMENT_LIMITS, in_words
from gpucloud_core.billing.model import PaymentSession, PaymentState
from gpucloud_core.billing.payment_sessions import PAYMENT_SESSION, Facts, PaymentEvent
from gpucloud_core.billing.ports import (
    BillingUnit,
    Checkout,
    CheckoutRequest,
    PaymentProcessor,
    ProcessorRefused,
    ProcessorUnavailable,
)
from gpucloud_core.kernel.errors import FieldError, NotFound, ValidationFailed
from gpucloud_core.kernel.idempotency import IdempotencyKey, remember, replay
from gpucloud_core.kernel.ids import Ids, PaymentId, parse_id
from gpucloud_core.kernel.machine import Decision
from gpucloud_core.kernel.unit import Scope, Transactions

_URL_LENGTH_MAX: Final = 2048
_MAY_STILL_BE_PAID: Final = frozenset(PaymentState) - {PaymentState.COMPLETED}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutAsked:
    """A request for a pay page, as it came in. Without URLs our own billing pages are used."""

    amount_micros: int
    currency: str
    success_url: str | None = None
    cancel_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentView:
    """A payment session and whether the provider has been paid while we have not credited yet."""

    session: PaymentSession
    confirming: bool = False

    @property
    def status(self) -> str:
        return "confirming" if self.confirming else self.session.state


def is_same_origin(url: str, origin: str) -> bool:
    """Tell whether a browser sent to ``url`` stays at ``origin`` (scheme, host and port)."""
    if len(url) > _URL_LENGTH_MAX or not url.isascii() or not url.isprintable() or "\\" in url:
        return False
    there, here = _split(url), _split(origin)
    if there is None or here is None or there.username is not None or there.password is not None:
        return False
    return _origin(there) == _origin(here) and bool(there.hostname)


def field_errors(asked: CheckoutAsked, *, currency: str, origin: str) -> Sequence[FieldError]:
    """Return everything that is wrong with a request, for a tenant of ``currency``."""
    found = [
        FieldError(f"/{name}", "not_same_origin", f"This has to be a page under {origin}.")
        for name, url in (("success_url", asked.success_url), ("cancel_url", asked.cancel_url))
        if url is not None and not is_same_origin(url, origin)
    ]
    limits = PAYMENT_LIMITS.get(currency)
    if asked.currency != currency or limits is None:
        found.append(
            FieldError("/currency", "currency_mismatch", f"This account is kept in {currency}.")
        )
        return found
    least, most = limits
    if not least <= asked.amount_micros <= most:
        span = f"from {in_words(least, currency)} to {in_words(most, currency)}"
        found.append(FieldError("/amount_micros", "invalid_amount", f"Choose an amount {span}."))
    elif asked.amount_micros % CENT_MICROS:
        found.append(FieldError("/amount_micros", "invalid_amount", "Choose whole cents."))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCheckout:
    """Note what is to be paid and get a pay page for it, once per key."""

    transactions: Transactions[BillingUnit]
    processor: PaymentProcessor
    ids: Ids
    public_origin: str

    async def __call__(
        self, *, actor: Actor, asked: CheckoutAsked, idempotency: IdempotencyKey | None = None
    ) -> PaymentSession:
        """Return the session with the address of its pay page.

        Raises:
            ValidationFailed: amount, currency or a URL will not do.
            ProcessorUnavailable: unknown; the same key finds out.
            ProcessorRefused: the provider will not take it.
        """
        require(actor, Action.BILLING_PAY, tenant_id=actor.tenant_id)
        session = await self._intend(actor, asked, idempotency)
        if session.provider_id is not None:
            return session
        checkout = await self.processor.open_checkout(
            CheckoutRequest(
                key=session.id,
                tenant_id=session.tenant_id,
                amount_micros=session.amount_micros,
                currency=session.currency,
                success_url=session.success_url,
                cancel_url=session.cancel_url,
            )
        )
        return await self._opened(actor, session.id, checkout)

    async def _intend(
        self, actor: Actor, asked: CheckoutAsked, key: IdempotencyKey | None
    ) -> PaymentSession:
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            stored = await replay(unit, key)
            if isinstance(stored, str) and (known := await unit.payments.get(stored)):
                return known
            account = await lock_account(unit, actor.tenant_id)
            faults = field_errors(asked, currency=account.currency, origin=self.public_origin)
            if faults:
                raise ValidationFailed("The payment needs another look.", fields=faults)
            now = await unit.now()
            payment_id = PaymentId(self.ids.new("pay"))
            billing = f"{self.public_origin}/billing"
            session = PaymentSession(
                id=payment_id,
                tenant_id=actor.tenant_id,
                user_id=person(actor),
                state=PaymentState.CREATED,
                amount_micros=asked.amount_micros,
                currency=asked.currency,
                success_url=asked.success_url or f"{billing}/return?payment={payment_id}",
                cancel_url=asked.cancel_url or f"{billing}?payment={payment_id}",
                created_at=now,
                updated_at=now,
            )
            await unit.payments.add(session)
            await remember(unit, key, payment_id)
            await unit.audit(
                fact_by(
                    actor,
                    action="payment.start",
                    target=payment_id,
                    changes={"amount_micros": [None, asked.amount_micros]},
                )
            )
        return session

    async def _opened(
        self, actor: Actor, payment_id: PaymentId, checkout: Checkout
    ) -> PaymentSession:
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            session = await unit.payments.lock(payment_id)
            if session is None:
                raise NotFound("There is no payment session with this id.")
            decision = PAYMENT_SESSION.decide(session.state, PaymentEvent.OPEN, Facts())
            opened = replace(
                session,
                state=decision.state if isinstance(decision, Decision) else session.state,
                provider_id=session.provider_id or checkout.provider_id,
                url=checkout.url or session.url,
                updated_at=await unit.now(not_before=session.updated_at),
            )
            await unit.payments.put(opened)
        return opened


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPayment:
    """Say how a payment stands. Never credits, whatever the provider answers."""

    transactions: Transactions[BillingUnit]
    processor: PaymentProcessor

    async def __call__(self, *, actor: Actor, payment_id: str) -> PaymentView:
        """Return the session; ``confirming`` if the provider is paid and its event is not here.

        Raises:
            NotFound: the tenant has no such payment.
        """
        require(actor, Action.BILLING_READ, tenant_id=actor.tenant_id)
        key = parse_id("pay", payment_id)
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            session = await unit.payments.get(key)
        if session is None or session.tenant_id != actor.tenant_id:
            raise NotFound("There is no payment session with this id.")
        if session.state not in _MAY_STILL_BE_PAID or session.provider_id is None:
            return PaymentView(session=session)
        try:
            checkout = await self.processor.read_checkout(session.provider_id)
        except (ProcessorUnavailable, ProcessorRefused):
            return PaymentView(session=session)
        return PaymentView(session=session, confirming=checkout.paid)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPortal:
    """Get the provider's own page for cards and receipts, once per key."""

    transactions: Transactions[BillingUnit]
    processor: PaymentProcessor
    ids: Ids
    public_origin: str

    async def __call__(
        self,
        *,
        actor: Actor,
        return_url: str | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> str:
        """Return the page's address.

        Raises:
            ValidationFailed: the way back does not lead to us.
            ProcessorUnavailable: ask again.
        """
        require(actor, Action.BILLING_PAY, tenant_id=actor.tenant_id)
        back = return_url or f"{self.public_origin}/billing"
        if not is_same_origin(back, self.public_origin):
            detail = f"This has to be a page under {self.public_origin}."
            fields = [FieldError("/return_url", "not_same_origin", detail)]
            raise ValidationFailed("The address needs another look.", fields=fields)
        key = await self._intend(actor, idempotency)
        return await self.processor.open_portal(key=key, tenant_id=actor.tenant_id, return_url=back)

    async def _intend(self, actor: Actor, key: IdempotencyKey | None) -> str:
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            if isinstance(known := await replay(unit, key), str):
                return known
            visit_id = self.ids.new("vis")
            await remember(unit, key, visit_id)
            await unit.audit(fact_by(actor, action="payment.open_portal", target=actor.tenant_id))
        return visit_id


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # read here: a port that is no number raises
    except ValueError:
        return None
    return parts if parts.scheme in {"http", "https"} else None


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    standard = 443 if parts.scheme == "https" else 80
    return parts.scheme, parts.hostname, parts.port or standard
