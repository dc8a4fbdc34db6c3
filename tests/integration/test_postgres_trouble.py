"""What a unit of work says when the database, or the way to it, fails; and that it recovers.

Seen to fail when a COMMIT that was answered with a rollback passed for one.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import asyncpg
import pytest
from sqlalchemy import text

from contracts.stores import PLATFORM, Household, settle
from embedded_servers import free_port
from gpucloud_adapters.embedded.postgres import EmbeddedPostgres
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions, PostgresUnit
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_core.kernel.errors import Conflict, Unavailable, ValidationFailed
from gpucloud_core.kernel.unit import Event
from row_builders import a_project, a_task


@pytest.fixture
async def transactions(database_url: str) -> AsyncIterator[PostgresTransactions]:
    engine = create_engine(database_url, connections=3, overflow=0)
    yield PostgresTransactions(engine)
    await engine.dispose()


@pytest.fixture
async def home(transactions: PostgresTransactions) -> Household:
    return await settle(transactions)


@pytest.fixture
async def neighbour(transactions: PostgresTransactions) -> Household:
    return await settle(transactions)


async def end_connections(server: EmbeddedPostgres, database_url: str) -> None:
    """Cut every connection to the database, as a restart of the server would."""
    connection = await asyncpg.connect(server.superuser_url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
        database_url.rpartition("/")[2],
    )
    await connection.close()


async def give_up_soon(unit: PostgresUnit) -> None:
    await unit._session.change(text("SET LOCAL lock_timeout = '50ms'"))


class TestTrouble:
    async def test_is_unavailable_while_nobody_answers(self) -> None:
        engine = create_engine(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")

        with pytest.raises(Unavailable) as caught:
            async with PostgresTransactions(engine).begin(PLATFORM):
                pass

        assert caught.value.retry_after_seconds
        await engine.dispose()

    async def test_does_not_notice_connections_that_broke_while_they_waited(
        self,
        postgres_server: EmbeddedPostgres,
        database_url: str,
        transactions: PostgresTransactions,
        home: Household,
    ) -> None:
        async def read() -> None:
            async with transactions.begin(home.scope) as unit:
                assert await unit.projects.get(home.project.id) == home.project
                await asyncio.sleep(0.01)

        await asyncio.gather(*(read() for _ in range(3)))

        await end_connections(postgres_server, database_url)

        await asyncio.gather(*(read() for _ in range(3)))

    async def test_is_unavailable_when_the_connection_breaks_midway_and_then_recovers(
        self,
        postgres_server: EmbeddedPostgres,
        database_url: str,
        transactions: PostgresTransactions,
        home: Household,
    ) -> None:
        project = a_project(home.tenant.id)

        async def work(*, cut: bool) -> None:
            async with transactions.begin(home.scope) as unit:
                await unit.projects.add(project)
                if cut:
                    await end_connections(postgres_server, database_url)
                await unit.projects.get(project.id)

        with pytest.raises(Unavailable):
            await work(cut=True)
        await work(cut=False)

    async def test_loses_nothing_silently_when_an_error_is_swallowed(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        project = a_project(home.tenant.id)

        async def go_on() -> None:
            async with transactions.begin(home.scope) as unit:
                await unit.projects.add(project)
                with suppress(ValidationFailed):
                    await unit._session.rows(text("SELECT 1 / 0"))

        with pytest.raises(InvariantError, match="went on"):
            await go_on()

        async with transactions.begin(home.scope) as unit:
            assert await unit.projects.get(project.id) is None

    async def test_is_unavailable_when_every_connection_is_taken(self, database_url: str) -> None:
        engine = create_engine(database_url, connections=1, overflow=0)
        engine.wait_seconds = 0.2
        transactions = PostgresTransactions(engine)

        async with transactions.begin(PLATFORM):
            with pytest.raises(Unavailable):
                async with transactions.begin(PLATFORM):
                    pass
        await engine.dispose()

    async def test_is_a_conflict_when_a_lock_takes_too_long(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        async def lock_soon() -> None:
            async with transactions.begin(home.scope) as unit:
                await give_up_soon(unit)
                await unit.projects.lock(home.project.id)

        async with transactions.begin(home.scope) as holder:
            await holder.projects.lock(home.project.id)

            with pytest.raises(Conflict):
                await lock_soon()

    async def test_is_a_conflict_for_one_of_two_that_wait_for_each_other(
        self, transactions: PostgresTransactions, home: Household, neighbour: Household
    ) -> None:
        both = asyncio.Barrier(2)

        async def lock(first: Household, second: Household) -> None:
            async with transactions.begin(PLATFORM) as unit:
                await unit.projects.lock(first.project.id)
                await both.wait()
                await unit.projects.lock(second.project.id)

        outcomes = await asyncio.gather(
            lock(home, neighbour), lock(neighbour, home), return_exceptions=True
        )

        assert [type(outcome) for outcome in outcomes if outcome is not None] == [Conflict]

    async def test_keeps_no_text_with_a_null_character(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        with pytest.raises(ValidationFailed):
            async with transactions.begin(home.scope) as unit:
                await unit.projects.put(replace(home.project, name="a\0b"))

    async def test_keeps_no_number_beyond_64_bits(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        task = a_task(home.tenant.id, home.project.id, generation=2**63)

        with pytest.raises(ValidationFailed):
            async with transactions.begin(home.scope) as unit:
                await unit.tasks.add(task)

    async def test_undoes_what_a_cancelled_task_did_and_returns_its_connection(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        project = a_project(home.tenant.id)
        begun = asyncio.Event()

        async def work() -> None:
            async with transactions.begin(home.scope) as unit:
                await unit.projects.add(project)
                begun.set()
                await asyncio.sleep(60)

        for _ in range(5):
            begun.clear()
            task = asyncio.create_task(work())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        async with transactions.begin(home.scope) as unit:
            assert await unit.projects.get(project.id) is None

    async def test_undoes_a_statement_that_is_cancelled_midway(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        async def wait() -> None:
            async with transactions.begin(home.scope) as unit:
                await unit._session.rows(text("SELECT pg_sleep(60)"))

        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(wait(), 0.05)

        async with transactions.begin(home.scope) as unit:
            assert await unit.projects.get(home.project.id) == home.project

    async def test_sees_a_twin_in_flight_without_waiting(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        async with transactions.begin(home.scope) as first:
            assert await first.stored_responses.try_lock("ten/launch/k")
            async with transactions.begin(home.scope) as twin:
                assert not await twin.stored_responses.try_lock("ten/launch/k")
                assert await twin.stored_responses.try_lock("ten/launch/other")

    async def test_hands_due_rows_to_one_worker_at_a_time(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        task = a_task(home.tenant.id, home.project.id)
        async with transactions.begin(home.scope) as unit:
            await unit.tasks.add(task)

        async with transactions.begin(PLATFORM) as first, transactions.begin(PLATFORM) as second:
            now = await first.now()
            assert task.id in await first.tasks.due(now, limit=10)
            assert task.id not in await second.tasks.due(now, limit=10)

    async def test_lets_one_relay_read_at_a_time(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        async with transactions.begin(home.scope) as unit:
            await unit.emit(Event(kind="x", subject="y"))

        async with transactions.begin(PLATFORM) as first, transactions.begin(PLATFORM) as second:
            assert await first.outbox.pending(limit=1)
            assert not await second.outbox.pending(limit=1)

    async def test_rings_once_events_are_committed_and_for_nothing_else(
        self, database_url: str, home: Household
    ) -> None:
        engine = create_engine(database_url, connections=1)
        rung: list[str] = []
        transactions = PostgresTransactions(engine, committed=lambda: rung.append("now"))

        async with transactions.begin(home.scope):
            pass
        with pytest.raises(Conflict):
            await refused(transactions, home)
        assert rung == []

        async with transactions.begin(home.scope) as unit:
            await unit.emit(Event(kind="x", subject="y"))
            assert rung == []
        assert rung == ["now"]
        await engine.dispose()

    async def test_rings_for_what_a_part_of_it_has_emitted_and_not_for_what_was_undone(
        self, database_url: str, home: Household
    ) -> None:
        """Seen to fail when a part kept to itself that it had emitted."""
        engine = create_engine(database_url, connections=1)
        rung: list[str] = []
        transactions = PostgresTransactions(engine, committed=lambda: rung.append("now"))

        async with transactions.begin(home.scope) as unit:
            with pytest.raises(Conflict):
                await refused_part(unit)
        assert rung == []

        async with transactions.begin(home.scope) as unit:
            async with unit.within(PLATFORM) as part, part.within(home.scope) as inner:
                await inner.emit(Event(kind="x", subject="y"))
            assert rung == []
        assert rung == ["now"]
        async with transactions.begin(PLATFORM) as unit:
            assert len(await unit.outbox.pending(limit=9)) == 1
        await engine.dispose()


async def refused_part(unit: PostgresUnit) -> None:
    async with unit.within(PLATFORM) as part:
        await part.emit(Event(kind="x", subject="y"))
        raise Conflict


async def refused(transactions: PostgresTransactions, home: Household) -> None:
    async with transactions.begin(home.scope) as unit:
        await unit.emit(Event(kind="x", subject="y"))
        raise Conflict
