"""What an event may tell people, and the ways rules have of saying it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from gpucloud_core.access.model import Session
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.reasons import REASONS
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


def to_owners(event: Event, level: NoticeLevel, title: str, text: str, once: str = "") -> Told:
    """Tell the owners, who pay."""
    draft = Draft(kind=event.kind, level=level, title=title, text=text, link=_BILLING, once=once)
    return Told(notices=(draft,))


def to_launcher(
    allocation: Allocation, event: Event, level: NoticeLevel, title: str, text: str
) -> Draft:
    """Return what to tell whoever launched it."""
    return Draft(
        kind=event.kind,
        level=level,
        title=title,
        text=text,
        link=f"/workloads/{allocation.id}",
        user_id=allocation.user_id,
    )


def for_operators(event: Event, severity: Severity, title: str) -> Told:
    """Raise a row to work on."""
    raised = Raise(
        kind=event.kind,
        subject=event.subject,
        severity=severity,
        title=title,
        facts=dict(event.payload),
    )
    return Told(raises=(raised,))


def explained(code: str) -> str:
    """Return a reason in words: what happened, the money, what to do next."""
    reason = REASONS.get(code)
    return f"{reason.words} {reason.money} {reason.next_action}" if reason else ""


def amount(micros: Json, event: Event) -> str:
    """Return an amount in its currency, rounded down to hundredths."""
    known = micros if isinstance(micros, int) else 0
    return in_words(known, str(event.payload.get("currency", ""))).strip()
