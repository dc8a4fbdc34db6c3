"""The life of a slot, and what an operator decided of a node: two literal tables.

Nothing else changes either status. A node's status is the operator's decision only; workflow
(a step of onboarding) and observation (the last probe) are kept apart from it and never merged.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from gpucloud_core.kernel.machine import Machine, Move, StateRow
from gpucloud_core.nodes.model import NodeStatus, SlotState


class SlotEvent(StrEnum):
    APPROVE = "approve"  # an operator accepts what discovery proposed
    CLAIM = "claim"  # an allocation binds it
    START = "start"  # its slice exists on the node
    CLEAN = "clean"  # the holder is cut off; the wipe begins, or is tried again
    FREE = "free"  # proven clean, or never touched
    BLOCK = "block"  # the wipe gave up
    FORCE_CLEANUP = "force_cleanup"  # an operator vouches that nothing is left
    DISABLE = "disable"  # an operator takes it off sale
    ENABLE = "enable"
    REDISCOVER = "rediscover"  # the node changed (mode, hardware); approve it anew


class SlotEffect(StrEnum):
    """What the same transaction does to the node's capacity row."""

    OFFER = "offer"  # set its bit in the free mask
    WITHDRAW = "withdraw"  # clear its bit


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFacts:
    """What the guards of a slot may ask.

    Attributes:
        is_ready: every readiness condition of the slot holds.
        runtime_verified_absent: the node was read and nothing of the claim runs there.
        is_untouched: no step that reaches the node was ever begun for the claim.
    """

    is_ready: bool = True
    runtime_verified_absent: bool = False
    is_untouched: bool = False


def _ready(facts: SlotFacts) -> str | None:
    return None if facts.is_ready else "a readiness condition does not hold"


def _untouched(facts: SlotFacts) -> str | None:
    return None if facts.is_untouched else "the node was touched, so it must be cleaned first"


def _absent(facts: SlotFacts) -> str | None:
    if facts.runtime_verified_absent:
        return None
    return "nobody has verified that nothing of the last holder runs on the node"


_OFFER: Final = (SlotEffect.OFFER,)
_WITHDRAW: Final = (SlotEffect.WITHDRAW,)

SLOT: Final = Machine[SlotState, SlotEvent, SlotEffect, SlotFacts](
    name="slot",
    initial=SlotState.PROPOSED,
    states={
        SlotState.PROPOSED: StateRow("Found by discovery; nobody may claim it before approval."),
        SlotState.AVAILABLE: StateRow("Approved, clean and free to claim."),
        SlotState.CLAIMED: StateRow("Bound to an allocation; its slice is being made."),
        SlotState.IN_USE: StateRow("Part of a slice that exists on the node."),
        SlotState.CLEANING: StateRow(
            "The holder is cut off; it is wiped and checked before anyone else gets it.",
            usual=timedelta(minutes=2),
            limit=(timedelta(minutes=30), SlotEvent.BLOCK),
            failed_twin=SlotState.CLEANUP_BLOCKED,
        ),
        SlotState.CLEANUP_BLOCKED: StateRow(
            "The wipe gave up; it stays fenced until a retry succeeds or an operator vouches."
        ),
        SlotState.DISABLED: StateRow("Taken off sale by an operator while nobody held it."),
    },
    moves={
        SlotState.PROPOSED: {
            SlotEvent.APPROVE: Move(SlotState.AVAILABLE, _OFFER, _ready),
        },
        SlotState.AVAILABLE: {
            SlotEvent.CLAIM: Move(SlotState.CLAIMED, _WITHDRAW),
            SlotEvent.DISABLE: Move(SlotState.DISABLED, _WITHDRAW),
        },
        SlotState.CLAIMED: {
            SlotEvent.START: Move(SlotState.IN_USE),
            SlotEvent.CLEAN: Move(SlotState.CLEANING),
            SlotEvent.FREE: Move(SlotState.AVAILABLE, _OFFER, _untouched),
        },
        SlotState.IN_USE: {
            SlotEvent.CLEAN: Move(SlotState.CLEANING),
        },
        SlotState.CLEANING: {
            SlotEvent.FREE: Move(SlotState.AVAILABLE, _OFFER, _absent),
            SlotEvent.BLOCK: Move(SlotState.CLEANUP_BLOCKED),
        },
        SlotState.CLEANUP_BLOCKED: {
            SlotEvent.CLEAN: Move(SlotState.CLEANING),
            SlotEvent.FORCE_CLEANUP: Move(SlotState.AVAILABLE, _OFFER, _absent),
        },
        SlotState.DISABLED: {
            SlotEvent.ENABLE: Move(SlotState.AVAILABLE, _OFFER, _ready),
            SlotEvent.REDISCOVER: Move(SlotState.PROPOSED),
        },
    },
)
"""The life of a slot."""


