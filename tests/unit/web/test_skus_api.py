"""Operators on the catalog over HTTP: what is sold from when, and what is refused and why."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from api_world import ORIGIN, memory_app
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import Scope
from write_examples import World
from write_examples.skus import IMAGE, SKU

API = "/api/v1"
SKUS = f"{API}/admin/skus"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = await World.arrive()
    async with AsyncTestClient(memory_app(made.cloud), base_url=ORIGIN) as client:
        yield await made.enter(client)


async def offer(world: World, sku: str = "h200-sxm") -> Any:
    items = (await world.client.get(f"{API}/catalog")).json()["items"]
    return next((item for item in items if item["sku"] == sku), None)


class TestSkus:
    async def test_are_sold_once_they_have_a_price(self, world: World) -> None:
        assert (await world.client.post(SKUS, json=SKU)).status_code == 201
        assert await offer(world, "h200-vm") is None

        price = {"price_micros_per_gpu_hour": 4_000_000}
        answer = await world.client.post(f"{SKUS}/h200-vm/prices", json=price)

        assert answer.status_code == 201, answer.text
        shown = await offer(world, "h200-vm")
        assert (shown["shape"], shown["available"]) == ("gpu_slice", {"1": 0, "8": 0})

    async def test_change_the_one_thing_beside_a_gpu_that_is_said(self, world: World) -> None:
        seen = []
        await world.client.post(SKUS, json=SKU)
        for change in (
            {"disk_per_gpu": True},
            {"nic_per_gpu": True},
            {"vcpus_per_gpu": 3},
            {"disk_per_gpu": False},
        ):
            answer = await world.client.patch(f"{SKUS}/{SKU['id']}", json=change)
            assert answer.status_code == 200, answer.text
            seen.append((answer.json()["disk_per_gpu"], answer.json()["nic_per_gpu"]))

        assert seen == [(True, False), (True, True), (True, True), (False, True)]

    async def test_promise_no_container_a_network_port(self, world: World) -> None:
        """Seen to fail when a SKU could promise what no node program does."""
        answer = await world.client.patch(f"{SKUS}/h200-sxm", json={"nic_per_gpu": True})

        assert answer.status_code == 422
        assert [each["field"] for each in answer.json()["errors"]] == ["/nic_per_gpu"]

    async def test_have_a_mix_of_launches_to_come(self, world: World) -> None:
        answer = await world.client.patch(f"{SKUS}/h200-sxm", json={"demand_mix": {"1": 1, "8": 9}})
        assert answer.json()["demand_mix"] == {"1": 1, "8": 9}

        for wrong in ({}, {"0": 1}, {"1": 0}, {"65": 1}):
            answer = await world.client.patch(f"{SKUS}/h200-sxm", json={"demand_mix": wrong})
            assert answer.status_code == 422, answer.text
            assert {each["field"] for each in answer.json()["errors"]} == {"/demand_mix"}

    async def test_are_sold_as_often_as_what_comes_with_them_is_free(self, world: World) -> None:
        async with world.cloud.transactions.begin(Scope.platform()) as unit:
            (node,) = await unit.nodes.find()
            row = await unit.fleet.get(node.id)
            assert row is not None
            await unit.fleet.put(replace(row, disk_mask=0b0111))

        await world.client.patch(f"{SKUS}/h200-sxm", json={"disk_per_gpu": True})

        assert (await offer(world))["available"] == {"1": 3, "2": 1, "4": 0, "8": 0}

    async def test_keep_their_price_until_the_next_begins(self, world: World) -> None:
        begins = world.cloud.clock.now() + timedelta(minutes=10)
        price = {"price_micros_per_gpu_hour": 2_000_000, "starts_at": rfc3339(begins)}
        await world.client.post(f"{SKUS}/h200-sxm/prices", json=price)
        before = (await offer(world))["price_micros_per_gpu_hour"]

        world.cloud.clock.advance_to(begins)

        assert before == 3_290_000
        assert (await offer(world))["price_micros_per_gpu_hour"] == 2_000_000
        rows = (await world.client.get(SKUS)).json()["items"]
        assert [len(row["prices"]) for row in rows] == [2]

    async def test_never_get_a_price_for_the_past(self, world: World) -> None:
        price = {"price_micros_per_gpu_hour": 1, "starts_at": "2020-01-01T00:00:00Z"}

        answer = await world.client.post(f"{SKUS}/h200-sxm/prices", json=price)

        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["/starts_at"]

    async def test_take_back_a_price_only_until_it_begins(self, world: World) -> None:
        begins = rfc3339(world.cloud.clock.now() + timedelta(minutes=10))
        price = {"price_micros_per_gpu_hour": 2_000_000, "starts_at": begins}
        await world.client.post(f"{SKUS}/h200-sxm/prices", json=price)
        (first, _) = (await world.client.get(f"{SKUS}/h200-sxm")).json()["prices"]

        for at, status in ((begins, 200), (begins, 404), (first["starts_at"], 409), ("now", 404)):
            answer = await world.client.delete(f"{SKUS}/h200-sxm/prices/{at}")
            assert answer.status_code == status, answer.text
        assert (await world.client.get(f"{SKUS}/h200-sxm")).json()["prices"] == [first]

    async def test_say_what_runs_on_them_at_which_price(self, world: World) -> None:
        await world.running()
        price = {"price_micros_per_gpu_hour": 2_000_000}
        await world.client.post(f"{SKUS}/h200-sxm/prices", json=price)

        shown = (await world.client.get(f"{SKUS}/h200-sxm")).json()

        (running,) = shown["running"]
        assert running["price_micros_per_gpu_hour"] == 3_290_000
        assert (running["allocations"], running["gpus"]) == (1, 1)
        assert shown["available"] == {"1": 7, "2": 3, "4": 1, "8": 0}

    async def test_come_in_pages(self, world: World) -> None:
        await world.client.post(SKUS, json=SKU)

        first = (await world.client.get(f"{SKUS}?limit=1")).json()
        rest = (await world.client.get(f"{SKUS}?limit=1&cursor={first['next_cursor']}")).json()

        assert [row["id"] for row in (*first["items"], *rest["items"])] == ["h200-sxm", "h200-vm"]

    async def test_are_taken_off_sale_and_keep_what_runs(self, world: World) -> None:
        held = await world.running()

        await world.client.patch(f"{SKUS}/h200-sxm", json={"active": False})

        assert await offer(world) is None
        shown = (await world.client.get(f"{API}/allocations/{held}")).json()
        assert shown["status"] == "active"

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"id": "No SKU"}, "/id"),
            ({"allowed_gpu_counts": [1, 1]}, "/allowed_gpu_counts"),
            ({"vcpus_per_gpu": 0}, "/vcpus_per_gpu"),
            ({"image_ids": ["img_none"]}, "/image_ids/0"),
        ],
    )
    async def test_name_the_field_that_will_not_do(
        self, world: World, changes: dict[str, Any], field: str
    ) -> None:
        answer = await world.client.post(SKUS, json={**SKU, **changes})

        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]


class TestImages:
    @pytest.mark.parametrize(
        ("runtime", "digest", "status"),
        [
            ("container", IMAGE["digest"], 201),
            ("container", "ubuntu:latest", 422),
            ("vm", f"https://images.example/u.qcow2#sha256={'a' * 64}", 201),
            ("vm", "https://images.example/u.qcow2", 422),
            ("bare_metal", "noble", 201),
            ("bare_metal", "24.04", 422),
        ],
    )
    async def test_are_named_by_their_content(
        self, world: World, runtime: str, digest: str, status: int
    ) -> None:
        body = {**IMAGE, "runtime": runtime, "digest": digest}

        answer = await world.client.post(f"{API}/admin/os-images", json=body)

        assert answer.status_code == status, answer.text

    async def test_say_what_would_miss_them(self, world: World) -> None:
        (image,) = (await world.client.get(f"{API}/os-images")).json()["items"]
        await world.running()

        shown = (await world.client.get(f"{API}/admin/os-images/{image['id']}")).json()

        assert shown["skus"] == shown["only_image_of"] == ["h200-sxm"]
        assert shown["allocations"] == 1

    async def test_are_offered_no_longer(self, world: World) -> None:
        (image,) = (await world.client.get(f"{API}/os-images")).json()["items"]

        await world.client.patch(f"{API}/admin/os-images/{image['id']}", json={"active": False})

        assert (await world.client.get(f"{API}/os-images")).json()["items"] == []
        kept = (await world.client.get(f"{API}/admin/os-images")).json()["items"]
        assert [row["active"] for row in kept] == [False]
