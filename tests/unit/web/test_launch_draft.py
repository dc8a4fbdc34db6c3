"""The draft of a launch survives its cookie, whatever was typed, and asks for what it says."""

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.allocations.model import EndOfBalance
from gpucloud_core.allocations.request import field_errors
from gpucloud_core.placement.model import Spread, Within
from gpucloud_web.pages.launch_draft import STEPS, Draft, inbound_rules

texts = st.text(max_size=40)
drafts = st.builds(
    Draft,
    sku=texts,
    gpu_count=texts,
    count=texts,
    spread=texts,
    near=st.sampled_from(["", "group", "pod", "fabric", "moon"]),
    image=texts,
    ssh_cidrs=texts,
    ports=texts,
    keys=st.lists(texts, max_size=4).map(tuple),
    name=texts,
    end_of_balance=texts,
    hours=texts,
    project=texts,
    seen=st.lists(st.sampled_from(sorted(STEPS)), max_size=6).map(tuple),
)


class TestDraft:
    @given(draft=drafts)
    def test_comes_back_from_its_cookie_as_it_was(self, draft: Draft) -> None:
        assert Draft.of_cookie(draft.cookie()) == draft

    @given(text=st.text())
    def test_begins_afresh_from_a_cookie_that_is_none(self, text: str) -> None:
        assert isinstance(Draft.of_cookie(text), Draft)

    def test_takes_no_field_of_another_kind(self) -> None:
        strange = base64.urlsafe_b64encode(json.dumps({"sku": 7, "keys": "no"}).encode()).decode()

        assert Draft.of_cookie(strange) == Draft()

    @given(draft=drafts)
    def test_always_makes_a_request_that_can_be_checked(self, draft: Draft) -> None:
        assert isinstance(field_errors(draft.request()), tuple)

    @pytest.mark.parametrize(("near", "count"), [("", "4"), ("moon", "4"), ("group", "1")])
    def test_leaves_machines_apart_that_need_not_be_near(self, near: str, count: str) -> None:
        """Seen to fail when one machine was together with itself."""
        request = Draft(sku="h200", gpu_count="4", count=count, near=near).request()

        assert (request.together, request.within) == (False, Within.FABRIC)

    def test_forgets_the_size_and_image_of_other_hardware(self) -> None:
        draft = Draft(sku="h200", gpu_count="4", image="img_1")

        assert draft.with_step("hardware", {"sku": ["l40s"]}).gpu_count == ""
        assert draft.with_step("hardware", {"sku": ["h200"]}).gpu_count == "4"

    def test_takes_an_unticked_box_for_a_no(self) -> None:
        draft = Draft(spread="distinct_nodes", keys=("key_1", "key_2"))

        assert draft.with_step("capacity", {"count": ["2"]}).spread == ""
        assert draft.with_step("access", {"keys": ["key_2"]}).keys == ("key_2",)

    @given(draft=drafts, step=st.sampled_from(sorted(STEPS)))
    def test_changes_nothing_when_a_step_is_sent_twice(self, draft: Draft, step: str) -> None:
        form = {"sku": ["h200"], "count": ["3"], "keys": ["key_1"], "name": ["sft"]}
        once = draft.with_step(step, form)

        assert once.with_step(step, form) == once

    def test_says_every_choice_in_the_request(self) -> None:
        request = Draft(
            sku="h200-sxm",
            gpu_count="2",
            count="3",
            spread="distinct_nodes",
            near="pod",
            ssh_cidrs="203.0.113.0/24, 2001:db8::/32",
            ports="8888 10.0.0.0/8\n\n6006",
            keys=("key_1",),
            name="sft",
            end_of_balance="run_on_reserve",
            hours="24",
        ).request()

        assert (request.gpu_count, request.count) == (2, 3)
        assert request.spread is Spread.DISTINCT_NODES
        assert (request.together, request.within) == (True, Within.POD)
        assert request.network.ssh_cidrs == ("203.0.113.0/24", "2001:db8::/32")
        assert [(rule.port, rule.cidrs) for rule in request.network.inbound] == [
            (8888, ("10.0.0.0/8",)),
            (6006, ()),
        ]
        assert request.end_of_balance is EndOfBalance.RUN_ON_RESERVE
        assert request.ttl_seconds == 86_400

    def test_lets_the_launch_refuse_a_number_that_is_none(self) -> None:
        faults = field_errors(replace(Draft(sku="h200", gpu_count="1"), count="many").request())

        assert [fault.field for fault in faults] == ["/count"]
        assert inbound_rules("https")[0].port == 0
