"""Who makes the example calls, and what they are made of."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, TypeAlias

from litestar.testing import AsyncTestClient

from customer import Customer
from gpucloud_adapters.memory.node_driver import Fault, FaultKind
from gpucloud_adapters.stored.kinds import ATTENTION_ROWS, INBOX_NOTICES, NODES, USERS
from gpucloud_core.access.model import PlatformRole
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.unit import Event, Scope
from gpucloud_core.notices.tell import TellPeople

API: Final = "/api/v1"
PASSWORD: Final = "ada's long password"
OTHER_KEY: Final = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBqQxGxSAMRRPtpCAUAObhNeRYAqTkPpOCrHyeFQYJiR desk"
)


class World(Customer):
    """Ada, who owns her tenant and is an administrator of the platform, signed in."""

    client: AsyncTestClient[Any]

    async def enter(self, client: AsyncTestClient[Any]) -> "World":
        self.client = client
        await self.sign_in()
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            (user,) = self.cloud.transactions.database.rows(USERS)
            await unit.users.put(replace(user, platform_role=PlatformRole.ADMIN))
        return self

    async def sign_in(self) -> None:
        body = {"username": "ada", "password": PASSWORD}
        self.client.headers["Authorization"] = ""
        answer = await self.client.post(f"{API}/auth/personal/login", json=body)
        self.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    async def pass_time(self, duration: timedelta) -> None:
        """Let time pass; a token does not live that long."""
        await self.cloud.pass_time(duration)
        await self.sign_in()

    async def running(self) -> AllocationId:
        allocation = await self.launch(1)
        await self.cloud.work()
        return allocation

    async def only_node(self) -> str:
        return self.cloud.transactions.database.rows(NODES)[0].id

    async def fenced(self) -> AllocationId:
        """Return an allocation whose wipe did not work."""
        allocation = await self.running()
        self.cloud.driver.plan(Fault(verb="wipe", kind=FaultKind.REFUSED_BEFORE, times=99))
        await self.cloud.release(self.actor, allocation)
        await self.pass_time(timedelta(hours=2))
        return allocation

    async def failed_task(self) -> str:
        self.cloud.driver.plan(Fault(verb="provision", kind=FaultKind.REFUSED_BEFORE, times=5))
        accepted = await self.cloud.launch(self.actor, self.request(1))
        await self.pass_time(timedelta(minutes=15))
        return accepted.task_id

    async def hear(self, kind: str) -> None:
        subject = self.actor.tenant_id
        event = Event(kind=kind, subject=subject, tenant_id=subject)
        tell = TellPeople(transactions=self.cloud.transactions, ids=self.cloud.ids)
        await tell(StoredEvent(id=1, event=event, created_at=self.cloud.clock.now()))

    async def attention(self) -> str:
        await self.hear("drift.stray_hold")
        (row,) = self.cloud.transactions.database.rows(ATTENTION_ROWS)
        return row.id

    async def notice(self) -> str:
        await self.hear("billing.depleted")
        return self.cloud.transactions.database.rows(INBOX_NOTICES)[0].id


@dataclass(frozen=True, slots=True)
class Call:
    """A request: under the API's address, with a JSON body if there is one."""

    path: str
    body: Mapping[str, Any] | None = None


Example: TypeAlias = Callable[[World], Awaitable[Call]]
