"""A small list for the gallery and for tests: every kind of cell, from an address like any list."""

from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl

from gpucloud_core.kernel.rows import Page
from gpucloud_web import formats
from gpucloud_web.components import MenuEntry
from gpucloud_web.node_picture import SlotStrip
from gpucloud_web.pages.addresses import ListState
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

NOW: Final = datetime(2026, 11, 22, 17, 6, tzinfo=UTC)
SPEC: Final = ListSpec(
    name="sample",
    noun="workloads",
    views={"all": "All", "active": "Active", "attention": "Needs attention"},
    sorts={**NEWEST_FIRST, "name": "Name, A to Z", "-name": "Name, Z to A"},
    columns=(
        Column(key="name", title="Name", sort="name"),
        Column(key="status", title="Status"),
        Column(key="hardware", title="Hardware"),
        Column(key="launched", title="Launched", sort="id", number=True),
        Column(key="cost", title="Cost", number=True),
        Column(key="ended", title="Ended", optional=True),
    ),
    search="Name or id",
    filters=(
        FilterField(name="by", title="Launched by", options={"me": "me"}),
        FilterField(name="since", title="Since"),
    ),
    bulk=(
        BulkAction(
            verb="Release",
            icon="eraser",
            path="/workloads/bulk/release",
            operation="releaseAllocation",
            danger=True,
        ),
    ),
)
NAMES: Final = ("sft-llama-70b", "مُدرَّب-70b", "🚀 sweep", "x" * 200)
STATES: Final = ("active", "provisioning", "release_failed", "released")


def sample_row(number: int) -> Row:
    """Return one row; names and states repeat."""
    name = NAMES[number % len(NAMES)]
    return Row(
        id=f"alc_{number:026}",
        label=name,
        menu=(MenuEntry(text="Open", icon="arrow-right", href="#"),),
        cells={
            "name": Cell(
                text=name,
                href=f"#row-alc_{number:026}",
                second=f"alc_{number:05}…",
                copy=f"alc_{number:026}",
                copy_label=f"id of {name}",
            ),
            "status": Cell(
                kind="allocation", state=STATES[number % len(STATES)], second="the next fact"
            ),
            "hardware": Cell(
                text="H200 SXM ×2",
                strip=SlotStrip.of(numa=(0, 0, 0, 0, 1, 1, 1, 1), mine=0b11, free=0b1100),
            ),
            "launched": Cell(when=formats.moment(NOW - timedelta(minutes=7 * number), NOW)),
            "cost": Cell(text="$1,284.37", strong=True, second="2 h 05 min"),
            "ended": Cell(unknown="it has not ended"),
        },
    )


def sample_list(query: str = "", *, rows: int = 4) -> ListView:
    """Return the list as the address ``query`` asks for it."""
    state = ListState.of("/_gallery", dict(parse_qsl(query)), SPEC)
    page: Page[str] = Page(items=("",) * rows, next_cursor="n", prev_cursor=state.cursor or None)
    return state.list_view(
        page,
        [sample_row(number) for number in range(rows)],
        empty=Empty(
            heading="Nothing launched yet",
            sentence="A workload is a set of GPUs with a shell on it.",
            action="Launch workload",
            href="/launch",
            command="gpucloud launch --sku h200-sxm",
        ),
        counts={"all": 37, "active": 4, "attention": 2},
        hot=("attention",),
        export="/workloads/csv",
    )


def sample_gone() -> Gone:
    """Return what stands where a row was."""
    return Gone(
        id="alc_gone",
        label="rlhf-sweep-02",
        text="Moved to Released at 17:05",
        links=(MenuEntry(text="View", href="#"), MenuEntry(text="Receipt", href="#")),
    )
