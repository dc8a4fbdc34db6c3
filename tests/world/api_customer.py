"""The demo's customer over HTTP, as patient as a program has to be with a cloud that is killed."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import httpx

from world.running_cloud import RunningCloud

PATIENCE: Final = 60.0
LAUNCH: Final = "/allocations"


class Customer:
    """The demo's customer, over HTTP; a dead server is an answer too."""

    def __init__(self, http: httpx.AsyncClient, key_id: str = "") -> None:
        self.http = http
        self.key_id = key_id

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = await self.http.request(method, path, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def launch(self, key: str, *, gpus: int = 1) -> httpx.Response:
        body = {"sku": "h200-sxm", "gpu_count": gpus, "ssh_key_ids": [self.key_id]}
        return await self.http.post(LAUNCH, json=body, headers={"Idempotency-Key": key})

    async def patiently(self, ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        """Ask until there is an answer that is not about trouble; no answer may be a 500."""
        end = time.monotonic() + PATIENCE
        while True:
            with suppress(httpx.TransportError):
                answer = await ask()
                assert answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR, answer.text
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return answer
                assert int(answer.headers["Retry-After"]) > 0
            assert time.monotonic() < end, "it does not come back"
            await asyncio.sleep(0.2)

    async def until(self, path: str, *ends: str) -> Any:
        end = time.monotonic() + PATIENCE
        while True:
            found = (await self.patiently(lambda: self.http.get(path))).json()
            if found["status"] in ends:
                return found
            assert time.monotonic() < end, f"{path} stays {found['status']}: {found}"
            await asyncio.sleep(0.2)

    async def machines(self) -> set[str]:
        found = await self.ask("GET", LAUNCH, params={"limit": 100})
        return {row["id"] for row in found["items"]}

    async def give_back(self, machine: str) -> None:
        path = f"{LAUNCH}/{machine}"
        await self.ask("POST", f"{path}/release", headers={"Idempotency-Key": machine})
        await self.until(path, "released")


@asynccontextmanager
async def customer_of(cloud: RunningCloud) -> AsyncIterator[Customer]:
    async with httpx.AsyncClient(base_url=f"{cloud.url}/api/v1", timeout=30) as http:
        customer = Customer(http)
        body = {"username": "demo", "password": cloud.password_of("demo")}
        signed_in = await customer.ask("POST", "/auth/personal/login", json=body)
        http.headers["Authorization"] = f"Bearer {signed_in['access_token']}"
        customer.key_id = (await customer.ask("GET", "/ssh-keys"))["items"][0]["id"]
        yield customer
