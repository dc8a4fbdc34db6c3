"""The whole journey on the memory adapters, in virtual time: every figure is exact."""

from datetime import timedelta

import pytest

from customer import DOLLAR, RATE, Customer
from gpucloud_adapters.memory.node_driver import Fault, FaultKind
from gpucloud_core.allocations.errors import (
    NotCancellable,
    NotReleasable,
    QuotaExceeded,
    SoldOut,
    SshKeyRequired,
)
from gpucloud_core.allocations.lifecycle import LIFECYCLE, PublicStatus
from gpucloud_core.allocations.model import AllocationState, EndOfBalance
from gpucloud_core.billing.books import InsufficientBalance
from gpucloud_core.kernel.errors import ValidationFailed
from gpucloud_core.nodes.model import SlotState
from gpucloud_core.work.model import TaskStatus


class TestJourney:
    async def test_bills_the_closed_form_between_active_and_release(self) -> None:
        ada = await Customer.arrive()
        allocation = await ada.launch(2)
        await ada.cloud.work()
        assert await ada.state(allocation) is AllocationState.ACTIVE

        await ada.cloud.pass_time(timedelta(minutes=83, seconds=7, microseconds=11))
        await ada.cloud.release(ada.actor, allocation)
        await ada.cloud.work()

        view = await ada.cloud.read(ada.actor, allocation)
        row = view.allocation
        assert row.state is AllocationState.RELEASED
        assert row.active_at is not None
        assert row.billing_stopped_at is not None
        elapsed = (row.billing_stopped_at - row.active_at) // timedelta(microseconds=1)
        assert view.cost_micros == 2 * RATE * elapsed // 3_600_000_000
        assert view.settled_micros == view.cost_micros, "usage = ledger, to the micro-unit"
        balance = await ada.cloud.balance(ada.actor)
        assert balance.posted_micros == 100 * DOLLAR - view.cost_micros
        assert balance.held_micros == 0

    async def test_keeps_one_hour_aside_and_returns_it(self) -> None:
        ada = await Customer.arrive()

        allocation = await ada.launch(4)

        assert (await ada.cloud.balance(ada.actor)).held_micros == 4 * RATE
        await ada.cloud.work()
        await ada.cloud.release(ada.actor, allocation)
        assert (await ada.cloud.balance(ada.actor)).held_micros == 0, "at once, not after the wipe"

    async def test_gives_a_receipt_with_the_proof_of_the_wipe(self) -> None:
        ada = await Customer.arrive()
        allocation = await ada.launch()
        await ada.cloud.work()
        await ada.cloud.release(ada.actor, allocation)
        await ada.cloud.work()

        receipt = await ada.cloud.receipt(ada.actor, allocation)

        wipe = receipt.allocation.receipt["wipe"]
        assert isinstance(wipe, dict)
        assert wipe["claim_id"] == receipt.allocation.claim_id
        assert receipt.allocation.ended_at is not None
        assert await ada.slots() == {SlotState.AVAILABLE}

    async def test_stamps_each_key_with_when_it_was_read_back(self) -> None:
        ada = await Customer.arrive()
        allocation = await ada.launch()
        await ada.cloud.work()

        keys = (await ada.cloud.read(ada.actor, allocation)).allocation.keys

        assert [key.applied_at for key in keys] == [ada.cloud.clock.now()]

    async def test_shows_a_placed_request_as_provisioning(self) -> None:
        ada = await Customer.arrive()
        allocation = await ada.launch()

        view = await ada.cloud.read(ada.actor, allocation)

        assert view.allocation.state is AllocationState.REQUESTED
        assert view.status is PublicStatus.PROVISIONING

    async def test_launches_a_batch_under_one_task(self) -> None:
        ada = await Customer.arrive()
        accepted = await ada.cloud.launch(ada.actor, ada.request(2, count=3))
        await ada.cloud.work()

        view = await ada.cloud.read_task(ada.actor, accepted.task_id)

        assert view.task.status is TaskStatus.SUCCEEDED
        assert len(view.members) == len(view.allocations) == 3
        masks = [allocation.mask for allocation in view.allocations]
        assert sum(masks) == masks[0] | masks[1] | masks[2], "no slot twice"


