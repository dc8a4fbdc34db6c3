"""Rows that wait for the end of their unit, in the database.

Seen to fail when a savepoint did not write what waited before it, when a part that was undone left
its rows waiting, when rows were written after their part's scope had ended, and when nobody
counted the rows that a new value had found.
"""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from contracts.stores import PLATFORM, Household, settle
from contracts.transactions import ChangedMindError
from gpucloud_adapters.postgres.engine import Engine, create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions, PostgresUnit
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_core.kernel.errors import AlreadyExists, NotFound
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.unit import AuditFact, Event
from gpucloud_core.work.model import Task, TaskEvent, TaskEventKind
from row_builders import NOW, a_segment, a_task


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def transactions(engine: Engine) -> PostgresTransactions:
    return PostgresTransactions(engine)


@pytest.fixture
async def home(transactions: PostgresTransactions) -> Household:
    return await settle(transactions)


def of(home: Household) -> Task:
    return a_task(home.tenant.id, home.project.id)


def line(task: Task, number: int) -> TaskEvent:
    return TaskEvent(
        id=f"evt_{number}_{task.id}",
        tenant_id=task.tenant_id,
        task_id=task.id,
        at=NOW,
        kind=TaskEventKind.STEP_ACTIVE,
        text="x",
    )


async def stored(transactions: PostgresTransactions, home: Household) -> set[str]:
    async with transactions.begin(PLATFORM) as unit:
        return {task.id for task in await unit.tasks.find(tenant_id=home.tenant.id)}


class TestWaitingRows:
    async def test_go_in_one_message_with_all_that_the_unit_tells(
        self, engine: Engine, transactions: PostgresTransactions, home: Household
    ) -> None:
        task, said = of(home), list[str]()
        engine.heard = said.append

        async with transactions.begin(home.scope) as unit:
            await unit.tasks.add(task)
            await unit.tasks.keep(replace(task, wait_reason="soon"), [line(task, 1), line(task, 2)])
            await unit.usage_segments.add(a_segment(home.project))
            await unit.emit(Event(kind="x", subject=task.id, tenant_id=home.tenant.id))
            await unit.audit(AuditFact(action="x", target=task.id, tenant_id=home.tenant.id))

        engine.heard = None
        assert len(said) == 3  # it begins, it is written, it is committed
        async with transactions.begin(home.scope) as unit:
            kept = await unit.tasks.get(task.id)
            assert kept == replace(task, wait_reason="soon")
            assert len(await unit.task_events.find(task_id=task.id)) == 2

    async def test_are_seen_by_whoever_reads_their_kind(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        tasks = [of(home) for _ in range(5)]
        async with transactions.begin(home.scope) as unit:
            await unit.tasks.add(tasks[0])
            assert await unit.tasks.get(tasks[0].id) == tasks[0]
            await unit.tasks.put(replace(tasks[0], wait_reason="x"))
            assert (await unit.tasks.lock(tasks[0].id)) == replace(tasks[0], wait_reason="x")
            await unit.tasks.add(tasks[1])
            assert len(await unit.tasks.find()) == 2
            await unit.tasks.add(tasks[2])
            assert await unit.tasks.count() == 3
            await unit.tasks.add(tasks[3])
            assert len((await unit.tasks.page(ListQuery())).items) == 4
            await unit.tasks.add(tasks[4])
            assert await unit.tasks.count_by("kind") == {tasks[0].kind: 5}

    async def test_refuse_the_whole_unit_where_one_is_refused(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        known, other = of(home), of(home)
        async with transactions.begin(home.scope) as unit:
            await unit.tasks.add(known)

        async def add_and(*, put: bool, task: Task) -> None:
            async with transactions.begin(home.scope) as unit:
                await unit.tasks.add(other)
                await (unit.tasks.put(task) if put else unit.tasks.add(task))

        with pytest.raises(AlreadyExists):
            await add_and(put=False, task=known)
        with pytest.raises(NotFound):
            await add_and(put=True, task=of(home))

        assert await stored(transactions, home) == {known.id}

    async def test_are_undone_with_their_part_and_no_other(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        before, within, after = of(home), of(home), of(home)

        async def change_the_mind(unit: PostgresUnit) -> None:
            async with unit.within(home.scope) as part:
                await part.tasks.add(within)
                raise ChangedMindError

        async with transactions.begin(home.scope) as unit:
            await unit.tasks.add(before)
            with pytest.raises(ChangedMindError):
                await change_the_mind(unit)
            await unit.tasks.add(after)

        assert await stored(transactions, home) == {before.id, after.id}

    async def test_are_written_in_the_scope_they_were_added_in(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        neighbour = await settle(transactions)
        theirs = of(neighbour)

        async with transactions.begin(home.scope) as unit:
            async with unit.within(PLATFORM) as part:
                await part.tasks.add(theirs)
            await unit.tasks.add(of(home))
        with pytest.raises(InvariantError):
            async with transactions.begin(PLATFORM) as unit, unit.within(home.scope) as part:
                await part.tasks.add(of(neighbour))

        assert await stored(transactions, neighbour) == {theirs.id}
