"""Operators on nodes over HTTP: wire names, who may, once per key, and refusals that say why."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from api_world import ORIGIN, memory_app
from gpucloud_adapters.stored.kinds import NODE_CAPACITY
from gpucloud_core.access.model import PlatformRole
from gpucloud_core.nodes.systems import hgx_h200
from operator_world import HOST_KEY, NEW_HOST, PRIVATE_KEY, Operator

NODES = "/api/v1/admin/nodes"
NEW = {
    "name": "hgx-h200-09",
    "region": "eu-fra-1",
    "host": NEW_HOST,
    "username": "gpucloud",
    "host_key": HOST_KEY,
    "private_key": PRIVATE_KEY,
    "shared_kernel": True,
}


@pytest.fixture
async def olga() -> Operator:
    olga = await Operator.arrive()
    olga.cloud.driver.plug(NEW_HOST, hgx_h200(seed="new"))
    return olga


async def sign_in(client: AsyncTestClient[Any], name: str) -> None:
    body = {"username": name, "password": f"{name}'s long password"}
    answer = await client.post("/api/v1/auth/personal/login", json=body)
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


@pytest.fixture
async def client(olga: Operator) -> AsyncIterator[AsyncTestClient[Any]]:
    async with AsyncTestClient(memory_app(olga.cloud), base_url=ORIGIN) as client:
        await sign_in(client, "olga")
        yield client


async def added(olga: Operator, client: AsyncTestClient[Any]) -> str:
    answer = await client.post(NODES, json=NEW)
    assert answer.status_code == 201, answer.text
    await olga.cloud.work()
    return str(answer.json()["id"])


class TestANode:
    async def test_is_added_discovered_approved_sold_and_drained(
        self, olga: Operator, client: AsyncTestClient[Any]
    ) -> None:
        node = await added(olga, client)
        task = (await client.post(f"{NODES}/{node}/discover")).json()["task_id"]
        await olga.cloud.work()
        followed = (await client.get(f"/api/v1/tasks/{task}")).json()
        assert (followed["kind"], followed["status"]) == ("discover_node", "succeeded")

        approved = await client.post(f"{NODES}/{node}/slots/approve", json={})
        assert approved.status_code == 200, approved.text
        assert (approved.json()["status"], approved.json()["approved"]) == ("active", 8)
        assert approved.json()["fits"] == [
            {"sku": "h200-sxm", "launches": {"1": 8, "2": 4, "4": 2, "8": 1}}
        ]
        assert await self.sold(client) == 2

        drained = await client.post(f"{NODES}/{node}/drain")
        assert (drained.status_code, drained.json()["status"]) == (200, "draining")
        assert await self.sold(client) == 1

    async def sold(self, client: AsyncTestClient[Any]) -> int:
        (offer,) = (await client.get("/api/v1/catalog")).json()["items"]
        return int(offer["available"]["8"])

    async def test_never_shows_its_private_key(
        self, olga: Operator, client: AsyncTestClient[Any]
    ) -> None:
        node = await added(olga, client)

        said = (await client.get(f"{NODES}/{node}")).text
        assert "PRIVATE KEY" not in said
        assert HOST_KEY in said

    async def test_names_who_is_in_the_way_of_deleting_it(
        self, olga: Operator, client: AsyncTestClient[Any]
    ) -> None:
        node = await olga.only_node()
        allocation = await olga.ada.launch(1, name="notebook")
        await olga.cloud.work()

        answer = await client.delete(f"{NODES}/{node}", params={"reason": "old"})

        assert answer.status_code == 409
        assert answer.json()["code"] == "node_in_use"
        assert f"notebook ({allocation}) of ada" in answer.json()["detail"]
        assert answer.json()["next_step"].startswith("Drain it")

    async def test_goes_once_it_is_empty(
        self, olga: Operator, client: AsyncTestClient[Any]
    ) -> None:
        node = await added(olga, client)

        assert (await client.delete(f"{NODES}/{node}")).status_code == 422  # without a reason
        answer = await client.delete(f"{NODES}/{node}", params={"reason": "old"})

        assert answer.status_code == 204, answer.text
        listed = (await client.get(NODES, params={"status": "deleted"})).json()["items"]
        assert [row["id"] for row in listed] == [node]

    async def test_is_added_once_per_key(
        self, olga: Operator, client: AsyncTestClient[Any]
    ) -> None:
        key = {"Idempotency-Key": "add-1"}
        first = await client.post(NODES, json=NEW, headers=key)
        second = await client.post(NODES, json=NEW, headers=key)

        assert first.json() == second.json()
        assert len((await client.get(NODES)).json()["items"]) == 2

    async def test_is_put_in_its_place_in_the_fabric(
        self, olga: Operator, client: AsyncTestClient[Any]
    ) -> None:
        place = {"kind": "leaf_spine", "fabric": "fra-1", "pod": "pod-2", "group": "leaf-7"}
        answer = await client.post(NODES, json={**NEW, "place": place})
        new, old = answer.json()["id"], await olga.only_node()
        await olga.cloud.work()

        moved = await client.post(f"{NODES}/{old}/place", json={"place": {**place, "pod": "p-1"}})
        wrong = await client.post(f"{NODES}/{old}/place", json={"place": {**place, "pod": "A/B"}})

        assert (await client.get(f"{NODES}/{new}")).json()["place"] == place
        assert moved.json()["place"] == {**place, "pod": "p-1"}
        assert [error["field"] for error in wrong.json()["errors"]] == ["/place/pod"]
        capacity = olga.cloud.transactions.database.table(NODE_CAPACITY).rows[old]
        assert capacity.fabric == "leaf_spine/fra-1/p-1/leaf-7"

    async def test_is_not_changed_by_a_wrong_field(self, client: AsyncTestClient[Any]) -> None:
        answer = await client.post(NODES, json={**NEW, "private_key": "none"})

        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["/private_key"]


class TestWhoMay:
    async def test_nobody_else_sees_nodes(
        self, olga: Operator, client: AsyncTestClient[Any]
    ) -> None:
        await sign_in(client, "ada")

        answers = [
            await client.get(NODES),
            await client.post(NODES, json=NEW),
            await client.post(f"{NODES}/{await olga.only_node()}/drain"),
        ]

        assert {answer.status_code for answer in answers} == {403}
        assert all(PlatformRole.ADMIN in answer.json()["detail"] for answer in answers)
