"""The standing of a tenant: one literal table, and what moves it.

Standing tells people how their money is; it is computed from the runway whenever the account
changes or a deadline comes, and never decides about money itself.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from gpucloud_core.billing.balance import Runway
from gpucloud_core.billing.model import BillingAccount, Standing
from gpucloud_core.kernel.errors import IllegalTransition
from gpucloud_core.kernel.machine import Machine, Move, Refused, StateRow


class StandingEvent(StrEnum):
    FALL_LOW = "fall_low"  # the money lasts less than the tenant's low-balance hours
    SPEND_RESERVE = "spend_reserve"  # it is gone, and something goes on from its reserve
    RUN_OUT = "run_out"  # it is gone, and so is what ran
    RECOVER = "recover"  # it lasts long enough again
    SUSPEND = "suspend"  # a payment is disputed
    RESTORE = "restore"  # the dispute is over


class StandingEffect(StrEnum):
    TELL = "tell"  # emit ``billing.standing_changed``


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What guards look at: did money come in, and does anything run."""

    funded: bool = False
    running: bool = False


S, E, X = Standing, StandingEvent, StandingEffect


def _funded_or_running(facts: Facts) -> str | None:
    if facts.funded or facts.running:
        return None
    return "a returned reserve is no new money: it takes a top-up or a launch"


def _to(state: Standing) -> Move[Standing, StandingEffect, Facts]:
    return Move(state, (X.TELL,))


STANDING: Final[Machine[Standing, StandingEvent, StandingEffect, Facts]] = Machine(
    name="standing",
    initial=S.HEALTHY,
    states={
        S.HEALTHY: StateRow("What runs is paid for, or nothing runs."),
        S.LOW: StateRow("What runs is paid for, but not for long."),
        S.AUTO_RELEASE_PENDING: StateRow(
            "The balance is gone; what may runs on its reserve and is released when that is spent.",
            usual=timedelta(hours=1),
            failed_twin=S.DEPLETED,
        ),
        S.DEPLETED: StateRow("The balance is gone, and what ran is being released or is gone."),
        S.SUSPENDED: StateRow("A payment is disputed; nothing new can be started."),
    },
    moves={
        S.HEALTHY: {
            E.FALL_LOW: _to(S.LOW),
            E.SPEND_RESERVE: _to(S.AUTO_RELEASE_PENDING),
            E.RUN_OUT: _to(S.DEPLETED),
            E.SUSPEND: _to(S.SUSPENDED),
        },
        S.LOW: {
            E.RECOVER: _to(S.HEALTHY),
            E.SPEND_RESERVE: _to(S.AUTO_RELEASE_PENDING),
            E.RUN_OUT: _to(S.DEPLETED),
            E.SUSPEND: _to(S.SUSPENDED),
        },
        S.AUTO_RELEASE_PENDING: {
            E.RECOVER: _to(S.HEALTHY),
            E.FALL_LOW: _to(S.LOW),
            E.RUN_OUT: _to(S.DEPLETED),
            E.SUSPEND: _to(S.SUSPENDED),
        },
        S.DEPLETED: {
            E.RECOVER: Move(S.HEALTHY, (X.TELL,), guard=_funded_or_running),
            E.FALL_LOW: _to(S.LOW),
            E.SPEND_RESERVE: _to(S.AUTO_RELEASE_PENDING),
            E.SUSPEND: _to(S.SUSPENDED),
        },
        S.SUSPENDED: {E.RESTORE: _to(S.HEALTHY)},
    },
)

_LEADS_TO: Final = {
    E.FALL_LOW: S.LOW,
    E.SPEND_RESERVE: S.AUTO_RELEASE_PENDING,
    E.RUN_OUT: S.DEPLETED,
    E.RECOVER: S.HEALTHY,
}


def low_at(account: BillingAccount, run: Runway) -> datetime | None:
    """Return the instant from which the money counts as low."""
    if run.depletes_at is None:
        return None
    return run.depletes_at - timedelta(hours=account.low_balance_hours)


def what_moves(account: BillingAccount, run: Runway, now: datetime) -> StandingEvent | None:
    """Return the event that ``now`` is, as far as standing goes; None if it stays."""
    if account.standing is S.SUSPENDED:
        return None
    low = low_at(account, run)
    if run.is_depleted(now):
        lives = any(
            end is not None and end > now for key, end in run.ends.items() if key in run.on_reserve
        )
        event = E.SPEND_RESERVE if lives else E.RUN_OUT
    elif low is not None and low <= now:
        event = E.FALL_LOW
    else:
        event = E.RECOVER
    return None if _LEADS_TO[event] is account.standing else event


def standing_at(
    account: BillingAccount, run: Runway, now: datetime, *, funded: bool = False
) -> Standing:
    """Return the tenant's standing at ``now``; ``funded`` says that money has just come in."""
    event = what_moves(account, run, now)
    if event is None:
        return account.standing
    facts = Facts(funded=funded, running=bool(run.ends))
    decision = STANDING.decide(account.standing, event, facts)
    return account.standing if isinstance(decision, Refused) else decision.state


def moved(account: BillingAccount, event: StandingEvent) -> Standing:
    """Return the standing after an event that the runway does not know: a dispute or its end.

    Raises:
        IllegalTransition: it is not possible now.
    """
    decision = STANDING.decide(account.standing, event, Facts())
    if isinstance(decision, Refused):
        raise IllegalTransition(decision.reason)
    return decision.state
