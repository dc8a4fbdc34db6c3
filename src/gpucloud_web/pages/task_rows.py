"""View rows of a task: every step with its time and what is usual, the verdict, what is next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.allocations.follow import not_replaced
from gpucloud_core.allocations.lifecycle import CANCELLABLE
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.queries import TaskView
from gpucloud_core.allocations.reasons import REASONS
from gpucloud_core.kernel.rows import Page
from gpucloud_core.work.model import Step, StepStatus, Task, TaskEvent, TaskStatus
from gpucloud_web import formats
from gpucloud_web.components import Fact, LogLine, TimelineRow
from gpucloud_web.pages.addresses import address
from gpucloud_web.pages.task_verdict import MOVING, Verdict, usual_seconds, verdict
from gpucloud_web.pages.workload_rows import hardware

KINDS: Final = {
    "provision": "Launch",
    "release": "Release",
    "restart": "Restart",
    "batch": "Launch",
    "edit_keys": "Change the keys of",
    "force_cleanup": "Clean up after",
    "probe_node": "Probe",
    "discover_node": "Discover",
    "change_mode": "Change the mode of",
    "verify_image": "Verify",
    "verify_audit": "Verify",
    "plan_capacity": "Plan",
}
_NAMED: Final = {"verify_audit": "the audit trail", "plan_capacity": "capacity"}
_APART: Final = "each goes its own way and can be cancelled on its own"
_TOGETHER: Final = "together: handed over when all are ready, or none of them"
_WARNINGS: Final = ("retry", "fail", "undo")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRow:
    """One machine of a batch."""

    name: str
    href: str
    task_href: str
    status: str
    words: str
    why: str  # why it waits, or what went wrong
    cancel_href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """All that ``tasks/detail.html`` may know."""

    id: str
    title: str
    status: str
    status_words: str
    about: str
    list_title: str
    list_href: str
    subject: str
    subject_href: str
    verdict: Verdict
    steps: tuple[TimelineRow, ...]
    elapsed: str
    members: tuple[MemberRow, ...]
    fate: str  # what one machine's end means for the others
    money: tuple[Fact, ...]
    billed_words: str
    hardware: tuple[Fact, ...]
    events: tuple[LogLine, ...]
    older: str
    cancel_href: str
    cancel_rest: str  # the words of the button, where there is something to cancel
    retry: str  # likewise
    idempotency_key: str
    is_moving: bool
    wait_command: str

    @classmethod
    def of(
        cls,
        view: TaskView,
        *,
        events: Page[TaskEvent],
        names: Mapping[str, str],
        zone: tzinfo,
        may_cancel: bool,
        may_launch: bool,
        idempotency_key: str,
    ) -> "TaskPage":
        task, now = view.task, view.as_of
        first = view.allocations[0] if view.allocations else None
        moving = task.status in MOVING
        subject = _subject(view)
        alone = first is not None and len(view.allocations) == 1
        href = f"/workloads/{first.id}" if first and alone else "/workloads"
        place = _platform_place(view)
        if place.href:
            href = place.href
        cancellable = moving and task.kind == "provision" and task.cancel_requested_at is None
        return cls(
            id=task.id,
            title=f"{KINDS.get(task.kind, task.kind.capitalize())} {subject}",
            status=task.status,
            status_words=_status_words(task),
            about=f"started {formats.short_time(task.started_at or task.created_at, now, zone)}",
            list_title=place.list_title,
            list_href=place.list_href,
            subject=subject,
            subject_href=href,
            verdict=verdict(view, now),
            steps=tuple(_step(task, step, now) for step in task.steps),
            elapsed=_elapsed(task, now),
            members=tuple(_member(one, view.allocations, may_cancel) for one in view.members),
            fate=_TOGETHER if task.data.get("together") else _APART,
            money=_money(task, view.allocations),
            billed_words=_billed_words(view.allocations),
            hardware=_hardware(view.allocations, names),
            events=tuple(_event(view, event, zone) for event in events.items),
            older=address(f"/tasks/{task.id}", cursor=events.next_cursor)
            if events.next_cursor
            else "",
            cancel_href=f"/workloads/{first.id}/cancel"
            if first and alone and cancellable and may_cancel
            else "",
            cancel_rest=_cancel_rest(view) if may_cancel else "",
            retry=_retry(view) if may_launch else "",
            idempotency_key=idempotency_key,
            is_moving=moving,
            wait_command=f"curl -H 'Authorization: Bearer …' …/api/v1/tasks/{task.id}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where what a task is about stands; without an address it is a workload."""

    list_title: str = "Workloads"
    list_href: str = "/workloads"
    href: str = ""