class TestRefusals:
    async def test_sold_out_makes_no_task(self) -> None:
        ada = await Customer.arrive()
        await ada.launch(8)

        with pytest.raises(SoldOut):
            await ada.launch(1)

    async def test_poor_makes_no_task_and_names_what_is_missing(self) -> None:
        ada = await Customer.arrive(dollars=0)

        with pytest.raises(InsufficientBalance, match=r"Add funds"):
            await ada.launch(1)

        assert await ada.nothing_was_made()

    async def test_keyless_makes_no_task(self) -> None:
        ada = await Customer.arrive()

        with pytest.raises(SshKeyRequired):
            await ada.launch(1, ssh_key_ids=())

        assert await ada.nothing_was_made()

    async def test_names_every_failing_check_at_once(self) -> None:
        ada = await Customer.arrive(dollars=0)

        with pytest.raises(SshKeyRequired) as refusal:
            await ada.launch(1, ssh_key_ids=())

        codes = {field.code for field in refusal.value.fields}
        assert codes == {"ssh_key_required", "insufficient_balance"}

    async def test_holds_a_tenant_to_its_quota(self) -> None:
        ada = await Customer.arrive(dollars=1000, nodes=9)

        with pytest.raises(QuotaExceeded):
            await ada.launch(8, count=9)

        assert await ada.nothing_was_made()

    async def test_says_what_is_wrong_with_each_field(self) -> None:
        ada = await Customer.arrive()

        with pytest.raises(ValidationFailed) as refusal:
            await ada.launch(0, count=99, name=" ", ttl_seconds=1)

        places = {field.field for field in refusal.value.fields}
        assert places == {"/gpu_count", "/count", "/name", "/ttl_seconds"}

    async def test_quotes_the_same_verdict_as_the_launch(self) -> None:
        ada = await Customer.arrive(dollars=3)

        quote = await ada.cloud.quote(ada.actor, ada.request(1))

        assert not quote.ok
        assert [check.code for check in quote.checks if not check.ok] == ["balance"]
        assert quote.hold_micros == quote.price_micros_per_hour == RATE
        assert await ada.nothing_was_made()


class TestFailures:
    async def test_a_launch_that_fails_costs_nothing_and_leaves_nothing(self) -> None:
        ada = await Customer.arrive()
        ada.cloud.driver.plan(Fault(verb="provision", kind=FaultKind.REFUSED_AFTER, times=9))
        allocation = await ada.launch(2)

        await ada.cloud.pass_time(timedelta(minutes=30))

        view = await ada.cloud.read(ada.actor, allocation)
        assert view.allocation.state is AllocationState.FAILED
        assert view.allocation.failure_reason == "node_refused"
        assert view.cost_micros == 0
        balance = await ada.cloud.balance(ada.actor)
        assert (balance.posted_micros, balance.held_micros) == (100 * DOLLAR, 0)
        assert await ada.slots() == {SlotState.AVAILABLE}

    async def test_a_launch_that_nobody_took_up_in_time_is_given_up(self) -> None:
        ada = await Customer.arrive()
        allocation = await ada.launch()

        ada.cloud.clock.advance_to(ada.cloud.clock.now() + timedelta(minutes=10))
        await ada.cloud.work()  # only now a worker is there again

        view = await ada.cloud.read(ada.actor, allocation)
        assert view.allocation.state is AllocationState.FAILED
        assert view.allocation.failure_reason == "out_of_time"
        assert view.cost_micros == 0
        assert (await ada.cloud.balance(ada.actor)).available_micros == 100 * DOLLAR

    async def test_a_launch_is_not_handed_over_long_after_its_gate(self) -> None:
        ada = await Customer.arrive()
        allocation = await ada.launch()
        ada.cloud.driver.plan(Fault(verb="verify", kind=FaultKind.UNREACHABLE_BEFORE, times=1))
        await ada.cloud.work()

        ada.cloud.clock.advance_to(ada.cloud.clock.now() + timedelta(minutes=30))
        await ada.cloud.work()

        assert await ada.state(allocation) is AllocationState.FAILED
        assert await ada.slots() == {SlotState.AVAILABLE}

    async def test_an_answer_that_is_lost_is_read_back(self) -> None:
        ada = await Customer.arrive()
        ada.cloud.driver.plan(Fault(verb="provision", kind=FaultKind.UNREACHABLE_AFTER))
        allocation = await ada.launch()

        await ada.cloud.work()
        assert "checking what became of it" in await ada.waits_for(allocation)
        await ada.cloud.pass_time(timedelta(minutes=1))

        assert await ada.state(allocation) is AllocationState.ACTIVE

    async def test_a_node_that_lies_about_its_work_is_found_out(self) -> None:
        ada = await Customer.arrive()
        ada.cloud.driver.plan(Fault(verb="set-keys", kind=FaultKind.PRETENDED, times=9))
        allocation = await ada.launch()

        await ada.cloud.pass_time(timedelta(minutes=30))

        assert await ada.state(allocation) is AllocationState.FAILED

    async def test_a_wipe_without_proof_fences_the_capacity_and_stops_the_meter(self) -> None:
        ada = await Customer.arrive()
        allocation = await ada.launch()
        await ada.cloud.work()
        ada.cloud.driver.plan(Fault(verb="wipe", kind=FaultKind.REFUSED_BEFORE, times=9))
        await ada.cloud.release(ada.actor, allocation)
        cost = (await ada.cloud.read(ada.actor, allocation)).cost_micros

        await ada.cloud.pass_time(timedelta(minutes=30))

        view = await ada.cloud.read(ada.actor, allocation)
        assert view.allocation.state is AllocationState.RELEASE_FAILED
        assert view.allocation.release_failed_reason == "release_failed"
        assert view.cost_micros == cost
        assert SlotState.CLEANUP_BLOCKED in await ada.slots()

    async def test_a_failed_release_can_be_retried(self) -> None:
        ada = await Customer.arrive()
        allocation = await ada.launch()
        await ada.cloud.work()
        ada.cloud.driver.plan(Fault(verb="wipe", kind=FaultKind.REFUSED_BEFORE, times=6))
        await ada.cloud.release(ada.actor, allocation)
        await ada.cloud.pass_time(timedelta(minutes=30))

        await ada.cloud.release(ada.actor, allocation)
        await ada.cloud.pass_time(timedelta(minutes=30))

        assert await ada.state(allocation) is AllocationState.RELEASED
        assert await ada.slots() == {SlotState.AVAILABLE}

    async def test_what_was_wiped_by_a_failed_unwinding_can_be_released_later(self) -> None:
        ada = await Customer.arrive()
        allocation = await ada.launch()
        ada.cloud.driver.plan(Fault(verb="provision", kind=FaultKind.UNREACHABLE_AFTER, times=5))
        ada.cloud.driver.plan(Fault(verb="verify-clean", kind=FaultKind.REFUSED_BEFORE, times=8))
        await ada.cloud.pass_time(timedelta(hours=2))
        assert await ada.state(allocation) is AllocationState.RELEASE_FAILED

        await ada.cloud.release(ada.actor, allocation)
        await ada.cloud.pass_time(timedelta(minutes=5))

        assert await ada.state(allocation) is AllocationState.RELEASED
        assert await ada.slots() == {SlotState.AVAILABLE}

    @pytest.mark.parametrize("end", ["release", "cancel"])
    async def test_what_fails_after_the_limit_of_its_state_is_not_tried_again(
        self, end: str
    ) -> None:
        """Seen to fail without the limit: it was tried for as long as attempts were left."""
        ada = await Customer.arrive()
        allocation = await ada.launch()
        if end == "release":
            await ada.cloud.work()
            await ada.cloud.release(ada.actor, allocation)
        else:
            ada.cloud.driver.plan(Fault(verb="provision", kind=FaultKind.UNREACHABLE_AFTER))
            await ada.cloud.work()
            ada.cloud.driver.plan(Fault(verb="release", kind=FaultKind.REFUSED_BEFORE))
            await ada.cloud.cancel(ada.actor, allocation)
            await ada.cloud.work()
            assert await ada.state(allocation) is AllocationState.UNWINDING
        limit = LIFECYCLE.states[await ada.state(allocation)].limit
        assert limit is not None
        ada.cloud.clock.advance_to(ada.cloud.clock.now() + limit[0])  # nobody was there

        ada.cloud.driver.plan(Fault(verb="release", kind=FaultKind.REFUSED_BEFORE))
        await ada.cloud.pass_time(timedelta(minutes=30))

        assert await ada.state(allocation) is AllocationState.RELEASE_FAILED
        assert await ada.slots() >= {SlotState.CLEANUP_BLOCKED}, "and people see to it"


