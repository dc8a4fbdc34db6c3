"""View rows of the list of workloads: its columns, its filters, one line, and where a line went."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.allocations.lists import AllocationLine
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_web import formats
from gpucloud_web.components import MenuEntry
from gpucloud_web.node_picture import slot_strip
from gpucloud_web.pages.addresses import ListState
from gpucloud_web.pages.workload_rows import (
    BILLED,
    CANCELLABLE,
    RELEASABLE,
    RESTARTABLE,
    VIEWS,
    hardware,
    ran_for,
    rate_words,
    row_actions,
    second_line,
    states_of,
    view_counts,
    view_of,
)
from gpucloud_web.tables import (
    NEWEST_FIRST,
    BulkAction,
    Cell,
    Column,
    Empty,
    FilterField,
    Gone,
    ListSpec,
    ListView,
    Row,
)

SPEC: Final = ListSpec(
    name="workloads",
    noun="workloads",
    views={view: title for view, (title, _) in VIEWS.items()},
    sorts={
        **NEWEST_FIRST,
        "name": "Name, A to Z",
        "-name": "Name, Z to A",
        "-rate_micros_per_hour": "Highest rate first",
        "rate_micros_per_hour": "Lowest rate first",
        "-gpu_count": "Most GPUs first",
        "gpu_count": "Fewest GPUs first",
    },
    columns=(
        Column(key="name", title="Name", sort="name"),
        Column(key="status", title="Status"),
        Column(key="hardware", title="Hardware", sort="gpu_count"),
        Column(key="node", title="Node"),
        Column(key="region", title="Region", optional=True),
        Column(key="launched", title="Launched", sort="id", number=True),
        Column(key="active", title="Active since", number=True, optional=True),
        Column(key="ended", title="Ended", number=True, optional=True),
        Column(key="rate", title="Rate", sort="rate_micros_per_hour", number=True),
        Column(key="cost", title="Cost", number=True),
    ),
    search="Name or id",
    bulk=(
        BulkAction(
            verb="Restart",
            icon="rotate-clockwise",
            path="/workloads/bulk/restart",
            operation="restartAllocation",
        ),
        BulkAction(
            verb="Cancel launch",
            icon="player-stop",
            path="/workloads/bulk/cancel",
            operation="cancelAllocation",
            danger=True,
        ),
        BulkAction(
            verb="Release",
            icon="eraser",
            path="/workloads/bulk/release",
            operation="releaseAllocation",
            danger=True,
        ),
    ),
    live="allocation",
)
"""The list of workloads; its filters are added per request, as they depend on what is for sale."""

NOTHING_YET: Final = Empty(
    heading="Nothing launched yet",
    sentence="A workload is a set of GPUs on one node with a shell on it. It is billed by the "
    "second from the moment it is reachable until you release it.",
    action="Launch workload",
    href="/launch",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What every row of one answer is drawn with."""

    base: str
    names: Mapping[str, str]
    zone: tzinfo
    may_act: bool = True

    def row(self, line: AllocationLine) -> Row:
        """Return a line of the list."""
        row, now = line.allocation, line.as_of
        href = f"{self.base}/{row.id}"

        def moment(instant: datetime | None, otherwise: str) -> Cell:
            if instant is None:
                return Cell(unknown=otherwise)
            return Cell(when=formats.moment(instant, now, self.zone))

        return Row(
            id=row.id,
            label=row.name,
            selectable=self.may_act and line.status in RELEASABLE | RESTARTABLE | CANCELLABLE,
            menu=row_actions(row, line.status, href, may_act=self.may_act),
            cells={
                "name": Cell(
                    text=row.name,
                    href=href,
                    second=formats.shortened(row.id),
                    copy=row.id,
                    copy_label=f"id of {row.name}",
                ),
                "status": Cell(
                    kind="allocation",
                    state=line.status,
                    second=second_line(row, line.status, line.step, now, self.zone),
                    second_tone="bad" if line.status in VIEWS["attention"][1] else "",
                ),
                "hardware": Cell(
                    text=hardware(row, self.names),
                    strip=slot_strip(line.slots, row.mask) if row.ended_at is None else None,
                ),
                "node": Cell(text=line.node_name)
                if line.node_name
                else Cell(unknown="its node is no longer known"),
                "region": Cell(text=row.region),
                "launched": moment(row.requested_at, ""),
                "active": moment(row.active_at, "it was never active"),
                "ended": moment(row.ended_at, "it has not ended"),
                "rate": Cell(text=rate_words(row, line.status), weak=line.status not in BILLED),
                "cost": Cell(
                    text=formats.amount(line.cost_micros, row.currency),
                    strong=True,
                    second=ran_for(row, now),
                ),
            },
        )

    def gone(self, line: AllocationLine, state: ListState) -> Gone:
        """Return what stands where a row was that has left the view: where to, and since when."""
        row = line.allocation
        view = view_of(line.status)
        at = formats.short_time(row.state_since, line.as_of, self.zone)
        links = [MenuEntry(text="View", href=state.with_(view=view))]
        if row.billing_stopped_at:
            links.append(MenuEntry(text="Receipt", href=f"{self.base}/{row.id}/receipt"))
        return Gone(
            id=row.id,
            label=row.name,
            text=f"Moved to {VIEWS[view][0]} at {at}",
            links=tuple(links),
        )


def spec_of(names: Mapping[str, str], me: str) -> ListSpec:
    """Return the list with its filters: by what was bought, and by who launched it."""
    return replace(
        SPEC,
        filters=(
            FilterField(name="sku", title="Hardware", options=names),
            FilterField(name="by", title="Launched by", options={me: "me"}),
        ),
    )


def where_of(state: ListState) -> dict[str, tuple[object, ...]]:
    """Return the conditions that an address means."""
    where: dict[str, tuple[object, ...]] = {}
    if states := states_of(state.view):
        where["state"] = states
    for name, field in (("sku", "sku_id"), ("by", "user_id")):
        if value := state.filters.get(name):
            where[field] = (value,)
    return where


def query_of(state: ListState) -> ListQuery:
    """Return what an address asks the list for."""
    return state.query(where_of(state))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadsPage:
    """All that ``workloads/index.html`` may know."""

    title: str
    total: str
    list: ListView

    @classmethod
    def of(
        cls,
        *,
        title: str,
        state: ListState,
        page: Page[AllocationLine],
        counts: Mapping[AllocationState, int],
        drawing: Drawing,
    ) -> "WorkloadsPage":
        totals = view_counts(counts)
        view = state.list_view(
            page,
            tuple(drawing.row(line) for line in page.items),
            empty=NOTHING_YET,
            counts=totals,
            hot=("attention",),
            ever=totals["all"] > 0,
            rows_path=f"{state.path}/rows",
            export=f"{state.path}/csv",
        )
        return cls(title=title, total=f"{totals['all']:,}", list=view)


def still_in(line: AllocationLine, where: Mapping[str, Collection[object]]) -> bool:
    """Tell whether a row meets the conditions of the view it is shown in."""
    return all(getattr(line.allocation, field) in allowed for field, allowed in where.items())
