"""The waitlist over HTTP: wire names, positions, the forecast, and what is somebody else's."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from api_world import ORIGIN, memory_app
from write_examples import World

API = "/api/v1"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = await World.arrive()
    async with AsyncTestClient(memory_app(made.cloud), base_url=ORIGIN) as client:
        yield await made.enter(client)


async def join(world: World, **more: Any) -> Any:
    body = {"sku": "h200-sxm", "gpu_count": 2, "ssh_key_ids": [world.key_id], **more}
    return await world.client.post(f"{API}/waitlist", json=body)


class TestWaitlist:
    async def test_tells_the_position_until_it_is_launched(self, world: World) -> None:
        held = await world.launch(8)
        await world.cloud.work()

        first = await join(world)
        second = await join(world, kind="notify", price_max_micros_per_gpu_hour=9_000_000)

        assert first.status_code == 201, first.text
        body = first.json()
        assert (body["status"], body["position"], body["queue"]) == ("waiting", 1, 1)
        assert second.json()["position"] == 2
        await world.client.post(f"{API}/allocations/{held}/release")
        await world.cloud.work()
        listed = (await world.client.get(f"{API}/waitlist")).json()["items"]
        assert [row["status"] for row in listed] == ["offered", "launched"]
        assert listed[0]["claim_until"] is not None
        task = (await world.client.get(f"{API}/tasks/{listed[1]['task_id']}")).json()
        assert (task["kind"], task["status"]) == ("provision", "succeeded")

    async def test_forecasts_from_timers_and_says_how_many_there_are(self, world: World) -> None:
        await world.launch(8, ttl_seconds=3600)
        await world.cloud.work()

        query: dict[str, str | int] = {"sku": "h200-sxm", "gpu_count": 4}
        said = (await world.client.get(f"{API}/waitlist/forecast", params=query)).json()

        assert said["not_before"] is not None
        assert (said["fits_now"], said["gpus_held"], said["gpus_timed"]) == (False, 8, 8)

    async def test_is_left(self, world: World) -> None:
        await world.launch(8)
        entry = (await join(world)).json()["id"]

        assert (await world.client.delete(f"{API}/waitlist/{entry}")).status_code == 204

        shown = (await world.client.get(f"{API}/waitlist/{entry}")).json()
        assert (shown["status"], shown["position"]) == ("withdrawn", None)

    async def test_names_the_field_that_will_not_do(self, world: World) -> None:
        answer = await join(world, wait_seconds=1)

        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["/wait_seconds"]
