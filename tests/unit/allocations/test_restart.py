"""A restart in place: what stays, what it costs, and what becomes of one that does not come back.

Seen to fail when the order's generation was the task's own, which grows with each attempt (a
repeated call ended the customer's processes again), when a failed restart was billed up to its
end, and when the end of the balance was not asked for again (the machine ran on for nothing).
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from customer import DOLLAR, RATE, Customer
from gpucloud_adapters.memory.node_driver import Fault, FaultKind, MemoryShells
from gpucloud_core.access.authorize import Forbidden
from gpucloud_core.access.model import Role
from gpucloud_core.allocations.errors import NotRestartable
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.holdings import HeldSlice
from gpucloud_core.work.model import Task

MINUTE = timedelta(minutes=1)


class Owner(Customer):
    """A customer with a running allocation."""

    async def running(self) -> AllocationId:
        allocation = await self.launch(1)
        await self.cloud.pass_time(10 * MINUTE)
        return allocation

    async def held(self, allocation: AllocationId) -> HeldSlice:
        """The slice as its node has it."""
        view = await self.cloud.read(self.actor, allocation)
        return self.cloud.driver.holdings(view.node.access.host).slices[view.allocation.claim_id]

    async def cost(self, allocation: AllocationId) -> int:
        return (await self.cloud.read(self.actor, allocation)).cost_micros

    async def tasks(self) -> tuple[Task, ...]:
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            return await unit.tasks.find(kind="restart")


def priced(duration: timedelta) -> int:
    return RATE * (duration // timedelta(microseconds=1)) // 3_600_000_000


class TestARestart:
    async def test_keeps_place_keys_and_endpoint(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        before = await ada.cloud.read(ada.actor, allocation)
        was = await ada.held(allocation)

        await ada.cloud.restart(ada.actor, allocation)
        assert await ada.state(allocation) is AllocationState.RESTARTING
        await ada.cloud.work()

        after = await ada.cloud.read(ada.actor, allocation)
        now = await ada.held(allocation)
        assert after.allocation.state is AllocationState.ACTIVE
        assert after.allocation.connection == before.allocation.connection
        assert after.allocation.mask == before.allocation.mask
        assert (now.keys, now.spec) == (was.keys, was.spec)
        assert now.restarted > was.restarted

    async def test_ends_what_ran(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        view = await ada.cloud.read(ada.actor, allocation)
        shells = MemoryShells(ada.cloud.driver)
        claim = view.allocation.claim_id
        shell = await shells.open(view.node.access, claim, columns=80, rows=24)

        await ada.cloud.restart(ada.actor, allocation)
        await ada.cloud.work()

        assert shell.exit_status is not None

    async def test_is_billed_for_the_tenant_asked_for_it(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        ada.cloud.driver.plan(Fault(verb="restart", kind=FaultKind.UNREACHABLE_BEFORE, times=2))

        await ada.cloud.restart(ada.actor, allocation)
        await ada.cloud.pass_time(20 * MINUTE)

        assert await ada.state(allocation) is AllocationState.ACTIVE
        assert await ada.cost(allocation) == priced(30 * MINUTE)

    async def test_happens_once_though_its_answer_is_lost(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        ada.cloud.driver.plan(Fault(verb="restart", kind=FaultKind.UNREACHABLE_AFTER, times=2))
        await ada.cloud.restart(ada.actor, allocation)
        await ada.cloud.work()
        order = (await ada.held(allocation)).restarted

        await ada.cloud.pass_time(10 * MINUTE)

        assert await ada.state(allocation) is AllocationState.ACTIVE
        assert (await ada.held(allocation)).restarted == order

    async def test_follows_another(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        orders = []
        for _ in range(3):
            await ada.cloud.restart(ada.actor, allocation)
            await ada.cloud.pass_time(MINUTE)
            orders.append((await ada.held(allocation)).restarted)

        assert orders == sorted(set(orders))


class TestARestartThatFails:
    FOR_GOOD = Fault(verb="restart", kind=FaultKind.REFUSED_BEFORE, times=99)

    async def test_is_degraded_and_not_billed_since_it_began(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        ada.cloud.driver.plan(self.FOR_GOOD)

        await ada.cloud.restart(ada.actor, allocation)
        await ada.cloud.pass_time(15 * MINUTE)

        assert await ada.state(allocation) is AllocationState.DEGRADED
        assert await ada.cost(allocation) == priced(10 * MINUTE)
        assert (await ada.cloud.balance(ada.actor)).held_micros == RATE, "its place is kept"

    async def test_ends_within_the_limit_of_the_state(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        await ada.cloud.restart(ada.actor, allocation)

        ada.cloud.clock.advance_to(ada.cloud.clock.now() + 16 * MINUTE)  # nobody was there to work
        await ada.cloud.pass_time(5 * MINUTE)

        assert await ada.state(allocation) is AllocationState.DEGRADED
        assert (await ada.held(allocation)).restarted == 0, "not begun so late"

    async def test_does_not_pass_with_less_than_it_had(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.launch(8)
        await ada.cloud.work()
        ada.cloud.driver.plan(Fault(verb="verify", kind=FaultKind.GPU_LOST, times=99))

        await ada.cloud.restart(ada.actor, allocation)
        await ada.cloud.pass_time(15 * MINUTE)

        assert await ada.state(allocation) is AllocationState.DEGRADED

    async def test_can_be_released(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        ada.cloud.driver.plan(self.FOR_GOOD)
        await ada.cloud.restart(ada.actor, allocation)
        await ada.cloud.pass_time(15 * MINUTE)

        await ada.cloud.release(ada.actor, allocation)
        await ada.cloud.work()

        assert await ada.state(allocation) is AllocationState.RELEASED
        assert (await ada.cloud.balance(ada.actor)).held_micros == 0


class TestARestartThatCameBackUnheard:
    async def test_is_found_to_work_and_billed_again_from_then_on(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        ada.cloud.driver.plan(Fault(verb="verify", kind=FaultKind.UNREACHABLE_AFTER, times=4))
        await ada.cloud.restart(ada.actor, allocation)
        await ada.cloud.pass_time(20 * MINUTE)
        assert await ada.state(allocation) is AllocationState.DEGRADED

        await ada.cloud.reconcile()
        await ada.cloud.pass_time(15 * MINUTE)

        assert await ada.state(allocation) is AllocationState.ACTIVE
        assert await ada.cost(allocation) == priced(10 * MINUTE) + priced(15 * MINUTE)
        assert await ada.cloud.reconcile() == ()

    async def test_stays_degraded_while_a_check_does_not_pass(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.launch(8)
        await ada.cloud.work()
        ada.cloud.driver.plan(Fault(verb="verify", kind=FaultKind.GPU_LOST, times=99))
        await ada.cloud.restart(ada.actor, allocation)
        await ada.cloud.pass_time(20 * MINUTE)

        assert await ada.cloud.reconcile() == ()

        assert await ada.state(allocation) is AllocationState.DEGRADED


class TestMoneyThatEndsMeanwhile:
    async def test_releases_it_as_soon_as_it_is_back(self) -> None:
        ada = await Owner.arrive(dollars=0)
        await ada.cloud.give(ada.actor, RATE + DOLLAR)
        allocation = await ada.launch(1)
        paid_for = timedelta(hours=1) * DOLLAR / RATE
        await ada.cloud.pass_time(paid_for - MINUTE)
        ada.cloud.driver.plan(Fault(verb="restart", kind=FaultKind.UNREACHABLE_BEFORE, times=3))
        ada.cloud.driver.plan(Fault(verb="verify", kind=FaultKind.UNREACHABLE_BEFORE, times=3))
        await ada.cloud.restart(ada.actor, allocation)
        ada.cloud.clock.advance_to(ada.cloud.clock.now() + 2 * MINUTE)

        await ada.cloud.pass_time(30 * MINUTE)

        assert await ada.state(allocation) is AllocationState.RELEASED
        assert await ada.cost(allocation) <= DOLLAR

    async def test_is_given_back_from_the_restart_on_if_it_does_not_come_back(self) -> None:
        ada = await Owner.arrive(dollars=0)
        await ada.cloud.give(ada.actor, RATE + DOLLAR)
        allocation = await ada.launch(1)
        await ada.cloud.pass_time(10 * MINUTE)
        ada.cloud.driver.plan(Fault(verb="restart", kind=FaultKind.REFUSED_BEFORE, times=99))

        await ada.cloud.restart(ada.actor, allocation)
        ada.cloud.clock.advance_to(ada.cloud.clock.now() + 60 * MINUTE)  # nobody is there to work
        await ada.cloud.pass_time(30 * MINUTE)

        assert await ada.state(allocation) is AllocationState.DEGRADED
        assert await ada.cost(allocation) == priced(10 * MINUTE)


class TestAskingForIt:
    async def test_twice_restarts_once(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()

        await ada.cloud.restart(ada.actor, allocation)
        await ada.cloud.restart(ada.actor, allocation)
        await ada.cloud.work()

        assert len(await ada.tasks()) == 1

    async def test_is_for_what_is_active(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.launch(1)

        with pytest.raises(NotRestartable):
            await ada.cloud.restart(ada.actor, allocation)

    async def test_is_not_for_those_who_only_look(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        project = ada.cloud.project_of(ada.actor)
        viewer = replace(ada.actor, tenant_role=Role.VIEWER, project_roles={project: Role.VIEWER})

        with pytest.raises(Forbidden):
            await ada.cloud.restart(viewer, allocation)
