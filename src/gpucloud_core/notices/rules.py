"""Which event tells whom what: pure functions from an event, and the row it is about, to drafts.

A customer reads what happened, what it means for their money, and what to do. An operator gets a
row to work on. Events that are in no table tell nobody anything.
"""

from collections.abc import Mapping
from typing import Final

from gpucloud_core.kernel.ids import UserId
from gpucloud_core.kernel.unit import Event
from gpucloud_core.notices.machine_rules import MACHINE_RULES
from gpucloud_core.notices.model import NoticeLevel, Severity
from gpucloud_core.notices.money_rules import MONEY_RULES
from gpucloud_core.notices.told import NOTHING, Clear, Draft, Known, Rule, Told, for_operators


def told_by(event: Event, known: Known) -> Told:
    """Return what ``event`` tells people. Pure, so that telling it twice says the same."""
    rule = RULES.get(event.kind)
    if rule is not None:
        return rule(event, known)
    if event.kind.startswith(DRIFT):
        return _drift(event, known)
    return NOTHING


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
    return for_operators(event, Severity.WARNING, f"Rows and reality disagree: {what}")


def _distrusted(event: Event, _: Known) -> Told:
    return for_operators(
        event, Severity.CRITICAL, "A node shows another host key than the one we pinned"
    )


def _trusted(event: Event, _: Known) -> Told:
    return Told(clears=(Clear(kind="node.distrusted", subject=event.subject),))


def _chain_lost(event: Event, _: Known) -> Told:
    return for_operators(
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


def _email_changed(event: Event, _: Known) -> Told:
    draft = Draft(
        kind=event.kind,
        level=NoticeLevel.INFO,
        title="Your mail address is confirmed",
        text="Notices are sent there too from now on.",
        link="/account",
        user_id=UserId(event.subject),
    )
    return Told(notices=(draft,))


RULES: Final[Mapping[str, Rule]] = {
    **MONEY_RULES,
    **MACHINE_RULES,
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
    "user.email_changed": _email_changed,
}
"""By kind of event; besides these, every ``drift.…`` is for operators."""
