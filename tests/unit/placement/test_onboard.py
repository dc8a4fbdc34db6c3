"""From discovery to sale: proposed, reviewed, approved; drift kept apart; modes changed when empty.

The machine below was seen to fail when ``propose_anew`` did not ask for open claims, when
``RediscoverNode`` put what it found straight into the node's topology, and when ``_mode`` believed
the row instead of the node.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from access_builders import CountedIds
from gpucloud_adapters.memory.node_driver import Fault as Trouble
from gpucloud_adapters.memory.node_driver import FaultKind, MemoryNodeDriver
from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_core.access.authorize import Forbidden
from gpucloud_core.access.model import Actor, PlatformRole, Role
from gpucloud_core.kernel.errors import AlreadyExists, NotFound
from gpucloud_core.kernel.ids import NodeId, SlotId, TenantId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.discovery import read_topology
from gpucloud_core.nodes.model import Findings, NodeAccess, NodeMode, NodeStatus, SlotState
from gpucloud_core.nodes.ports import NodeRefused, NodeUnreachable
from gpucloud_core.nodes.review import NodeReview
from gpucloud_core.placement.change_mode import ChangeNodeMode
from gpucloud_core.placement.enroll import NodeFacts
from gpucloud_core.placement.onboard import ApproveSlots, ProposeNode, ReviewNode, SlotNotReady
from gpucloud_core.placement.rediscover import (
    AcceptFindings,
    NodeInUse,
    NothingFound,
    RediscoverNode,
)
from node_builders import HGX_H200
from row_builders import NOW, FixedClock, a_claim

T = TypeVar("T")

ADMIN: Final = Actor(
    user_id=None,
    tenant_id=TenantId("ten_0"),
    username="ada",
    tenant_role=Role.OWNER,
    project_roles={},
    platform_role=PlatformRole.ADMIN,
)
ACCESS: Final = NodeAccess(
    host="node", port=22, username="gpucloud", host_key="ssh-ed25519 AAAA", credential="node"
)
SMALLER: Final = replace(HGX_H200, gpus=HGX_H200.gpus[:7])
RENAMED: Final = replace(HGX_H200, driver_version="580.1")


class Site:
    """A node that is really there, and the use cases around it."""

    def __init__(self) -> None:
        self.transactions = MemoryTransactions(FixedClock())
        self.ids = CountedIds()
        self.driver = MemoryNodeDriver({"node": HGX_H200})

    async def propose(self, **given: Any) -> NodeReview:
        found = read_topology((await self.driver.discover(ACCESS)).outputs)
        facts: dict[str, Any] = {
            "name": "node-1",
            "region": "eu-1",
            "mode": NodeMode.CONTAINER,
            "access": ACCESS,
            "topology": found.topology,
            "endpoints": [("10.0.0.1", 2200 + gpu.index) for gpu in HGX_H200.gpus],
            "shared_kernel": True,
        }
        propose = ProposeNode(transactions=self.transactions, ids=self.ids)
        return await propose(
            actor=ADMIN,
            facts=NodeFacts(**{**facts, **given}),
            findings=Findings(at=NOW, faults=found.faults),
        )

    async def approve(self, node_id: NodeId, *slot_ids: SlotId) -> NodeReview:
        approve = ApproveSlots(transactions=self.transactions)
        return await approve(actor=ADMIN, node_id=node_id, slot_ids=slot_ids)

    async def discover(self, node_id: NodeId) -> NodeReview:
        again = RediscoverNode(transactions=self.transactions, driver=self.driver)
        return await again(actor=ADMIN, node_id=node_id)

    async def accept(self, node_id: NodeId) -> NodeReview:
        accept = AcceptFindings(transactions=self.transactions, ids=self.ids)
        return await accept(actor=ADMIN, node_id=node_id, endpoints=[("10.0.0.1", 2207)])

    async def change_mode(self, node_id: NodeId, mode: NodeMode) -> NodeReview:
        change = ChangeNodeMode(transactions=self.transactions, driver=self.driver, ids=self.ids)
        return await change(actor=ADMIN, node_id=node_id, mode=mode)

    async def claim(self, node_id: NodeId, mask: int) -> bool:
        claim = a_claim(ADMIN.tenant_id, node_id, mask, vcpus=1, memory_mib=1)
        async with self.transactions.begin(Scope.tenant(ADMIN.tenant_id)) as unit:
            return await unit.fleet.take(claim)

    def becomes(self, topology: object) -> None:
        """Change the hardware behind the platform's back."""
        self.driver._nodes["node"] = topology  # type: ignore[assignment]


