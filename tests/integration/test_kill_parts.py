"""``gpucloud up`` loses its web server, its databases and at last its own life.

One cloud of its own, as `make run` starts it, and one customer who uses the API. The supervisor
brings back what died; what was under way is found in the database's due rows.
"""

import asyncio
import base64
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import asyncpg
import httpx
import pytest

from world.api_customer import LAUNCH, PATIENCE, Customer, customer_of
from world.running_cloud import RunningCloud, running_cloud

pytestmark = pytest.mark.timeout(240)

RECOVERY_SECONDS: Final = 30.0
WRITERS: Final = 4


@pytest.fixture(scope="module")
def doomed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with running_cloud(tmp_path_factory.mktemp("doomed")) as cloud:
        yield cloud


@pytest.fixture
async def customer(doomed: RunningCloud) -> AsyncIterator[Customer]:
    async with customer_of(doomed) as customer:
        yield customer


class Rows:
    """The database's own view, from outside."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection

    @asynccontextmanager
    async def holding_accounts(self) -> AsyncIterator[None]:
        """Let nobody's money move: launches wait."""
        async with self.connection.transaction():
            await self.connection.execute("SELECT FROM billing_accounts FOR UPDATE")
            yield

    async def until(self, query: str, *values: object) -> None:
        end = time.monotonic() + PATIENCE
        while not await self.connection.fetchval(query, *values):
            assert time.monotonic() < end, query
            await asyncio.sleep(0.005)


@asynccontextmanager
async def rows_of(cloud: RunningCloud) -> AsyncIterator[Rows]:
    connection = await asyncpg.connect(cloud.settings.database_url.reveal())
    try:
        await connection.execute("SET ROLE gpucloud_platform")
        yield Rows(connection)
    finally:
        await connection.close()


class TestWeb:
    async def test_killed_before_it_took_effect_makes_one_when_asked_again(
        self, doomed: RunningCloud, customer: Customer
    ) -> None:
        before = await customer.machines()
        async with rows_of(doomed) as looking, rows_of(doomed) as rows, rows.holding_accounts():
            asked = asyncio.create_task(customer.launch("before"))
            await looking.until("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
            doomed.kill("web")
            with pytest.raises(httpx.TransportError):
                await asked

        await self._exactly_one(customer, "before", before)

    async def test_killed_before_it_answered_gives_the_same_answer_again(
        self, doomed: RunningCloud, customer: Customer
    ) -> None:
        before = await customer.machines()
        async with rows_of(doomed) as rows:
            asked = asyncio.create_task(customer.launch("after"))
            await rows.until("SELECT count(*) > 0 FROM stored_responses WHERE id LIKE '%/after'")
            doomed.kill("web")
            with suppress(httpx.TransportError):
                await asked

        await self._exactly_one(customer, "after", before)

    async def _exactly_one(self, customer: Customer, key: str, before: set[str]) -> None:
        answers = [await customer.patiently(lambda: customer.launch(key)) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [httpx.codes.ACCEPTED] * 2
        assert answers[0].json() == answers[1].json()
        [machine] = await customer.machines() - before
        other = await customer.launch(key, gpus=2)
        assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY
        assert other.json()["code"] == "idempotency_key_reused"
        assert await customer.machines() == before | {machine}
        await customer.until(f"{LAUNCH}/{machine}", "active")
        await customer.give_back(machine)


class TestDatabases:
    async def test_killed_queue_holds_nothing_up(
        self, doomed: RunningCloud, customer: Customer
    ) -> None:
        launched = (await customer.launch("queue")).json()
        doomed.kill("valkey")
        other = await customer.patiently(lambda: customer.launch("no queue"))
        assert other.status_code == httpx.codes.ACCEPTED, other.text

        for answer in (launched, other.json()):
            machine = answer["allocations"][0]["id"]
            await customer.until(f"{LAUNCH}/{machine}", "active")
            await customer.give_back(machine)

    async def test_killed_in_the_middle_of_commits_loses_nothing_it_acknowledged(
        self, doomed: RunningCloud, customer: Customer
    ) -> None:
        launched = (await customer.launch("commits")).json()
        acknowledged: set[str] = set()
        troubles: list[httpx.Response] = []
        done = asyncio.Event()

        async def write(writer: int) -> None:
            number = 0
            while not done.is_set():
                number += 1
                name = f"w{writer}-{number}"
                with suppress(httpx.TransportError):
                    body = {"name": name, "public_key": _some_key()}
                    answer = await customer.http.post("/ssh-keys", json=body)
                    if answer.is_success:
                        acknowledged.add(name)
                    else:
                        troubles.append(answer)
                await asyncio.sleep(0.05)

        writing = [asyncio.create_task(write(number)) for number in range(WRITERS)]
        await asyncio.sleep(0.5)
        before = len(acknowledged)
        doomed.kill("postgres")
        killed = time.monotonic()
        while len(acknowledged) < before + 2 * WRITERS:
            assert time.monotonic() - killed < RECOVERY_SECONDS, troubles[-1:]
            await asyncio.sleep(0.1)
        done.set()
        await asyncio.gather(*writing)

        assert troubles, "it was noticed"
        assert {answer.status_code for answer in troubles} == {httpx.codes.SERVICE_UNAVAILABLE}
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in troubles)
        assert acknowledged <= await self._names(customer)
        machine = launched["allocations"][0]["id"]
        await customer.until(f"{LAUNCH}/{machine}", "active")
        await customer.give_back(machine)

    async def _names(self, customer: Customer) -> set[str]:
        found, cursor = set(), None
        while True:
            query = {"limit": 100} | ({"cursor": cursor} if cursor else {})
            page = await customer.ask("GET", "/ssh-keys", params=query)
            found |= {row["name"] for row in page["items"]}
            if not (cursor := page.get("next_cursor")):
                return found


def _some_key() -> str:
    kind = b"ssh-ed25519"
    parts = (kind, secrets.token_bytes(32))
    wire = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"{kind.decode()} {base64.b64encode(wire).decode()}"


class TestUp:
    async def test_killed_with_everything_is_found_again_by_the_next(self, tmp_path: Path) -> None:
        with running_cloud(tmp_path) as first:
            async with customer_of(first) as customer:
                made = (await customer.launch("up")).json()
                machine = made["allocations"][0]["id"]
                first.process.kill()
                first.process.wait()

        with running_cloud(tmp_path) as second:
            async with customer_of(second) as customer:
                again = await customer.launch("up")
                assert again.json() == made
                found = await customer.until(f"{LAUNCH}/{machine}", "active")
                assert found["connection"]["ssh_command"]
                await customer.give_back(machine)
