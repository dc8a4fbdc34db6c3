"""The words that every view of a workload shares: its saved view, second line, rate and menu."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.allocations.lifecycle import STATES_OF, PublicStatus
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_web import formats
from gpucloud_web.components import MenuEntry

VIEWS: Final[Mapping[str, tuple[str, tuple[PublicStatus, ...]]]] = {
    "all": ("All", ()),
    "active": ("Active", (PublicStatus.ACTIVE, PublicStatus.RESTARTING)),
    "progress": (
        "In progress",
        (
            PublicStatus.PROVISIONING,
            PublicStatus.CANCELLING,
            PublicStatus.FAILING,
            PublicStatus.RELEASING,
        ),
    ),
    "attention": (
        "Needs attention",
        (PublicStatus.DEGRADED, PublicStatus.FAILED, PublicStatus.RELEASE_FAILED),
    ),
    "released": ("Released", (PublicStatus.RELEASED,)),
    "cancelled": ("Cancelled", (PublicStatus.CANCELLED,)),
}
"""The saved views of a list of workloads, in order; the first shows everything."""

BILLED: Final = frozenset({PublicStatus.ACTIVE, PublicStatus.RESTARTING})
STOPPED: Final = frozenset(
    {PublicStatus.RELEASING, PublicStatus.RELEASED, PublicStatus.RELEASE_FAILED}
)
RESTARTABLE: Final = frozenset({PublicStatus.ACTIVE})
CANCELLABLE: Final = frozenset({PublicStatus.PROVISIONING})
RELEASABLE: Final = frozenset(
    {PublicStatus.ACTIVE, PublicStatus.DEGRADED, PublicStatus.RELEASE_FAILED}
)


def states_of(view: str) -> tuple[AllocationState, ...]:
    """Return the raw states a saved view asks for; none means all."""
    return tuple(dict.fromkeys(s for status in VIEWS[view][1] for s in STATES_OF[status]))


def view_of(status: PublicStatus) -> str:
    """Return the saved view in which a workload of this status is found."""
    return next((view for view, (_, has) in VIEWS.items() if status in has), "all")


def view_counts(counts: Mapping[AllocationState, int]) -> dict[str, int]:
    """Return how many rows each saved view has."""
    totals = {view: sum(counts.get(s, 0) for s in states_of(view)) for view in VIEWS}
    return totals | {"all": sum(counts.values())}


def hardware(allocation: Allocation, names: Mapping[str, str]) -> str:
    """Return what was bought, such as ``H200 SXM ×4``."""
    return f"{names.get(allocation.sku_id, allocation.sku_id)} ×{allocation.gpu_count}"


def second_line(
    allocation: Allocation, status: PublicStatus, step: str, now: datetime, zone: tzinfo
) -> str:
    """Return the next fact under a badge: step, reason, or when billing stopped."""
    stopped = ""
    if allocation.billing_stopped_at:
        stopped = f"billing stopped {formats.short_time(allocation.billing_stopped_at, now, zone)}"
    failed = allocation.release_failed_reason or "release_failed"
    said: Mapping[PublicStatus, str] = {
        PublicStatus.PROVISIONING: step or "not billed",
        PublicStatus.CANCELLING: step or "not billed",
        PublicStatus.FAILING: step or "not billed",
        PublicStatus.ACTIVE: "",
        PublicStatus.RESTARTING: "",
        PublicStatus.DEGRADED: "not billed since the evidence",
        PublicStatus.RELEASING: stopped,
        PublicStatus.RELEASED: "receipt ready",
        PublicStatus.CANCELLED: "nothing charged",
        PublicStatus.FAILED: f"{allocation.failure_reason or 'launch_failed'}, nothing charged",
        PublicStatus.RELEASE_FAILED: f"{failed}, {stopped or 'nothing charged'}",
    }
    return said[status]


def rate_words(allocation: Allocation, status: PublicStatus) -> str:
    """Return the rate while it is charged, else why it is not."""
    if status in BILLED:
        return formats.hourly(allocation.rate_micros_per_hour, allocation.currency)
    return "stopped" if status in STOPPED and allocation.active_at else "not billed"


def ran_for(allocation: Allocation, now: datetime) -> str:
    """Return how long it has been, or was, billed; nothing if it never was."""
    if allocation.active_at is None:
        return ""
    return formats.span(allocation.active_at, allocation.billing_stopped_at or now)


def ssh_command(allocation: Allocation) -> str:
    """Return the command that opens a shell, or nothing while there is none."""
    found = allocation.connection
    if found is None:
        return ""
    port = "" if found.port == 22 else f"-p {found.port} "  # noqa: PLR2004  SSH's own
    return f"ssh {port}{found.username}@{found.host}"


def row_actions(
    allocation: Allocation, status: PublicStatus, href: str, *, may_act: bool = True
) -> tuple[MenuEntry, ...]:
    """Return what can be done with a workload in its present state, by who may act on it."""
    entries = [MenuEntry(text="Open", icon="arrow-right", href=href, operation="getAllocation")]
    if status is PublicStatus.ACTIVE:
        entries.append(
            MenuEntry(
                text="Open terminal",
                icon="terminal-2",
                href=f"{href}?terminal=open",
                operation="mintTerminalToken",
            )
        )
        if command := ssh_command(allocation):
            entries.append(MenuEntry(text="Copy SSH command", icon="copy", href=href, copy=command))
    if allocation.active_at:
        entries.append(
            MenuEntry(
                text="Metrics",
                icon="chart-line",
                href=f"{href}?tab=metrics",
                operation="getAllocationMetrics",
            )
        )
    if allocation.billing_stopped_at:
        entries.append(
            MenuEntry(
                text="Receipt", icon="receipt", href=f"{href}/receipt", operation="getReceipt"
            )
        )
    entries.append(
        MenuEntry(
            text="Task", icon="activity", href=f"/tasks/{allocation.task_id}", operation="getTask"
        )
    )
    if may_act:
        entries += _changes(status, href)
    return tuple(entries)


def _changes(status: PublicStatus, href: str) -> list[MenuEntry]:
    entries = []
    if status in RESTARTABLE:
        entries.append(
            MenuEntry(
                text="Restart…",
                icon="rotate-clockwise",
                href=f"{href}/restart",
                dialog=True,
                operation="restartAllocation",
            )
        )
    if status in CANCELLABLE:
        entries += [
            MenuEntry(text="-"),
            MenuEntry(
                text="Cancel launch…",
                icon="player-stop",
                href=f"{href}/cancel",
                danger=True,
                dialog=True,
                operation="cancelAllocation",
            ),
        ]
    if status in RELEASABLE:
        entries += [
            MenuEntry(text="-"),
            MenuEntry(
                text="Retry release…" if status is PublicStatus.RELEASE_FAILED else "Release…",
                icon="eraser",
                href=f"{href}/release",
                danger=True,
                dialog=True,
                operation="releaseAllocation",
            ),
        ]
    return entries
