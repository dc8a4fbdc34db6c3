"""The allocation's life as a table; ``test_walk.py`` lives it."""

import pytest

from gpucloud_core.allocations.lifecycle import LIFECYCLE, PublicStatus, public_status
from gpucloud_core.allocations.model import AllocationState

S = AllocationState


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
