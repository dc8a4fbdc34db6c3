"""A customer of a cloud in memory, with a key and money."""

from typing import Self

from gpucloud_adapters.memory.cloud import SKU, MemoryCloud
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import SlotState

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada"
DOLLAR = 1_000_000
RATE = 3_290_000


class Customer:
    """A person with a key and money, and their cloud."""

    def __init__(self, cloud: MemoryCloud, actor: Actor, key_id: str) -> None:
        self.cloud, self.actor, self.key_id = cloud, actor, key_id

    @classmethod
    async def arrive(cls, *, dollars: int = 100, nodes: int = 1) -> Self:
        cloud = await MemoryCloud.found(nodes=nodes)
        actor = await cloud.sign_up("ada")
        if dollars:
            await cloud.give(actor, dollars * DOLLAR)
        key = await cloud.add_key(actor, KEY)
        return cls(cloud, actor, key.id)

    def request(self, gpus: int = 1, **more: object) -> LaunchRequest:
        keys = more.pop("ssh_key_ids", (self.key_id,))
        return LaunchRequest(sku_id=SKU, gpu_count=gpus, ssh_key_ids=keys, **more)  # type: ignore[arg-type]  # a test's shorthand

    async def launch(self, gpus: int = 1, **more: object) -> AllocationId:
        accepted = await self.cloud.launch(self.actor, self.request(gpus, **more))
        return accepted.allocations[0][0]

    async def state(self, allocation_id: AllocationId) -> AllocationState:
        return (await self.cloud.read(self.actor, allocation_id)).allocation.state

    async def waits_for(self, allocation_id: AllocationId) -> str:
        """Return why the allocation's task waits, as its page says."""
        task_id = (await self.cloud.read(self.actor, allocation_id)).allocation.task_id
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            task = await unit.tasks.get(task_id)
        return task.wait_reason if task else ""

    async def nothing_was_made(self) -> bool:
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            rows = await unit.tasks.count() + await unit.allocations.count()
            rows += await unit.claims.count() + await unit.holds.count()
        return rows == 0

    async def slots(self) -> set[SlotState]:
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            return {slot.state for slot in await unit.slots.find()}