def _platform_place(view: TaskView) -> _Place:
    if view.node is not None:
        href = f"/admin/nodes/{view.node.id}"
        return _Place(list_title="Nodes", list_href="/admin/nodes", href=href)
    if view.image is not None:
        href = f"/admin/os-images/{view.image.id}"
        return _Place(list_title="OS Images", list_href="/admin/os-images", href=href)
    if view.task.kind == "verify_audit":
        place = "/admin/audit-logs"
        return _Place(list_title="Audit Logs", list_href=place, href=place)
    if view.task.kind == "plan_capacity":
        place = "/admin/nodes/plans"
        return _Place(list_title="Plans", list_href=place, href=f"{place}/{view.task.id}")
    return _Place()


def _cancel_rest(view: TaskView) -> str:
    if not view.members:
        return ""
    asked = {member.subject for member in view.members if member.cancel_requested_at is not None}
    rest = [a for a in view.allocations if a.state in CANCELLABLE and a.id not in asked]
    return f"Cancel the {formats.counted(len(rest), 'machine')} on the way" if rest else ""


def _retry(view: TaskView) -> str:
    failed = not_replaced(view.allocations)
    if not failed or view.task.kind not in {"batch", "provision"}:
        return ""
    return "Launch it again" if not view.members else f"Retry {len(failed)} that failed"


def _subject(view: TaskView) -> str:
    if view.node is not None:
        return view.node.name
    if view.image is not None:
        return f"{view.image.name} {view.image.version}"
    if view.task.kind in _NAMED:
        return _NAMED[view.task.kind]
    if len(view.allocations) == 1:
        return view.allocations[0].name
    return formats.counted(len(view.allocations), "workload")


def _done(task: Task) -> int:
    return sum(1 for step in task.steps if step.finished_at is not None)


def _status_words(task: Task) -> str:
    if task.status is TaskStatus.RUNNING and task.undoing:
        return "Undoing"
    if task.status is TaskStatus.RUNNING and task.steps:
        return f"Step {min(_done(task) + 1, len(task.steps))} of {len(task.steps)}"
    return ""


def _step(task: Task, step: Step, now: datetime) -> TimelineRow:
    active = step.status is StepStatus.ACTIVE
    seconds = usual_seconds(task, step)
    spent = ""
    if step.started_at:
        spent = formats.span(step.started_at, step.finished_at or now)
    usual = f"usually {formats.duration(seconds)}" if seconds else ""
    return TimelineRow(
        kind="step",
        state=step.status,
        title=step.title,
        note=f"attempt {step.attempt}" if step.attempt > 1 else "",
        text="" if active else step.reason,
        wait=step.reason if active else "",
        right=spent,
        right_note=usual,
        value=int((now - step.started_at).total_seconds()) if active and step.started_at else 0,
        usual=seconds if active else 0,
        emphasis={StepStatus.ACTIVE: "now", StepStatus.PENDING: "pend"}.get(step.status, ""),
    )


def _elapsed(task: Task, now: datetime) -> str:
    if not task.steps:
        return ""
    usual = formats.duration(sum(usual_seconds(task, step) for step in task.steps))
    if task.started_at is None:
        return f"usually {usual} in all"
    spent = formats.span(task.started_at, task.finished_at or now)
    return f"{'took' if task.finished_at else 'elapsed'} {spent} · usually {usual} in all"


