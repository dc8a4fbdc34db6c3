"""View rows of money: the balance and its parts, adding funds, usage, and a payment's outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from gpucloud_core.billing.model import Balance, PaymentState, Standing
from gpucloud_core.billing.payments import PaymentView
from gpucloud_web import formats
from gpucloud_web.charts import Chart, RangeChoice
from gpucloud_web.components import Choice, Fact, FieldFault, Kpi
from gpucloud_web.status import look_of
from gpucloud_web.tables import ListView

PRESETS: Final = (25, 100, 500, 2_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentNote:
    """What became of a visit to the pay page, above the balance."""

    tone: str
    icon: str
    strong: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingPage:
    """All that ``billing/index.html`` may know."""

    standing: str
    standing_words: str
    available: str
    kpis: tuple[Kpi, ...]
    parts: tuple[Fact, ...]
    low_note: str
    low_tone: str
    low_icon: str
    may_pay: bool
    payers: str
    amount: str
    presets: tuple[Choice, ...]
    currency: str
    symbol: str
    errors: tuple[FieldFault, ...]
    faults: Mapping[str, str]
    idempotency_key: str
    payment: PaymentNote | None
    list: ListView
    burn: Chart
    ranges: tuple[RangeChoice, ...]

    @classmethod
    def of(
        cls,
        *,
        balance: Balance,
        money: ListView,
        burn: Chart,
        ranges: tuple[RangeChoice, ...],
        may_pay: bool,
        idempotency_key: str,
        zone: tzinfo,
        payment: PaymentView | None = None,
        amount: str = "",
        errors: Sequence[FieldFault] = (),
    ) -> "BillingPage":
        look = look_of("standing", balance.standing)
        healthy = balance.standing is Standing.HEALTHY
        return cls(
            standing=balance.standing,
            standing_words=look.words,
            available=formats.amount(balance.available_micros, balance.currency),
            kpis=_kpis(balance, zone),
            parts=balance_parts(balance),
            low_note="" if healthy else _low_note(balance, zone),
            low_tone=look.tone,
            low_icon=look.icon,
            may_pay=may_pay,
            payers="an owner or admin of this tenant",
            amount=amount,
            presets=tuple(Choice(value=str(one), text=f"{one:,}") for one in PRESETS),
            currency=balance.currency,
            symbol=formats.amount(0, balance.currency, places=0).strip("0 ") or balance.currency,
            errors=tuple(errors),
            faults={fault.field: fault.text for fault in errors if fault.field},
            idempotency_key=idempotency_key,
            payment=payment_note(payment) if payment else None,
            list=money,
            burn=burn,
            ranges=ranges,
        )


def _kpis(balance: Balance, zone: tzinfo) -> tuple[Kpi, ...]:
    currency, rate = balance.currency, balance.burn_rate_micros_per_hour
    look = look_of("standing", balance.standing)
    tone = "" if look.tone == "ok" else look.tone
    runway = Kpi(label="Runway", value=formats.UNKNOWN, note="nothing is billed now")
    if rate and balance.depletes_at:
        runway = Kpi(
            label="Runway",
            value=formats.span(balance.as_of, balance.depletes_at),
            note=f"zero on {formats.short_time(balance.depletes_at, balance.as_of, zone)}",
            tone=tone,
            icon=look.icon if tone else "",
        )
    return (
        Kpi(
            label="Available",
            value=formats.amount(balance.available_micros, currency),
            note=look.words,
            tone=tone,
            icon=look.icon,
        ),
        Kpi(
            label="Held as reserve",
            value=formats.amount(balance.held_micros, currency),
            note="returned when a workload ends",
        ),
        Kpi(
            label="Burn rate",
            value=formats.amount(rate, currency),
            unit="/h",
            note=formats.daily(rate, currency) if rate else "nothing is billed now",
        ),
        runway,
    )


def balance_parts(balance: Balance) -> tuple[Fact, ...]:
    """Return how the available amount comes about: posted, less held, less pending."""
    currency = balance.currency
    return (
        Fact(label="Posted to the ledger", value=formats.amount(balance.posted_micros, currency)),
        Fact(label="Held as reserve", value=formats.amount(-balance.held_micros, currency)),
        Fact(
            label="Used, not yet posted",
            value=f"{formats.amount(-balance.pending_micros, currency)} pending",
            weak=True,
        ),
        Fact(label="Available", value=formats.amount(balance.available_micros, currency)),
    )


def _low_note(balance: Balance, zone: tzinfo) -> str:
    at = ""
    if balance.depletes_at:
        at = formats.short_time(balance.depletes_at, balance.as_of, zone)
    return {
        Standing.LOW: f"It reaches zero at {at}. Funds added before keep everything running.",
        Standing.AUTO_RELEASE_PENDING: "The reserve is being spent; workloads end with it.",
        Standing.DEPLETED: "Add funds to launch again. What was released stays released.",
        Standing.SUSPENDED: "A payment is disputed; new work waits for the outcome.",
    }.get(balance.standing, "")


def payment_note(view: PaymentView) -> PaymentNote:
    """Return what became of a payment. Only the provider's event credits, never this page."""
    session = view.session
    money = formats.amount(session.amount_micros, session.currency)
    if view.confirming:
        return PaymentNote(
            tone="busy",
            icon="hourglass",
            strong="Confirming…",
            text=f"The provider has {money}; its confirmation is on the way. "
            "This page shows it as soon as it is here.",
        )
    match session.state:
        case PaymentState.COMPLETED:
            credited = formats.amount(session.credited_micros, session.currency)
            return PaymentNote(
                tone="ok",
                icon="circle-check",
                strong="Paid.",
                text=f"{credited} is on your balance.",
            )
        case PaymentState.CREATED | PaymentState.OPEN:
            return PaymentNote(
                tone="busy",
                icon="hourglass",
                strong="Waiting for the payment.",
                text=f"{money} is not paid yet. If you have just paid, this takes a moment.",
            )
        case PaymentState.EXPIRED:
            return PaymentNote(
                tone="idle",
                icon="clock-x",
                strong="The pay page has expired.",
                text="Nothing was charged. Start again below.",
            )
        case PaymentState.CANCELLED:
            return PaymentNote(
                tone="idle",
                icon="ban",
                strong="Cancelled.",
                text="Nothing was charged. Start again below whenever you like.",
            )
        case PaymentState.FAILED_RECONCILE:
            return PaymentNote(
                tone="bad",
                icon="alert-octagon",
                strong="We have to look at this payment.",
                text="Money came in that does not match what was asked. Nothing is lost; "
                "an operator has been told.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnPage:
    """All that ``billing/return.html`` may know. It never credits: it says how things stand."""

    title: str
    note: PaymentNote
    state: str
    facts: tuple[Fact, ...]
    waiting: bool
    retry: bool

    @classmethod
    def of(cls, view: PaymentView, balance: Balance) -> "ReturnPage":
        session = view.session
        waiting = view.confirming or session.state in {PaymentState.CREATED, PaymentState.OPEN}
        titles = {PaymentState.COMPLETED: "Funds added"}
        waiting_title = "Confirming the payment" if view.confirming else "Waiting for the payment"
        return cls(
            title=waiting_title if waiting else titles.get(session.state, "Nothing was added"),
            note=payment_note(view),
            state=session.state,
            facts=(
                Fact(
                    label="Amount",
                    value=formats.amount(session.amount_micros, session.currency),
                ),
                Fact(
                    label="Credited",
                    value=formats.amount(session.credited_micros, session.currency),
                ),
                Fact(
                    label="Available now",
                    value=formats.amount(balance.available_micros, balance.currency),
                ),
                Fact(label="Payment", value=formats.shortened(session.id), copy=session.id),
            ),
            waiting=waiting,
            retry=not waiting and session.state is not PaymentState.COMPLETED,
        )
