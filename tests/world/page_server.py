"""The web application over a cloud in memory, on a loopback port: for browsers, in a second."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from granian.constants import Interfaces
from granian.server.embed import Server

from api_world import memory_app
from embedded_servers import free_port
from gpucloud_adapters.memory.cloud import SKU, MemoryCloud
from gpucloud_adapters.memory.node_driver import Fault, FaultKind
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.kernel.ids import AllocationId, TaskId
from gpucloud_core.kernel.unit import Scope

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada"
START_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PageServer:
    """Where it answers, and a cloud with something in every state worth a picture."""

    url: str
    cloud: MemoryCloud
    ada: Actor
    known: Mapping[str, str]  # what is worth a picture, by what it is: active, failed, task, …

    @property
    def active(self) -> str:
        return self.known["active"]

    @property
    def released(self) -> str:
        return self.known["released"]

    @property
    def task(self) -> str:
        return self.known["task"]

    async def launch(self, name: str, gpus: int = 1) -> AllocationId:
        async with self.cloud.transactions.begin(_scope(self.ada)) as unit:
            (key,) = await unit.ssh_keys.find(user_id=self.ada.user_id)
        request = LaunchRequest(sku_id=SKU, gpu_count=gpus, ssh_key_ids=(key.id,), name=name)
        accepted = await self.cloud.launch(self.ada, request)
        return accepted.allocations[0][0]

    async def run(self, name: str, gpus: int = 1) -> AllocationId:
        """Launch and wait until it is active."""
        launched = await self.launch(name, gpus)
        await self.cloud.work()
        return launched

    async def release(self, workload: AllocationId) -> None:
        await self.cloud.release(self.ada, workload)


def _scope(actor: Actor) -> Scope:
    return Scope.tenant(actor.tenant_id)


async def populated() -> tuple[MemoryCloud, Actor, dict[str, str]]:
    """Return a cloud whose tenant Ada has a workload in every state worth a picture."""
    cloud = await MemoryCloud.found(nodes=2, start=datetime.now(UTC) - timedelta(hours=27))
    ada = await cloud.sign_up("ada")
    key = await cloud.add_key(ada, KEY)
    for _ in range(2):
        await cloud.give(ada, 1_000_000_000)

    async def launch(name: str, gpus: int) -> tuple[AllocationId, TaskId]:
        request = LaunchRequest(sku_id=SKU, gpu_count=gpus, ssh_key_ids=(key.id,), name=name)
        accepted = await cloud.launch(ada, request)
        return accepted.allocations[0][0], accepted.task_id

    known: dict[str, str] = {}
    known["released"], _ = await launch("rlhf-sweep-02", 4)
    await cloud.pass_time(timedelta(hours=3))
    cloud.driver.plan(Fault(verb="provision", kind=FaultKind.REFUSED_BEFORE, times=9))
    known["failed"], known["failed_task"] = await launch("bench-nccl", 8)
    await cloud.pass_time(timedelta(hours=1))
    known["active"], _ = await launch("sft-llama-70b", 4)
    await cloud.pass_time(timedelta(hours=4))
    await cloud.release(ada, AllocationId(known["released"]))
    await cloud.pass_time(timedelta(hours=2))
    known["stuck"], _ = await launch("rlhf-sweep-03", 2)
    await cloud.pass_time(timedelta(hours=6))
    cloud.driver.plan(Fault(verb="wipe", kind=FaultKind.REFUSED_BEFORE, times=99))
    await cloud.release(ada, AllocationId(known["stuck"]))
    await cloud.pass_time(timedelta(hours=3))
    await launch("notebook-mira", 1)
    await cloud.pass_time(timedelta(hours=7))
    known["cancelled"], _ = await launch("data-prep-11", 2)
    await cloud.cancel(ada, AllocationId(known["cancelled"]))
    await cloud.pass_time(timedelta(minutes=50))
    known["moving"], known["task"] = await launch("eval-nightly", 1)
    return cloud, ada, known


@asynccontextmanager
async def page_server() -> AsyncIterator[PageServer]:
    """Serve a populated cloud until the block ends."""
    cloud, ada, known = await populated()
    port = free_port()
    server = Server(memory_app(cloud), address="127.0.0.1", port=port, interface=Interfaces.ASGI)
    serving = asyncio.create_task(server.serve())
    try:
        await answers(port)
        yield PageServer(
            url=f"http://127.0.0.1:{port}",
            cloud=cloud,
            ada=ada,
            known=known,
        )
    finally:
        server.stop()  # type: ignore[no-untyped-call]  # granian leaves it untyped
        await serving


async def answers(port: int) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
