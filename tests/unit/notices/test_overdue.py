"""Nothing that should pass stays for three times its limit unseen, and what is gone is closed.

Seen to fail when rows of a kind found by looking were left open after it was gone.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contracts.stores import PLATFORM, settle
from gpucloud_adapters.memory.cloud import CountedIds
from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_adapters.stored.kinds import ATTENTION_ROWS
from gpucloud_core.allocations.lifecycle import LIFECYCLE
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.nodes.model import SlotState
from gpucloud_core.notices.attention import opened
from gpucloud_core.notices.model import Severity
from gpucloud_core.notices.overdue import SweepAttention, faded, worrying
from gpucloud_core.notices.told import Raise
from gpucloud_core.work.model import Step
from row_builders import (
    NOW,
    SECOND,
    FixedClock,
    a_claim,
    a_project,
    a_slot,
    a_task,
    a_tenant,
    a_user,
    an_allocation,
)

TENANT, USER = a_tenant(), a_user()
PROJECT = a_project(TENANT.id)


def task(**given: Any) -> Any:
    return a_task(TENANT.id, PROJECT.id, created_at=NOW, **given)


def allocation(state: AllocationState) -> Any:
    claim = a_claim(TENANT.id, NodeId("nod_1"), 1)
    return an_allocation(claim, task(), USER.id, state=state, state_since=NOW)


class TestWorrying:
    @given(state=st.sampled_from(AllocationState), minutes=st.integers(0, 240))
    def test_says_of_every_passing_state_when_it_lasts_too_long(
        self, state: AllocationState, minutes: int
    ) -> None:
        row = LIFECYCLE.states[state]
        expected = row.limit[0] if row.limit else row.usual
        age = timedelta(minutes=minutes)

        said = {each.kind for each in worrying([allocation(state)], [], [], NOW + age)}

        assert ("allocation.overdue" in said) == (expected is not None and age > 3 * expected)

    def test_says_of_every_state_that_is_wrong_at_once(self) -> None:
        states = (AllocationState.DEGRADED, AllocationState.RELEASE_FAILED)
        slot = a_slot(NodeId("nod_1"), 0, state=SlotState.CLEANUP_BLOCKED, state_since=NOW)

        said = worrying(map(allocation, states), [slot], [], NOW)

        assert [each.kind for each in said] == [
            "allocation.degraded",
            "allocation.release_failed",
            "slot.cleanup_blocked",
        ]

    def test_says_of_a_task_that_takes_long(self) -> None:
        steps = tuple(Step(key=key, title=key, usual_seconds=60) for key in "ab")
        slow = task(steps=steps, due_at=NOW)

        assert list(worrying([], [], [slow], NOW + 360 * SECOND)) == []
        (raised,) = worrying([], [], [slow], NOW + 361 * SECOND)
        assert (raised.kind, raised.facts["expected_seconds"]) == ("task.overdue", 120)

    def test_says_of_a_task_that_nobody_holds(self) -> None:
        steps = (Step(key="a", title="A", usual_seconds=600),)
        lost = task(steps=steps, due_at=None)
        held = replace(lost, lease_token="t", lease_until=NOW + 90 * SECOND)
        later = NOW + 61 * SECOND

        assert [each.kind for each in worrying([], [], [lost], later)] == ["task.orphaned"]
        assert list(worrying([], [], [held], later)) == []
        assert len(list(worrying([], [], [held], NOW + 151 * SECOND))) == 1

    def test_leaves_a_batch_to_its_members(self) -> None:
        assert list(worrying([], [], [task(due_at=None)], NOW + timedelta(days=9))) == []


class TestFading:
    def test_is_for_what_is_told_again_as_long_as_it_lasts(self) -> None:
        hour = timedelta(hours=1)
        raised = Raise(
            kind="drift.stray_hold",
            subject="x",
            severity=Severity.NOTICE,
            title="x",
            facts={},
        )
        drift = opened("att_1", raised, NOW)

        assert not faded(drift, NOW + hour - SECOND)
        assert faded(drift, NOW + hour)
        assert not faded(replace(drift, kind="payment.unmatched"), NOW + timedelta(days=99))


class TestSweepAttention:
    async def test_opens_moves_and_closes(self) -> None:
        clock = FixedClock()
        transactions = MemoryTransactions(clock)
        sweep = SweepAttention(transactions=transactions, ids=CountedIds())
        home = await settle(transactions)
        steps = (Step(key="a", title="A", usual_seconds=10),)
        slow = a_task(home.tenant.id, home.project.id, steps=steps, due_at=NOW, created_at=NOW)
        async with transactions.begin(PLATFORM) as unit:
            await unit.tasks.add(slow)

        assert await sweep() == 0
        clock.at = NOW + 200 * SECOND
        assert await sweep() == 1
        clock.at = NOW + 230 * SECOND
        assert await sweep() == 1
        (row,) = transactions.database.rows(ATTENTION_ROWS)
        assert (row.kind, row.first_seen, row.last_seen) == (
            "task.overdue",
            NOW + 200 * SECOND,
            NOW + 230 * SECOND,
        )
        async with transactions.begin(PLATFORM) as unit:
            await unit.tasks.put(replace(slow, finished_at=clock.at))
        assert await sweep() == 0
        (row,) = transactions.database.rows(ATTENTION_ROWS)
        assert row.cleared_at == clock.at
