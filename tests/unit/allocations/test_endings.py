"""What ends by itself ends at its own instant, however late the worker comes.

Seen to fail when the reserve of the first allocation released for want of money was returned
before the meters of the others had stopped: it paid for time after the end of the balance.
"""

from datetime import timedelta

from gpucloud_adapters.memory.cloud import SKU, MemoryCloud
from gpucloud_core.allocations.endings import ReleaseUnfunded
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.allocations.request import LaunchRequest

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada"
DOLLAR = 1_000_000


class TestReleaseUnfunded:
    async def test_bills_nobody_for_the_time_until_a_late_worker_came(self) -> None:
        cloud = await MemoryCloud.found()
        ada = await cloud.sign_up("ada")
        await cloud.give(ada, 20 * DOLLAR)
        key = await cloud.add_key(ada, KEY)
        request = LaunchRequest(sku_id=SKU, gpu_count=1, count=3, ssh_key_ids=(key.id,))
        accepted = await cloud.launch(ada, request)
        await cloud.work()
        gone_at = (await cloud.balance(ada)).depletes_at
        assert gone_at is not None
        cloud.clock.advance_to(gone_at + timedelta(hours=20))

        release = ReleaseUnfunded(transactions=cloud.transactions, ids=cloud.ids)
        released = await release(ada.tenant_id)

        assert released == 3
        views = [await cloud.read(ada, allocation_id) for allocation_id, _ in accepted.allocations]
        assert {view.allocation.state for view in views} == {AllocationState.RELEASING}
        assert len({view.cost_micros for view in views}) == 1, "each paid for the same time"
        stops = [view.allocation.billing_stopped_at for view in views]
        assert all(at is not None and at <= gone_at for at in stops)