class TestEndings:
    async def test_a_cancelled_launch_costs_nothing_and_leaves_nothing(self) -> None:
        ada = await Customer.arrive()
        allocation = await ada.launch()

        await ada.cloud.cancel(ada.actor, allocation)
        await ada.cloud.work()

        assert await ada.state(allocation) is AllocationState.CANCELLED
        assert (await ada.cloud.balance(ada.actor)).available_micros == 100 * DOLLAR
        assert await ada.slots() == {SlotState.AVAILABLE}

    async def test_an_active_one_is_released_not_cancelled(self) -> None:
        ada = await Customer.arrive()
        allocation = await ada.launch()
        with pytest.raises(NotReleasable):
            await ada.cloud.release(ada.actor, allocation)
        await ada.cloud.work()

        with pytest.raises(NotCancellable):
            await ada.cloud.cancel(ada.actor, allocation)

    async def test_its_time_to_live_ends_it(self) -> None:
        ada = await Customer.arrive()
        allocation = await ada.launch(ttl_seconds=3600)

        await ada.cloud.pass_time(timedelta(hours=2))

        view = await ada.cloud.read(ada.actor, allocation)
        assert view.allocation.state is AllocationState.RELEASED
        assert view.cost_micros == RATE

    async def test_the_end_of_the_money_ends_it_and_never_overdraws(self) -> None:
        ada = await Customer.arrive(dollars=10)
        allocation = await ada.launch()

        await ada.cloud.pass_time(timedelta(hours=12))

        view = await ada.cloud.read(ada.actor, allocation)
        assert view.allocation.state is AllocationState.RELEASED
        balance = await ada.cloud.balance(ada.actor)
        assert balance.posted_micros == 10 * DOLLAR - view.cost_micros
        assert 0 <= balance.posted_micros - RATE <= 1, "the reserve came back, the rest is spent"

    async def test_may_run_on_its_reserve_until_that_is_spent(self) -> None:
        ada = await Customer.arrive(dollars=10)
        allocation = await ada.launch(end_of_balance=EndOfBalance.RUN_ON_RESERVE)

        await ada.cloud.pass_time(timedelta(hours=12))

        view = await ada.cloud.read(ada.actor, allocation)
        assert view.allocation.state is AllocationState.RELEASED
        assert 0 <= 10 * DOLLAR - view.cost_micros <= 1
