"""Lists read the same, page for page and cursor for cursor, from PostgreSQL and from memory.

Seen to fail when null sorted first in memory, when the text searched for was not escaped, and when
costs were rounded down once for an allocation and not once for each of its segments.
What both have in common (``stored.lists``) the contract suite watches.
"""

import asyncio
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.stores import PLATFORM, StoreUnit
from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.work.model import TaskStatus
from row_builders import NOW, FixedClock, a_project, a_segment, a_task, a_tenant

TENANT, OTHER = a_tenant(), a_tenant()
PROJECTS = [a_project(tenant.id) for tenant in (TENANT, TENANT, OTHER)]
KINDS = ["provision", "release", "Release", "Größe", "größe_1", "100%", "a\\b"]
INSTANTS = [None, None, NOW, NOW + timedelta(microseconds=1), NOW + timedelta(hours=1)]
TASKS = [
    a_task(
        PROJECTS[number % 3].tenant_id,
        PROJECTS[number % 3].id,
        kind=KINDS[number % len(KINDS)],
        subject=KINDS[number * 5 % len(KINDS)],
        status=list(TaskStatus)[number % 5],
        finished_at=INSTANTS[number * 3 % len(INSTANTS)],
        created_at=NOW + timedelta(seconds=number * 7 % 4),
        parent_id=None if number % 2 else "tsk_parent",
    )
    for number in range(40)
]

queries = st.builds(
    ListQuery,
    where=st.fixed_dictionaries(
        {},
        optional={
            "status": st.lists(st.sampled_from(TaskStatus), max_size=3),
            "parent_id": st.lists(st.sampled_from([None, "tsk_parent"]), max_size=2),
            "finished_at": st.lists(st.sampled_from(INSTANTS), max_size=2),
            "undoing": st.lists(st.booleans(), max_size=1),
            "project_id": st.lists(st.sampled_from([one.id for one in PROJECTS]), max_size=2),
        },
    ),
    search=st.sampled_from(["", "", "", "RELEASE", "ß", "%", "_", "\\", "tsk_"]),
    sort=st.builds(
        lambda sign, name: sign + name,
        st.sampled_from(["", "-"]),
        st.sampled_from(["id", "kind", "status", "created_at", "finished_at"]),
    ),
    limit=st.integers(1, 7),
)
scopes = st.sampled_from([Scope.tenant(TENANT.id), Scope.tenant(OTHER.id), PLATFORM])
steps = st.lists(st.sampled_from(["next", "next", "prev"]), max_size=8)


async def load(transactions: Transactions[StoreUnit]) -> None:
    async with transactions.begin(PLATFORM) as unit:
        for tenant in (TENANT, OTHER):
            await unit.tenants.add(tenant)
        for project in PROJECTS:
            await unit.projects.add(project)
        for task in TASKS:
            await unit.tasks.add(task)


async def walk(
    transactions: Transactions[StoreUnit], scope: Scope, query: ListQuery, turns: list[str]
) -> list[object]:
    """Return every page seen on a walk to and fro."""
    pages: list[object] = []
    async with transactions.begin(scope) as unit:
        page = await unit.tasks.page(query)
        pages.append(page)
        for turn in turns:
            cursor = page.next_cursor if turn == "next" else page.prev_cursor
            if cursor is not None:
                again = ListQuery(query.where, query.search, query.sort, cursor, query.limit)
                page = await unit.tasks.page(again)
                pages.append(page)
    return pages


class TestLists:
    def test_read_the_same_from_both(self, database_url: str) -> None:
        with asyncio.Runner() as runner:
            engine = create_engine(database_url)
            real, memory = PostgresTransactions(engine), MemoryTransactions(FixedClock())
            runner.run(load(real))
            runner.run(load(memory))

            @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
            @given(scope=scopes, query=queries, turns=steps)
            def compare(scope: Scope, query: ListQuery, turns: list[str]) -> None:
                expected = runner.run(walk(memory, scope, query, turns))
                assert runner.run(walk(real, scope, query, turns)) == expected

            compare()
            runner.run(engine.dispose())


COSTLY = [AllocationId(f"alc_{number:026}") for number in range(3)]
microseconds = st.integers(0, 10**15).map(lambda count: timedelta(microseconds=count))
segments = st.builds(
    lambda subject, rate, start, length: a_segment(
        PROJECTS[0],
        allocation_id=subject,
        rate_micros_per_hour=rate,
        started_at=NOW + start,
        ended_at=None if length is None else NOW + start + length,
        settled_until=NOW + start,
    ),
    st.sampled_from(COSTLY[:2]),
    st.integers(0, 10**12) | st.sampled_from([1, 3_290_000, 3_599_999_999]),
    microseconds,
    st.none() | microseconds,
)


class TestCosts:
    def test_come_to_the_same_micro_unit_as_the_core_says(self, database_url: str) -> None:
        with asyncio.Runner() as runner:
            engine = create_engine(database_url)
            real = PostgresTransactions(engine)
            memory = MemoryTransactions(FixedClock())
            for transactions in (real, memory):
                runner.run(_owner(transactions))

            @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
            @given(rows=st.lists(segments, max_size=5, unique_by=_one_open), until=microseconds)
            def compare(rows: list[UsageSegment], until: timedelta) -> None:
                expected = runner.run(_costs(memory, rows, NOW + until))
                assert runner.run(_costs(real, rows, NOW + until)) == expected

            compare()
            runner.run(engine.dispose())


def _one_open(segment: UsageSegment) -> str:
    """An allocation has one segment that runs, at most."""
    return segment.id if segment.ended_at else segment.allocation_id


async def _owner(transactions: Transactions[StoreUnit]) -> None:
    async with transactions.begin(PLATFORM) as unit:
        await unit.tenants.add(TENANT)
        await unit.projects.add(PROJECTS[0])


async def _costs(
    transactions: Transactions[StoreUnit], rows: list[UsageSegment], until: datetime
) -> dict[AllocationId, int]:
    """Return what the segments cost, and leave none of them behind."""
    async with transactions.begin(PLATFORM) as unit:
        for row in rows:
            await unit.usage_segments.add(row)
        found = dict(await unit.usage_segments.costs(COSTLY, until))
        for row in rows:
            await unit.usage_segments.delete(row.id)
    return found
