"""What only reads: as apart as tenants are, however connections go round, and in few statements.

Seen to fail when a connection was taken to be in a tenant that it was cut off from entering, when
it did not notice that it was in another, and when a connection that broke was not replaced.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contracts.stores import PLATFORM, Household, settle
from gpucloud_adapters.embedded.postgres import EmbeddedPostgres
from gpucloud_adapters.postgres import engine as engines
from gpucloud_adapters.postgres.engine import Engine, create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions, PostgresUnit
from gpucloud_core.access.caller import ResolveCaller
from gpucloud_core.access.model import ProjectMember, Role, SessionKind, TenantMember
from gpucloud_core.access.projects import ListProjects
from gpucloud_core.access.session_life import Client, token_hash
from gpucloud_core.allocations.lists import ListBriefs
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import ProjectId, TenantId, UserId
from gpucloud_core.kernel.rows import ListQuery
from raw_postgres import APP
from row_builders import NOW, a_project, a_session, a_tenant, a_user


@pytest.fixture
async def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setattr(engines, "LOOKING", 2)
    engine = create_engine(database_url, connections=3, overflow=0)
    yield engine
    await engine.dispose()


@pytest.fixture
def transactions(engine: Engine) -> PostgresTransactions:
    return PostgresTransactions(engine)


async def sign_in(unit: PostgresUnit, tenant_id: TenantId, user_id: UserId, token: str) -> None:
    now = await unit.now()
    end = now + timedelta(days=1)
    session = a_session(
        tenant_id,
        user_id,
        kind=SessionKind.API,
        access_hash=token_hash(token),
        last_seen_at=now,
        access_expires_at=end,
        ends_at=end,
    )
    await unit.sessions.add(session)


class TestLooks:
    async def test_never_show_another_tenants_rows_however_they_are_cut_off(
        self, transactions: PostgresTransactions
    ) -> None:
        homes = [await settle(transactions) for _ in range(4)]
        dice = random.Random(7)  # noqa: S311  a test's dice

        async def look(home: Household) -> int:
            async with transactions.look(home.scope) as unit:
                await asyncio.sleep(0)
                found = await unit.projects.find()
            assert found == (home.project,)
            return len(found)

        async def cut_off(home: Household) -> None:
            task = asyncio.create_task(look(home))
            for _ in range(dice.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        async def client() -> int:
            seen = 0
            for _ in range(60):
                home = dice.choice(homes)
                if dice.random() < 0.4:
                    await cut_off(home)
                else:
                    seen += await look(home)
            return seen

        assert sum(await asyncio.gather(*(client() for _ in range(5)))) > 0

    async def test_are_in_no_tenant_after_one_was_cut_off_on_its_way_into_another(
        self, engine: Engine, transactions: PostgresTransactions
    ) -> None:
        home, neighbour = [await settle(transactions) for _ in range(2)]
        connection = await engine.acquire(APP)
        await connection.enter(home.tenant.id)
        own = connection._con

        async def cut_off(*_: object) -> None:
            raise asyncio.CancelledError

        own.fetch = cut_off
        with pytest.raises(asyncio.CancelledError):
            await connection.enter(neighbour.tenant.id)
        del own.fetch
        await engine.release(connection, APP)

        for household in (neighbour, home):
            async with transactions.look(household.scope) as unit:
                assert await unit.projects.find() == (household.project,)

    async def test_do_not_notice_connections_that_broke_while_they_waited(
        self,
        postgres_server: EmbeddedPostgres,
        database_url: str,
        transactions: PostgresTransactions,
    ) -> None:
        home = await settle(transactions)

        async def look() -> None:
            async with transactions.look(home.scope) as unit:
                assert await unit.projects.get(home.project.id) == home.project
                await asyncio.sleep(0.01)

        await asyncio.gather(*(look() for _ in range(2)))
        connection = await asyncpg.connect(postgres_server.superuser_url)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
            database_url.rpartition("/")[2],
        )
        await connection.close()

        await asyncio.gather(*(look() for _ in range(2)))

    async def test_tell_a_caller_and_their_list_in_two_statements(
        self, engine: Engine, transactions: PostgresTransactions
    ) -> None:
        home = await settle(transactions)
        member = TenantMember(
            id=f"{home.tenant.id}/{home.user.id}",
            tenant_id=home.tenant.id,
            user_id=home.user.id,
            role=Role.OWNER,
            created_at=NOW,
        )
        async with transactions.begin(PLATFORM) as unit:
            await unit.tenant_members.add(member)
            await sign_in(unit, home.tenant.id, home.user.id, "t")

        heard: list[str] = []
        engine.heard = heard.append
        caller = await ResolveCaller(transactions=transactions)(
            token="t", kind=SessionKind.API, client=Client(), project_id=ProjectId("")
        )
        project = caller.remembered(ProjectId(""))
        assert project == home.project.id
        await ListBriefs(transactions=transactions)(
            actor=caller.actor, project_id=project, query=ListQuery()
        )

        assert len(heard) == 2


ROLES = st.sampled_from([None, Role.OWNER, Role.MEMBER])


class TestCaller:
    def test_means_the_project_that_all_their_projects_say(self, database_url: str) -> None:
        """Found among a few projects, it is the one found among all.

        Seen to fail when the first by name, the default one, or those of a member were left out.
        """
        with asyncio.Runner() as runner:
            engine = create_engine(database_url)
            transactions = PostgresTransactions(engine)

            @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
            @given(
                role=ROLES,
                projects=st.lists(
                    st.tuples(
                        st.sampled_from(["a", "b", "B", "é"]),
                        ROLES,
                        st.sampled_from([False, False, True]),
                    ),
                    min_size=1,
                    max_size=4,
                ),
                default=st.integers(0, 3),
                asked=st.integers(0, 5),
            )
            @example(
                role=Role.OWNER,
                projects=[("a", None, False), ("b", None, False)],
                default=1,
                asked=5,
            )
            def check(
                role: Role | None,
                projects: list[tuple[str, Role | None, bool]],
                default: int,
                asked: int,
            ) -> None:
                runner.run(means(transactions, role, projects, default, asked))

            check()
            runner.run(engine.dispose())


async def means(
    transactions: PostgresTransactions,
    role: Role | None,
    projects: list[tuple[str, Role | None, bool]],
    default: int,
    asked: int,
) -> None:
    tenant, other = a_tenant(), a_tenant()
    theirs = [
        a_project(tenant.id, name=name, deleted_at=NOW if deleted else None)
        for name, _, deleted in projects
    ]
    foreign = a_project(other.id, name="a")
    ids = [*(one.id for one in theirs), foreign.id, ProjectId("")]
    user = a_user(default_project_id=ids[min(default, len(ids) - 1)] or None)
    token = f"token of {user.id}"
    async with transactions.begin(PLATFORM) as unit:
        await unit.tenants.add(tenant)
        await unit.tenants.add(other)
        await unit.users.add(user)
        for one in (*theirs, foreign):
            await unit.projects.add(one)
        of: dict[str, Any] = {"tenant_id": tenant.id, "user_id": user.id, "created_at": NOW}
        if role is not None:
            await unit.tenant_members.add(
                TenantMember(**of, id=f"{tenant.id}/{user.id}", role=role)
            )
        for one, (_, in_project, _) in zip(theirs, projects, strict=True):
            if in_project is not None:
                member = ProjectMember(
                    **of, id=f"{one.id}/{user.id}", project_id=one.id, role=in_project
                )
                await unit.project_members.add(member)
        await sign_in(unit, tenant.id, user.id, token)
    wanted = ids[min(asked, len(ids) - 1)]

    caller = await ResolveCaller(transactions=transactions)(
        token=token, kind=SessionKind.API, client=Client(), project_id=wanted
    )

    all_of_them = [
        mine.project.id
        for mine in await ListProjects(transactions=transactions)(actor=caller.actor)
    ]
    first = all_of_them[0] if all_of_them else None
    assert caller.remembered(wanted) == (wanted if wanted in all_of_them else first)
    try:
        named = caller.named(wanted)
    except NotFound:
        named = None
    assert named == (wanted if wanted in all_of_them else None)
