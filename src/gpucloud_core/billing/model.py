"""Accounts, transfers, holds, payments. Amounts are whole micro-units of the tenant's currency."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gpucloud_core.kernel.ids import AllocationId, PaymentId, ProjectId, TenantId, UserId


class AccountKind(StrEnum):
    """Accounts of one tenant. The first four are theirs; the rest are counter-accounts of ours."""

    PREPAID = "prepaid"
    HELD = "held"
    PROMOTIONAL = "promotional"
    RECEIVABLE = "receivable"
    REVENUE = "revenue"
    CASH = "cash"
    REFUNDS = "refunds"
    GOODWILL = "goodwill"
    FEES = "fees"
    TAX = "tax"


class Standing(StrEnum):
    HEALTHY = "healthy"
    LOW = "low"
    AUTO_RELEASE_PENDING = "auto_release_pending"
    DEPLETED = "depleted"
    SUSPENDED = "suspended"


class TransferKind(StrEnum):
    PAYMENT = "payment"
    USAGE = "usage"
    HOLD = "hold"
    VOID = "void"
    GOODWILL = "goodwill"
    PROMOTION = "promotion"
    EXPIRY = "expiry"
    REFUND = "refund"
    DISPUTE = "dispute"
    CORRECTION = "correction"


class HoldState(StrEnum):
    OPEN = "open"
    VOIDED = "voided"


class PaymentState(StrEnum):
    CREATED = "created"
    OPEN = "open"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED_RECONCILE = "failed_reconcile"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditLot:
    """Credit we gave: promotional until it expires, goodwill (``expires_at`` None) for good.

    The lots of a tenant sum to its promotional account; they are spent soonest expiring first.
    """

    id: str  # the transfer that granted it
    remaining_micros: int
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingAccount:
    """One per tenant; the row every money transaction of the tenant locks first.

    ``depletes_at`` and ``next_deadline_at`` are computed, never polled: they are written again
    whenever a rate, a payment, a hold or a cap changes. ``credits`` is in spending order.
    """

    tenant_id: TenantId
    currency: str
    standing: Standing = Standing.HEALTHY
    low_balance_hours: int = 24
    reserve_minutes: int = 60
    depletes_at: datetime | None = None
    next_deadline_at: datetime | None = None
    notices_sent: tuple[str, ...] = ()
    credits: tuple[CreditLot, ...] = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Entries that sum to zero, posted once per ``idempotency_key``, never changed.

    ``entries`` maps an account to the change of its balance. Signs: what is the tenant's is
    positive in prepaid, held and promotional; a payment of 5 is ``{prepaid: +5, cash: -5}``.
    """

    id: str
    tenant_id: TenantId
    kind: TransferKind
    idempotency_key: str
    entries: Mapping[AccountKind, int]
    at: datetime
    memo: str = ""
    project_id: ProjectId | None = None
    allocation_id: AllocationId | None = None
    corrects: str | None = None  # the id of the transfer this one corrects


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Money set aside while an allocation lives; it never pays normal usage.

    ``from_credits`` sums to ``from_promotional_micros``: what goes back to which lot at the end.
    ``run_on_reserve``: when the balance is gone, this money pays the allocation until it is spent.
    """

    id: str
    tenant_id: TenantId
    allocation_id: AllocationId
    amount_micros: int
    state: HoldState = HoldState.OPEN
    from_prepaid_micros: int
    from_promotional_micros: int = 0
    from_credits: tuple[CreditLot, ...] = ()
    run_on_reserve: bool = False
    created_at: datetime
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSession:
    """One visit to the provider's pay page."""

    id: PaymentId
    tenant_id: TenantId
    user_id: UserId
    state: PaymentState
    amount_micros: int
    currency: str
    provider_id: str | None = None  # unique
    provider_payment_id: str | None = None
    url: str | None = None
    success_url: str = ""
    cancel_url: str = ""
    credited_micros: int = 0
    created_at: datetime
    updated_at: datetime
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """An event of the payment provider, kept before anything is done about it."""

    id: str  # the provider's event id
    kind: str
    object_id: str  # the provider's object it is about
    payload: str  # the verified body, as received
    received_at: datetime
    handled_at: datetime | None = None
    attempts: int = 0
    next_try_at: datetime | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """A tenant's money at one instant; every amount in micro-units."""

    currency: str
    posted_micros: int  # prepaid + promotional + held, as the ledger has it
    held_micros: int
    pending_micros: int  # accrued, not yet settled
    available_micros: int  # posted - held - pending
    burn_rate_micros_per_hour: int
    depletes_at: datetime | None
    standing: Standing
    as_of: datetime
    parts: Mapping[AccountKind, int] = field(default_factory=dict)
