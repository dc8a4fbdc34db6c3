"""When an allocation ends by itself: after a time to live, or at an instant on the calendar.

A timer is a row on the server and measures the clock alone: not use, and not whether anybody is
signed in. It can be set, moved and taken away for as long as the allocation may still run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.apply import lock_allocation
from gpucloud_core.allocations.errors import NotTimeable
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.ports import MAY_TIME, AllocationUnit
from gpucloud_core.allocations.request import TTL_SECONDS
from gpucloud_core.kernel.errors import FieldError, ValidationFailed
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import Json, Scope, Transactions

AHEAD_MAX: Final = timedelta(seconds=TTL_SECONDS[1])


class TimerKind(StrEnum):
    TTL = "ttl"
    SCHEDULE = "schedule"


MEASURES: Final[Mapping[TimerKind, str]] = {
    TimerKind.TTL: "The time since it became active, by our clock, whether it is used or not.",
    TimerKind.SCHEDULE: "The calendar, by our clock: it ends at this instant, whatever runs.",
}
"""What each kind measures, as people read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """What ends an allocation by itself; ``releases_at`` is None until it is active."""

    kind: TimerKind
    ttl_seconds: int | None = None
    releases_at: datetime | None = None

    @property
    def measures(self) -> str:
        return MEASURES[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerAsked:
    """A timer as asked for: a time to live, an instant, or (neither) none."""

    ttl_seconds: int | None = None
    releases_at: datetime | None = None


def timer_of(row: Allocation) -> Timer | None:
    if row.ttl_seconds is not None:
        return Timer(kind=TimerKind.TTL, ttl_seconds=row.ttl_seconds, releases_at=row.releases_at)
    if row.releases_at is not None:
        return Timer(kind=TimerKind.SCHEDULE, releases_at=row.releases_at)
    return None


def field_errors(
    asked: TimerAsked, *, active_at: datetime | None, now: datetime
) -> list[FieldError]:
    """Return what is wrong with a timer for an allocation that is active since ``active_at``."""
    if asked.ttl_seconds is not None and asked.releases_at is not None:
        detail = "Set a time to live or an instant, not both."
        return [FieldError("/releases_at", "two_timers", detail)]
    if asked.ttl_seconds is not None:
        return _ttl_errors(asked.ttl_seconds, active_at, now)
    if asked.releases_at is None:
        return []
    if asked.releases_at.tzinfo is None:
        detail = "Name the instant with its offset, such as 2026-01-31T18:00:00Z."
        return [FieldError("/releases_at", "no_offset", detail)]
    if not now < asked.releases_at <= now + AHEAD_MAX:
        detail = f"Choose an instant in the next {AHEAD_MAX.days} days."
        return [FieldError("/releases_at", "out_of_range", detail)]
    return []


def _ttl_errors(seconds: int, active_at: datetime | None, now: datetime) -> list[FieldError]:
    lowest, highest = TTL_SECONDS
    if not lowest <= seconds <= highest:
        detail = "Choose a time to live between 5 minutes and 90 days, in seconds."
        return [FieldError("/ttl_seconds", "out_of_range", detail)]
    if active_at is not None and active_at + timedelta(seconds=seconds) <= now:
        detail = "That much time has gone by since it became active; choose more, or release it."
        return [FieldError("/ttl_seconds", "over_already", detail)]
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    """Set, move or take away what ends an allocation by itself."""

    transactions: Transactions[AllocationUnit]

    async def __call__(
        self, *, actor: Actor, allocation_id: AllocationId, asked: TimerAsked
    ) -> Allocation:
        """Set exactly this timer, in place of whatever there was.

        Raises:
            NotFound, Forbidden: not theirs, or not theirs to end.
            NotTimeable: it is ending, or has ended.
            ValidationFailed: two timers, or an end that is past or too far.
        """
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            allocation = await lock_allocation(unit, actor.tenant_id, allocation_id)
            require(
                actor,
                Action.ALLOCATION_RELEASE,
                tenant_id=allocation.tenant_id,
                project_id=allocation.project_id,
            )
            if allocation.state not in MAY_TIME:
                raise NotTimeable(f"It is {allocation.state}. {NotTimeable.next_step}")
            faults = field_errors(asked, active_at=allocation.active_at, now=await unit.now())
            if faults:
                raise ValidationFailed("The timer needs another look.", fields=faults)
            timed = _with_timer(allocation, asked)
            await unit.allocations.put(timed)
            before, after = (_in_words(row) for row in (allocation, timed))
            await unit.audit(
                fact_by(
                    actor,
                    action="allocation.timer",
                    target=timed.id,
                    project_id=timed.project_id,
                    changes={"timer": [before, after]},
                )
            )
        return timed


def _with_timer(row: Allocation, asked: TimerAsked) -> Allocation:
    timed = replace(row, ttl_seconds=asked.ttl_seconds, releases_at=asked.releases_at)
    if timed.ttl_seconds is not None and row.active_at is not None:
        return replace(timed, releases_at=timed.expires_after(row.active_at))
    return timed


def _in_words(row: Allocation) -> Json:
    timer = timer_of(row)
    if timer is None:
        return "none"
    if timer.kind is TimerKind.TTL:
        return f"{timer.ttl_seconds} s after it became active"
    return rfc3339(timer.releases_at) if timer.releases_at else "none"
