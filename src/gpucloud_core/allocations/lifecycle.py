"""The life of an allocation, as one literal table, and what the public sees of it."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.machine import Machine, Move, StateRow


class AllocationEvent(StrEnum):
    PROVISION = "provision"  # a worker took the task up
    ACTIVATE = "activate"  # reachable over SSH and the health gate passed
    CANCEL = "cancel"  # the tenant changed their mind before it was active
    FAIL = "fail"  # a step failed for good
    UNWOUND = "unwound"  # whatever was done is undone, and proven so (cause: cancelled)
    UNWOUND_FAILED = "unwound_failed"  # likewise (cause: failed)
    GIVE_UP = "give_up"  # retries are exhausted and nothing is proven
    RESTART = "restart"
    RESTARTED = "restarted"
    DEGRADE = "degrade"  # evidence from our side says it does not work
    RECOVER = "recover"
    FORCE_CLEAN = "force_clean"  # an operator vouches that nothing of it runs any more
    RELEASE = "release"  # the tenant, an operator, a timer or the end of the balance
    CLEAN = "clean"  # wiped, verified, re-validated


class Effect(StrEnum):
    """What the shell carries out in the same transaction."""

    START_METER = "start_meter"
    STOP_METER = "stop_meter"  # end the segment, settle it, void the hold
    PAUSE_METER = "pause_meter"  # end the segment, settle it, keep the hold
    VOID_HOLD = "void_hold"
    SLOTS_IN_USE = "slots_in_use"
    SLOTS_CLEANING = "slots_cleaning"
    FREE_CAPACITY = "free_capacity"
    FENCE_CAPACITY = "fence_capacity"
    QUEUE_RELEASE = "queue_release"
    QUEUE_CLEANUP = "queue_cleanup"


@dataclass(frozen=True, slots=True)
class Facts:
    """What guards look at."""

    cause: str = ""


S, E, X = AllocationState, AllocationEvent, Effect


def _cause_is(cause: str, facts: Facts) -> str | None:
    return None if facts.cause == cause else f"it unwinds because it {facts.cause or 'failed'}"


def _cancelled(facts: Facts) -> str | None:
    return _cause_is("cancelled", facts)


def _failed(facts: Facts) -> str | None:
    return _cause_is("failed", facts)


_Move = Move[AllocationState, Effect, Facts]

LIFECYCLE: Final[Machine[AllocationState, AllocationEvent, Effect, Facts]] = Machine(
    name="allocation",
    initial=S.REQUESTED,
    states={
        S.REQUESTED: StateRow(
            "Its place and its hold are secured; no node was touched.",
            usual=timedelta(seconds=1),
            limit=(timedelta(minutes=10), E.FAIL),
            failed_twin=S.FAILED,
        ),
        S.PROVISIONING: StateRow(
            "The node is working; nothing is charged.",
            usual=timedelta(seconds=20),
            limit=(timedelta(minutes=30), E.FAIL),
            failed_twin=S.FAILED,
        ),
        S.ACTIVE: StateRow(
            "Reachable over SSH, health gate passed; billed by the second.", billed=True
        ),
        S.RESTARTING: StateRow(
            "Same place, keys and disk; billed if the tenant asked for it.",
            billed=True,
            usual=timedelta(seconds=20),
            limit=(timedelta(minutes=15), E.DEGRADE),
            failed_twin=S.DEGRADED,
        ),
        S.DEGRADED: StateRow("Evidence from our side says it does not work; not billed."),
        S.UNWINDING: StateRow(
            "What was done is being undone; nothing is charged.",
            usual=timedelta(seconds=10),
            limit=(timedelta(minutes=60), E.GIVE_UP),
            failed_twin=S.RELEASE_FAILED,
        ),
        S.RELEASING: StateRow(
            "The customer is cut off and the meter has stopped; wiping and proving it.",
            usual=timedelta(seconds=15),
            limit=(timedelta(minutes=60), E.GIVE_UP),
            failed_twin=S.RELEASE_FAILED,
        ),
        S.RELEASED: StateRow("Wiped, proven, and its capacity is available again."),
        S.CANCELLED: StateRow("Cancelled before it was active; nothing was charged."),
        S.FAILED: StateRow("It never became active; nothing was charged."),
        S.RELEASE_FAILED: StateRow(
            "The wipe is not proven; billing has stopped and the capacity stays fenced."
        ),
    },
    moves={
        S.REQUESTED: {
            E.PROVISION: _Move(S.PROVISIONING),
            E.CANCEL: _Move(S.UNWINDING, (X.SLOTS_CLEANING,)),
            E.FAIL: _Move(S.UNWINDING, (X.SLOTS_CLEANING,)),
        },
        S.PROVISIONING: {
            E.ACTIVATE: _Move(S.ACTIVE, (X.SLOTS_IN_USE, X.START_METER)),
            E.CANCEL: _Move(S.UNWINDING, (X.SLOTS_CLEANING,)),
            E.FAIL: _Move(S.UNWINDING, (X.SLOTS_CLEANING,)),
        },
        S.ACTIVE: {
            E.RELEASE: _Move(S.RELEASING, (X.STOP_METER, X.SLOTS_CLEANING, X.QUEUE_RELEASE)),
            E.RESTART: _Move(S.RESTARTING),
            E.DEGRADE: _Move(S.DEGRADED, (X.PAUSE_METER,)),
        },
        S.RESTARTING: {
            E.RESTARTED: _Move(S.ACTIVE),
            E.DEGRADE: _Move(S.DEGRADED, (X.PAUSE_METER,)),
        },
        S.DEGRADED: {
            E.RECOVER: _Move(S.ACTIVE, (X.START_METER,)),
            E.RELEASE: _Move(S.RELEASING, (X.STOP_METER, X.SLOTS_CLEANING, X.QUEUE_RELEASE)),
        },
        S.UNWINDING: {
            E.UNWOUND: _Move(S.CANCELLED, (X.VOID_HOLD, X.FREE_CAPACITY), _cancelled),
            E.UNWOUND_FAILED: _Move(S.FAILED, (X.VOID_HOLD, X.FREE_CAPACITY), _failed),
            E.GIVE_UP: _Move(S.RELEASE_FAILED, (X.VOID_HOLD, X.FENCE_CAPACITY)),
        },
        S.RELEASING: {
            E.CLEAN: _Move(S.RELEASED, (X.FREE_CAPACITY,)),
            E.GIVE_UP: _Move(S.RELEASE_FAILED, (X.FENCE_CAPACITY,)),
        },
        S.RELEASE_FAILED: {
            E.RELEASE: _Move(S.RELEASING, (X.SLOTS_CLEANING, X.QUEUE_RELEASE)),
            E.FORCE_CLEAN: _Move(S.RELEASING, (X.SLOTS_CLEANING, X.QUEUE_CLEANUP)),
        },
        S.RELEASED: {},
        S.CANCELLED: {},
        S.FAILED: {},
    },
)

LIVE: Final = frozenset(
    {S.REQUESTED, S.PROVISIONING, S.ACTIVE, S.RESTARTING, S.DEGRADED, S.UNWINDING, S.RELEASING}
)
"""States that still move or run."""

NEEDS_ATTENTION: Final = frozenset({S.DEGRADED, S.FAILED, S.RELEASE_FAILED})
CANCELLABLE: Final = frozenset({S.REQUESTED, S.PROVISIONING})


class PublicStatus(StrEnum):
    """What filters, lists and badges show."""

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    RESTARTING = "restarting"
    DEGRADED = "degraded"
    CANCELLING = "cancelling"
    FAILING = "failing"
    RELEASING = "releasing"
    RELEASED = "released"
    CANCELLED = "cancelled"
    FAILED = "failed"
    RELEASE_FAILED = "release_failed"


def public_status(
    state: AllocationState, *, cause: str = "", cancel_asked: bool = False
) -> PublicStatus:
    """Return what everyone sees: a placed request is provisioning, an unwinding one says why."""
    if state in CANCELLABLE:
        return PublicStatus.CANCELLING if cancel_asked else PublicStatus.PROVISIONING
    if state is S.UNWINDING:
        return PublicStatus.CANCELLING if cause == "cancelled" else PublicStatus.FAILING
    return PublicStatus(state.value)


STATES_OF: Final = {
    status: tuple(
        state
        for state in AllocationState
        if status in {public_status(state, cause=cause) for cause in ("", "cancelled", "failed")}
    )
    for status in PublicStatus
}
"""The raw states that may read as a public status, for filters."""
