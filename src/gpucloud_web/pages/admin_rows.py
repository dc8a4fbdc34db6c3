"""View rows of the admin's dashboard and of every tenant's allocations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.allocations.lifecycle import PublicStatus
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.fleet.overview import AnyAllocation, AnyLine, Hardware, Overview
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.notices.model import AttentionRow
from gpucloud_web import formats
from gpucloud_web.components import Consequence, Fact, Kpi, MenuEntry, TimelineRow
from gpucloud_web.pages.addresses import ListState
from gpucloud_web.pages.workload_rows import VIEWS, hardware, rate_words, states_of, view_counts
from gpucloud_web.tables import NEWEST_FIRST, Cell, Column, Empty, FilterField, ListSpec, ListView
from gpucloud_web.tables import Row as TableRow

PATH: Final = "/admin/allocations"
FORCIBLE: Final = frozenset(
    {
        PublicStatus.PROVISIONING,
        PublicStatus.ACTIVE,
        PublicStatus.RESTARTING,
        PublicStatus.DEGRADED,
        PublicStatus.RELEASE_FAILED,
    }
)

ANY: Final = ListSpec(
    name="any-allocations",
    noun="allocations",
    views={view: title for view, (title, _) in VIEWS.items()},
    sorts={**NEWEST_FIRST, "name": "Name, A to Z", "-gpu_count": "Most GPUs first"},
    columns=(
        Column(key="name", title="Allocation", sort="name"),
        Column(key="status", title="Status"),
        Column(key="owner", title="Owner"),
        Column(key="hardware", title="Hardware", sort="gpu_count"),
        Column(key="node", title="Node"),
        Column(key="launched", title="Launched", sort="id", number=True),
        Column(key="rate", title="Rate", number=True),
    ),
    search="Name or id",
    live="fleet",
)

NOTHING_RUNS: Final = Empty(
    heading="Nobody has launched anything yet",
    sentence="Every tenant's allocations stand here, newest first, with their owner and node.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareRow:
    """All GPUs of one model: what is held of them, and what is left."""

    model: str
    nodes: str
    total: int
    held: int
    words: str
    free: str
    most_free: str
    off_sale: str

    @classmethod
    def of(cls, kind: Hardware) -> "HardwareRow":
        used = kind.gpus_held * 100 // kind.gpus_total
        return cls(
            model=kind.model,
            nodes=formats.counted(kind.nodes, "node"),
            total=kind.gpus_total,
            held=kind.gpus_held,
            words=f"{kind.gpus_held:,} of {kind.gpus_total:,} ({used} %)",
            free=f"{kind.gpus_free:,}",
            most_free=f"{kind.most_free:,} on one node" if kind.gpus_free else "sold out",
            off_sale=f"{kind.gpus_off_sale:,}" if kind.gpus_off_sale else "none",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleRow:
    """What wants an operator, as it stands on the dashboard."""

    severity: str
    title: str
    who: str
    when: formats.Moment

    @classmethod
    def of(cls, row: AttentionRow, now: datetime, zone: tzinfo) -> "TroubleRow":
        who = f"{row.acknowledged_by} is on it" if row.acknowledged_by else "nobody is on it"
        return cls(
            severity=row.severity,
            title=row.title,
            who=who,
            when=formats.moment(row.first_seen, now, zone),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardPage:
    """All that ``admin/index.html`` may know."""

    kpis: tuple[Kpi, ...]
    updated: str
    hardware: tuple[HardwareRow, ...]
    trouble: tuple[TroubleRow, ...]

    @classmethod
    def of(cls, seen: Overview, trouble: Sequence[AttentionRow], zone: tzinfo) -> "DashboardPage":
        used = seen.gpus_held * 100 // seen.gpus_total if seen.gpus_total else 0
        stuck = seen.allocations_stuck
        moving = f"{seen.allocations_moving:,} on their way"
        return cls(
            kpis=(
                Kpi(
                    label="Total GPUs",
                    value=f"{seen.gpus_total:,}",
                    note=f"{seen.gpus_held:,} held ({used} %), {seen.gpus_free:,} free to sell",
                    icon="cpu",
                    href="/admin/nodes",
                ),
                Kpi(
                    label="Free nodes",
                    value=f"{seen.nodes_free:,}",
                    unit=f"of {seen.nodes_total:,}",
                    note=f"{seen.nodes_out:,} off sale" if seen.nodes_out else "all are on sale",
                    tone="warn" if seen.nodes_out else "",
                    icon="server",
                    href="/admin/nodes?view=out" if seen.nodes_out else "/admin/nodes",
                ),
                Kpi(
                    label="Active allocations",
                    value=f"{seen.allocations_active:,}",
                    note=f"{moving}, {stuck:,} could not be released" if stuck else moving,
                    tone="warn" if stuck else "",
                    icon="server-2",
                    href=f"{PATH}?view={'attention' if stuck else 'active'}",
                ),
                Kpi(label="Users", value=f"{seen.users:,}", note="who can sign in", icon="users"),
            ),
            updated=formats.clock_time(seen.as_of, zone),
            hardware=tuple(HardwareRow.of(kind) for kind in seen.hardware),
            trouble=tuple(TroubleRow.of(row, seen.as_of, zone) for row in trouble),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyPage:
    """All that ``admin/allocations.html`` may know."""

    total: str
    list: ListView

    @classmethod
    def of(
        cls,
        *,
        state: ListState,
        page: Page[AnyLine],
        counts: Mapping[AllocationState, int],
        names: Mapping[str, str],
        zone: tzinfo,
        may_force: bool,
    ) -> "AnyPage":
        totals = view_counts(counts)
        view = state.list_view(
            page,
            [any_row(line, names, zone, may_force=may_force) for line in page.items],
            empty=NOTHING_RUNS,
            counts=totals,
            hot=("attention",),
            ever=totals["all"] > 0,
        )
        return cls(total=f"{totals['all']:,}", list=view)


def spec_of(nodes: Mapping[NodeId, str]) -> ListSpec:
    """Return the list with its filter by node."""
    options = {str(node_id): name for node_id, name in nodes.items()}
    filters = (FilterField(name="node", title="Node", options=options),)
    return ListSpec(
        name=ANY.name,
        noun=ANY.noun,
        views=ANY.views,
        sorts=ANY.sorts,
        columns=ANY.columns,
        search=ANY.search,
        filters=filters,
        live=ANY.live,
    )


def where_of(state: ListState) -> dict[str, tuple[object, ...]]:
    where: dict[str, tuple[object, ...]] = {}
    if states := states_of(state.view):
        where["state"] = states
    if node := state.filters.get("node"):
        where["node_id"] = (node,)
    return where


def query_of(state: ListState) -> ListQuery:
    """Return what an address asks the list for."""
    return state.query(where_of(state))


def any_row(line: AnyLine, names: Mapping[str, str], zone: tzinfo, *, may_force: bool) -> TableRow:
    row = line.allocation
    reason = row.release_failed_reason or row.failure_reason or ""
    return TableRow(
        id=row.id,
        label=row.name,
        selectable=False,
        menu=_menu(line, may_force=may_force),
        cells={
            "name": Cell(
                text=row.name,
                href=f"{PATH}/{row.id}",
                second=formats.shortened(row.id),
                copy=row.id,
                copy_label=f"id of {row.name}",
            ),
            "status": Cell(kind="allocation", state=line.status, second=reason),
            "owner": Cell(text=line.owner or "unknown", second=line.tenant),
            "hardware": Cell(text=hardware(row, names)),
            "node": Cell(text=line.node_name, href=f"/admin/nodes/{row.node_id}")
            if line.node_name
            else Cell(unknown="its node is no longer known"),
            "launched": Cell(when=formats.moment(row.requested_at, line.as_of, zone)),
            "rate": Cell(text=rate_words(row, line.status)),
        },
    )


def _whose(line: AnyLine) -> str:
    owner = line.owner or "somebody unknown"
    return owner if owner == line.tenant else f"{owner} of {line.tenant}"  # a personal tenant


def _menu(line: AnyLine, *, may_force: bool) -> tuple[MenuEntry, ...]:
    href = f"{PATH}/{line.allocation.id}"
    entries = [MenuEntry(text="Open", icon="arrow-right", href=href)]
    if may_force and line.status in FORCIBLE:
        entries.append(
            MenuEntry(
                text="Force release…",
                icon="eraser",
                href=f"{href}/force-release",
                danger=True,
                dialog=True,
                operation="forceRelease",
            )
        )
    if may_force and line.status is PublicStatus.RELEASE_FAILED:
        entries.append(
            MenuEntry(
                text="Force cleanup…",
                icon="lock-exclamation",
                href=f"{href}/force-cleanup",
                danger=True,
                dialog=True,
                operation="forceCleanup",
            )
        )
    return tuple(entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneAnyPage:
    """All that ``admin/allocation.html`` may know."""

    id: str
    name: str
    status: str
    about: str
    facts: tuple[Fact, ...]
    timeline: tuple[TimelineRow, ...]
    menu: tuple[MenuEntry, ...]
    node_href: str
    node: str

    @classmethod
    def of(
        cls, seen: AnyAllocation, names: Mapping[str, str], zone: tzinfo, *, may_force: bool
    ) -> "OneAnyPage":
        line, row = seen.line, seen.line.allocation
        reason = row.release_failed_reason or row.failure_reason or ""
        return cls(
            id=row.id,
            name=row.name,
            status=line.status,
            about=_whose(line),
            facts=(
                Fact(label="Hardware", value=hardware(row, names)),
                Fact(label="Rate", value=rate_words(row, line.status)),
                Fact(label="Owner", value=line.owner or "unknown"),
                Fact(label="Tenant", value=line.tenant),
                *(
                    Fact(label=label, value=formats.shortened(whole), copy=whole)
                    for label, whole in (
                        ("Tenant id", row.tenant_id),
                        ("Project", row.project_id),
                        ("Claim", row.claim_id),
                        ("Task", row.task_id),
                    )
                ),
                *([Fact(label="Reason", value=reason)] if reason else ()),
            ),
            timeline=tuple(
                TimelineRow(
                    kind="allocation",
                    state=change.state,
                    title=change.state.replace("_", " ").capitalize(),
                    text=change.reason,
                    note=f"by {change.actor}",
                    right=formats.short_time(change.at, line.as_of, zone),
                )
                for change in reversed(seen.changes)
            ),
            menu=_menu(line, may_force=may_force)[1:],
            node_href=f"/admin/nodes/{row.node_id}",
            node=line.node_name or row.node_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcePage:
    """All that ``admin/force.html`` may know."""

    title: str
    name: str
    back: str
    action: str
    verb: str
    points: tuple[Consequence, ...]
    vouch: bool
    operation: str
    key: str
    error: str

    @classmethod
    def of(cls, line: AnyLine, act: str, *, key: str, error: str = "") -> "ForcePage":
        row = line.allocation
        cleanup = act == "force-cleanup"
        release = (
            Consequence(icon="users", text=f"It belongs to {_whose(line)}, who is not asked."),
            Consequence(icon="eraser", text="They are cut off at once; its disks are wiped."),
            Consequence(icon="wallet", text="Billing stops the moment it is asked."),
        )
        free = (
            Consequence(icon="alert-triangle", text="Its wipe was not proven."),
            Consequence(icon="lock-exclamation", text="Its slots are sold again on your word."),
            Consequence(icon="file-text", text="The receipt says that an operator vouched."),
        )
        return cls(
            title=f"{'Free the capacity of' if cleanup else 'Force the release of'} {row.name}?",
            name=row.name,
            back=f"{PATH}/{row.id}",
            action=f"{PATH}/{row.id}/{act}",
            verb="Force cleanup" if cleanup else "Force release",
            points=free if cleanup else release,
            vouch=cleanup,
            operation="forceCleanup" if cleanup else "forceRelease",
            key=key,
            error=error,
        )
