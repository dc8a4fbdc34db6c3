"""The payment provider's events: stored first, then made to have their effect, once.

One transaction stores the verified event; another posts what it says and marks it handled. An
event that comes twice is the same row; two events about one payment meet in the ledger, whose key
is the provider's own object. So any order and any number of times has one effect, and a crash
anywhere leaves a row that is due.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from gpucloud_core.billing import ledger
from gpucloud_core.billing.accounts import keep_books, lock_account, read_books
from gpucloud_core.billing.aftermath import Parse, take_note
from gpucloud_core.billing.amounts import in_words
from gpucloud_core.billing.model import (
    AccountKind,
    PaymentSession,
    PaymentState,
    WebhookEvent,
)
from gpucloud_core.billing.payment_sessions import PAYMENT_SESSION, Facts, PaymentEvent
from gpucloud_core.billing.ports import BillingUnit, Checkout, PaymentProcessor, ProviderEvent
from gpucloud_core.kernel.errors import AlreadyExists, NotFound
from gpucloud_core.kernel.machine import Decision
from gpucloud_core.kernel.unit import AuditFact, Event, Scope, Transactions

FIRST_TRY_AFTER: Final = timedelta(seconds=10)
"""How soon an event is due by itself, if the message that wakes a worker is lost."""

_RETRY_MAX: Final = timedelta(hours=1)
_RETRY_DOUBLINGS_MAX: Final = 12
_CLOSING: Final = frozenset({"checkout.session.expired", "checkout.session.async_payment_failed"})
_PAYING: Final = frozenset(
    {"checkout.session.completed", "checkout.session.async_payment_succeeded"}
)


@dataclass(frozen=True, slots=True)
class Credit:
    """The provider was paid: post it."""

    amount_micros: int
    tax_micros: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Nothing to post: move the session, if its table allows."""

    event: PaymentEvent
    why: str


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing to do, and why."""

    why: str


Effect: TypeAlias = Credit | Mark | Ignore


def effect_of(kind: str, checkout: Checkout, session: PaymentSession) -> Effect:
    """Decide what an event about ``session`` does. What counts is the provider's own object."""
    if kind not in _PAYING | _CLOSING:
        return Ignore(f"nothing follows from {kind}")
    if checkout.paid and checkout.currency != session.currency:
        return Mark(
            PaymentEvent.MISMATCH,
            f"it was paid in {checkout.currency}, the account is kept in {session.currency}",
        )
    if checkout.paid and (checkout.amount_micros <= 0 or checkout.tax_micros < 0):
        return Mark(PaymentEvent.MISMATCH, "it was paid, but the amount is not one")
    if checkout.paid:
        return Credit(checkout.amount_micros, checkout.tax_micros)
    if kind in _CLOSING:
        refused = kind.endswith("failed")
        why = "The bank did not pay." if refused else "The pay page closed without a payment."
        return Mark(PaymentEvent.EXPIRE, why)
    return Ignore("completed, but not paid yet")


