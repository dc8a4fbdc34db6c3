"""The allocation's life as a table, and under any order of what people, nodes and time do.

The state machine was seen to fail when a launch that failed kept its hold (``VOID_HOLD`` taken
out of ``unwound_failed``), and when capacity was given back before the wipe was proven
(``FREE_CAPACITY`` moved from ``clean`` to ``release``).
"""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from customer import DOLLAR, Customer
from gpucloud_adapters.memory.node_driver import Fault, FaultKind
from gpucloud_core.allocations.errors import NotCancellable, NotReleasable
from gpucloud_core.allocations.lifecycle import LIFECYCLE, PublicStatus, public_status
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.unit import Scope

S = AllocationState
ENDED = frozenset({S.RELEASED, S.CANCELLED, S.FAILED})
NEVER_CHARGED = frozenset({S.REQUESTED, S.PROVISIONING, S.UNWINDING, S.CANCELLED, S.FAILED})
VERBS = ["probe", "provision", "set-keys", "verify", "cut-off", "release", "wipe", "verify-clean"]


class TestTable:
    @pytest.mark.parametrize("state", AllocationState)
    def test_bills_only_where_the_customer_can_work(self, state: AllocationState) -> None:
        assert LIFECYCLE.states[state].billed == (state in {S.ACTIVE, S.RESTARTING})

    @pytest.mark.parametrize("state", AllocationState)
    def test_every_state_that_moves_has_a_limit_and_a_failed_twin(
        self, state: AllocationState
    ) -> None:
        row = LIFECYCLE.states[state]

        if state.endswith("ing") or state is S.REQUESTED:
            assert row.limit is not None
            assert row.failed_twin is not None
        else:
            assert row.limit is None

    def test_shows_a_placed_request_as_provisioning(self) -> None:
        assert public_status(S.REQUESTED) is PublicStatus.PROVISIONING
        assert public_status(S.PROVISIONING, cancel_asked=True) is PublicStatus.CANCELLING
        assert public_status(S.UNWINDING, cause="failed") is PublicStatus.FAILING


class Lives(RuleBasedStateMachine):
    """One customer, one node, and whatever happens."""

    allocations = Bundle("allocations")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.ada = self.runner.run(Customer.arrive(dollars=60))
        self.known: list[AllocationId] = []

    def teardown(self) -> None:
        self.runner.close()

    @rule(target=allocations, gpus=st.sampled_from([1, 2, 4, 8]))
    def launch(self, gpus: int) -> object:
        try:
            made = self.runner.run(self.ada.launch(gpus))
        except DomainError:
            return multiple()  # sold out or poor; that it is right is shown elsewhere
        self.known.append(made)
        return made

    @rule(allocation=allocations)
    def cancel(self, allocation: AllocationId) -> None:
        try:
            self.runner.run(self.ada.cloud.cancel(self.ada.actor, allocation))
        except NotCancellable:
            assert self.state(allocation) not in {S.REQUESTED, S.PROVISIONING}

    @rule(allocation=allocations)
    def release(self, allocation: AllocationId) -> None:
        try:
            self.runner.run(self.ada.cloud.release(self.ada.actor, allocation))
        except NotReleasable:
            assert self.state(allocation) not in {S.ACTIVE, S.RELEASE_FAILED}

    @rule(verb=st.sampled_from(VERBS), kind=st.sampled_from(FaultKind), times=st.integers(1, 9))
    def the_node_fails(self, verb: str, kind: FaultKind, times: int) -> None:
        self.ada.cloud.driver.plan(Fault(verb=verb, kind=kind, times=times))

    @rule()
    def one_worker_goes_one_step(self) -> None:
        async def step() -> None:
            async with self.ada.cloud.transactions.begin(Scope.platform()) as unit:
                due = await unit.tasks.due(self.ada.cloud.clock.now(), limit=1)
            for task_id in due:
                await self.ada.cloud.runner()(task_id)

        self.runner.run(step())

    @rule(minutes=st.sampled_from([1, 10, 120]))
    def time_passes(self, minutes: int) -> None:
        self.runner.run(self.ada.cloud.pass_time(timedelta(minutes=minutes)))

    def state(self, allocation: AllocationId) -> AllocationState:
        return self.runner.run(self.ada.state(allocation))

    @invariant()
    def money_and_capacity_follow_the_state(self) -> None:
        self.runner.run(self._hold_true())

    async def _hold_true(self) -> None:
        cloud = self.ada.cloud
        balance = await cloud.balance(self.ada.actor)
        assert balance.available_micros >= 0
        assert balance.posted_micros <= 60 * DOLLAR
        async with cloud.transactions.begin(Scope.platform()) as unit:
            rows = [row for row in await unit.allocations.find() if row.id in self.known]
            holds = {hold.allocation_id for hold in await unit.holds.find(state="open")}
            open_claims = {c.allocation_id: c for c in await unit.claims.find(released_at=None)}
            charged = {s.allocation_id for s in await unit.usage_segments.find()}
        taken = 0
        for row in rows:
            if row.state in NEVER_CHARGED:
                assert row.id not in charged, "never active, never charged"
            if row.state in ENDED:
                assert row.id not in holds, "over, so nothing is held"
                assert row.id not in open_claims, "over, so its capacity is free"
            else:
                assert row.id in open_claims, "not over, so its capacity is its own"
                assert not taken & row.mask, "no GPU twice"
                taken |= row.mask
            if row.state is S.RELEASED:
                assert row.receipt["wipe"], "free only with proof"


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
