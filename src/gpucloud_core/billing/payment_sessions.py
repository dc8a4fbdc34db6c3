"""The life of a payment session: one literal table.

The provider's page stays payable after the customer turned away from it, so money can still come
in after the session was cancelled, had expired, or could not be reconciled.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gpucloud_core.billing.model import PaymentState
from gpucloud_core.kernel.machine import Machine, Move, StateRow


class PaymentEvent(StrEnum):
    OPEN = "open"  # the provider has a page for it
    PAY = "pay"  # the provider says that it is paid
    EXPIRE = "expire"  # the page closed, or the bank refused, without a payment
    CANCEL = "cancel"  # the customer turned back
    MISMATCH = "mismatch"  # what was paid is not what can be credited


class PaymentEffect(StrEnum):
    CREDIT = "credit"  # post the payment to the ledger, once per object of the provider


@dataclass(frozen=True, slots=True)
class Facts:
    """The table has no guards: what happened is decided by the provider."""


S, E, X = PaymentState, PaymentEvent, PaymentEffect
_PAID: Final[Move[PaymentState, PaymentEffect, Facts]] = Move(S.COMPLETED, (X.CREDIT,))

PAYMENT_SESSION: Final[Machine[PaymentState, PaymentEvent, PaymentEffect, Facts]] = Machine(
    name="payment session",
    initial=S.CREATED,
    states={
        S.CREATED: StateRow("It is noted; the provider was asked, or is about to be."),
        S.OPEN: StateRow("The provider's page is open; nothing is credited yet."),
        S.COMPLETED: StateRow("It is paid, and the ledger has it."),
        S.EXPIRED: StateRow("The page closed without a payment."),
        S.CANCELLED: StateRow("The customer turned back; the page can still be paid."),
        S.FAILED_RECONCILE: StateRow(
            "Money came in that cannot be credited as it is; an operator looks at it."
        ),
    },
    moves={
        S.CREATED: {
            E.OPEN: Move(S.OPEN),
            E.PAY: _PAID,
            E.EXPIRE: Move(S.EXPIRED),
            E.CANCEL: Move(S.CANCELLED),
            E.MISMATCH: Move(S.FAILED_RECONCILE),
        },
        S.OPEN: {
            E.PAY: _PAID,
            E.EXPIRE: Move(S.EXPIRED),
            E.CANCEL: Move(S.CANCELLED),
            E.MISMATCH: Move(S.FAILED_RECONCILE),
        },
        S.EXPIRED: {E.PAY: _PAID, E.MISMATCH: Move(S.FAILED_RECONCILE)},
        S.CANCELLED: {
            E.PAY: _PAID,
            E.EXPIRE: Move(S.EXPIRED),
            E.MISMATCH: Move(S.FAILED_RECONCILE),
        },
        S.FAILED_RECONCILE: {E.PAY: _PAID},
        S.COMPLETED: {},
    },
)
