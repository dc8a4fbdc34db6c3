"""Which event tells whom what: pure functions from an event, and the row it is about, to drafts.

A customer reads what happened, what it means for their money, and what to do. An operator gets a
row to work on. Events that are in no table tell nobody anything.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from gpucloud_core.access.model import Session
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.reasons import REASONS
from gpucloud_core.billing.aftermath import DISPUTE_LOST
from gpucloud_core.billing.amounts import in_words
from gpucloud_core.kernel.ids import UserId
from gpucloud_core.kernel.unit import Event, Json
from gpucloud_core.notices.model import NoticeLevel, Severity

_BILLING: Final = "/billing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A notice before it has readers; without ``user_id`` it is for each owner of the tenant.

    ``once`` names what it is about where several events may say the same; empty: each event does.
    """

    kind: str
    level: NoticeLevel
    title: str
    text: str
    link: str = ""
    user_id: UserId | None = None
    once: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """Something for an operator."""

    kind: str
    subject: str
    severity: Severity
    title: str
    facts: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """Something that is so no more."""

    kind: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """All that follows from one event."""

    notices: tuple[Draft, ...] = ()
    raises: tuple[Raise, ...] = ()
    clears: tuple[Clear, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The row an event is about, as it is now; None if it is of another kind, or gone."""

    allocation: Allocation | None = None
    session: Session | None = None


Rule: TypeAlias = Callable[[Event, Known], Told]
NOTHING: Final = Told()


def told_by(event: Event, known: Known) -> Told:
    """Return what ``event`` tells people. Pure, so that telling it twice says the same."""
    rule = RULES.get(event.kind)
    if rule is not None:
        return rule(event, known)
    if event.kind.startswith(DRIFT):
        return _drift(event, known)
    return NOTHING


# ---- money ---------------------------------------------------------------------------------

_RUNWAY: Final = {
    "low": "Your balance is getting low",
    "4h": "Your balance lasts less than four hours",
    "1h": "Your balance lasts less than an hour",
    "15m": "Your balance lasts less than 15 minutes",
    "0": "Your balance is used up",
}


def _runway(event: Event, _: Known) -> Told:
    level = str(event.payload.get("level"))
    rate = _amount(event.payload.get("burn_rate_micros_per_hour"), event)
    left = _amount(event.payload.get("available_micros"), event)
    return _to_owners(
        event,
        NoticeLevel.BAD if level in {"15m", "0"} else NoticeLevel.WARNING,
        _RUNWAY.get(level, _RUNWAY["low"]),
        f"{left} is left, and what runs costs {rate} an hour. Add money, or release what you do "
        "not need: whatever is not paid for is released when the balance ends.",
    )


def _depleted(event: Event, _: Known) -> Told:
    return _to_owners(
        event,
        NoticeLevel.BAD,
        "Your balance has ended",
        "What ran on it is being released, as chosen at launch. Nothing starts again by itself "
        "after you add money.",
        once=_what_ended(event),
    )


def _what_ended(event: Event) -> str:
    """Name what is released and when it ended: announced again, as a reminder, it is the same."""
    ended = json.dumps(event.payload.get("allocations"), sort_keys=True)
    return hashlib.sha256(ended.encode()).hexdigest()[:32]


def _standing(event: Event, _: Known) -> Told:
    if event.payload.get("to") != "suspended":
        return NOTHING
    return _to_owners(
        event,
        NoticeLevel.BAD,
        "Your account is suspended",
        "A payment is disputed. Nothing new can be started until that is settled.",
    )


def _paid(event: Event, _: Known) -> Told:
    paid = _amount(event.payload.get("amount_micros"), event)
    text = f"{paid} was added to your balance."
    return _to_owners(event, NoticeLevel.GOOD, "Payment received", text)


def _unmatched(event: Event, _: Known) -> Told:
    return _for_operators(
        event, Severity.CRITICAL, "A payment at the provider belongs to no payment of ours"
    )


def _refunded(event: Event, _: Known) -> Told:
    return _for_operators(
        event, Severity.WARNING, "A payment was refunded at the provider; the ledger is as before"
    )


def _disputed(event: Event, _: Known) -> Told:
    title = "A payment is disputed at the provider; answer there"
    if event.payload.get("status") == DISPUTE_LOST:
        title = "A dispute was lost, and the money is gone; the ledger is as before"
    return _for_operators(event, Severity.CRITICAL, title)


def _dispute_won(event: Event, _: Known) -> Told:
    return Told(clears=(Clear(kind="payment.disputed", subject=event.subject),))


def _unreconciled(event: Event, _: Known) -> Told:
    return _for_operators(event, Severity.WARNING, "A payment could not be matched with its effect")


# ---- machines ------------------------------------------------------------------------------

RELEASE_FAILED: Final = "allocation.release_failed"
DEGRADED: Final = "allocation.degraded"
FAILING_NODE: Final = "node.failing"
_OF_THE_NODE: Final = {
    "node_unreachable": Severity.WARNING,
    "node_refused": Severity.WARNING,
    "health_gate_failed": Severity.WARNING,
    "host_key_changed": Severity.CRITICAL,
}


def _active(event: Event, known: Known) -> Told:
    allocation = known.allocation
    cleared = (Clear(kind=DEGRADED, subject=event.subject),)
    if allocation is None or allocation.active_at != allocation.state_since:
        return Told(clears=cleared)  # it was active before
    title = f"{allocation.name} is ready"
    text = "You can log in, and it is billed from now on."
    return Told(notices=(_to_launcher(allocation, event, NoticeLevel.GOOD, title, text),))


def _failed(event: Event, known: Known) -> Told:
    allocation = known.allocation
    if allocation is None:
        return NOTHING
    code = allocation.failure_reason or "launch_failed"
    title = f"{allocation.name} could not be started"
    draft = _to_launcher(allocation, event, NoticeLevel.BAD, title, _explained(code))
    if code not in _OF_THE_NODE:
        return Told(notices=(draft,))
    raised = Raise(
        kind=FAILING_NODE,
        subject=allocation.node_id,
        severity=_OF_THE_NODE[code],
        title="A launch failed on this node",
        facts={"reason": code, "allocation_id": allocation.id},
    )
    return Told(notices=(draft,), raises=(raised,))


def _release_failed(event: Event, known: Known) -> Told:
    allocation = known.allocation
    if allocation is None:
        return NOTHING
    code = allocation.release_failed_reason or "release_failed"
    title = f"{allocation.name} could not be released cleanly"
    draft = _to_launcher(allocation, event, NoticeLevel.WARNING, title, _explained(code))
    return Told(notices=(draft,), raises=(release_failed(allocation),))


def release_failed(allocation: Allocation) -> Raise:
    return Raise(
        kind=RELEASE_FAILED,
        subject=allocation.id,
        severity=Severity.CRITICAL,
        title="A release failed; its capacity stays fenced",
        facts={
            "reason": allocation.release_failed_reason,
            "node_id": allocation.node_id,
            "claim_id": allocation.claim_id,
            "tenant_id": allocation.tenant_id,
        },
    )


def _degraded(event: Event, known: Known) -> Told:
    allocation = known.allocation
    if allocation is None:
        return NOTHING
    title = f"{allocation.name} does not work"
    text = "Something on our side broke. It is not billed from that moment on; we look at it."
    draft = _to_launcher(allocation, event, NoticeLevel.BAD, title, text)
    return Told(notices=(draft,), raises=(degraded(allocation),))


def degraded(allocation: Allocation) -> Raise:
    return Raise(
        kind=DEGRADED,
        subject=allocation.id,
        severity=Severity.CRITICAL,
        title="A tenant's machine does not work, by our own evidence",
        facts={"node_id": allocation.node_id, "tenant_id": allocation.tenant_id},
    )


def _over(event: Event, _: Known) -> Told:
    kinds = (RELEASE_FAILED, DEGRADED)
    return Told(clears=tuple(Clear(kind=kind, subject=event.subject) for kind in kinds))


# ---- the waitlist ----------------------------------------------------------------------------


def _waited(level: NoticeLevel, title: str, text: str) -> Rule:
    """Return the rule that tells the person who waits; ``{what}`` and ``{reason}`` are filled."""

    def rule(event: Event, _: Known) -> Told:
        size, sku = event.payload.get("gpu_count"), event.payload.get("sku_id")
        words = {"what": f"{size} × {sku}", "reason": str(event.payload.get("reason") or "")}
        task = event.payload.get("task_id")
        launch = f"/launch?sku={sku}&gpu_count={size}"
        offered = event.kind == "waitlist.offered"
        draft = Draft(
            kind=event.kind,
            level=level,
            title=title.format(**words),
            text=" ".join(text.format(**words).split()),
            link=f"/tasks/{task}" if task else (launch if offered else "/infra/waitlist"),
            user_id=UserId(str(event.payload.get("user_id"))),
        )
        return Told(notices=(draft,))

    return rule


# ---- the platform --------------------------------------------------------------------------

DRIFT: Final = "drift."


def _drift(event: Event, _: Known) -> Told:
    what = event.kind.removeprefix(DRIFT).replace("_", " ")
    return _for_operators(event, Severity.WARNING, f"Rows and reality disagree: {what}")


def _distrusted(event: Event, _: Known) -> Told:
    return _for_operators(
        event, Severity.CRITICAL, "A node shows another host key than the one we pinned"
    )


def _trusted(event: Event, _: Known) -> Told:
    return Told(clears=(Clear(kind="node.distrusted", subject=event.subject),))


def _chain_lost(event: Event, _: Known) -> Told:
    return _for_operators(
        event, Severity.CRITICAL, "The audit chain is behind, or other than, its last anchor"
    )


def _token_reused(event: Event, known: Known) -> Told:
    session = known.session
    if session is None or event.tenant_id is None:
        return NOTHING
    draft = Draft(
        kind=event.kind,
        level=NoticeLevel.WARNING,
        title="A session was ended for safety",
        text="Its refresh token was used twice, as it is when somebody has copied it. If that "
        "was not a program of yours, change your password.",
        link="/account",
        user_id=session.user_id,
    )
    return Told(notices=(draft,))


def _password_changed(event: Event, _: Known) -> Told:
    draft = Draft(
        kind=event.kind,
        level=NoticeLevel.WARNING,
        title="Your password was changed",
        text="Every other session was signed out. If that was not you, tell support at once.",
        link="/account",
        user_id=UserId(event.subject),
    )
    return Told(notices=(draft,))


RULES: Final[Mapping[str, Rule]] = {
    "billing.notice": _runway,
    "billing.depleted": _depleted,
    "billing.standing_changed": _standing,
    "payment.completed": _paid,
    "payment.unmatched": _unmatched,
    "payment.failed_reconcile": _unreconciled,
    "payment.refunded": _refunded,
    "payment.disputed": _disputed,
    "payment.dispute_won": _dispute_won,
    "allocation.active": _active,
    "allocation.failed": _failed,
    RELEASE_FAILED: _release_failed,
    DEGRADED: _degraded,
    "allocation.released": _over,
    "allocation.cancelled": _over,
    "node.distrusted": _distrusted,
    "node.active": _trusted,
    "waitlist.launched": _waited(
        NoticeLevel.GOOD,
        "{what} is being launched",
        "It was free when your turn came. It is billed from the moment it is active.",
    ),
    "waitlist.offered": _waited(
        NoticeLevel.GOOD,
        "{what} is free now",
        "The room is kept for you for ten minutes; launch it before then. Nothing is billed until "
        "it is active.",
    ),
    "waitlist.blocked": _waited(
        NoticeLevel.WARNING,
        "{what} is free, but could not be launched",
        "{reason} You keep your place, and it is tried again every minute.",
    ),
    "waitlist.expired": _waited(
        NoticeLevel.INFO, "Your wait for {what} has ended", "Join again if you still need it."
    ),
    "waitlist.failed": _waited(
        NoticeLevel.BAD, "{what} could not be launched as you asked", "{reason} Join again."
    ),
    "audit.chain_lost": _chain_lost,
    "session.refresh_reused": _token_reused,
    "user.password_changed": _password_changed,
}
"""By kind of event; besides these, every ``drift.…`` is for operators."""


def _to_owners(event: Event, level: NoticeLevel, title: str, text: str, once: str = "") -> Told:
    draft = Draft(kind=event.kind, level=level, title=title, text=text, link=_BILLING, once=once)
    return Told(notices=(draft,))


def _to_launcher(
    allocation: Allocation, event: Event, level: NoticeLevel, title: str, text: str
) -> Draft:
    return Draft(
        kind=event.kind,
        level=level,
        title=title,
        text=text,
        link=f"/workloads/{allocation.id}",
        user_id=allocation.user_id,
    )


def _for_operators(event: Event, severity: Severity, title: str) -> Told:
    raised = Raise(
        kind=event.kind,
        subject=event.subject,
        severity=severity,
        title=title,
        facts=dict(event.payload),
    )
    return Told(raises=(raised,))


def _explained(code: str) -> str:
    reason = REASONS.get(code)
    return f"{reason.words} {reason.money} {reason.next_action}" if reason else ""


def _amount(micros: Json, event: Event) -> str:
    """Return an amount in its currency, rounded down to hundredths."""
    known = micros if isinstance(micros, int) else 0
    return in_words(known, str(event.payload.get("currency", ""))).strip()
