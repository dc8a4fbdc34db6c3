"""The page on which one says when a workload ends by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Final

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.ports import MAY_TIME
from gpucloud_core.allocations.queries import ReadAllocation
from gpucloud_core.allocations.timer import MEASURES, SetTimer, TimerAsked, TimerKind, timer_of
from gpucloud_core.kernel.errors import DomainError, FieldError, ValidationFailed
from gpucloud_core.kernel.ids import AllocationId, parse_id
from gpucloud_web import formats
from gpucloud_web.pages.forms import refused, submitted
from gpucloud_web.pages.visit import Form, Visit, form_of, fresh_key, one, provide_visit

NEVER: Final = "none"
_HOUR: Final = 3600
_LOCAL: Final = "%Y-%m-%dT%H:%M"
_FIELDS: Final = {"/ttl_seconds": "hours", "/releases_at": "at"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFault:
    field: str
    text: str
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerOption:
    """One way to end: its name, and what it measures."""

    value: str
    title: str
    measures: str
    selected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerPage:
    """All that ``workloads/timer.html`` may know."""

    name: str
    now_words: str
    action: str
    back: str
    options: tuple[TimerOption, ...]
    hours: str
    at: str
    zone: str
    may_change: bool
    idempotency_key: str
    errors: tuple[TimerFault, ...]

    @property
    def faults(self) -> Mapping[str, str]:
        return {fault.field: fault.text for fault in self.errors}

    @classmethod
    def of(
        cls,
        row: Allocation,
        *,
        now: datetime,
        zone: tzinfo,
        typed: Mapping[str, Sequence[str]] | None = None,
        error: DomainError | None = None,
    ) -> "TimerPage":
        timer = timer_of(row)
        ends = timer.releases_at if timer else None
        form = typed or {
            "kind": [timer.kind if timer else NEVER],
            "hours": [hours_of(row.ttl_seconds)],
            "at": [ends.astimezone(zone).strftime(_LOCAL) if ends else ""],
        }
        chosen = one({name: list(values) for name, values in form.items()}, "kind")
        return cls(
            name=row.name,
            now_words=release_words(row, now, zone),
            action=f"/workloads/{row.id}/timer",
            back=f"/workloads/{row.id}",
            options=tuple(
                TimerOption(value=value, title=title, measures=words, selected=value == chosen)
                for value, title, words in (
                    (NEVER, "Never by itself", "It runs until somebody releases it."),
                    (TimerKind.TTL, "After a time to live", MEASURES[TimerKind.TTL]),
                    (TimerKind.SCHEDULE, "At an instant", MEASURES[TimerKind.SCHEDULE]),
                )
            ),
            hours=(form.get("hours") or [""])[0],
            at=(form.get("at") or [""])[0],
            zone=now.astimezone(zone).tzname() or "UTC",
            may_change=row.state in MAY_TIME,
            idempotency_key=fresh_key(),
            errors=_faults(error),
        )


def _faults(error: DomainError | None) -> tuple[TimerFault, ...]:
    if error is None:
        return ()
    if not error.fields:
        return (TimerFault(field="", text=error.detail),)
    return tuple(
        TimerFault(field=_FIELDS.get(each.field, ""), text=each.detail) for each in error.fields
    )


def hours_of(seconds: int | None) -> str:
    """Return seconds as the hours people type, without needless digits."""
    if seconds is None:
        return ""
    return f"{(Decimal(seconds) / _HOUR).quantize(Decimal('0.0001')).normalize():f}"


def release_words(row: Allocation, now: datetime, zone: tzinfo) -> str:
    """Say when it ends by itself, and by what."""
    timer = timer_of(row)
    if timer is None:
        return "when you say so"
    if timer.releases_at is None:
        seconds = timer.ttl_seconds or 0
        return f"{formats.duration(seconds)} after it becomes active"
    at = formats.short_time(timer.releases_at, now, zone)
    return f"{at}, {'time to live' if timer.kind is TimerKind.TTL else 'scheduled'}"


def asked_of(form: Form, zone: tzinfo) -> TimerAsked:
    """Return the timer that the form asks for.

    Raises:
        ValidationFailed: what was typed is no number, or no instant.
    """
    match one(form, "kind"):
        case TimerKind.TTL:
            try:
                seconds = int(Decimal(one(form, "hours").strip()) * _HOUR)
            except (InvalidOperation, ValueError, OverflowError):
                raise _unreadable("/ttl_seconds", "Type hours, such as 8 or 1.5.") from None
            return TimerAsked(ttl_seconds=seconds)
        case TimerKind.SCHEDULE:
            try:
                local = datetime.fromisoformat(one(form, "at"))
            except ValueError:
                raise _unreadable("/releases_at", "Choose a day and a time.") from None
            return TimerAsked(releases_at=local if local.tzinfo else local.replace(tzinfo=zone))
        case _:
            return TimerAsked()


def _unreadable(field: str, detail: str) -> ValidationFailed:
    return ValidationFailed(detail, fields=[FieldError(field, "invalid", detail)])


class TimerPages(Controller):
    path = "/workloads/{allocation_id:str}/timer"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get()
    async def show(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_allocation: FromDishka[ReadAllocation],
    ) -> Response[str]:
        """Show when it ends by itself, and the ways to change that."""
        found = AllocationId(parse_id("alc", allocation_id))
        row = (await read_allocation(actor=visit.actor, allocation_id=found)).allocation
        view = TimerPage.of(row, now=visit.now, zone=visit.zone)
        return visit.page("workloads/timer.html", view)

    @post(status_code=303)
    async def change(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        set_timer: FromDishka[SetTimer],
        read_allocation: FromDishka[ReadAllocation],
    ) -> Response[str] | Redirect:
        """Set it, and go back to the workload; what cannot be is said beside what was typed."""
        found, form = AllocationId(parse_id("alc", allocation_id)), await form_of(visit.request)

        async def set_it() -> str:
            asked = asked_of(form, visit.zone)
            return (await set_timer(actor=visit.actor, allocation_id=found, asked=asked)).id

        async def again(error: DomainError) -> Response[str]:
            row = (await read_allocation(actor=visit.actor, allocation_id=found)).allocation
            view = TimerPage.of(row, now=visit.now, zone=visit.zone, typed=form, error=error)
            return refused(visit, "workloads/timer.html", view, error)

        return await submitted(
            visit, form, set_it, to=lambda done: f"/workloads/{done}", again=again
        )
