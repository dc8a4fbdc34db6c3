"""View rows of the list of nodes: who holds them, what of them is sold, and what is not well."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from gpucloud_core.fleet.queries import NodeLine
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.nodes.model import Node, NodeStatus, SlotState
from gpucloud_web import formats
from gpucloud_web.components import MenuEntry
from gpucloud_web.node_picture import OUT_OF_SALE, SlotStrip, mask_of
from gpucloud_web.pages.addresses import ListState
from gpucloud_web.pages.node_words import MODES, observed
from gpucloud_web.tables import NEWEST_FIRST, Cell, Column, Empty, ListSpec, ListView, Row

VIEWS: Final[Mapping[str, tuple[str, tuple[NodeStatus, ...]]]] = {
    "all": ("In the fleet", tuple(status for status in NodeStatus if status != "deleted")),
    "active": ("Active", (NodeStatus.ACTIVE,)),
    "enrolling": ("Enrolling", (NodeStatus.ENROLLING,)),
    "out": ("Out of sale", (NodeStatus.DRAINING, NodeStatus.OFFLINE, NodeStatus.QUARANTINED)),
    "gone": ("Retired", (NodeStatus.RETIRED, NodeStatus.DELETED)),
}

NODES: Final = ListSpec(
    name="nodes",
    noun="nodes",
    views={view: title for view, (title, _) in VIEWS.items()},
    sorts={**NEWEST_FIRST, "name": "Name, A to Z", "-name": "Name, Z to A", "status": "Status"},
    columns=(
        Column(key="name", title="Node", sort="name"),
        Column(key="status", title="Status", sort="status"),
        Column(key="slots", title="Slots"),
        Column(key="holders", title="Held by"),
        Column(key="mode", title="Mode"),
        Column(key="region", title="Region"),
        Column(key="observed", title="Observed"),
        Column(key="added", title="Added", sort="id", number=True),
    ),
    search="Name, region or id",
    live="fleet",
)

NO_NODES: Final = Empty(
    heading="No nodes yet",
    sentence="A node is a GPU server that we operate. Add one with its SSH credentials; nothing "
    "of it is sold before you have reviewed what was found and approved its slots.",
    action="Add node",
    href="/admin/nodes/new",
)


def where_of(state: ListState) -> dict[str, tuple[object, ...]]:
    """Return the conditions that a saved view means."""
    return {"status": VIEWS[state.view][1]}


def query_of(state: ListState) -> ListQuery:
    """Return what an address asks the list for."""
    return state.query(where_of(state))


def strip_of(line: NodeLine) -> SlotStrip | None:
    """Return the node's strip as an operator sees it: sold, free, withheld."""
    if not line.slots:
        return None
    held = 0
    for one in line.held:
        held |= one.claim.mask
    strip = SlotStrip.of(
        numa=[slot.numa for slot in line.slots],
        mine=0,
        free=mask_of(line.slots, {SlotState.AVAILABLE}),
        withheld=mask_of(line.slots, OUT_OF_SALE),
        blocked=mask_of(line.slots, {SlotState.CLEANUP_BLOCKED}),
    )
    total, sold = len(line.slots), held.bit_count()
    return SlotStrip(cells=strip.cells, label=f"{sold} of {total} GPUs are held")


def slots_words(line: NodeLine) -> str:
    """Return how many slots are in which state, such as ``6 held · 2 free``."""
    held = sum(one.claim.mask.bit_count() for one in line.held)
    free = sum(slot.state is SlotState.AVAILABLE for slot in line.slots)
    proposed = sum(slot.state is SlotState.PROPOSED for slot in line.slots)
    disabled = sum(slot.state is SlotState.DISABLED for slot in line.slots)
    said = [
        *([f"{held} held"] if held else []),
        *([f"{free} free"] if free else []),
        *([f"{proposed} to approve"] if proposed else []),
        *([f"{disabled} off sale"] if disabled else []),
    ]
    return " · ".join(said) or "none yet"


def why_unsold(line: NodeLine) -> str:
    """Return why nothing new is sold from the node, in one line, or nothing."""
    if line.node.status_reason:
        return line.node.status_reason
    if line.node.status is NodeStatus.ACTIVE and line.capacity and not line.capacity.sellable:
        return f"not sold: {line.capacity.unsellable_reason}"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesPage:
    """All that ``nodes/index.html`` may know."""

    total: str
    may_add: bool
    list: ListView

    @classmethod
    def of(
        cls,
        *,
        state: ListState,
        page: Page[NodeLine],
        counts: Mapping[NodeStatus, int],
        zone: tzinfo,
        may_add: bool,
    ) -> "NodesPage":
        totals = {
            view: sum(counts.get(status, 0) for status in statuses)
            for view, (_, statuses) in VIEWS.items()
        }
        view = state.list_view(
            page,
            [node_row(line, zone) for line in page.items],
            empty=NO_NODES,
            counts=totals,
            hot=("out",),
            ever=sum(counts.values()) > 0,
        )
        return cls(total=f"{totals['all']:,}", may_add=may_add, list=view)


def node_row(line: NodeLine, zone: tzinfo) -> Row:
    """Return a line of the list."""
    node = line.node
    href = f"/admin/nodes/{node.id}"
    return Row(
        id=node.id,
        label=node.name,
        selectable=False,
        menu=_menu(node, href),
        cells={
            "name": Cell(
                text=node.name,
                href=href,
                second=formats.shortened(node.id),
                copy=node.id,
                copy_label=f"id of {node.name}",
            ),
            "status": Cell(kind="node_operator", state=node.status, second=why_unsold(line)),
            "slots": Cell(text=slots_words(line), strip=strip_of(line)),
            "holders": _holders(line),
            "mode": Cell(text=MODES[node.mode]),
            "region": Cell(text=node.region),
            "observed": _observed(node),
            "added": Cell(when=formats.moment(node.created_at, line.as_of, zone)),
        },
    )


def _observed(node: Node) -> Cell:
    state = observed(node)
    if state is None:
        return Cell(unknown="it was not probed yet")
    return Cell(kind="node_observed", state=state, second=node.probe_error)


def _holders(line: NodeLine) -> Cell:
    """Return the first holder with its owner, as a link to it, and how many more there are."""
    if not line.held:
        return Cell(text="nobody", weak=True)
    first, more = line.held[0], len(line.held) - 1
    name = first.allocation.name if first.allocation else first.claim.allocation_id
    rest = f" and {formats.counted(more, 'other')}" if more else ""
    return Cell(
        text=name,
        href=f"/admin/allocations?q={first.claim.allocation_id}",
        second=f"{first.owner or 'unknown'}{rest}",
    )


def _menu(node: Node, href: str) -> tuple[MenuEntry, ...]:
    entries = [MenuEntry(text="Open", icon="arrow-right", href=href, operation="getNode")]
    if node.status is NodeStatus.ACTIVE:
        entries.append(
            MenuEntry(
                text="Drain…",
                icon="hourglass",
                href=f"{href}/drain",
                dialog=True,
                operation="drainNode",
            )
        )
    return tuple(entries)
