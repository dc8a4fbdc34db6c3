"""The status vocabulary is complete: every state of the core has a row, and rows are well made."""

from enum import StrEnum

import pytest

from gpucloud_core.allocations.lifecycle import PublicStatus
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.billing.model import PaymentState, Standing
from gpucloud_core.nodes.model import NodeStatus, SlotState
from gpucloud_core.work.model import StepStatus, TaskStatus
from gpucloud_web.status import STATUS, TONES, look_of

SHOWN: tuple[tuple[str, type[StrEnum]], ...] = (
    ("allocation", AllocationState),
    ("allocation", PublicStatus),
    ("slot", SlotState),
    ("node_operator", NodeStatus),
    ("task", TaskStatus),
    ("step", StepStatus),
    ("payment", PaymentState),
    ("standing", Standing),
)


class TestVocabulary:
    @pytest.mark.parametrize(("kind", "states"), SHOWN)
    def test_has_a_row_for_every_state_of_the_core(self, kind: str, states: type[StrEnum]) -> None:
        assert {state.value for state in states} <= set(STATUS[kind])

    def test_uses_the_six_tones_and_says_each_state_in_words(self) -> None:
        for kind, rows in STATUS.items():
            for state, look in rows.items():
                assert look.tone in TONES, (kind, state)
                assert look.words, (kind, state)

    def test_never_shows_two_states_of_a_kind_alike(self) -> None:
        for kind, rows in STATUS.items():
            seen = [(look.icon, look.words) for look in rows.values()]
            assert len(seen) == len(set(seen)), kind

    def test_moves_only_what_is_busy(self) -> None:
        for rows in STATUS.values():
            assert all(look.tone == "busy" for look in rows.values() if look.turns)

    def test_has_no_row_for_what_it_does_not_know(self) -> None:
        with pytest.raises(KeyError):
            look_of("allocation", "vanished")
