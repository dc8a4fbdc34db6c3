"""A page of allocations in brief, in one statement and without the rows around it.

The list that programs ask for most: no row of it becomes an object of the core's before it is a
brief. What a brief is, ``lists.read_briefs`` says; a property test compares the two.
"""

from functools import cache
from operator import getitem
from typing import Final

from sqlalchemy import literal_column

from gpucloud_adapters.postgres.costs import COST
from gpucloud_adapters.postgres.session import Found, Session
from gpucloud_adapters.postgres.statements import ListShape, Statements, list_values
from gpucloud_adapters.stored import kinds
from gpucloud_adapters.stored.lists import plan_list
from gpucloud_core.allocations.briefs import AllocationBrief, step_words
from gpucloud_core.allocations.lifecycle import LIFECYCLE, PublicStatus, public_status
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.rows import ListQuery, Page

_OVER: Final = ", ".join(f"'{state}'" for state in AllocationState if LIFECYCLE.is_final(state))
_OWN: Final = (
    "id",
    "name",
    "state",
    "shape",
    "sku_id",
    "gpu_count",
    "project_id",
    "task_id",
    "region",
    "requested_at",
    "active_at",
    "billing_stopped_at",
    "failure_reason",
    "release_failed_reason",
    "rate_micros_per_hour",
    "currency",
    "cause",
    "ended_at",
)
_BESIDE: Final = {
    "node": "SELECT n.name FROM nodes AS n WHERE n.id = allocations.node_id",
    "cost": f"""
        SELECT CAST(sum({COST.format("statement_timestamp()")}) AS bigint)
        FROM usage_segments WHERE allocation_id = allocations.id COLLATE "default"
    """,  # noqa: S608  a formula of ours
    # Whether its end is asked for, and the titles of its steps with how many are over. What has
    # ended moves no more.
    "moves": f"""
        SELECT jsonb_build_array(
            t.cancel_requested_at IS NOT NULL,
            CASE WHEN t.finished_at IS NULL
            THEN jsonb_path_query_array(t.steps, '$[*].title') ELSE '[]' END,
            jsonb_array_length(jsonb_path_query_array(t.steps, '$[*] ? (@.finished_at != null)'))
        )
        FROM tasks AS t
        WHERE t.id = allocations.task_id AND allocations.state NOT IN ({_OVER})
    """,  # noqa: S608  states of ours
}
_BRIEFS: Final = Statements(
    kinds.ALLOCATIONS,
    {name: literal_column(f"({sql})").label(name) for name, sql in _BESIDE.items()},
    fields=_OWN,
)


async def briefs(session: Session, query: ListQuery) -> Page[AllocationBrief]:
    plan = plan_list(kinds.ALLOCATIONS, query)
    found = await session.rows(_BRIEFS.page(ListShape.of(plan)), list_values(plan))
    page = plan.page(found, getitem)
    return Page(tuple(map(_brief, page.items)), page.next_cursor, page.prev_cursor)


_STILL: Final = (False, (), 0)


def _brief(row: Found) -> AllocationBrief:
    id_, name, state, shape, sku, gpu_count, project, task, region, *rest = row
    requested_at, active_at, stopped_at, failure, release_failure, *rest = rest
    rate, currency, cause, _ended_at, node, cost, moves = rest
    cancel_asked, titles, finished = moves or _STILL
    return AllocationBrief(
        id_,
        name,
        _status(state, cause, cancel_asked),
        shape,
        sku,
        gpu_count,
        project,
        task,
        node or "",
        region,
        step_words(titles, finished),
        requested_at,
        active_at,
        stopped_at,
        failure,
        release_failure,
        rate,
        cost or 0,
        currency,
    )


@cache  # there are few
def _status(state: str, cause: str, cancel_asked: bool) -> PublicStatus:
    return public_status(AllocationState(state), cause=cause, cancel_asked=cancel_asked)
