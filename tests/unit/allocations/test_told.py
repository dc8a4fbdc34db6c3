"""What tenants read where a node said no.

Seen to fail when a node's own words went through to the tenant, in a step, in what a task waits
for, and in a line of its story.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customer import Customer
from gpucloud_adapters.memory.node_driver import Fault, FaultKind
from gpucloud_core.access.model import PlatformRole
from gpucloud_core.allocations.queries import ListTaskEvents, ReadTask
from gpucloud_core.allocations.told import to_tenant
from gpucloud_core.nodes import wire

OWN = "The node program failed; what it did is unknown. (internal)"
codes = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)


class TestToTenant:
    @given(text=st.text(max_size=40), code=codes, goes_on=st.booleans())
    def test_passes_on_no_word_of_a_node(self, text: str, code: str, goes_on: bool) -> None:
        secret = f"xyzzy {text} ({code})"

        told = to_tenant(secret, kind="provision", goes_on=goes_on)

        assert "xyzzy" not in told
        assert f"({code})" not in told
        assert "Nothing is billed until it is active." in told
        assert ("tried again" in told) == goes_on

    @pytest.mark.parametrize("text", ["", "The node does not answer.", "2 of 3 (GPUs) answer."])
    def test_leaves_what_no_node_said(self, text: str) -> None:
        assert to_tenant(text, kind="release", goes_on=True) == text

    def test_says_what_became_of_the_money(self) -> None:
        told = to_tenant(OWN, kind="release", goes_on=False)

        assert told == (
            "The machine's own program failed at this step. Billing has stopped already. "
            "Operators see the cause."
        )


class TestATask:
    async def test_tells_its_tenant_and_its_operator_each_their_own(self) -> None:
        ada = await Customer.arrive()
        no = Fault(verb=wire.PROVISION.verb, kind=FaultKind.REFUSED_BEFORE, times=99)
        ada.cloud.driver.plan(no)
        launched = await ada.cloud.launch(ada.actor, ada.request(1))
        await ada.cloud.work()
        read = ReadTask(transactions=ada.cloud.transactions)
        story = ListTaskEvents(transactions=ada.cloud.transactions)
        olga = replace(ada.actor, platform_role=PlatformRole.OPS)

        told = []
        for actor in (ada.actor, olga):
            task = (await read(actor=actor, task_id=launched.task_id)).task
            events = (await story(actor=actor, task_id=launched.task_id)).items
            words = [task.wait_reason, task.error_detail, *(step.reason for step in task.steps)]
            told.append([*words, *(event.text for event in events)])

        of_tenant, of_operator = told
        assert not [words for words in of_tenant if "(internal)" in words]
        assert len([words for words in of_operator if "(internal)" in words]) > 2
        assert any("own program failed at this step" in words for words in of_tenant)
