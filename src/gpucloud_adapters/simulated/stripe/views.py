"""What the hosted pages show: rows of plain text, made from resources."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Self

from gpucloud_adapters.simulated.stripe.cards import BANK_ACCOUNTS, CARDS
from gpucloud_adapters.simulated.stripe.store import Resource

MERCHANT: Final = "gpucloud"
_WHOLE_UNITS: Final = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf"}
)


@dataclass(frozen=True, slots=True)
class TestNumber:
    """A number to try, and what it shows."""

    __test__ = False  # not a test, whatever its name says to the test runner

    number: str
    shows: str


TEST_CARDS: Final = tuple(TestNumber(card.number, card.shows) for card in CARDS)
TEST_ACCOUNTS: Final = tuple(TestNumber(account.number, account.shows) for account in BANK_ACCOUNTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PayView:
    """The pay page: what is bought, what was typed, and what was wrong with it."""

    action: str
    amount: str
    item: str
    cancel_url: str | None
    method: str = "card"
    values: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    refusal: str = ""
    merchant: str = MERCHANT
    test_cards: tuple[TestNumber, ...] = TEST_CARDS
    test_accounts: tuple[TestNumber, ...] = TEST_ACCOUNTS

    @property
    def has_problems(self) -> bool:
        return bool(self.faults or self.refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveView:
    """The bank's page: a payment that its customer must approve."""

    action: str
    amount: str
    merchant: str = MERCHANT


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedView:
    """A session that can no longer be paid."""

    title: str
    words: str
    link: str | None
    link_text: str = f"Return to {MERCHANT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRow:
    """One payment in the portal."""

    date: str
    amount: str
    method: str
    status: str
    tone: str
    receipt: str | None

    @classmethod
    def of(cls, charge: Resource) -> Self:
        details = charge["payment_method_details"]
        means = details[details["type"]]
        status, tone = "Failed", "bad"
        if charge["paid"]:
            status, tone = ("Refunded", "idle") if charge["refunded"] else ("Paid", "ok")
        return cls(
            date=day(charge["created"]),
            amount=money(charge["amount"], charge["currency"]),
            method=f"{means.get('brand', 'bank account').title()} •••• {means['last4']}",
            status=status,
            tone=tone,
            receipt=charge["receipt_url"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalView:
    """A customer's payments."""

    customer: str
    payments: tuple[PaymentRow, ...]
    return_url: str | None
    merchant: str = MERCHANT


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptView:
    """One payment, to keep."""

    number: str
    amount: str
    refunded: str | None
    date: str
    method: str
    item: str
    merchant: str = MERCHANT


def money(units: int, currency: str) -> str:
    """Return an amount in the currency's smallest unit as people write it."""
    code = currency.upper()
    figures = f"{units:,}" if currency in _WHOLE_UNITS else f"{units // 100:,}.{units % 100:02}"
    return f"${figures}" if code == "USD" else f"{code} {figures}"


def day(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M UTC")