def next_try(attempts: int, now: datetime) -> datetime:
    """Return when an event is tried again after so many attempts: doubling, up to an hour."""
    doublings = min(attempts, _RETRY_DOUBLINGS_MAX)
    return now + min(FIRST_TRY_AFTER * (1 << doublings), _RETRY_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveWebhook:
    """Verify an event and keep it. Fast, and safe to be called any number of times."""

    transactions: Transactions[BillingUnit]
    processor: PaymentProcessor

    async def __call__(self, *, body: bytes, signature: str) -> str:
        """Return the event's id, to be handled by ``HandleWebhook``.

        Raises:
            SignatureInvalid: it is not the provider's, or too old; nothing is kept.
        """
        event = self.processor.verify_event(body, signature)
        try:
            async with self.transactions.begin(Scope.platform()) as unit:
                now = await unit.now()
                await unit.webhook_events.add(
                    WebhookEvent(
                        id=event.id,
                        kind=event.kind,
                        object_id=event.object_id,
                        payload=body.decode(),
                        received_at=now,
                        next_try_at=now + FIRST_TRY_AFTER,
                    )
                )
                await unit.emit(Event(kind="payment.event_received", subject=event.id))
        except AlreadyExists:
            pass  # the provider sends again until it is heard; the first one stands
        return event.id


@dataclass(frozen=True, slots=True, kw_only=True)
class DueWebhooks:
    """Find the events whose effect is overdue, and put their next try off."""

    transactions: Transactions[BillingUnit]

    async def __call__(self, *, limit: int = 100) -> list[str]:
        """Return the ids to handle now. One that fails again comes back later, by itself."""
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            due = await unit.webhook_events.due(now, limit=limit)
            for event in due:
                await unit.webhook_events.put(
                    replace(
                        event,
                        attempts=event.attempts + 1,
                        next_try_at=next_try(event.attempts + 1, now),
                    )
                )
        return [event.id for event in due]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleWebhook:
    """Give a stored event its effect and mark it handled, in one transaction."""

    transactions: Transactions[BillingUnit]
    processor: PaymentProcessor

    async def __call__(self, event_id: str) -> str:
        """Return the outcome in words; handled before, the first one.

        Raises:
            NotFound: no such event was received.
        """
        async with self.transactions.begin(Scope.platform()) as unit:
            stored = await unit.webhook_events.lock(event_id)
            if stored is None:
                raise NotFound("No such event was received.")
            if stored.handled_at is not None:
                return stored.outcome
            parse = self.processor.parse_event
            outcome = await _handle(unit, parse(stored.payload), parse)
            now = await unit.now(not_before=stored.received_at)
            await unit.webhook_events.put(
                replace(stored, handled_at=now, next_try_at=None, outcome=outcome)
            )
        return outcome


async def _handle(unit: BillingUnit, event: ProviderEvent, parse: Parse) -> str:
    checkout = event.checkout
    if event.aftermath is not None:
        return await take_note(unit, event, event.aftermath, parse)
    if checkout is None:
        return f"ignored: nothing follows from {event.kind}"
    session = await _session_of(unit, checkout)
    if session is None:
        await unit.emit(
            Event(
                kind="payment.unmatched",
                subject=checkout.provider_id,
                payload={"event_id": event.id, "paid": checkout.paid},
            )
        )
        return f"unmatched: no payment of ours is {checkout.reference or checkout.provider_id}"
    # Account before payment, as everywhere: the session read above only told whose it is.
    await lock_account(unit, session.tenant_id)
    session = await unit.payments.lock(session.id) or session
    effect = effect_of(event.kind, checkout, session)
    match effect:
        case Credit():
            return await _credit(unit, session, checkout, effect)
        case Mark(moved_by, why):
            return await _mark(unit, session, moved_by, why)
        case Ignore(why):
            return f"ignored: {why}"


async def _session_of(unit: BillingUnit, checkout: Checkout) -> PaymentSession | None:
    """Return our session by the provider's id, or by our id in the provider's object."""
    found = await unit.payments.find(provider_id=checkout.provider_id)
    if found:
        return found[0]
    return await unit.payments.get(checkout.reference) if checkout.reference else None


async def _credit(
    unit: BillingUnit, session: PaymentSession, checkout: Checkout, credit: Credit
) -> str:
    account = await lock_account(unit, session.tenant_id)
    before = await read_books(unit, account)
    now = await unit.now(not_before=session.updated_at)
    paid = ledger.payment(
        tenant_id=session.tenant_id,
        provider_id=checkout.provider_id,
        amount_micros=credit.amount_micros,
        tax_micros=credit.tax_micros,
        owed_micros=-before.balances.get(AccountKind.RECEIVABLE, 0),
        at=now,
    )
    if not await unit.ledger.post(paid):
        return "ignored: this payment is credited already"
    await keep_books(unit, before, before.applied(paid).ready(now, funded=True))
    decision = PAYMENT_SESSION.decide(session.state, PaymentEvent.PAY, Facts())
    await unit.payments.put(
        replace(
            session,
            state=decision.state if isinstance(decision, Decision) else session.state,
            provider_id=session.provider_id or checkout.provider_id,
            provider_payment_id=checkout.payment_id or session.provider_payment_id,
            credited_micros=session.credited_micros + credit.amount_micros,
            updated_at=now,
            failure="",
        )
    )
    await unit.emit(
        Event(
            kind="payment.completed",
            subject=session.id,
            tenant_id=session.tenant_id,
            payload={"amount_micros": credit.amount_micros, "currency": session.currency},
        )
    )
    await unit.audit(
        AuditFact(
            action="payment.credit",
            target=session.id,
            tenant_id=session.tenant_id,
            user_id=session.user_id,
            via="worker",
            changes={
                "state": [session.state, PaymentState.COMPLETED],
                "credited_micros": [session.credited_micros, credit.amount_micros],
            },
        )
    )
    return f"credited: {in_words(credit.amount_micros, session.currency)}"


async def _mark(
    unit: BillingUnit, session: PaymentSession, moved_by: PaymentEvent, why: str
) -> str:
    decision = PAYMENT_SESSION.decide(session.state, moved_by, Facts())
    if not isinstance(decision, Decision):
        return f"ignored: {decision.reason}"
    now = await unit.now(not_before=session.updated_at)
    await unit.payments.put(replace(session, state=decision.state, failure=why, updated_at=now))
    await unit.emit(
        Event(kind=f"payment.{decision.state}", subject=session.id, tenant_id=session.tenant_id)
    )
    return f"{decision.state}: {why}"
