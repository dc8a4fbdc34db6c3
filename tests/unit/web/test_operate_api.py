"""Acts on a running allocation over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from api_world import ORIGIN, memory_app
from customer import Customer

API = "/api/v1"


@pytest.fixture
async def ada() -> Customer:
    return await Customer.arrive()


@pytest.fixture
async def client(ada: Customer) -> AsyncIterator[AsyncTestClient[Any]]:
    async with AsyncTestClient(memory_app(ada.cloud), base_url=ORIGIN) as client:
        body = {"username": "ada", "password": "ada's long password"}
        answer = await client.post(f"{API}/auth/personal/login", json=body)
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


class TestRestart:
    async def test_is_taken_up_and_told_by_its_task(
        self, ada: Customer, client: AsyncTestClient[Any]
    ) -> None:
        allocation = await ada.launch(1)
        await ada.cloud.work()

        answer = await client.post(f"{API}/allocations/{allocation}/restart")

        assert answer.status_code == 202, answer.text
        assert answer.json()["status"] == "restarting"
        await ada.cloud.work()
        task = (await client.get(f"{API}/tasks/{answer.json()['task_id']}")).json()
        assert (task["kind"], task["status"]) == ("restart", "succeeded")
        shown = (await client.get(f"{API}/allocations/{allocation}")).json()
        assert shown["status"] == "active"

    async def test_happens_once_for_one_key(
        self, ada: Customer, client: AsyncTestClient[Any]
    ) -> None:
        allocation = await ada.launch(1)
        await ada.cloud.work()
        tasks = set()
        for _ in range(2):
            answer = await client.post(
                f"{API}/allocations/{allocation}/restart", headers={"Idempotency-Key": "once"}
            )
            tasks.add(answer.json()["task_id"])
            await ada.cloud.work()

        assert len(tasks) == 1

    async def test_is_refused_before_it_is_active(
        self, ada: Customer, client: AsyncTestClient[Any]
    ) -> None:
        allocation = await ada.launch(1)

        answer = await client.post(f"{API}/allocations/{allocation}/restart")

        assert answer.status_code == 409
        assert answer.json()["code"] == "not_restartable"
