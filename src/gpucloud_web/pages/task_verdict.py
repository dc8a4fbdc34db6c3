"""What a person wants to know first of a task: how it stands in one sentence, and what to do."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gpucloud_core.allocations.follow import not_replaced
from gpucloud_core.allocations.queries import TaskView
from gpucloud_core.allocations.reasons import REASONS
from gpucloud_core.allocations.saga import SAGAS
from gpucloud_core.catalog.model import ImageTrust, OsImage
from gpucloud_core.fleet.tasks import PLATFORM_SAGAS
from gpucloud_core.nodes.model import Node
from gpucloud_core.work.model import Step, StepStatus, Task, TaskStatus
from gpucloud_web import formats
from gpucloud_web.pages.task_nodes import node_verdict

MOVING: Final = frozenset({TaskStatus.QUEUED, TaskStatus.RUNNING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The overall answer in a sentence, and one next action."""

    tone: str
    icon: str
    strong: str
    text: str
    action: str = ""
    href: str = ""


def verdict(view: TaskView, now: datetime) -> Verdict:
    """Return what a person wants to know first."""
    task = view.task
    if view.members or task.kind in PLATFORM_SAGAS:
        return _of_batch(view) if view.members else _of_platform(view, now)
    launch = task.kind != "release"
    first = view.allocations[0] if view.allocations else None
    href = f"/workloads/{first.id}" if first and len(view.allocations) == 1 else "/workloads"
    match task.status:
        case TaskStatus.SUCCEEDED if launch:
            return Verdict(
                tone="ok",
                icon="circle-check",
                strong="Ready.",
                text="It is reachable over SSH and billed by the second from now on.",
                action="Open workload",
                href=href,
            )
        case TaskStatus.SUCCEEDED:
            return Verdict(
                tone="ok",
                icon="circle-check",
                strong="Released.",
                text="Wiped, proven clean, and its capacity is free again.",
                action="See receipt",
                href=f"{href}/receipt",
            )
        case TaskStatus.FAILED:
            reason = REASONS.get(task.error)
            words = (
                f"{reason.words} {reason.money} {reason.next_action}"
                if reason
                else (task.error_detail or "It did not work.")
            )
            return Verdict(
                tone="bad",
                icon="circle-x",
                strong="Failed.",
                text=words,
                action="" if launch else "Open workload",  # launching again stands above it
                href="" if launch else href,
            )
        case TaskStatus.CANCELLED:
            return Verdict(
                tone="idle",
                icon="ban",
                strong="Cancelled.",
                text="What was made is undone. Nothing was charged; the hold is back.",
                action="Launch again",
                href="/launch",
            )
        case TaskStatus.QUEUED | TaskStatus.RUNNING:
            money = "Nothing is billed until it is active."
            return _moving(task, money if launch else "Billing has stopped already.", now)


def _of_batch(view: TaskView) -> Verdict:
    """Say how many machines are there, on their way and lost; what replaced one counts for it."""
    lost = not_replaced(view.allocations)
    ended = Counter(task.status for task in view.members)
    moving = sum(ended[status] for status in MOVING)
    there, cancelled = ended[TaskStatus.SUCCEEDED], ended[TaskStatus.CANCELLED]
    total = there + moving + cancelled + len(lost)
    parts = ((moving, "on the way"), (len(lost), "failed"), (cancelled, "cancelled"))
    said = [f"{number} {words}" for number, words in parts if number]
    reason = REASONS.get((lost[0].failure_reason if lost else None) or "")
    why = [reason.words] if reason else []
    money = "Only machines that are active are billed."
    strong = f"{there} of {total} are active{', ' if said else ''}{', '.join(said)}."
    if moving:
        tone, icon = "busy", "hourglass"
    elif not (lost or cancelled):
        tone, icon, money = "ok", "circle-check", "They are reachable over SSH and billed."
    elif lost:
        tone, icon = ("warn", "alert-triangle") if there else ("bad", "circle-x")
    else:
        tone, icon = "idle", "ban"
    return Verdict(
        tone=tone,
        icon=icon,
        strong=strong,
        text=" ".join((*why, money)),
        action="Open workloads" if there and not moving else "",
        href="/workloads?view=active" if there and not moving else "",
    )


