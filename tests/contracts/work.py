"""What due rows promise: whatever has come due is found, oldest first, and only that."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from contracts.stores import PLATFORM, Household, StoreContract, StoreUnit
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.idempotency import StoredResponse
from gpucloud_core.kernel.ids import AllocationId, TaskId
from gpucloud_core.kernel.unit import Transactions
from gpucloud_core.nodes.model import NodeStatus
from gpucloud_core.work.model import Step, StepStatus, Task, TaskEvent, TaskStatus
from row_builders import (
    NOW,
    SECOND,
    a_billing_account,
    a_claim,
    a_lease,
    a_node,
    a_segment,
    a_task,
    a_webhook_event,
    an_allocation,
    fresh,
)

MANY = 10_000


class DueContract(StoreContract):
    async def test_keeps_leases_of_terminals_that_are_there_and_finds_those_that_ran_out(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        node, task = a_node(), a_task(home.tenant.id, home.project.id)
        claim = a_claim(home.tenant.id, node.id, 1)
        allocation = an_allocation(claim, task, home.user.id)
        first, second, good = (
            a_lease(allocation, until=NOW + SECOND * after) for after in (-1, 0, 1)
        )
        async with transactions.begin(PLATFORM) as unit:
            await unit.nodes.add(node)
            await unit.tasks.add(task)
            await unit.claims.add(claim)
            await unit.allocations.add(allocation)
            for one in (good, second, first):
                await unit.terminal_leases.add(one)

        async with transactions.begin(PLATFORM) as unit:
            found = await unit.terminal_leases.lost(NOW, limit=MANY)
            few = await unit.terminal_leases.lost(NOW, limit=1)
            kept = await unit.terminal_leases.keep([first.id, "absent"], NOW + SECOND)
            nobody = await unit.terminal_leases.keep([], NOW)
            after = await unit.terminal_leases.lost(NOW, limit=MANY)
        ours = {first.id, second.id, good.id}
        assert [one for one in found if one.id in ours] == [first, second]
        assert len(few) == 1
        assert kept == {first.id}
        assert not nobody
        assert [one for one in after if one.id in ours] == [second]

    async def test_finds_tasks_that_are_due_and_free(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        def task(**given: object) -> Task:
            return a_task(home.tenant.id, home.project.id, **given)

        later = task(due_at=NOW)
        sooner = task(due_at=NOW - SECOND)
        dead = task(due_at=NOW - SECOND * 2, lease_token="gone", lease_until=NOW)
        held = task(lease_token="mine", lease_until=NOW + SECOND)
        done = task(finished_at=NOW)
        future = task(due_at=NOW + SECOND)
        never = task(due_at=None)
        async with transactions.begin(home.scope) as unit:
            for one in (later, sooner, dead, held, done, future, never):
                await unit.tasks.add(one)

        async with transactions.begin(PLATFORM) as unit:
            due = await unit.tasks.due(NOW, limit=MANY)
            few = await unit.tasks.due(NOW, limit=1)
        ours = {one.id for one in (later, sooner, dead, held, done, future, never)}
        assert [one for one in due if one in ours] == [dead.id, sooner.id, later.id]
        assert len(few) == 1

    async def test_finds_allocations_whose_time_is_over(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        node = a_node()
        task = a_task(home.tenant.id, home.project.id)
        cases: list[tuple[AllocationState, datetime | None]] = [
            (AllocationState.ACTIVE, NOW),
            (AllocationState.ACTIVE, NOW - SECOND),
            (AllocationState.ACTIVE, NOW + SECOND),
            (AllocationState.ACTIVE, None),
            (AllocationState.RELEASED, NOW),
            (AllocationState.DEGRADED, NOW - 2 * SECOND),
        ]
        ids: list[AllocationId] = []
        async with transactions.begin(PLATFORM) as unit:
            await unit.nodes.add(node)
            await unit.tasks.add(task)
            for bit, (state, releases_at) in enumerate(cases):
                claim = a_claim(home.tenant.id, node.id, 1 << bit)
                row = an_allocation(claim, task, home.user.id, state=state, releases_at=releases_at)
                ids.append(row.id)
                await unit.claims.add(claim)
                await unit.allocations.add(row)

        async with transactions.begin(PLATFORM) as unit:
            expired = await unit.allocations.expired(NOW, limit=MANY)
        assert [one for one in expired if one in ids] == [ids[5], ids[1], ids[0]]

    async def test_finds_tenants_whose_usage_is_due_each_once(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        async with transactions.begin(PLATFORM) as unit:
            for household, seconds in ((home, -1), (home, -5), (neighbour, -3), (neighbour, 5)):
                await unit.usage_segments.add(
                    a_segment(household.project, next_settlement_at=NOW + SECOND * seconds)
                )
            await unit.usage_segments.add(a_segment(home.project, next_settlement_at=None))

        async with transactions.begin(PLATFORM) as unit:
            due = await unit.usage_segments.tenants_due(NOW, limit=MANY)
            few = await unit.usage_segments.tenants_due(NOW, limit=1)
        ours = {home.tenant.id, neighbour.tenant.id}
        assert [one for one in due if one in ours] == [home.tenant.id, neighbour.tenant.id]
        assert len(few) == 1

    async def test_finds_what_runs_or_ended_lately_the_last_to_end_first(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        ends = [NOW, NOW + SECOND, None, NOW + 3 * SECOND, NOW - SECOND]
        ours = [a_segment(home.project, started_at=NOW - 9 * SECOND, ended_at=end) for end in ends]
        async with transactions.begin(PLATFORM) as unit:
            for segment in (*ours, a_segment(neighbour.project, ended_at=None)):
                await unit.usage_segments.add(segment)

        async with transactions.begin(PLATFORM) as unit:
            found = await unit.usage_segments.running_after(home.tenant.id, NOW, limit=MANY)
            first = await unit.usage_segments.running_after(home.tenant.id, NOW, limit=2)
        assert [row.id for row in found] == [ours[2].id, ours[3].id, ours[1].id]
        assert list(first) == list(found[:2])

    async def test_finds_accounts_whose_deadline_has_come(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        async with transactions.begin(PLATFORM) as unit:
            await unit.billing_accounts.add(a_billing_account(home.tenant.id, next_deadline_at=NOW))
            await unit.billing_accounts.add(
                a_billing_account(neighbour.tenant.id, next_deadline_at=NOW + SECOND)
            )

        async with transactions.begin(PLATFORM) as unit:
            due = await unit.billing_accounts.due(NOW, limit=MANY)
        assert home.tenant.id in due
        assert neighbour.tenant.id not in due

    async def test_finds_webhook_events_not_handled_yet(
        self, transactions: Transactions[StoreUnit]
    ) -> None:
        new = a_webhook_event(received_at=NOW - SECOND)
        retried = a_webhook_event(next_try_at=NOW, attempts=2)
        waiting = a_webhook_event(next_try_at=NOW + SECOND)
        handled = a_webhook_event(handled_at=NOW)
        async with transactions.begin(PLATFORM) as unit:
            for event in (retried, new, waiting, handled):
                await unit.webhook_events.add(event)

        async with transactions.begin(PLATFORM) as unit:
            due = await unit.webhook_events.due(NOW, limit=MANY)
        ours = {new.id, retried.id, waiting.id, handled.id}
        assert [event for event in due if event.id in ours] == [new, retried]

    async def test_knows_how_long_a_step_usually_takes(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        kind = fresh("kind")

        async def took(
            seconds: float, status: StepStatus = StepStatus.COMPLETED, *, finishes: bool = True
        ) -> Task:
            step = Step(
                key="boot",
                title="Boot",
                status=status,
                started_at=NOW,
                finished_at=NOW + SECOND * seconds,
            )
            task = a_task(home.tenant.id, home.project.id, kind=kind)
            async with transactions.begin(home.scope) as unit:
                await unit.tasks.add(task)
                await unit.tasks.put(replace(task, steps=(step,)))
                if finishes:
                    done = replace(task, steps=(step,), finished_at=NOW + SECOND * seconds)
                    await unit.tasks.put(done)
                    await unit.tasks.put(replace(done, wait_reason="again"))
            return task

        async def usual() -> int | None:
            async with transactions.begin(home.scope) as unit:
                return (await unit.tasks.usual_seconds(kind, ["boot", "never"])).get("boot")

        for seconds in (30, 10, 40, 19.2):
            await took(seconds)
        await took(500, StepStatus.FAILED)
        await took(500, finishes=False)
        assert await usual() is None

        await took(1000)
        assert await usual() == 30

        await took(11)
        assert await usual() == 20

    async def test_keeps_a_task_with_the_lines_of_its_story(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        task = a_task(home.tenant.id, home.project.id)
        lines = [
            TaskEvent(
                id=fresh("evt"),
                tenant_id=home.tenant.id,
                task_id=task.id,
                at=NOW,
                kind="step.active",
                step=step,
                text='don\'t; "quote"',
            )
            for step in ("look", "wall")
        ]
        moved = replace(task, status=TaskStatus.RUNNING, generation=task.generation + 1)
        async with transactions.begin(home.scope) as unit:
            await unit.tasks.add(task)
            await unit.tasks.keep(moved, lines)
            await unit.tasks.keep(replace(moved, wait_reason="it waits"), ())

        async with transactions.begin(PLATFORM) as unit:
            assert await unit.tasks.get(task.id) == replace(moved, wait_reason="it waits")
            assert list(await unit.task_events.find(task_id=task.id)) == lines

        with pytest.raises(NotFound):
            async with transactions.begin(home.scope) as unit:
                await unit.tasks.keep(a_task(home.tenant.id, home.project.id), ())

    async def test_keeps_many_tasks_with_their_stories_in_one_go(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        step = Step(
            key="boot",
            title='it\'s "so"',
            status=StepStatus.COMPLETED,
            started_at=NOW,
            finished_at=NOW + SECOND,
            result={"made": "{x}", "n": 3, "is": True},
        )
        tasks = [a_task(one.tenant.id, one.project.id) for one in (home, neighbour, home)]
        moved = [
            replace(
                tasks[0], status=TaskStatus.RUNNING, due_at=None, lease_token="t", steps=(step,)
            ),
            replace(tasks[1], wait_reason="it's {late}", data={"n": 1, "of": [None, "x"]}),
            replace(tasks[2], finished_at=NOW, due_at=None, steps=(step,), generation=7),
        ]
        lines = {
            task.id: [
                TaskEvent(
                    id=fresh("evt"),
                    tenant_id=task.tenant_id,
                    task_id=task.id,
                    at=NOW,
                    kind=f"line {number}",
                )
                for number in range(3 - place)
            ]
            for place, task in enumerate(tasks)
        }
        async with transactions.begin(PLATFORM) as unit:
            for task in tasks:
                await unit.tasks.add(task)
            await unit.tasks.keep_all([(task, lines[task.id]) for task in moved])
            await unit.tasks.keep_all([])

        async with transactions.begin(PLATFORM) as unit:
            for task in moved:
                assert await unit.tasks.get(task.id) == task
                assert list(await unit.task_events.find(task_id=task.id)) == lines[task.id]

        missing = a_task(home.tenant.id, home.project.id)
        with pytest.raises(NotFound):
            await self._keep_together(transactions, replace(moved[0], error="no"), missing)
        async with transactions.begin(PLATFORM) as unit:
            assert await unit.tasks.get(tasks[0].id) == moved[0]

    async def _keep_together(self, transactions: Transactions[StoreUnit], *tasks: Task) -> None:
        async with transactions.begin(PLATFORM) as unit:
            await unit.tasks.keep_all([(task, ()) for task in tasks])

    async def test_locks_many_tasks_at_once(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        tasks = [a_task(one.tenant.id, one.project.id) for one in (home, neighbour)]
        async with transactions.begin(PLATFORM) as unit:
            for task in tasks:
                await unit.tasks.add(task)

        async with transactions.begin(PLATFORM) as unit:
            found = await unit.tasks.lock_free([tasks[1].id, TaskId(fresh("tsk")), tasks[0].id])
            assert sorted(found, key=lambda task: task.id) == sorted(tasks, key=lambda t: t.id)
            assert not await unit.tasks.lock_free([])

    async def test_takes_an_idempotency_key_again_in_a_later_transaction(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        key = f"{home.tenant.id}/launch/k"
        for _ in range(2):
            async with transactions.begin(home.scope) as unit:
                assert await unit.stored_responses.try_lock(key)

    async def test_begins_an_idempotency_key_once(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        row = StoredResponse(
            id=f"{home.tenant.id}/launch/begun",
            tenant_id=home.tenant.id,
            body_hash="h",
            created_at=NOW,
        )
        async with transactions.begin(home.scope) as unit:
            assert await unit.stored_responses.begin(row)
            assert not await unit.stored_responses.begin(row)
            assert await unit.stored_responses.get(row.id) == row
        async with transactions.begin(home.scope) as unit:
            assert not await unit.stored_responses.begin(row)

    async def test_finds_nodes_whose_next_look_is_due(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        old = NOW - timedelta(days=400)  # before whatever else is in the store
        due = [
            a_node(created_at=old),
            a_node(created_at=NOW, look_due_at=old + timedelta(days=2)),
            a_node(created_at=NOW, look_due_at=old + timedelta(days=3), status=NodeStatus.DRAINING),
        ]
        not_due = [
            a_node(created_at=old + timedelta(days=30)),
            a_node(created_at=old, look_due_at=old + timedelta(days=30)),
            a_node(created_at=old, status=NodeStatus.QUARANTINED),
        ]
        async with transactions.begin(PLATFORM) as unit:
            for node in (*due, *not_due):
                await unit.nodes.add(node)
            found = await unit.nodes.due(old + timedelta(days=5), limit=50)
            first = await unit.nodes.due(old + timedelta(days=5), limit=1)

        assert [node.id for node in found] == [node.id for node in due]
        assert [node.id for node in first] == [due[0].id]