@pytest.fixture
def site() -> Site:
    return Site()


def states(seen: NodeReview) -> set[SlotState]:
    return {each.slot.state for each in seen.slots}


class TestOnboarding:
    async def test_sells_nothing_before_it_is_approved(self, site: Site) -> None:
        seen = await site.propose()

        assert seen.node.status is NodeStatus.ENROLLING
        assert states(seen) == {SlotState.PROPOSED}
        assert all(each.is_ready for each in seen.slots)
        assert all(condition.reason for each in seen.slots for condition in each.conditions)
        assert not await site.claim(seen.node.id, 1)

    async def test_sells_exactly_what_is_approved(self, site: Site) -> None:
        seen = await site.propose()
        node_id = seen.node.id

        approved = await site.approve(node_id, seen.slots[2].slot.id)

        assert approved.node.status is NodeStatus.ACTIVE
        assert not await site.claim(node_id, 0b10)
        assert await site.claim(node_id, 0b100)

    async def test_is_approved_once(self, site: Site) -> None:
        seen = await site.propose()

        first, again = [await site.approve(seen.node.id) for _ in range(2)]

        assert states(first) == {SlotState.AVAILABLE}
        assert again == first

    async def test_refuses_what_is_not_ready_with_each_reason(self, site: Site) -> None:
        first, *rest = HGX_H200.gpus
        broken = replace(HGX_H200, gpus=(replace(first, memory_mib=0), *rest))
        seen = await site.propose(topology=broken)

        with pytest.raises(SlotNotReady, match="Slot 0: It reports 0 MiB"):
            await site.approve(seen.node.id, seen.slots[0].slot.id)
        others = await site.approve(seen.node.id)

        assert [each.slot.state for each in others.slots] == [
            SlotState.PROPOSED,
            *[SlotState.AVAILABLE] * 7,
        ]

    async def test_keeps_names_apart_and_is_for_administrators(self, site: Site) -> None:
        seen = await site.propose()
        user = replace(ADMIN, platform_role=PlatformRole.USER)

        with pytest.raises(AlreadyExists):
            await site.propose()
        with pytest.raises(NotFound):
            await site.approve(seen.node.id, SlotId("slt_none"))
        with pytest.raises(Forbidden):
            await ApproveSlots(transactions=site.transactions)(actor=user, node_id=seen.node.id)
        with pytest.raises(Forbidden):
            await ReviewNode(transactions=site.transactions)(actor=user, node_id=seen.node.id)


class TestDrift:
    async def test_is_told_and_changes_nothing(self, site: Site) -> None:
        seen = await site.approve((await site.propose()).node.id)
        site.becomes(SMALLER)

        drifted = await site.discover(seen.node.id)

        assert [each.code for each in drifted.differences] == ["gpu_gone"]
        assert drifted.differences[0].subject == HGX_H200.gpus[7].uuid
        assert drifted.node.topology == seen.node.topology
        assert drifted.slots == seen.slots
        assert await site.claim(seen.node.id, 1)

    async def test_is_gone_when_the_node_is_as_it_was(self, site: Site) -> None:
        node_id = (await site.propose()).node.id
        site.becomes(SMALLER)
        await site.discover(node_id)
        site.becomes(HGX_H200)

        again = await site.discover(node_id)

        assert again.differences == ()
        with pytest.raises(NothingFound):
            await site.accept(node_id)

    async def test_is_accepted_on_an_empty_node_and_approved_anew(self, site: Site) -> None:
        node_id = (await site.approve((await site.propose()).node.id)).node.id
        site.becomes(SMALLER)
        await site.discover(node_id)

        accepted = await site.accept(node_id)

        assert len(accepted.node.topology.gpus) == len(accepted.slots) == 7
        assert states(accepted) == {SlotState.PROPOSED}
        assert accepted.differences == ()
        assert not await site.claim(node_id, 1)
        await site.approve(node_id)
        assert await site.claim(node_id, 1)

    async def test_is_not_accepted_under_a_holder(self, site: Site) -> None:
        node_id = (await site.approve((await site.propose()).node.id)).node.id
        site.becomes(SMALLER)
        await site.discover(node_id)
        await site.claim(node_id, 1)

        with pytest.raises(NodeInUse, match="alc_"):
            await site.accept(node_id)


