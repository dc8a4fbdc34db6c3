"""What holds between tenants, walked over every route of the API: one knows nothing of another.

Eve has a tenant of her own and no role on the platform. What is Ada's does not exist for her: the
same words as for what never was. A route that is new is walked as soon as it stands in the app.

Seen to fail when a waitlist entry was read in the platform's scope by its id alone, and when an
attention row could be acknowledged by anybody who is signed in.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import pytest
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.testing import AsyncTestClient

from api_world import ORIGIN, memory_app
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.stored.kinds import KINDS, NODES, OS_IMAGES
from gpucloud_core.kernel.ids import TenantId
from write_examples import API, EXAMPLES, Call, World, writes

APP: Final = memory_app(asyncio.run(MemoryCloud.found()))
WRITES: Final = writes(APP)
READS: Final = {
    str(handler.operation_id): route.path
    for route in APP.routes
    if isinstance(route, HTTPRoute) and route.path.startswith(API)
    for handler in route.route_handlers
    if isinstance(handler, HTTPRouteHandler) and "GET" in handler.http_methods
}
OPERATORS: Final = ("/admin/", "/ops/")
_ID: Final = re.compile(r"\b([a-z]{3})_[0-9a-z]{26}\b")
_NEVER: Final = re.compile(r"\b(?!tnt)([a-z]{3})_[0-9a-z]{26}\b")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = await World.arrive(nodes=2)
    async with AsyncTestClient(memory_app(made.cloud), base_url=ORIGIN) as client:
        yield await made.enter(client)


async def become_eve(world: World) -> TenantId:
    """Sign somebody else in, who has a tenant of her own; return the tenant."""
    world.client.headers["Authorization"] = ""
    body = {"username": "eve", "password": "eve's long password"}
    made = (await world.client.post(f"{API}/auth/personal/signup", json=body)).json()
    world.client.headers["Authorization"] = f"Bearer {made['access_token']}"
    me = (await world.client.get(f"{API}/me")).json()
    return TenantId(me["tenant"]["id"])


async def send(world: World, method: str, path: str, call: Call | None = None) -> Any:
    body = None if call is None or call.body is None else json.dumps(call.body)
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    return await world.client.request(method, API + path, headers=headers, content=body)


def words(answer: Any) -> tuple[int, Mapping[str, Any]]:
    return answer.status_code, {**answer.json(), "correlation_id": ""}


def of_tenant(world: World, tenant_id: TenantId) -> dict[str, Any]:
    """Return every row that is one tenant's, by its key."""
    tables = world.cloud.transactions.database.tables
    return {
        key: row
        for kind in KINDS
        for key, row in tables[kind.table].rows.items()
        if kind.tenant_of(row) == tenant_id
    }


class TestEveryWrite:
    @pytest.mark.parametrize("operation", sorted(set(EXAMPLES)))
    async def test_reaches_nothing_of_another_tenant(self, world: World, operation: str) -> None:
        call = await EXAMPLES[operation](world)
        write = WRITES[operation]
        eve = await become_eve(world)
        assert eve != world.actor.tenant_id
        before = of_tenant(world, world.actor.tenant_id)

        answer = await send(world, write.method, call.path, call)

        assert of_tenant(world, world.actor.tenant_id) == before
        if write.path.removeprefix(API).startswith(OPERATORS):
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        elif "{" in write.path:
            never = _NEVER.sub(lambda found: f"{found[1]}_{'0' * 26}", call.path)
            nothing = await send(world, write.method, never, call)
            assert words(answer) == words(nothing)
            assert answer.status_code == 404


class TestEveryRead:
    @pytest.fixture
    async def places(self, world: World) -> dict[str, str]:
        """Let Ada have one of everything; return what each parameter of a path can be."""
        allocation = await world.running()
        await world.cloud.release(world.actor, allocation)
        await world.cloud.work()
        entry = await EXAMPLES["leaveWaitlist"](world)
        await EXAMPLES["markRead"](world)
        await EXAMPLES["acknowledgeAttention"](world)
        body = {"amount_micros": 20_000_000, "currency": "USD"}
        paid = await world.client.post(
            f"{API}/payments/checkout-session", json=body, headers={"Idempotency-Key": "p"}
        )
        plan = {"nodes": 1, "launches": 1}
        planned = await world.client.post(f"{API}/admin/plans", json=plan)
        database = world.cloud.transactions.database
        task = (await world.cloud.read(world.actor, allocation)).allocation.task_id
        return {
            "allocation_id": allocation,
            "task_id": task,
            "entry_id": entry.path.rpartition("/")[2],
            "payment_id": paid.json()["id"],
            "node_id": database.rows(NODES)[0].id,
            "sku_id": "h200-sxm",
            "image_id": database.rows(OS_IMAGES)[0].id,
            "row_id": database.audit_rows[0].id,
            "plan_id": planned.json()["task_id"],
        }

    async def test_tells_nothing_of_another_tenant(
        self, world: World, places: dict[str, str]
    ) -> None:
        mine = {operation: self._path(path, places) for operation, path in READS.items()}
        for operation, path in mine.items():
            if not path.endswith("/stream"):
                assert (await self._read(world, operation, path)).status_code == 200, operation
        ada = set(of_tenant(world, world.actor.tenant_id))
        assert len(ada) > 20

        await become_eve(world)

        for operation, path in mine.items():
            answer = await self._read(world, operation, path)
            told = ada & {found[0] for found in _ID.finditer(answer.text)}
            assert not told, f"{operation} tells Eve of {told}"
            if READS[operation].removeprefix(API).startswith(OPERATORS):
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), operation
            elif "{" in READS[operation]:
                never = _NEVER.sub(lambda found: f"{found[1]}_{'0' * 26}", path)
                assert words(answer) == words(await self._read(world, operation, never))
                assert answer.status_code == 404, operation
            else:
                assert answer.status_code == 200, operation

    def _path(self, path: str, places: dict[str, str]) -> str:
        def filled(found: re.Match[str]) -> str:
            return places[found[1].partition(":")[0]]

        return re.sub(r"\{([^}]+)\}", filled, path.removeprefix(API))

    async def _read(self, world: World, operation: str, path: str) -> Any:
        more = "?sku=h200-sxm&gpu_count=1" if operation == "getForecast" else ""
        return await world.client.get(API + path + more)
