"""What stored rows promise: exact round trips, values that stay unique, and nothing invented."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from contracts.stores import PLATFORM, Household, StoreContract, StoreUnit
from gpucloud_core.access.model import PlatformRole, ProjectMember, Role, TenantMember
from gpucloud_core.access.ports import SignedIn
from gpucloud_core.allocations.model import (
    AppliedKey,
    Connection,
    InboundRule,
    Network,
)
from gpucloud_core.billing.model import CreditLot
from gpucloud_core.kernel.errors import AlreadyExists, NotFound
from gpucloud_core.kernel.ids import SshKeyId, TaskId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.unit import Transactions
from gpucloud_core.nodes.model import SlotState
from gpucloud_core.work.model import Step, StepStatus, TaskStatus
from row_builders import (
    NOW,
    a_billing_account,
    a_claim,
    a_node,
    a_project,
    a_session,
    a_slot,
    a_task,
    a_token,
    a_user,
    an_allocation,
    an_ssh_key,
)


class RowsContract(StoreContract):
    async def test_gives_back_exactly_what_was_stored(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        user = a_user(
            email="zoë@example.com", email_verified_at=NOW, platform_role=PlatformRole.OPS
        )
        account = a_billing_account(
            home.tenant.id,
            notices_sent=("low", "4h"),
            credits=(CreditLot(id="trf_1", remaining_micros=5, expires_at=NOW),),
        )
        node = a_node(reachable=True, probed_at=NOW)
        task = a_task(
            home.tenant.id,
            home.project.id,
            steps=(
                Step(key="a", title="A", status=StepStatus.ACTIVE, started_at=NOW),
                Step(key="b", title="B", result={"deep": [1, {"x": None, "y": True}]}),
            ),
            data={"count": 2**53 + 1, "text": 'tab\tquote"é\U0001f600'},
        )
        async with transactions.begin(PLATFORM) as unit:
            await unit.users.add(user)
            await unit.billing_accounts.add(account)
            await unit.nodes.add(node)
            await unit.tasks.add(task)

        async with transactions.begin(PLATFORM) as unit:
            assert await unit.users.get(user.id) == user
            assert await unit.billing_accounts.get(account.tenant_id) == account
            assert await unit.nodes.lock(node.id) == node
            assert await unit.tasks.get(task.id) == task

    async def test_gives_back_an_allocation_with_all_its_parts(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        node, task = a_node(), a_task(home.tenant.id, home.project.id)
        claim = a_claim(home.tenant.id, node.id, 0b101, explanation={"score": -7})
        rule = InboundRule(port=443, cidrs=("::/0",))
        key = AppliedKey(
            id=SshKeyId("key_1"),
            fingerprint="SHA256:x",
            public_key="ssh-ed25519 A",
            name="laptop",
            applied_at=NOW,
        )
        allocation = an_allocation(
            claim,
            task,
            home.user.id,
            network=Network(ssh_cidrs=("10.0.0.0/8",), inbound=(rule,)),
            keys=(key,),
            connection=Connection(
                host="h", port=22, username="u", host_key="k", host_key_fingerprint="f"
            ),
            receipt={"wipe": {"clean": True}},
            ttl_seconds=3600,
        )
        async with transactions.begin(PLATFORM) as unit:
            await unit.nodes.add(node)
            await unit.tasks.add(task)
            await unit.claims.add(claim)
            await unit.allocations.add(allocation)

        async with transactions.begin(home.scope) as unit:
            assert await unit.claims.find(allocation_id=claim.allocation_id) == (claim,)
            page = await unit.allocations.page(ListQuery(where={"id": [allocation.id]}))
            assert page.items == (allocation,)

    async def test_replaces_a_row_and_forgets_one(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        renamed = replace(home.project, name="Größer", deleted_at=NOW)
        async with transactions.begin(home.scope) as unit:
            await unit.projects.put(renamed)
        async with transactions.begin(home.scope) as unit:
            assert await unit.projects.get(renamed.id) == renamed
            await unit.projects.delete(renamed.id)
            await unit.projects.delete(renamed.id)
            assert await unit.projects.get(renamed.id) is None

        assert await self.committed(transactions, "projects", "id", renamed.id) == 0

    async def test_says_that_an_absent_row_cannot_be_replaced(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        with pytest.raises(NotFound):
            async with transactions.begin(home.scope) as unit:
                await unit.projects.put(a_project(home.tenant.id))

    async def test_refuses_a_second_row_of_one_key_and_can_go_on(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        twin = replace(home.project, slug="other")
        another = a_project(home.tenant.id)

        async with transactions.begin(home.scope) as unit:
            with pytest.raises(AlreadyExists):
                await unit.projects.add(twin)
            await unit.projects.add(another)

        assert await self.committed(transactions, "projects", "id", another.id) == 1

    async def test_refuses_a_value_that_another_row_has(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        tenant, user = home.tenant.id, home.user.id
        key = an_ssh_key(tenant, user)
        session = a_session(tenant, user, refresh_hash=f"refresh of {user}")
        same: list[tuple[str, Any]] = [
            ("users", a_user(username_key=home.user.username_key)),
            ("projects", a_project(tenant, slug=home.project.slug)),
            ("ssh_keys", an_ssh_key(tenant, user, fingerprint=key.fingerprint)),
            ("sessions", a_session(tenant, user, access_hash=session.access_hash)),
            ("sessions", a_session(tenant, user, refresh_hash=session.refresh_hash)),
        ]
        async with transactions.begin(PLATFORM) as unit:
            await unit.ssh_keys.add(key)
            await unit.sessions.add(session)
            await unit.sessions.add(a_session(tenant, user, refresh_hash=None))
            await unit.sessions.add(a_session(tenant, user, refresh_hash=None))

        async with transactions.begin(PLATFORM) as unit:
            for rows, row in same:
                with pytest.raises(AlreadyExists):
                    await getattr(unit, rows).add(row)
            await unit.ssh_keys.put(replace(key, deleted_at=NOW))
            await unit.ssh_keys.add(an_ssh_key(tenant, user, fingerprint=key.fingerprint))

    async def test_refuses_a_change_to_a_value_that_another_row_has(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        other = a_project(home.tenant.id)
        async with transactions.begin(home.scope) as unit:
            await unit.projects.add(other)

        with pytest.raises(AlreadyExists):
            async with transactions.begin(home.scope) as unit:
                await unit.projects.put(replace(other, slug=home.project.slug))

    async def test_lets_no_two_slots_answer_at_one_endpoint(
        self, transactions: Transactions[StoreUnit]
    ) -> None:
        node = a_node()
        first, twin = (
            a_slot(node.id, index, ssh_host=node.id, ssh_port=2200) for index in range(2)
        )
        async with transactions.begin(PLATFORM) as unit:
            await unit.nodes.add(node)
            await unit.slots.add(first)
            await unit.slots.add(replace(twin, state=SlotState.PROPOSED))

            with pytest.raises(AlreadyExists):
                await unit.slots.add(a_slot(node.id, 2, ssh_host=node.id, ssh_port=2200))
            with pytest.raises(AlreadyExists):
                await unit.slots.add(a_slot(node.id, 0))

    @pytest.mark.parametrize("name", ["disk", "nic"])
    async def test_lets_no_two_slots_of_a_node_have_one_device(
        self, transactions: Transactions[StoreUnit], name: str
    ) -> None:
        node, other = a_node(), a_node()
        async with transactions.begin(PLATFORM) as unit:
            await unit.nodes.add(node)
            await unit.nodes.add(other)
            await unit.slots.add(a_slot(node.id, 0, **{name: "same"}))
            await unit.slots.add(a_slot(other.id, 0, **{name: "same"}))
            await unit.slots.add(a_slot(node.id, 1))
            await unit.slots.add(a_slot(node.id, 2))
            proposed = a_slot(node.id, 3, state=SlotState.PROPOSED, **{name: "same"})
            await unit.slots.add(proposed)

        with pytest.raises(AlreadyExists):
            async with transactions.begin(PLATFORM) as unit:
                await unit.slots.put(replace(proposed, state=SlotState.AVAILABLE))

    async def test_finds_and_counts_by_equal_values_and_by_null(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        tenant, project = home.tenant.id, home.project.id
        queued = a_task(tenant, project, subject="alc_x")
        child = a_task(tenant, project, subject="alc_x", parent_id=queued.id, due_at=None)
        async with transactions.begin(home.scope) as unit:
            await unit.tasks.add(child)
            await unit.tasks.add(queued)

        async with transactions.begin(home.scope) as unit:
            assert await unit.tasks.find(subject="alc_x") == (queued, child)
            assert await unit.tasks.find(subject="alc_x", parent_id=queued.id) == (child,)
            assert await unit.tasks.find(parent_id=None) == (queued,)
            assert await unit.tasks.find(due_at=NOW, status=queued.status) == (queued,)
            assert await unit.tasks.find(due_at=None, undoing=False) == (child,)
            assert await unit.tasks.find(subject="alc_y") == ()
            assert await unit.tasks.count(subject="alc_x") == 2
            assert await unit.tasks.count() == 2
            for unknown in ("nonsense", "steps"):
                with pytest.raises(TypeError):
                    await unit.tasks.find(**{unknown: 1})
                with pytest.raises(TypeError):
                    await unit.tasks.find_any(unknown, [1])
                with pytest.raises(TypeError):
                    await unit.tasks.count_by(unknown)

    async def test_finds_by_any_of_many_values_and_counts_by_each(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        tenant, project = home.tenant.id, home.project.id
        tasks = [
            a_task(tenant, project, subject=subject, status=status, parent_id=parent)
            for subject, status, parent in (
                ("alc_x", TaskStatus.QUEUED, None),
                ("alc_x", TaskStatus.RUNNING, TaskId("tsk_p")),
                ("alc_y", TaskStatus.RUNNING, None),
                ("alc_z", TaskStatus.FAILED, None),
            )
        ]
        async with transactions.begin(home.scope) as unit:
            for task in reversed(tasks):
                await unit.tasks.add(task)

        async with transactions.begin(home.scope) as unit:
            rows = unit.tasks
            assert await rows.find_any("subject", ["alc_y", "alc_x", "alc_x"]) == (*tasks[:3],)
            assert await rows.find_any("status", [TaskStatus.FAILED]) == (tasks[3],)
            assert await rows.find_any("id", [tasks[1].id, "absent"]) == (tasks[1],)
            assert await rows.find_any("parent_id", [None, "tsk_p"]) == (*tasks,)
            assert await rows.find_any("id", []) == ()
            assert await rows.find_any("parent_id", [None], status=TaskStatus.FAILED) == (
                *(task for task in tasks if not task.parent_id and task.status == "failed"),
            )
            assert await rows.count_by("status") == {
                TaskStatus.QUEUED: 1,
                TaskStatus.RUNNING: 2,
                TaskStatus.FAILED: 1,
            }
            assert await rows.count_by("parent_id", subject="alc_x") == {None: 1, "tsk_p": 1}

    async def test_lets_a_token_be_used_once_while_it_lives(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        token = a_token(home.tenant.id, home.user.id)
        late = a_token(home.tenant.id, home.user.id, expires_at=NOW)
        async with transactions.begin(PLATFORM) as unit:
            await unit.one_time_tokens.add(token)
            await unit.one_time_tokens.add(late)

        async with transactions.begin(PLATFORM) as unit:
            assert await unit.one_time_tokens.use(token.id, NOW) == replace(token, used_at=NOW)
            assert await unit.one_time_tokens.use(token.id, NOW) is None
            assert await unit.one_time_tokens.use(late.id, NOW) is None
            assert await unit.one_time_tokens.use("absent", NOW) is None

    async def test_lets_one_of_many_use_a_token(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        token = a_token(home.tenant.id, home.user.id)
        async with transactions.begin(PLATFORM) as unit:
            await unit.one_time_tokens.add(token)

        async def use() -> bool:
            async with transactions.begin(PLATFORM) as unit:
                return await unit.one_time_tokens.use(token.id, NOW) is not None

        assert sum(await asyncio.gather(*(use() for _ in range(8)))) == 1

    async def test_tells_who_is_signed_in_with_what_they_may(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        session = a_session(home.tenant.id, home.user.id)
        of: dict[str, Any] = {
            "tenant_id": home.tenant.id,
            "user_id": home.user.id,
            "created_at": NOW,
        }
        member = TenantMember(**of, id=f"{home.tenant.id}/{home.user.id}", role=Role.ADMIN)
        in_project = ProjectMember(
            **of,
            id=f"{home.project.id}/{home.user.id}",
            project_id=home.project.id,
            role=Role.VIEWER,
        )
        async with transactions.begin(PLATFORM) as unit:
            await unit.sessions.add(session)
            before = await unit.now()
            alone = await unit.sessions.signed_in(session.access_hash, "")
            await unit.tenant_members.add(member)
            await unit.project_members.add(in_project)
            found = await unit.sessions.signed_in(session.access_hash, "")
            nobody = await unit.sessions.signed_in("another", "")

        assert nobody is None
        assert alone is not None
        assert found is not None
        assert before <= alone.as_of <= found.as_of
        assert alone == SignedIn(
            session=session,
            user=home.user,
            tenant_role=None,
            project_roles={},
            projects=(home.project,),
            as_of=alone.as_of,
        )
        assert found == replace(
            alone,
            tenant_role=Role.ADMIN,
            project_roles={home.project.id: Role.VIEWER},
            as_of=found.as_of,
        )