def _of_platform(view: TaskView, now: datetime) -> Verdict:
    if view.image is not None:
        return _of_image(view.task, view.image, now)
    if view.node is not None:
        return _of_node(view.task, view.node, now)
    return (
        _of_plan(view.task, now) if view.task.kind == "plan_capacity" else _of_audit(view.task, now)
    )


def _of_node(task: Task, node: Node, now: datetime) -> Verdict:
    if task.status in MOVING:
        return _moving(task, "Nothing is changed on the machine.", now)
    told = node_verdict(task, node)
    worked = task.status is TaskStatus.SUCCEEDED
    return Verdict(
        tone="ok" if worked else "bad",
        icon="circle-check" if worked else "circle-x",
        strong=told.strong,
        text=told.text,
        action=told.action,
        href=told.href,
    )


def _of_image(task: Task, image: OsImage, now: datetime) -> Verdict:
    if task.status in MOVING:
        far = f"{image.trust_reason}. " if image.trust is ImageTrust.VERIFYING else ""
        return _moving(task, f"{far[:1].upper()}{far[1:]}Nothing of it is kept here.", now)
    worked = task.status is TaskStatus.SUCCEEDED
    return Verdict(
        tone="ok" if worked else "bad",
        icon="shield-check" if worked else "shield-x",
        strong="Verified." if worked else "Not verified.",
        text="What is kept there is what the image is named by." if worked else task.error_detail,
        action="Open image",
        href=f"/admin/os-images/{image.id}",
    )


def _of_plan(task: Task, now: datetime) -> Verdict:
    if task.status in MOVING:
        return _moving(task, "Nothing of the fleet is changed.", now)
    worked = task.status is TaskStatus.SUCCEEDED
    return Verdict(
        tone="ok" if worked else "bad",
        icon="circle-check" if worked else "circle-x",
        strong="Played." if worked else "Not played.",
        text="What fits, what does not and why stands on the plan."
        if worked
        else task.error_detail,
        action="Open plan",
        href=f"/admin/nodes/plans/{task.id}",
    )


def _of_audit(task: Task, now: datetime) -> Verdict:
    if task.status in MOVING:
        return _moving(task, "Nothing is changed by looking.", now)
    seen = task.steps[0].result
    worked = task.status is TaskStatus.SUCCEEDED
    words = f"{seen.get('sealed', 0):,} rows are sealed, {seen.get('unsealed', 0):,} wait for it."
    return Verdict(
        tone="ok" if worked else "bad",
        icon="shield-check" if worked else "shield-x",
        strong="Everything is as it was recorded." if worked else "Not as recorded.",
        text=words if worked else task.error_detail,
        action="Open audit logs",
        href="/admin/audit-logs",
    )


def _moving(task: Task, money: str, now: datetime) -> Verdict:
    if task.cancel_requested_at is not None:
        return Verdict(
            tone="busy",
            icon="player-stop",
            strong="Cancelling.",
            text="It stops at the next step boundary and leaves nothing behind.",
        )
    left = sum(
        usual_seconds(task, step) for step in task.steps if step.status is StepStatus.PENDING
    ) + sum(
        max(usual_seconds(task, step) - int((now - step.started_at).total_seconds()), 0)
        for step in task.steps
        if step.status is StepStatus.ACTIVE and step.started_at
    )
    retries = sum(max(step.attempt - 1, 0) for step in task.steps)
    said = [task.wait_reason.rstrip(".") + "."] if task.wait_reason else []
    if retries:
        said.append(f"{formats.counted(retries, 'retry', 'retries')} so far.")
    strong = f"About {formats.duration(left)} to go." if left else "It takes longer than usual."
    if task.status is TaskStatus.QUEUED:
        strong = "Queued; a worker takes it up in a moment."
    return Verdict(tone="busy", icon="hourglass", strong=strong, text=" ".join((*said, money)))


def usual_seconds(task: Task, step: Step) -> int:
    """Return how long a step usually takes: by history, else by the table."""
    sagas = SAGAS | PLATFORM_SAGAS
    if step.usual_seconds or task.kind not in sagas:
        return step.usual_seconds
    plans = {plan.key: plan for plan in sagas[task.kind].steps}
    return int(plans[step.key].usual.total_seconds()) if step.key in plans else 0