class NodeEvent(StrEnum):
    ACTIVATE = "activate"  # enrolled: its slots are approved
    DRAIN = "drain"  # no new claims; those there may stay
    UNDRAIN = "undrain"
    TAKE_OFFLINE = "take_offline"  # planned work on the machine
    BRING_BACK = "bring_back"
    QUARANTINE = "quarantine"  # do not trust it
    CLEAR = "clear"  # trusted again
    RETIRE = "retire"  # out of service for good
    ENROLL_AGAIN = "enroll_again"
    DELETE = "delete"


class NodeEffect(StrEnum):
    """What the same transaction does to the node's capacity row."""

    SELL = "sell"  # make it sellable, if nothing else forbids it
    STOP_SELLING = "stop_selling"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What the guards of a node may ask.

    Attributes:
        approved_slots: slots that an operator accepted.
        held_by: who holds an open claim on it, in words for an operator, one per claim.
    """

    approved_slots: int = 0
    held_by: tuple[str, ...] = ()


_NAMED: Final = 3


def _approved(facts: NodeFacts) -> str | None:
    return None if facts.approved_slots else "none of its slots is approved yet"


def _empty(facts: NodeFacts) -> str | None:
    if not facts.held_by:
        return None
    named = ", ".join(facts.held_by[:_NAMED])
    more = len(facts.held_by) - _NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f"it is held by {named}{rest}; drain it and release those first"


_SELL: Final = (NodeEffect.SELL,)
_STOP: Final = (NodeEffect.STOP_SELLING,)

NODE: Final = Machine[NodeStatus, NodeEvent, NodeEffect, NodeFacts](
    name="node",
    initial=NodeStatus.ENROLLING,
    states={
        NodeStatus.ENROLLING: StateRow("Known to us; its slots are not approved yet."),
        NodeStatus.ACTIVE: StateRow("In service: its free slots are sold."),
        NodeStatus.OFFLINE: StateRow("Taken out for planned work; nothing new is sold."),
        NodeStatus.QUARANTINED: StateRow("Not trusted; nothing new is sold until it is cleared."),
        # No limit: how long the holders stay is theirs to decide, and nothing is sold meanwhile.
        NodeStatus.DRAINING: StateRow("Nothing new is sold; it empties as its holders leave."),
        NodeStatus.RETIRED: StateRow("Empty and out of service."),
        NodeStatus.DELETED: StateRow("Forgotten but for its history."),
    },
    moves={
        NodeStatus.ENROLLING: {
            NodeEvent.ACTIVATE: Move(NodeStatus.ACTIVE, _SELL, _approved),
            NodeEvent.QUARANTINE: Move(NodeStatus.QUARANTINED, _STOP),
            NodeEvent.DELETE: Move(NodeStatus.DELETED, _STOP, _empty),
        },
        NodeStatus.ACTIVE: {
            NodeEvent.DRAIN: Move(NodeStatus.DRAINING, _STOP),
            NodeEvent.TAKE_OFFLINE: Move(NodeStatus.OFFLINE, _STOP),
            NodeEvent.QUARANTINE: Move(NodeStatus.QUARANTINED, _STOP),
        },
        NodeStatus.OFFLINE: {
            NodeEvent.BRING_BACK: Move(NodeStatus.ACTIVE, _SELL, _approved),
            NodeEvent.QUARANTINE: Move(NodeStatus.QUARANTINED, _STOP),
            NodeEvent.RETIRE: Move(NodeStatus.RETIRED, _STOP, _empty),
        },
        NodeStatus.QUARANTINED: {
            NodeEvent.CLEAR: Move(NodeStatus.ACTIVE, _SELL, _approved),
            NodeEvent.DRAIN: Move(NodeStatus.DRAINING, _STOP),
            NodeEvent.RETIRE: Move(NodeStatus.RETIRED, _STOP, _empty),
        },
        NodeStatus.DRAINING: {
            NodeEvent.UNDRAIN: Move(NodeStatus.ACTIVE, _SELL, _approved),
            NodeEvent.TAKE_OFFLINE: Move(NodeStatus.OFFLINE, _STOP),
            NodeEvent.QUARANTINE: Move(NodeStatus.QUARANTINED, _STOP),
            NodeEvent.RETIRE: Move(NodeStatus.RETIRED, _STOP, _empty),
        },
        NodeStatus.RETIRED: {
            NodeEvent.ENROLL_AGAIN: Move(NodeStatus.ENROLLING),
            NodeEvent.DELETE: Move(NodeStatus.DELETED, _STOP, _empty),
        },
        NodeStatus.DELETED: {},
    },
)
"""What an operator decided of a node."""
