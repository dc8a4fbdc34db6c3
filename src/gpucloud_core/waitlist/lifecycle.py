"""The life of a waitlist entry, as a literal table."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from gpucloud_core.kernel.machine import Machine, Move, StateRow
from gpucloud_core.waitlist.model import WaitState

CLAIM_WINDOW: Final = timedelta(minutes=10)


class WaitEvent(StrEnum):
    OFFER = "offer"  # it would fit now: its person is told
    LAUNCH = "launch"  # it became a launch
    LAPSE = "lapse"  # the window passed and nobody came
    EXPIRE = "expire"  # it waited as long as it was asked to
    WITHDRAW = "withdraw"  # its person does not want it any more
    FAIL = "fail"  # it can never be launched as it was asked


class WaitEffect(StrEnum):
    """What else the same transaction does."""

    TELL = "tell"  # an event that becomes a notice to its person


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFacts:
    """Nothing guards an entry: every move is possible where the table has it."""


_TELL: Final = (WaitEffect.TELL,)

WAITLIST: Final = Machine[WaitState, WaitEvent, WaitEffect, WaitFacts](
    name="waitlist entry",
    initial=WaitState.WAITING,
    states={
        WaitState.WAITING: StateRow("It waits for its turn and for room."),
        WaitState.OFFERED: StateRow(
            "It would fit; its person was told and keeps the turn for ten minutes.",
            limit=(CLAIM_WINDOW, WaitEvent.LAPSE),
            failed_twin=WaitState.EXPIRED,
        ),
        WaitState.LAUNCHED: StateRow("It became a launch, billed like any other."),
        WaitState.EXPIRED: StateRow("It waited as long as it was asked to, or nobody came."),
        WaitState.WITHDRAWN: StateRow("Its person left the queue."),
        WaitState.FAILED: StateRow("It could never be launched as it was asked."),
    },
    moves={
        WaitState.WAITING: {
            WaitEvent.OFFER: Move(WaitState.OFFERED, _TELL),
            WaitEvent.LAUNCH: Move(WaitState.LAUNCHED, _TELL),
            WaitEvent.EXPIRE: Move(WaitState.EXPIRED, _TELL),
            WaitEvent.WITHDRAW: Move(WaitState.WITHDRAWN),
            WaitEvent.FAIL: Move(WaitState.FAILED, _TELL),
        },
        WaitState.OFFERED: {
            WaitEvent.LAUNCH: Move(WaitState.LAUNCHED),
            WaitEvent.LAPSE: Move(WaitState.EXPIRED, _TELL),
            WaitEvent.WITHDRAW: Move(WaitState.WITHDRAWN),
        },
        WaitState.LAUNCHED: {},
        WaitState.EXPIRED: {},
        WaitState.WITHDRAWN: {},
        WaitState.FAILED: {},
    },
)
"""The life of an entry."""