class TestModes:
    async def test_change_on_an_empty_node_and_are_approved_anew(self, site: Site) -> None:
        node_id = (await site.approve((await site.propose()).node.id)).node.id

        changed = await site.change_mode(node_id, NodeMode.VM)

        assert changed.node.mode is NodeMode.VM
        assert states(changed) == {SlotState.PROPOSED}
        assert {"fabric_partitions"} <= {each.code for each in changed.slots[0].conditions}
        assert not await site.claim(node_id, 1)
        await site.approve(node_id)
        assert await site.claim(node_id, 1)

    async def test_do_not_change_under_a_holder(self, site: Site) -> None:
        node_id = (await site.approve((await site.propose()).node.id)).node.id
        await site.claim(node_id, 1)

        with pytest.raises(NodeInUse):
            await site.change_mode(node_id, NodeMode.VM)

        seen = await ReviewNode(transactions=site.transactions)(actor=ADMIN, node_id=node_id)
        assert seen.node.mode is NodeMode.CONTAINER

    async def test_of_mig_sell_no_slots(self, site: Site) -> None:
        node_id = (await site.propose()).node.id

        await site.change_mode(node_id, NodeMode.MIG)

        with pytest.raises(SlotNotReady, match="sold by geometry"):
            await site.approve(node_id)

    @pytest.mark.parametrize(
        ("verb", "kind", "error"),
        [
            ("set-mode", FaultKind.UNREACHABLE_BEFORE, NodeUnreachable),
            ("set-mode", FaultKind.REFUSED_BEFORE, NodeRefused),
            ("discover", FaultKind.UNREACHABLE_BEFORE, NodeUnreachable),
        ],
    )
    async def test_sell_nothing_half_changed_and_go_on_when_asked_again(
        self, site: Site, verb: str, kind: FaultKind, error: type[Exception]
    ) -> None:
        node_id = (await site.approve((await site.propose()).node.id)).node.id
        site.driver.plan(Trouble(verb=verb, kind=kind))

        with pytest.raises(error):
            await site.change_mode(node_id, NodeMode.VM)
        with pytest.raises(SlotNotReady, match="still in container mode"):
            await site.approve(node_id)
        await site.change_mode(node_id, NodeMode.VM)

        assert states(await site.approve(node_id)) == {SlotState.AVAILABLE}


class OnboardingMachine(RuleBasedStateMachine):
    """Operators, launches and hardware that changes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.site = Site()
        self.node_id = self.run(self.site.propose()).node.id
        self.really = NodeMode.CONTAINER
        self.approved_as = self.seen().node.topology.gpus
        self.held = 0

    @staticmethod
    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    @rule(topology=st.sampled_from([HGX_H200, SMALLER, RENAMED]))
    def hardware_changes(self, topology: object) -> None:
        self.site.becomes(topology)

    @rule()
    def discover(self) -> None:
        self.run(self.site.discover(self.node_id))

    @rule()
    def accept(self) -> None:
        before = self.seen()
        try:
            after = self.run(self.site.accept(self.node_id))
        except (NothingFound, NodeInUse):
            assert self.held or before.node.findings is None or not before.differences
            return
        assert not self.held, "accepted under a holder"
        self.approved_as = after.node.topology.gpus

    @rule()
    def approve(self) -> None:
        try:
            self.run(self.site.approve(self.node_id))
        except SlotNotReady:
            assert self.really is not self.seen().node.mode or self.really is NodeMode.MIG
            return

    @rule(mode=st.sampled_from([NodeMode.CONTAINER, NodeMode.VM]), breaks=st.booleans())
    def change_mode(self, mode: NodeMode, breaks: bool) -> None:
        if breaks:
            self.site.driver.plan(Trouble(verb="set-mode", kind=FaultKind.UNREACHABLE_BEFORE))
        before = self.seen().node.mode
        try:
            self.run(self.site.change_mode(self.node_id, mode))
        except NodeUnreachable:
            return
        except NodeInUse:
            assert self.held
            return
        finally:
            self.site.driver._faults.clear()
        self.really = mode
        assert not self.held or before is mode, "changed under a holder"

    @rule(bit=st.integers(0, 1))
    def launch(self, bit: int) -> None:
        seen = self.seen()
        if self.run(self.site.claim(self.node_id, 1 << bit)):
            assert seen.slots[bit].slot.state is SlotState.AVAILABLE, "sold without approval"
            assert self.really is seen.node.mode, "sold in a mode that it is not in"
            self.held |= 1 << bit

    @invariant()
    def what_is_sold_is_what_was_approved(self) -> None:
        assert self.seen().node.topology.gpus == self.approved_as

    def seen(self) -> NodeReview:
        read = ReviewNode(transactions=self.site.transactions)
        return self.run(read(actor=ADMIN, node_id=self.node_id))


TestOnboardingMachine = OnboardingMachine.TestCase
TestOnboardingMachine.settings = settings(max_examples=25, stateful_step_count=20)
