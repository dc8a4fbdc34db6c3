"""View rows of workloads: the list, and the words that list and detail share."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.allocations.lifecycle import STATES_OF, PublicStatus
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.queries import AllocationLine
from gpucloud_core.kernel.rows import Page
from gpucloud_web import formats
from gpucloud_web.components import Chip, Head, Kept, MenuEntry, Pager, SavedView
from gpucloud_web.node_picture import SlotStrip, slot_strip
from gpucloud_web.pages.addresses import ListState

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

SORTS: Final = ("-id", "id", "name", "-name")

BILLED: Final = frozenset({PublicStatus.ACTIVE, PublicStatus.RESTARTING})
STOPPED: Final = frozenset(
    {PublicStatus.RELEASING, PublicStatus.RELEASED, PublicStatus.RELEASE_FAILED}
)
CANCELLABLE: Final = frozenset({PublicStatus.PROVISIONING})
RELEASABLE: Final = frozenset(
    {PublicStatus.ACTIVE, PublicStatus.DEGRADED, PublicStatus.RELEASE_FAILED}
)


def states_of(view: str) -> tuple[AllocationState, ...]:
    """Return the raw states a saved view asks for; none means all."""
    return tuple(dict.fromkeys(s for status in VIEWS[view][1] for s in STATES_OF[status]))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadRow:
    """One line of the list."""

    id: str
    short_id: str
    name: str
    href: str
    status: str
    second: str
    warn: bool
    hardware: str
    strip: SlotStrip | None
    node: str
    launched: formats.Moment
    rate: str
    billed: bool
    cost: str
    cost_note: str
    menu: tuple[MenuEntry, ...]

    @classmethod
    def of(
        cls, line: AllocationLine, *, base: str, names: Mapping[str, str], zone: tzinfo
    ) -> "WorkloadRow":
        row, now = line.allocation, line.as_of
        href = f"{base}/{row.id}"
        return cls(
            id=row.id,
            short_id=formats.shortened(row.id),
            name=row.name,
            href=href,
            status=line.status,
            second=second_line(row, line.status, line.step, now, zone),
            warn=line.status in VIEWS["attention"][1],
            hardware=hardware(row, names),
            strip=slot_strip(line.slots, row.mask) if row.ended_at is None else None,
            node=line.node_name,
            launched=formats.moment(row.requested_at, now, zone),
            rate=rate_words(row, line.status),
            billed=line.status in BILLED,
            cost=formats.amount(line.cost_micros, row.currency),
            cost_note=ran_for(row, now),
            menu=row_actions(row, line.status, href),
        )


def ssh_command(allocation: Allocation) -> str:
    """Return the command that opens a shell, or nothing while there is none."""
    found = allocation.connection
    if found is None:
        return ""
    port = "" if found.port == 22 else f"-p {found.port} "  # noqa: PLR2004  SSH's own
    return f"ssh {port}{found.username}@{found.host}"


def row_actions(allocation: Allocation, status: PublicStatus, href: str) -> tuple[MenuEntry, ...]:
    """Return what can be done with a workload in its present state."""
    entries = [MenuEntry(text="Open", icon="arrow-right", href=href)]
    if status is PublicStatus.ACTIVE:
        entries.append(
            MenuEntry(text="Open terminal", icon="terminal-2", href=f"{href}?terminal=open")
        )
        if command := ssh_command(allocation):
            entries.append(MenuEntry(text="Copy SSH command", icon="copy", href=href, copy=command))
    if allocation.billing_stopped_at:
        entries.append(MenuEntry(text="Receipt", icon="receipt", href=f"{href}/receipt"))
    entries.append(MenuEntry(text="Task", icon="activity", href=f"/tasks/{allocation.task_id}"))
    if status in CANCELLABLE:
        entries += [
            MenuEntry(text="-"),
            MenuEntry(
                text="Cancel launch…",
                icon="player-stop",
                href=f"{href}/cancel",
                danger=True,
                dialog=True,
            ),
        ]
    if status in RELEASABLE:
        verb = "Retry release…" if status is PublicStatus.RELEASE_FAILED else "Release…"
        entries += [
            MenuEntry(text="-"),
            MenuEntry(text=verb, icon="eraser", href=f"{href}/release", danger=True, dialog=True),
        ]
    return tuple(entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadsPage:
    """All that ``workloads/index.html`` may know."""

    title: str
    total: str
    path: str
    views: tuple[SavedView, ...]
    search: str
    kept: tuple[Kept, ...]
    chips: tuple[Chip, ...]
    clear: str
    heads: tuple[Head, ...]
    rows: tuple[WorkloadRow, ...]
    pager: Pager
    notice: str
    first_use: bool
    filtered: bool

    @classmethod
    def of(
        cls,
        *,
        title: str,
        state: ListState,
        page: Page[AllocationLine],
        counts: Mapping[AllocationState, int],
        names: Mapping[str, str],
        zone: tzinfo,
    ) -> "WorkloadsPage":
        totals = view_counts(counts)
        rows = tuple(
            WorkloadRow.of(line, base=state.path, names=names, zone=zone) for line in page.items
        )
        return cls(
            title=title,
            total=f"{totals['all']:,}",
            path=state.path,
            views=tuple(
                SavedView(
                    title=words,
                    href=state.with_(view=view, q=state.search),
                    count=f"{totals[view]:,}",
                    current=view == state.view,
                    hot=view == "attention" and totals[view] > 0,
                )
                for view, (words, _) in VIEWS.items()
            ),
            search=state.search,
            kept=state.kept(),
            chips=state.chips(),
            clear=state.with_(q="", view="all") if state.search else "",
            heads=(
                state.head("Name", "name"),
                state.head("Status"),
                state.head("Hardware"),
                state.head("Node"),
                state.head("Launched", "id", number=True),
                state.head("Rate", number=True),
                state.head("Cost", number=True),
                Head(title="Actions", hidden=True),
            ),
            rows=rows,
            pager=state.pager(page, "workloads"),
            notice=state.notice(),
            first_use=not rows and totals["all"] == 0,
            filtered=not rows and totals["all"] > 0,
        )
