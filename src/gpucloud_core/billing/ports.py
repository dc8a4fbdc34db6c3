"""Rows of billing, and the payment processor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from gpucloud_core.billing.model import (
    AccountKind,
    BillingAccount,
    Hold,
    PaymentSession,
    Transfer,
    WebhookEvent,
)
from gpucloud_core.kernel.errors import DomainError, ErrorKind
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.rows import ListQuery, Page, Rows
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.metering.ports import MeteringUnit


class ProcessorUnavailable(DomainError):
    """The payment provider does not answer; whether it acted is unknown."""

    code = "payment_provider_unavailable"
    kind = ErrorKind.UNAVAILABLE
    next_step = "Try again with the same Idempotency-Key; nothing is charged twice."


class ProcessorRefused(DomainError):
    """The payment provider refused the request."""

    code = "payment_provider_refused"
    kind = ErrorKind.INVALID
    next_step = "Read the provider's reason; nothing was charged."


class SignatureInvalid(DomainError):
    """This event is not signed by the payment provider, or is too old."""

    code = "webhook_signature_invalid"
    kind = ErrorKind.INVALID
    next_step = "Check the endpoint's signing secret and the clocks."


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutRequest:
    """``key`` is our payment id and the provider's idempotency key. Amounts are micro-units."""

    key: str
    tenant_id: TenantId
    amount_micros: int
    currency: str
    success_url: str
    cancel_url: str
    customer_email: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The provider's side of a payment session, read from its own object."""

    provider_id: str
    url: str | None
    status: str  # open, complete, expired
    paid: bool  # payment_status == "paid"
    amount_micros: int  # what was paid, without tax
    tax_micros: int
    currency: str
    payment_id: str | None  # the payment intent
    reference: str | None  # our payment id


class AftermathKind(StrEnum):
    REFUND = "refund"
    DISPUTE = "dispute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What became of a payment after it was made, as the provider says.

    ``amount_micros`` is what was given back so far, or what the dispute is about.
    """

    kind: AftermathKind
    payment_id: str | None
    amount_micros: int
    currency: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEvent:
    """A verified event, in our words. ``checkout`` is present for checkout events.

    ``aftermath`` is present for those about a refund or a dispute.
    """

    id: str
    kind: str
    object_id: str
    created_at: datetime
    checkout: Checkout | None = None
    aftermath: Aftermath | None = None


class PaymentProcessor(Protocol):
    """Takes money through the provider's own page. tests/contracts/payment_processor.py says it."""

    async def open_checkout(self, request: CheckoutRequest) -> Checkout:
        """Make a pay page, once per ``request.key``; again with the same key returns the first.

        Raises:
            ProcessorUnavailable: unknown; ask again with the same key.
            ProcessorRefused: it will never work as asked.
        """
        ...

    async def read_checkout(self, provider_id: str) -> Checkout:
        """Return the session as the provider has it now."""
        ...

    async def open_portal(self, *, key: str, tenant_id: TenantId, return_url: str) -> str:
        """Return the address of the provider's page for cards and receipts; per ``key``, one."""
        ...

    def verify_event(self, body: bytes, signature: str) -> ProviderEvent:
        """Return the event that ``body`` is.

        Raises:
            SignatureInvalid: forged, altered or too old.
        """
        ...

    def parse_event(self, body: str) -> ProviderEvent:
        """Return a stored, already verified event."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRows:
    """All of a tenant's money that is not history, in the order of the rows' ids."""

    balances: Mapping[AccountKind, int]  # absent accounts are zero
    segments: tuple[UsageSegment, ...]  # not ended
    holds: tuple[Hold, ...]  # open


class Ledger(Protocol):
    """Append-only transfers, and balances kept with them in the same transaction."""

    async def post(self, transfer: Transfer) -> bool:
        """Append ``transfer``; False if its key was posted before (then nothing changes).

        The tenant's billing account is locked by the caller. The database itself refuses entries
        that do not sum to zero and a prepaid, held or promotional balance below zero.
        """
        ...

    async def post_many(self, transfers: Sequence[Transfer]) -> frozenset[str]:
        """Append transfers in this order, in one go; return the ids of those that are new.

        What ``post`` says holds for each of them.
        """
        ...

    async def balances(self, tenant_id: TenantId) -> Mapping[AccountKind, int]:
        """Return every account's balance; absent accounts are zero."""
        ...

    async def open_rows(self, tenant_id: TenantId) -> OpenRows:
        """Return balances, running segments and open holds, read in one go."""
        ...

    async def transfers(self, query: ListQuery) -> Page[Transfer]:
        """Return a page of transfers."""
        ...


class WebhookEvents(Rows[WebhookEvent], Protocol):
    async def due(self, now: datetime, *, limit: int) -> Sequence[WebhookEvent]:
        """Return unhandled events whose next try is due, locked, skipping those held by others."""
        ...


class BillingAccounts(Rows[BillingAccount], Protocol):
    async def due(self, now: datetime, *, limit: int) -> Sequence[TenantId]:
        """Return tenants whose ``next_deadline_at`` has come, oldest first."""
        ...

    async def settle_plain(self, tenant_ids: Sequence[TenantId]) -> Sequence[TenantId]:
        """Settle what has come due of those of the tenants for whom that is plain; return them.

        To the micro-unit what ``billing.settlement`` does, for all of them at one instant and in
        one go. Nobody is waited for: whose account is held by another is left out, and so is
        whoever is not plain (``billing.settlement.is_plain``).
        """
        ...


class BillingUnit(MeteringUnit, Protocol):
    @property
    def billing_accounts(self) -> BillingAccounts: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def holds(self) -> Rows[Hold]: ...
    @property
    def payments(self) -> Rows[PaymentSession]: ...
    @property
    def webhook_events(self) -> WebhookEvents: ...
