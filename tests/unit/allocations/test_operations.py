"""What is done to an allocation while it lives, and what only operators may do."""

from datetime import timedelta

import pytest

from customer import Customer
from gpucloud_adapters.memory.node_driver import Fault, FaultKind
from gpucloud_core.access.authorize import Forbidden
from gpucloud_core.allocations.edit_keys import EditKeys
from gpucloud_core.allocations.errors import NotConnectable, SshKeyRequired, SshKeyUnknown
from gpucloud_core.allocations.force import ForceCleanAllocation, ForceRelease
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.errors import IllegalTransition, ValidationFailed
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import SlotState
from gpucloud_core.work.model import TaskStatus

SECOND = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKPD8ZkKbDOGcVkH3CyfdV9wKK5gOnJDBBxfGTMaTTpN desk"


class Owner(Customer):
    """A customer with a running allocation."""

    async def running(self) -> AllocationId:
        allocation = await self.launch(1)
        await self.cloud.work()
        return allocation

    async def edit(self, allocation: AllocationId, *keys: str) -> None:
        edit = EditKeys(transactions=self.cloud.transactions, ids=self.cloud.ids)
        await edit(actor=self.actor, allocation_id=allocation, ssh_key_ids=keys)

    async def keys(self, allocation: AllocationId) -> dict[str, bool]:
        view = await self.cloud.read(self.actor, allocation)
        return {key.id: key.applied_at is not None for key in view.allocation.keys}

    async def inside(self, allocation: AllocationId) -> set[str]:
        """The keys that the node itself reads back."""
        view = await self.cloud.read(self.actor, allocation)
        evidence = await self.cloud.driver.verify(view.node.access, view.allocation.claim_id)
        return set(evidence.key_fingerprints)


class TestEditKeys:
    async def test_lets_exactly_the_chosen_in_and_says_when(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        second = await ada.cloud.add_key(ada.actor, SECOND)

        await ada.edit(allocation, second.id)

        assert await ada.keys(allocation) == {second.id: False}, "not before it is read back"
        await ada.cloud.work()
        assert await ada.keys(allocation) == {second.id: True}
        assert await ada.inside(allocation) == {second.fingerprint}

    async def test_keeps_when_an_old_key_was_applied(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        before = (await ada.cloud.read(ada.actor, allocation)).allocation.keys[0].applied_at
        second = await ada.cloud.add_key(ada.actor, SECOND)
        await ada.cloud.pass_time(timedelta(minutes=5))

        await ada.edit(allocation, ada.key_id, second.id)
        await ada.cloud.work()

        first, new = (await ada.cloud.read(ada.actor, allocation)).allocation.keys
        assert first.applied_at == before
        assert new.applied_at == ada.cloud.clock.now()

    async def test_does_not_claim_what_was_never_read_back(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()
        second = await ada.cloud.add_key(ada.actor, SECOND)
        ada.cloud.driver.plan(Fault(verb="set-keys", kind=FaultKind.PRETENDED, times=9))

        await ada.edit(allocation, second.id)
        await ada.cloud.pass_time(timedelta(minutes=10))

        assert await ada.keys(allocation) == {second.id: False}
        async with ada.cloud.transactions.begin(Scope.platform()) as unit:
            (task,) = await unit.tasks.find(kind="edit_keys")
        assert (task.status, task.error) == (TaskStatus.FAILED, "keys_not_applied")

    async def test_refuses_none_and_strangers(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.running()

        with pytest.raises(SshKeyRequired):
            await ada.edit(allocation)
        with pytest.raises(SshKeyUnknown):
            await ada.edit(allocation, "key_00000000000000000000000000")

    async def test_is_for_what_is_active(self) -> None:
        ada = await Owner.arrive()
        allocation = await ada.launch(1)

        with pytest.raises(NotConnectable):
            await ada.edit(allocation, ada.key_id)


class Operator(Owner):
    """The same, with an administrator of the platform beside them."""

    async def force_release(self, allocation: AllocationId, reason: str = "Maintenance") -> None:
        force = ForceRelease(transactions=self.cloud.transactions, ids=self.cloud.ids)
        admin = self.cloud.operator(self.actor.tenant_id)
        await force(actor=admin, allocation_id=allocation, reason=reason)

    async def force_cleanup(self, allocation: AllocationId, *, looked: bool = True) -> None:
        force = ForceCleanAllocation(transactions=self.cloud.transactions, ids=self.cloud.ids)
        await force(
            actor=self.cloud.operator(self.actor.tenant_id),
            allocation_id=allocation,
            reason="The disk was replaced",
            runtime_verified_absent=looked,
        )

    async def stuck(self) -> AllocationId:
        """An allocation whose wipe cannot be proven."""
        allocation = await self.running()
        self.cloud.driver.plan(Fault(verb="wipe", kind=FaultKind.REFUSED_BEFORE, times=99))
        await self.cloud.release(self.actor, allocation)
        await self.cloud.pass_time(timedelta(minutes=30))
        assert await self.state(allocation) is AllocationState.RELEASE_FAILED
        return allocation


class TestForceRelease:
    async def test_ends_what_runs(self) -> None:
        ada = await Operator.arrive()
        allocation = await ada.running()

        await ada.force_release(allocation)
        await ada.cloud.work()

        assert await ada.state(allocation) is AllocationState.RELEASED

    async def test_cancels_what_is_being_made(self) -> None:
        ada = await Operator.arrive()
        allocation = await ada.launch(1)

        await ada.force_release(allocation)
        await ada.cloud.work()

        assert await ada.state(allocation) is AllocationState.CANCELLED

    async def test_needs_a_reason_and_leaves_it_in_the_audit_log(self) -> None:
        ada = await Operator.arrive()
        allocation = await ada.running()
        with pytest.raises(ValidationFailed):
            await ada.force_release(allocation, " ")

        await ada.force_release(allocation, "Node is on fire")

        async with ada.cloud.transactions.begin(Scope.platform()) as unit:
            (row,) = await unit.audit_rows.find(action="allocation.force_release")
        assert row.changes["reason"] == [None, "Node is on fire"]
        assert row.tenant_id == ada.actor.tenant_id

    async def test_is_not_for_tenants(self) -> None:
        ada = await Operator.arrive()
        allocation = await ada.running()
        force = ForceRelease(transactions=ada.cloud.transactions, ids=ada.cloud.ids)

        with pytest.raises(Forbidden):
            await force(actor=ada.actor, allocation_id=allocation, reason="Mine")


class TestForceCleanup:
    async def test_frees_fenced_capacity_on_an_operators_word(self) -> None:
        ada = await Operator.arrive()
        allocation = await ada.stuck()
        assert SlotState.CLEANUP_BLOCKED in await ada.slots()

        await ada.force_cleanup(allocation)
        await ada.cloud.work()

        receipt = await ada.cloud.receipt(ada.actor, allocation)
        wipe = receipt.allocation.receipt["wipe"]
        assert isinstance(wipe, dict)
        assert wipe["method"] == "operator", "no proof is invented"
        assert await ada.slots() == {SlotState.AVAILABLE}

    async def test_asks_that_somebody_has_looked(self) -> None:
        ada = await Operator.arrive()
        allocation = await ada.stuck()

        with pytest.raises(ValidationFailed):
            await ada.force_cleanup(allocation, looked=False)

    async def test_is_only_for_a_release_that_failed(self) -> None:
        ada = await Operator.arrive()
        allocation = await ada.running()

        with pytest.raises(IllegalTransition):
            await ada.force_cleanup(allocation)
