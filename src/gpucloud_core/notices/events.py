"""Every event that leaves a transaction: what it says, what it is about, and its facts.

States that are entered are read off the lifecycle tables that decide them; the rest stands here.
The AsyncAPI document is made from this, and a test finds every event that the program emits in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from gpucloud_core.allocations.cleanup import CLEANED, CLEANUP_FAILED
from gpucloud_core.allocations.drift import DriftKind
from gpucloud_core.allocations.lifecycle import LIFECYCLE
from gpucloud_core.billing.payment_sessions import PAYMENT_SESSION
from gpucloud_core.kernel.machine import Machine
from gpucloud_core.nodes.lifecycle import NODE
from gpucloud_core.waitlist.lifecycle import WAITLIST


class Fact(StrEnum):
    """What a fact of an event's payload can be."""

    TEXT = "string"
    NUMBER = "integer"
    FLAG = "boolean"
    INSTANT = "instant"
    THINGS = "object"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class FactField:
    """One fact: its form, and whether it may be null."""

    form: Fact
    nullable: bool = False


TEXT, NUMBER, FLAG = FactField(Fact.TEXT), FactField(Fact.NUMBER), FactField(Fact.FLAG)
MAYBE_TEXT: Final = FactField(Fact.TEXT, nullable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventKind:
    """One kind of event.

    Attributes:
        name: as emitted.
        meaning: what has happened, as a sentence.
        subject: what the subject's id names.
        payload: the facts it can carry; each may be absent.
    """

    name: str
    meaning: str
    subject: str
    payload: Mapping[str, FactField] = field(default_factory=dict)


_ALLOCATION: Final = {"generation": NUMBER, "task_id": TEXT}
_PAID: Final = {"amount_micros": NUMBER, "currency": TEXT}
_AFTERMATH: Final = {
    **_PAID,
    "event_id": TEXT,
    "payment_id": MAYBE_TEXT,
    "session_id": MAYBE_TEXT,
    "status": TEXT,
}
_DRIFT: Final = {
    "node_id": MAYBE_TEXT,
    "claim_id": MAYBE_TEXT,
    "allocation_id": MAYBE_TEXT,
    "tenant_id": MAYBE_TEXT,
    "expected": TEXT,
    "found": TEXT,
    "remedy": TEXT,
    "task_id": MAYBE_TEXT,
}
_CLEANUP: Final = {
    "task_id": TEXT,
    "tenant_id": TEXT,
    "error": TEXT,
    "detail": TEXT,
    "wipe": FactField(Fact.THINGS, nullable=True),
}
_WAITED: Final = {
    "user_id": TEXT,
    "sku_id": TEXT,
    "gpu_count": NUMBER,
    "name": MAYBE_TEXT,
    "task_id": MAYBE_TEXT,
    "reason": MAYBE_TEXT,
    "from": TEXT,
}
_DRIFTS: Final = {
    DriftKind.STRAY_MACHINE: "A machine carries our tag, and what it was made for has ended.",
    DriftKind.UNKNOWN_MACHINE: "A machine carries our tag, and no row knows its claim.",
    DriftKind.WRONG_OWNER: "Tag, claim, node and allocation do not belong together.",
    DriftKind.WRONG_GPUS: "A machine sees other devices than it was given.",
    DriftKind.WRONG_KEYS: "A machine lets others in than its rows say.",
    DriftKind.MISSING_MACHINE: "A machine should run, and does not.",
    DriftKind.STRAY_HOLD: "Money is set aside for what has ended.",
    DriftKind.STRAY_METER: "A meter runs for what is not billed.",
    DriftKind.MISSING_HOLD: "An allocation lives, and no money is set aside for it.",
}

_PLAIN: Final = (
    EventKind(name="tenant.founded", meaning="A tenant was made at a sign-up.", subject="tenant"),
    EventKind(
        name="session.refresh_reused",
        meaning="A spent refresh token was presented, so its session was ended.",
        subject="session",
    ),
    EventKind(
        name="user.password_changed",
        meaning="A person changed their password; their other sessions were ended.",
        subject="user",
    ),
    EventKind(
        name="user.email_changed",
        meaning="A person has another mail address, and has proved that it is theirs.",
        subject="user",
    ),
    EventKind(name="task.queued", meaning="A task can be taken up now.", subject="task"),
    EventKind(
        name="billing.standing_changed",
        meaning="What the tenant's balance allows has changed.",
        subject="tenant",
        payload={"from": TEXT, "to": TEXT},
    ),
    EventKind(
        name="billing.depleted",
        meaning="The balance is used up; these allocations end, each at its instant.",
        subject="tenant",
        payload={"allocations": FactField(Fact.THINGS)},
    ),
    EventKind(
        name="billing.notice",
        meaning="The balance has come close to its end.",
        subject="tenant",
        payload={
            "level": TEXT,
            "depletes_at": FactField(Fact.INSTANT, nullable=True),
            "available_micros": NUMBER,
            "burn_rate_micros_per_hour": NUMBER,
            "currency": TEXT,
        },
    ),
    EventKind(
        name="payment.event_received",
        meaning="The payment provider has sent an event; it has no effect yet.",
        subject="provider's event",
    ),
    EventKind(
        name="payment.unmatched",
        meaning="The payment provider speaks of a payment that is none of ours.",
        subject="provider's object",
        payload={"event_id": TEXT, "paid": FLAG},
    ),
    EventKind(
        name="payment.refunded",
        meaning="A payment was refunded at the payment provider, by hand; the ledger is as before.",
        subject="provider's object",
        payload=_AFTERMATH,
    ),
    EventKind(
        name="payment.disputed",
        meaning="A payment is disputed at the payment provider, or the dispute was lost.",
        subject="provider's dispute",
        payload=_AFTERMATH,
    ),
    EventKind(
        name="payment.dispute_won",
        meaning="A dispute about a payment ended in our favour.",
        subject="provider's dispute",
        payload=_AFTERMATH,
    ),
    EventKind(
        name="node.distrusted",
        meaning="A node answered as none that is ours would; nothing more is sold from it.",
        subject="node",
        payload={"name": TEXT, "host": TEXT, "reason": TEXT},
    ),
    EventKind(
        name="waitlist.blocked",
        meaning="There is room, and something else keeps the launch from being made.",
        subject="waitlist entry",
        payload=_WAITED,
    ),
    EventKind(
        name="audit.chain_lost",
        meaning="The audit chain is shorter than its last anchor.",
        subject="audit chain",
        payload={"anchored": NUMBER, "found": NUMBER},
    ),
    EventKind(
        name=CLEANED,
        meaning="What should not have been there is gone, and proven clean.",
        subject="claim",
        payload=_CLEANUP,
    ),
    EventKind(
        name=CLEANUP_FAILED,
        meaning="What should not be there could not be removed; an operator has to look.",
        subject="claim",
        payload=_CLEANUP,
    ),
    EventKind(
        name="drift.topology",
        meaning="A node in service is not inside what its rows say.",
        subject="node",
        payload={"differences": FactField(Fact.TEXTS)},
    ),
)


def _entered(
    prefix: str, machine: Machine[Any, Any, Any, Any], payload: Mapping[str, FactField]
) -> Iterator[EventKind]:
    for state, row in machine.states.items():
        meaning = f"It entered the state {state}: {row.meaning[:1].lower()}{row.meaning[1:]}"
        yield EventKind(
            name=f"{prefix}.{state}", meaning=meaning, subject=machine.name, payload=payload
        )


def _every_kind() -> Iterator[EventKind]:
    yield from _entered("allocation", LIFECYCLE, _ALLOCATION)
    yield from _entered("payment", PAYMENT_SESSION, _PAID)
    yield from _entered("node", NODE, {})
    yield from _entered("waitlist", WAITLIST, _WAITED)
    for kind, meaning in _DRIFTS.items():
        yield EventKind(
            name=f"drift.{kind}", meaning=meaning, subject="drifted object", payload=_DRIFT
        )
    yield from _PLAIN


EVENTS: Final[Mapping[str, EventKind]] = {kind.name: kind for kind in _every_kind()}
"""Every kind by its name."""
