"""What a node holds, under any order of verbs.

Seen to fail when ``_check_free`` looked only at slices that exist: a GPU that was released and
not yet wiped went to the next customer. And when a claim released before it was made was not
remembered: an order held up on its way made a slice that nobody knew.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes import holdings as rules
from gpucloud_core.nodes.holdings import REMEMBERED, Holdings, Refused, Stage
from gpucloud_core.nodes.model import SliceSpec
from simulated_builders import KEY, NODE, NOON, OTHER_KEY, a_spec, claim


def made(*specs: SliceSpec) -> Holdings:
    holdings = Holdings()
    for spec in specs:
        holdings = rules.provision(holdings, NODE, spec, now=NOON)
    return holdings


def refusal(holdings: Holdings, spec: SliceSpec) -> str:
    with pytest.raises(Refused) as refused:
        rules.provision(holdings, NODE, spec, now=NOON)
    return refused.value.code


class TestProvision:
    def test_makes_a_running_slice_without_keys(self) -> None:
        there = rules.evidence(made(a_spec()), NODE, claim(1))

        assert there.running
        assert there.gpu_uuids == a_spec().gpu_uuids
        assert there.key_fingerprints == ()

    def test_again_keeps_the_keys(self) -> None:
        holdings = rules.set_keys(made(a_spec()), claim(1), [KEY])

        again = rules.provision(holdings, NODE, a_spec(), now=NOON + timedelta(hours=1))

        assert again == holdings

    def test_refuses_an_older_generation(self) -> None:
        assert refusal(made(a_spec(generation=5)), a_spec(generation=4)) == "stale_generation"

    def test_does_not_undo_a_cut_off(self) -> None:
        holdings = rules.cut_off(made(a_spec()), claim(1))

        assert refusal(holdings, a_spec(generation=9)) == "cut_off"

    def test_does_not_bring_back_what_was_released(self) -> None:
        holdings = rules.release(made(a_spec()), claim(1), now=NOON)

        wiped, _ = rules.wipe(holdings, NODE, claim(1), a_spec().gpu_uuids, method="m", now=NOON)

        for over in (holdings, wiped):
            assert refusal(over, a_spec()) == "stale_generation"
            assert refusal(over, a_spec(generation=9)) == "stale_generation"

    def test_refuses_to_become_something_else(self) -> None:
        assert refusal(made(a_spec()), a_spec(gpus=(4, 5), generation=2)) == "spec_changed"

    def test_refuses_what_another_slice_holds(self) -> None:
        holdings = made(a_spec(1, gpus=(0, 1)))

        assert refusal(holdings, a_spec(2, gpus=(1, 2))) == "gpu_in_use"
        assert refusal(holdings, a_spec(2, port=2201)) == "address_in_use"

    def test_refuses_a_gpu_the_node_does_not_have(self) -> None:
        smaller = replace(NODE, gpus=NODE.gpus[:2])

        with pytest.raises(Refused) as refused:
            rules.provision(Holdings(), smaller, a_spec(), now=NOON)

        assert refused.value.code == "unknown_gpu"


class TestWipe:
    def test_waits_until_the_slice_is_released(self) -> None:
        with pytest.raises(Refused) as refused:
            rules.wipe(made(a_spec()), NODE, claim(1), a_spec().gpu_uuids, method="m", now=NOON)

        assert refused.value.code == "still_there"

    def test_never_touches_a_gpu_that_another_slice_uses(self) -> None:
        holdings = made(a_spec(2))

        with pytest.raises(Refused) as refused:
            rules.wipe(holdings, NODE, claim(1), a_spec().gpu_uuids, method="m", now=NOON)

        assert refused.value.code == "gpu_in_use"

    def test_brings_the_same_proof_again(self) -> None:
        holdings = rules.release(made(a_spec()), claim(1), now=NOON)
        uuids = a_spec().gpu_uuids

        holdings, proof = rules.wipe(holdings, NODE, claim(1), uuids, method="m", now=NOON)
        _, again = rules.wipe(
            holdings, NODE, claim(1), uuids, method="m", now=NOON + timedelta(hours=1)
        )

        assert proof.clean
        assert len(proof.device_serials) == len(uuids)
        assert again == proof
        assert rules.found(holdings, NODE, claim(1), uuids) == ()

    def test_of_some_gpus_leaves_the_others_dirty(self) -> None:
        holdings = rules.release(made(a_spec()), claim(1), now=NOON)
        some = a_spec().gpu_uuids[:1]

        holdings, _ = rules.wipe(holdings, NODE, claim(1), some, method="m", now=NOON)

        assert rules.found(holdings, NODE, claim(1), a_spec().gpu_uuids)

    def test_is_not_clean_when_a_gpu_is_gone(self) -> None:
        holdings = rules.release(made(a_spec()), claim(1), now=NOON)
        smaller = replace(NODE, gpus=NODE.gpus[:3])

        after, proof = rules.wipe(
            holdings, smaller, claim(1), a_spec().gpu_uuids, method="m", now=NOON
        )

        assert not proof.clean
        assert after.records[claim(1)].stage is Stage.RELEASED
        assert rules.found(after, NODE, claim(1), a_spec().gpu_uuids)

    def test_forgets_what_was_wiped_long_ago(self) -> None:
        holdings = rules.release(made(a_spec(1)), claim(1), now=NOON)
        uuids = a_spec().gpu_uuids
        holdings, _ = rules.wipe(holdings, NODE, claim(1), uuids, method="m", now=NOON)
        later = NOON + REMEMBERED
        holdings = rules.release(holdings, claim(3), now=NOON)
        holdings = rules.provision(holdings, NODE, a_spec(2), now=later)
        holdings = rules.release(holdings, claim(2), now=later)

        holdings, _ = rules.wipe(holdings, NODE, claim(2), uuids, method="m", now=later)

        assert set(holdings.records) == {claim(2)}
        assert holdings.never_made == {}


class TestSetKeys:
    def test_replaces_all_of_them(self) -> None:
        holdings = rules.set_keys(made(a_spec()), claim(1), [KEY])

        holdings = rules.set_keys(holdings, claim(1), [f"{OTHER_KEY} mira@laptop"])

        assert holdings.slices[claim(1)].keys == (OTHER_KEY,)

    def test_refuses_without_a_running_slice(self) -> None:
        for holdings, code in (
            (Holdings(), "not_found"),
            (rules.cut_off(made(a_spec()), claim(1)), "cut_off"),
        ):
            with pytest.raises(Refused) as refused:
                rules.set_keys(holdings, claim(1), [KEY])
            assert refused.value.code == code


numbers = st.integers(1, 3)  # few claims, GPUs and generations: they collide


class NodeMachine(RuleBasedStateMachine):
    """The model: who may log in, and which GPUs were used since their last wipe, and by whom."""

    def __init__(self) -> None:
        super().__init__()
        self.holdings = Holdings()
        self.running: set[ClaimId] = set()
        self.dirty: dict[str, ClaimId] = {}
        self.newest: dict[ClaimId, int] = {}
        self.released: set[ClaimId] = set()

    @rule(number=numbers, first=st.integers(0, 2), generation=st.integers(1, 3))
    def provision(self, number: int, first: int, generation: int) -> None:
        spec = a_spec(number, gpus=(first, first + 1), generation=generation)
        try:
            after = rules.provision(self.holdings, NODE, spec, now=NOON)
        except Refused:
            return
        assert generation >= self.newest.get(spec.claim_id, 0), "a stale worker got through"
        assert spec.claim_id not in self.released, "it was made after its release"
        for uuid in spec.gpu_uuids:
            assert self.dirty.get(uuid, spec.claim_id) == spec.claim_id, (
                "a dirty GPU was given away"
            )
            self.dirty[uuid] = spec.claim_id
        self.newest[spec.claim_id] = generation
        self.running.add(spec.claim_id)
        self.holdings = after

    @rule(number=numbers)
    def cut_off(self, number: int) -> None:
        self.holdings = rules.cut_off(self.holdings, claim(number))
        self.running.discard(claim(number))

    @rule(number=numbers)
    def release(self, number: int) -> None:
        self.holdings = rules.release(self.holdings, claim(number), now=NOON)
        self.running.discard(claim(number))
        self.released.add(claim(number))

    @rule(number=numbers, uuids=st.sets(st.sampled_from([gpu.uuid for gpu in NODE.gpus[:4]])))
    def wipe(self, number: int, uuids: set[str]) -> None:
        asked = sorted(uuids)
        known = self.holdings.records.get(claim(number))
        try:
            self.holdings, _ = rules.wipe(
                self.holdings, NODE, claim(number), asked, method="m", now=NOON
            )
        except Refused:
            return
        after = self.holdings.records.get(claim(number))
        if known and after and after.stage is Stage.WIPED:
            for uuid in known.spec.gpu_uuids:
                if self.dirty.get(uuid) == claim(number):
                    del self.dirty[uuid]

    @invariant()
    def exactly_the_running_slices_run(self) -> None:
        assert {each.claim_id for each in rules.owned(self.holdings) if each.running} == (
            self.running
        )

    @invariant()
    def whoever_left_something_is_not_called_clean(self) -> None:
        for uuid, holder in self.dirty.items():
            assert rules.found(self.holdings, NODE, holder, [uuid])


TestAnyOrderOfVerbs = NodeMachine.TestCase
TestAnyOrderOfVerbs.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