def _member(task: Task, allocations: Sequence[Allocation], may_cancel: bool) -> MemberRow:
    own = next((row for row in allocations if row.id == task.subject), None)
    fits = own is not None and own.state in CANCELLABLE and task.cancel_requested_at is None
    failed = REASONS.get((own.failure_reason if own else None) or "")
    why = task.wait_reason if task.status in MOVING else (failed.words if failed else "")
    return MemberRow(
        name=own.name if own else task.subject,
        href=f"/workloads/{task.subject}",
        task_href=f"/tasks/{task.id}",
        status=task.status,
        words=_status_words(task),
        why=why[:1].upper() + why[1:],
        cancel_href=f"/workloads/{task.subject}/cancel" if fits and may_cancel else "",
    )


def _money(task: Task, allocations: Sequence[Allocation]) -> tuple[Fact, ...]:
    if not allocations:
        return ()
    currency = allocations[0].currency
    rate = sum(row.rate_micros_per_hour for row in allocations)
    if task.kind == "release":
        return (
            Fact(label="Charged after the request", value=formats.amount(0, currency)),
            Fact(label="Hold", value="returned with the request"),
        )
    billed = [row for row in allocations if _is_billed(row)]
    if not billed and task.status not in MOVING:
        return (
            Fact(label="Charged", value=formats.amount(0, currency)),
            Fact(label="Hold", value="returned"),
        )
    now = sum(row.rate_micros_per_hour for row in billed)
    return (
        Fact(label="Rate now", value=formats.hourly(now, currency))
        if billed
        else Fact(label="Charged so far", value=formats.amount(0, currency)),
        *(
            [Fact(label="Rate once active", value=formats.hourly(rate, currency))]
            if task.status in MOVING
            else []
        ),
        Fact(
            label="If it fails or you cancel" if task.status in MOVING else "Billed",
            value="the hold returns at once" if task.status in MOVING else "from the hand-over on",
        ),
    )


def _is_billed(row: Allocation) -> bool:
    return row.active_at is not None and row.billing_stopped_at is None


def _billed_words(allocations: Sequence[Allocation]) -> str:
    if any(_is_billed(row) for row in allocations):
        return "Billed by the second"
    stopped = any(row.active_at for row in allocations)
    return "Billing stopped" if stopped else "Not billed"


def _hardware(allocations: Sequence[Allocation], names: Mapping[str, str]) -> tuple[Fact, ...]:
    if not allocations:
        return ()
    first = allocations[0]
    return (
        Fact(label="SKU", value=hardware(first, names)),
        Fact(label="Machines", value=str(len(allocations))),
        Fact(label="Region", value=first.region),
    )


_EVENTS: Final = {
    "step.active": "begins",
    "step.completed": "done",
    "step.retrying": "did not work; tried again",
    "step.failed": "failed",
    "step.undoing": "is being undone",
    "step.undo_retrying": "undoing it did not work; tried again",
    "step.undone": "undone",
    "task.succeeded": "finished; everything worked",
    "task.failed": "ended without success",
    "task.cancelled": "cancelled",
}


def _event(view: TaskView, event: TaskEvent, zone: tzinfo) -> LogLine:
    """Return a line of the story; that of a batch names the machine it is of."""
    task = next((one for one in view.members if one.id == event.task_id), view.task)
    own = next((row for row in view.allocations if row.id == task.subject), None)
    titles = {step.key: step.title for step in task.steps}
    said = _EVENTS.get(event.kind, event.kind.replace(".", " ").replace("_", " "))
    said = f"{titles[event.step]}: {said}" if event.step in titles else said.capitalize()
    of_member = own is not None and bool(view.members)
    return LogLine(
        when=formats.moment(event.at, view.as_of, zone),
        clock=formats.clock_time(event.at, zone),
        topic=own.name if own and of_member else event.step or event.kind.partition(".")[0],
        text=f"{said} · {event.text}" if event.text else said,
        warning=any(word in event.kind for word in _WARNINGS),
    )
