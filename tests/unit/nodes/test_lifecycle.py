"""The tables of slots and nodes, walked by every order of events.

Seen to fail when a slot that is being cleaned could be freed without anyone having read the node,
and when retiring a node did not ask whether it is held.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.kernel.machine import Decision, Refused
from gpucloud_core.nodes.lifecycle import (
    NODE,
    SLOT,
    NodeEffect,
    NodeEvent,
    NodeFacts,
    SlotEffect,
    SlotEvent,
    SlotFacts,
)
from gpucloud_core.nodes.model import NodeStatus, SlotState

E = TypeVar("E", bound=StrEnum)

steps = st.integers(0, 9)  # which of the events that the present state knows; see ``possible``


def possible(moves: Mapping[E, object], step: int, otherwise: type[E]) -> E:
    """Return one of a state's own events, so that walks get far; any event where it has none."""
    events = list(moves) or list(otherwise)
    return events[step % len(events)]


slot_facts = st.builds(
    SlotFacts,
    is_ready=st.booleans(),
    runtime_verified_absent=st.booleans(),
    is_untouched=st.booleans(),
)
node_facts = st.builds(
    NodeFacts,
    approved_slots=st.integers(0, 2),
    held_by=st.lists(st.sampled_from(["alc_1 of ada", "alc_2 of bob"]), max_size=4).map(tuple),
)


class TestSlot:
    @given(walk=st.lists(st.tuples(steps, slot_facts), max_size=30))
    def test_is_offered_exactly_while_it_is_available(
        self, walk: list[tuple[int, SlotFacts]]
    ) -> None:
        state, offered = SLOT.initial, False
        for step, facts in walk:
            event = possible(SLOT.moves[state], step, SlotEvent)
            decision = SLOT.decide(state, event, facts)
            if isinstance(decision, Decision):
                state = decision.state
                for effect in decision.effects:
                    assert offered is not (effect is SlotEffect.OFFER), "done twice"
                    offered = effect is SlotEffect.OFFER

            assert offered is (state is SlotState.AVAILABLE)

    @given(walk=st.lists(st.tuples(steps, slot_facts), max_size=30))
    def test_is_never_free_again_unproven_once_a_slice_was_there(
        self, walk: list[tuple[int, SlotFacts]]
    ) -> None:
        state, dirty = SLOT.initial, False
        for step, facts in walk:
            event = possible(SLOT.moves[state], step, SlotEvent)
            decision = SLOT.decide(state, event, facts)
            if isinstance(decision, Refused):
                continue
            state = decision.state
            dirty |= state in {SlotState.IN_USE, SlotState.CLEANING}
            if state is SlotState.AVAILABLE and dirty:
                assert facts.runtime_verified_absent
                dirty = False

    def test_blocks_when_cleaning_outlives_its_limit(self) -> None:
        since = datetime(2026, 1, 1, tzinfo=UTC)

        assert SLOT.overdue(SlotState.CLEANING, since, since + timedelta(minutes=29)) is None
        assert (
            SLOT.overdue(SlotState.CLEANING, since, since + timedelta(minutes=30))
            is SlotEvent.BLOCK
        )

    @pytest.mark.parametrize("state", list(SlotState))
    @pytest.mark.parametrize("event", list(SlotEvent))
    def test_refuses_what_its_row_does_not_know(self, state: SlotState, event: SlotEvent) -> None:
        facts = SlotFacts(runtime_verified_absent=True, is_untouched=True)

        refused = isinstance(SLOT.decide(state, event, facts), Refused)

        assert refused is (event not in SLOT.moves[state])

    def test_says_why_not(self) -> None:
        refused = SLOT.decide(SlotState.CLEANUP_BLOCKED, SlotEvent.FORCE_CLEANUP, SlotFacts())

        assert isinstance(refused, Refused)
        assert "nobody has verified" in refused.reason

    @pytest.mark.parametrize("state", list(SlotState))
    def test_bills_nothing(self, state: SlotState) -> None:
        assert not SLOT.states[state].billed


class TestNode:
    @given(walk=st.lists(st.tuples(steps, node_facts), max_size=30))
    def test_is_sold_exactly_while_it_is_active(self, walk: list[tuple[int, NodeFacts]]) -> None:
        state, sold = NODE.initial, False
        for step, facts in walk:
            event = possible(NODE.moves[state], step, NodeEvent)
            decision = NODE.decide(state, event, facts)
            if isinstance(decision, Decision):
                state = decision.state
                for effect in decision.effects:
                    sold = effect is NodeEffect.SELL

            assert sold is (state is NodeStatus.ACTIVE)

    @given(walk=st.lists(st.tuples(steps, node_facts), max_size=30))
    def test_leaves_service_only_when_nobody_holds_it(
        self, walk: list[tuple[int, NodeFacts]]
    ) -> None:
        state = NODE.initial
        for step, facts in walk:
            event = possible(NODE.moves[state], step, NodeEvent)
            decision = NODE.decide(state, event, facts)
            if isinstance(decision, Decision):
                state = decision.state
                if state in {NodeStatus.RETIRED, NodeStatus.DELETED}:
                    assert not facts.held_by

    def test_names_who_holds_it_and_the_way_out(self) -> None:
        holders = tuple(f"alc_{number} of ada" for number in range(5))

        refused = NODE.decide(NodeStatus.DRAINING, NodeEvent.RETIRE, NodeFacts(held_by=holders))

        assert isinstance(refused, Refused)
        assert refused.reason == (
            "it is held by alc_0 of ada, alc_1 of ada, alc_2 of ada and 2 more; "
            "drain it and release those first"
        )

    def test_is_over_once_deleted(self) -> None:
        assert NODE.is_final(NodeStatus.DELETED)
