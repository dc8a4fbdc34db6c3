"""Lists as CSV (RFC 4180): streamed page by page, with the filters of the list they come from.

A spreadsheet runs a cell that begins like a formula, and names come from people, so such a cell
gets an apostrophe in front. Numbers stay numbers. Source: OWASP, CSV Injection, read 2026-11-22.
"""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Stream

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.briefs import AllocationBrief
from gpucloud_core.allocations.lifecycle import STATES_OF
from gpucloud_core.allocations.lists import ListBriefs
from gpucloud_core.kernel.ids import ProjectId
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.time import Clock, rfc3339
from gpucloud_web.api.allocation_bodies import AllocationItem
from gpucloud_web.api.allocations import Status
from gpucloud_web.api.lists import Sort, list_query

T = TypeVar("T")

PAGE: Final = 100
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


async def csv_of(
    body: type[msgspec.Struct],
    of: Callable[[T], msgspec.Struct],
    ask: Callable[[str | None], Awaitable[Page[T]]],
    *,
    name: str,
    now: datetime,
) -> Stream:
    """Return every row of a list as CSV, one page in memory at a time.

    The fields of ``body``, as the API names them, are the columns. ``ask`` reads the page after a
    cursor; the first is read here, so that a refusal is an answer. ``name`` is what the file is
    called, before the time in UTC.
    """
    first = await ask(None)

    async def lines() -> AsyncIterator[str]:
        yield csv_line(body.__struct_encode_fields__)
        page = first
        while True:
            yield "".join(csv_line(map(cell, _values(of(row)))) for row in page.items)
            if page.next_cursor is None:
                return
            page = await ask(page.next_cursor)

    filename = f"{name}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.csv"
    return Stream(
        lines(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


async def allocations_csv(
    *,
    actor: Actor,
    project_id: ProjectId,
    list_briefs: ListBriefs,
    query: ListQuery,
    name: str,
    now: datetime,
) -> Stream:
    """Return a project's allocations as CSV."""

    async def ask(cursor: str | None) -> Page[AllocationBrief]:
        asked = replace(query, cursor=cursor, limit=PAGE)
        return await list_briefs(actor=actor, project_id=project_id, query=asked)

    return await csv_of(AllocationItem, AllocationItem.of, ask, name=name, now=now)


def cell(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        value = "; ".join(f"{key}: {each}" for key, each in value.items())
    text = str(value)
    if not isinstance(value, int) and text.startswith(_FORMULA):
        return "'" + text
    return text


def csv_line(cells: Iterable[str]) -> str:
    """Return one line, quoted where it must be."""
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


def _values(body: msgspec.Struct) -> list[object]:
    return [getattr(body, name) for name in body.__struct_fields__]


@get(
    "/allocations/csv",
    operation_id="exportAllocations",
    media_type="text/csv",
    tags=["allocations"],
)
async def export_allocations(
    actor: NamedDependency[Actor],
    project: NamedDependency[ProjectId],
    list_briefs: FromDishka[ListBriefs],
    clock: FromDishka[Clock],
    sort: Sort = None,
    status: Status = None,
    sku: FromQuery[list[str] | None] = None,
    q: FromQuery[str] = "",
) -> Stream:
    """Export the project's allocations as CSV (RFC 4180), streamed, with the same filters."""
    states = None if status is None else sorted({s for each in status for s in STATES_OF[each]})
    return await allocations_csv(
        actor=actor,
        project_id=project,
        list_briefs=list_briefs,
        query=list_query(sort=sort, search=q, state=states, sku_id=sku),
        name="allocations",
        now=clock.now(),
    )
