"""How a state is shown: one tone, one icon, one word, one second line, the same everywhere.

The table is the only place where a state gets its looks. Badge, timeline dot, filter, inbox and
favicon read the same row. There are six tones: ``ok`` works and as wanted, ``busy`` moving,
``warn`` look soon, ``bad`` act now, ``hold`` withheld on purpose by us, ``idle`` over or not begun.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One row of the vocabulary.

    Attributes:
        words: what the badge says.
        second: the next fact, in general; a page may know a better one.
        turns: the icon moves by itself. Only busy ones do.
    """

    tone: str
    icon: str
    words: str
    second: str = ""
    turns: bool = False


TONES: Final = ("ok", "busy", "warn", "bad", "hold", "idle")


def _look(tone: str, icon: str, words: str, second: str = "") -> Look:
    return Look(tone=tone, icon=icon, words=words, second=second, turns=icon == "loader-2")


STATUS: Final[Mapping[str, Mapping[str, Look]]] = {
    "allocation": {
        "requested": _look("busy", "hourglass", "Requested", "place and hold secured, not billed"),
        "provisioning": _look("busy", "loader-2", "Provisioning", "not billed"),
        "active": _look("ok", "circle-check", "Active", "billed by the second"),
        "degraded": _look("warn", "heart-broken", "Degraded", "not billed since the evidence"),
        "restarting": _look("busy", "rotate-clockwise", "Restarting", "same place, keys and disk"),
        "unwinding": _look("busy", "arrow-back-up", "Undoing", "not billed"),
        "cancelling": _look("busy", "player-stop", "Cancelling", "stops at the next step boundary"),
        "failing": _look("busy", "arrow-back-up", "Failing", "being undone; nothing charged"),
        "releasing": _look("busy", "eraser", "Releasing", "billing stopped"),
        "released": _look("idle", "square-rounded-check", "Released", "receipt ready"),
        "cancelled": _look("idle", "ban", "Cancelled", "nothing charged"),
        "failed": _look("bad", "circle-x", "Failed", "nothing charged"),
        "release_failed": _look("bad", "lock-exclamation", "Release failed", "billing stopped"),
    },
    "slot": {
        "proposed": _look("idle", "circle-dashed", "Proposed", "waits for approval"),
        "available": _look("ok", "circle", "Free", "sellable now"),
        "claimed": _look("busy", "bookmark", "Reserved", "held for an allocation"),
        "in_use": _look("ok", "circle-dot", "In use"),
        "cleaning": _look("hold", "eraser", "Cleaning", "wipe and verify"),
        "cleanup_blocked": _look("bad", "alert-octagon", "Cleanup blocked", "needs force-cleanup"),
        "disabled": _look("idle", "circle-minus", "Disabled", "by an operator"),
    },
    "node_operator": {
        "enrolling": _look("busy", "loader-2", "Enrolling"),
        "active": _look("ok", "circle-check", "Active"),
        "offline": _look("bad", "cloud-off", "Offline"),
        "quarantined": _look("hold", "shield-lock", "Quarantined"),
        "draining": _look("hold", "hourglass", "Draining"),
        "retired": _look("idle", "archive", "Retired"),
        "deleted": _look("idle", "trash", "Deleted"),
    },
    "node_workflow": {
        "onboarding": _look("busy", "tool", "Onboarding"),
        "decommissioning": _look("hold", "archive", "Decommissioning"),
    },
    "node_observed": {
        "reachable": _look("ok", "plug-connected", "Reachable"),
        "unreachable": _look("bad", "cloud-off", "Unreachable"),
        "stale": _look("warn", "clock", "Stale", "no probe for 5 min"),
    },
    "task": {
        "queued": _look("idle", "clock", "Queued"),
        "running": _look("busy", "loader-2", "Running"),
        "succeeded": _look("ok", "circle-check", "Succeeded"),
        "failed": _look("bad", "circle-x", "Failed"),
        "cancelled": _look("idle", "ban", "Cancelled"),
    },
    "step": {
        "pending": _look("idle", "circle-dashed", "Pending"),
        "active": _look("busy", "loader-2", "Active"),
        "completed": _look("ok", "check", "Completed"),
        "failed": _look("bad", "x", "Failed"),
        "skipped": _look("idle", "player-skip-forward", "Skipped"),
        "cancelled": _look("idle", "ban", "Cancelled"),
        "undone": _look("hold", "arrow-back-up", "Undone"),
    },
    "payment": {
        "created": _look("idle", "receipt", "Created"),
        "open": _look("busy", "hourglass", "Waiting for payment"),
        "completed": _look("ok", "circle-check", "Paid"),
        "expired": _look("idle", "clock-x", "Expired"),
        "cancelled": _look("idle", "ban", "Cancelled"),
        "failed_reconcile": _look("bad", "alert-octagon", "Needs reconciliation"),
    },
    "refund": {
        "requested": _look("busy", "hourglass", "Requested"),
        "approved": _look("busy", "check", "Approved"),
        "provider_pending": _look("busy", "loader-2", "On its way to the card"),
        "completed": _look("ok", "circle-check", "Refunded to card"),
        "failed": _look("bad", "circle-x", "Refund failed"),
        "credited": _look("ok", "wallet", "Credited to account"),
    },
    "standing": {
        "healthy": _look("ok", "wallet", "Healthy"),
        "low": _look("warn", "alert-triangle", "Low balance"),
        "auto_release_pending": _look("bad", "clock-pause", "Release scheduled"),
        "depleted": _look("bad", "alert-octagon", "Depleted", "add funds to launch"),
        "suspended": _look("hold", "shield-lock", "Suspended", "a payment is disputed"),
    },
    "app_instance": {
        "deploying": _look("busy", "loader-2", "Deploying"),
        "running": _look("ok", "circle-check", "Running"),
        "stopping": _look("busy", "player-stop", "Stopping"),
        "stopped": _look("idle", "player-pause", "Stopped"),
        "failed": _look("bad", "circle-x", "Failed"),
    },
    "sku": {
        "on_sale": _look("ok", "tag", "On sale"),
        "unpriced": _look("warn", "alert-triangle", "No price yet", "not sold until it has one"),
        "off_sale": _look("idle", "archive", "Off sale", "what runs goes on"),
    },
    "price": {
        "planned": _look("busy", "clock", "Planned"),
        "now": _look("ok", "circle-check", "In force"),
        "past": _look("idle", "square-rounded-check", "Past"),
    },
    "image": {
        "offered": _look("ok", "disc", "Offered"),
        "withheld": _look("idle", "archive", "Not offered", "what runs goes on"),
    },
    "audit": {
        "sealed": _look("ok", "lock", "Sealed"),
        "unsealed": _look("busy", "hourglass", "Not sealed yet", "takes a moment"),
        "bad": _look("bad", "shield-x", "Not as recorded"),
    },
    "artifact_lifecycle": {
        "published": _look("busy", "package", "Published"),
        "promoted": _look("ok", "rocket", "Promoted"),
        "deprecated": _look("warn", "alert-triangle", "Deprecated"),
        "retired": _look("idle", "archive", "Retired"),
    },
    "artifact_trust": {
        "unverified": _look("idle", "circle-dashed", "Unverified"),
        "verifying": _look("busy", "loader-2", "Verifying"),
        "verified": _look("ok", "shield-check", "Verified"),
        "failed_verification": _look("bad", "shield-x", "Verification failed"),
        "revoked": _look("bad", "ban", "Revoked"),
    },
    "waitlist": {
        "waiting": _look("busy", "hourglass", "Waiting"),
        "offered": _look("warn", "bell-ringing", "Free now", "yours to take for ten minutes"),
        "launched": _look("ok", "check", "Launched"),
        "failed": _look("bad", "circle-x", "Failed"),
        "expired": _look("idle", "clock-x", "Expired"),
        "withdrawn": _look("idle", "ban", "Withdrawn"),
    },
    "invitation": {
        "pending": _look("busy", "hourglass", "Waiting"),
        "accepted": _look("ok", "check", "Accepted"),
        "expired": _look("idle", "clock-x", "Expired"),
        "revoked": _look("idle", "ban", "Revoked"),
    },
    "key": {
        "active": _look("ok", "key", "Active"),
        "applying": _look("busy", "loader-2", "Applying"),
        "applied": _look("ok", "check", "Applied"),
        "rotating": _look("busy", "refresh", "Rotating"),
        "expired": _look("idle", "clock-x", "Expired"),
        "revoked": _look("idle", "ban", "Revoked"),
    },
    "session": {
        "current": _look("ok", "circle-dot", "This browser"),
        "active": _look("idle", "circle", "Signed in"),
    },
    "notice": {
        "info": _look("idle", "info-circle", "For your information"),
        "good": _look("ok", "circle-check", "Good news"),
        "warning": _look("warn", "alert-triangle", "Look soon"),
        "bad": _look("bad", "alert-octagon", "Act now"),
    },
    "severity": {
        "notice": _look("idle", "info-circle", "Notice", "look at it some time"),
        "warning": _look("warn", "alert-triangle", "Warning", "look at it today"),
        "critical": _look("bad", "alert-octagon", "Critical", "look at it now"),
    },
    "capacity": {
        "free": _look("ok", "circle-check", "Available"),
        "sold_out": _look("idle", "ban", "Unavailable", "sold out just now"),
    },
    "check": {
        "ok": _look("ok", "circle-check", "Passed"),
        "notice": _look("warn", "alert-triangle", "Notice"),
        "failed": _look("bad", "circle-x", "To fix"),
    },
    "maturity": {
        "live": _look("ok", "circle-check", "Live"),
        "coming": _look("hold", "tool", "Coming"),
    },
}
"""Kind to state to looks. Rows are added only here."""


def look_of(kind: str, state: str) -> Look:
    """Return the row of a state; a state without one is a fault of ours, and a ``KeyError``."""
    return STATUS[kind][state]
