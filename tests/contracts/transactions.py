"""What a unit of work promises: all or nothing, tenants apart, time, events and audit rows."""

from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from contracts.stores import PLATFORM, Household, StoreContract, StoreUnit
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_core.kernel.audit import content_hash
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.unit import AuditFact, Event, Transactions
from row_builders import a_node, a_project, a_user, a_webhook_event, fresh


class ChangedMindError(Exception):
    pass


class TransactionsContract(StoreContract):
    async def test_keeps_what_a_block_did_that_ended_well(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        project = a_project(home.tenant.id)

        async with transactions.begin(home.scope) as unit:
            await unit.projects.add(project)

        assert await self.committed(transactions, "projects", "id", project.id) == 1

    async def test_undoes_everything_when_the_block_fails(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        project = a_project(home.tenant.id)

        async def change_the_mind() -> None:
            async with transactions.begin(home.scope) as unit:
                await unit.projects.add(project)
                await unit.emit(Event(kind="project.made", subject=project.id))
                await unit.audit(AuditFact(action="project.make", target=project.id))
                raise ChangedMindError

        with pytest.raises(ChangedMindError):
            await change_the_mind()

        for table, column in (("projects", "id"), ("outbox", "subject"), ("audit_rows", "target")):
            assert await self.committed(transactions, table, column, project.id) == 0

    async def test_looks_at_the_same_rows_and_tells_the_same_time(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        async with transactions.begin(home.scope) as unit:
            before = await unit.now()

        async with transactions.look(home.scope) as unit:
            assert await unit.projects.get(home.project.id) == home.project
            assert await unit.projects.find() == (home.project,)
            assert await unit.projects.get(neighbour.project.id) is None
            assert await unit.tenants.get(neighbour.tenant.id) is None
            assert before <= await unit.now() <= await unit.now()
        async with transactions.look(PLATFORM) as unit:
            for household in (home, neighbour):
                assert await unit.projects.get(household.project.id) == household.project

    async def test_changes_nothing_where_it_only_looks(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        project = a_project(home.tenant.id)

        async def add(unit: StoreUnit) -> None:
            await unit.projects.add(project)

        async def put(unit: StoreUnit) -> None:
            await unit.projects.put(replace(home.project, name="other"))

        async def delete(unit: StoreUnit) -> None:
            await unit.projects.delete(home.project.id)

        async def emit(unit: StoreUnit) -> None:
            await unit.now()
            await unit.emit(Event(kind="project.made", subject=project.id))

        async def audit(unit: StoreUnit) -> None:
            await unit.now()
            await unit.audit(AuditFact(action="project.make", target=project.id))

        for scope in (home.scope, PLATFORM):
            for change in (add, put, delete, emit, audit):
                with pytest.raises(InvariantError):
                    async with transactions.look(scope) as unit:
                        await change(unit)

        async with transactions.look(home.scope) as unit:
            assert await unit.projects.find() == (home.project,)
        for table, column in (("outbox", "subject"), ("audit_rows", "target")):
            assert await self.committed(transactions, table, column, project.id) == 0

    async def test_hides_every_row_of_another_tenant(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        theirs = neighbour.project

        async with transactions.begin(home.scope) as unit:
            assert await unit.projects.get(theirs.id) is None
            assert await unit.projects.lock(theirs.id) is None
            assert await unit.projects.find(slug=theirs.slug) == ()
            assert await unit.tenants.get(neighbour.tenant.id) is None
            with pytest.raises(NotFound):
                await unit.projects.put(theirs)
            await unit.projects.delete(theirs.id)

        assert await self.committed(transactions, "projects", "id", theirs.id) == 1

    async def test_refuses_to_write_a_row_for_another_tenant(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        with pytest.raises(InvariantError):
            async with transactions.begin(home.scope) as unit:
                await unit.projects.add(a_project(neighbour.tenant.id))
        event = Event(kind="x", subject="y", tenant_id=neighbour.tenant.id)
        with pytest.raises(InvariantError):
            async with transactions.begin(home.scope) as unit:
                await unit.emit(event)
        with pytest.raises(InvariantError):
            async with transactions.begin(home.scope) as unit:
                await unit.audit(AuditFact(action="x", target="y", tenant_id=neighbour.tenant.id))

    async def test_shows_the_platform_every_tenant(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        async with transactions.begin(PLATFORM) as unit:
            assert await unit.projects.get(home.project.id) == home.project
            assert await unit.projects.get(neighbour.project.id) == neighbour.project

    async def test_lets_a_tenant_only_read_what_all_share(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        node, user = a_node(), a_user()
        async with transactions.begin(PLATFORM) as unit:
            await unit.nodes.add(node)

        async with transactions.begin(home.scope) as unit:
            assert await unit.nodes.get(node.id) == node
        for write in ("add", "put", "lock"):
            with pytest.raises(InvariantError):
                async with transactions.begin(home.scope) as unit:
                    await getattr(unit.nodes, write)(node.id if write == "lock" else node)
        with pytest.raises(InvariantError):
            async with transactions.begin(home.scope) as unit:
                await unit.users.add(user)

    async def test_keeps_the_platforms_own_from_tenants(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        event = a_webhook_event()
        async with transactions.begin(PLATFORM) as unit:
            await unit.webhook_events.add(event)

        with pytest.raises(InvariantError):
            async with transactions.begin(home.scope) as unit:
                await unit.webhook_events.get(event.id)
        with pytest.raises(InvariantError):
            async with transactions.begin(home.scope) as unit:
                await unit.outbox.pending(limit=1)

    async def test_tells_a_time_that_never_runs_backwards(
        self, transactions: Transactions[StoreUnit]
    ) -> None:
        async with transactions.begin(PLATFORM) as unit:
            first = await unit.now()
            second = await unit.now()
            ahead = await unit.now(not_before=first + timedelta(hours=1))

        assert first.tzinfo is UTC
        assert first <= second
        assert ahead == first + timedelta(hours=1)

    async def test_hands_events_to_the_relay_in_order_until_they_are_published(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        subject = fresh("alc")
        events = [
            Event(
                kind=kind,
                subject=subject,
                tenant_id=home.tenant.id,
                payload={"a": [1, {"b": None}]},
            )
            for kind in ("allocation.requested", "allocation.provisioning")
        ]
        async with transactions.begin(home.scope) as unit:
            for event in events:
                await unit.emit(event)

        async with transactions.begin(PLATFORM) as unit:
            pending = [
                e for e in await unit.outbox.pending(limit=1000) if e.event.subject == subject
            ]
            await unit.outbox.mark_published([event.id for event in pending])
        async with transactions.begin(PLATFORM) as unit:
            left = [e for e in await unit.outbox.pending(limit=1000) if e.event.subject == subject]

        assert [stored.event for stored in pending] == events
        assert left == []

    async def test_records_audit_facts_with_a_hash_anyone_can_compute(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        fact = AuditFact(
            action="project.rename",
            target=home.project.id,
            tenant_id=home.tenant.id,
            user_id=home.user.id,
            actor="Zoë",
            changes={"name": ["Default", "Größer"]},
        )
        async with transactions.begin(home.scope) as unit:
            await unit.audit(fact)
        async with transactions.begin(home.scope) as unit:
            (row,) = await unit.audit_rows.find(target=home.project.id)

        facts = {name: getattr(fact, name) for name in AuditFact.__slots__}
        assert row.content_hash == content_hash(row.id, row.at, facts)
        assert {name: getattr(row, name) for name in AuditFact.__slots__} == facts
        assert await self.committed(transactions, "audit_rows", "target", home.project.id) == 1
