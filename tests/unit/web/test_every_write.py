"""What holds for every write of the API, walked over all of its routes.

Seen to fail when the middleware was taken off, when the key's body was not compared, when a
secret's answer was stored, and when a use case forgot its audit row.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from api_world import ORIGIN, memory_app
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.stored.kinds import STORED_RESPONSES
from gpucloud_web.api.schema import described
from gpucloud_web.keyed import HEADER, REPLAYED_HEADER, Once
from write_examples import API, EXAMPLES, Call, World, writes

APP: Final[Litestar] = memory_app(asyncio.run(MemoryCloud.found()))
WRITES: Final = writes(APP)
KEYED: Final = sorted(name for name, write in WRITES.items() if write.once is not Once.NEVER)
NEVER: Final = {
    *("signUp", "signIn", "refreshToken", "signOut", "changePassword", "receiveWebhook"),
    *("askForEmail", "confirmEmail"),
}
BESIDE_THE_EFFECT: Final = {"stored_responses", "sessions"}
every_write = pytest.mark.parametrize("operation", KEYED)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = await World.arrive(nodes=2)
    async with AsyncTestClient(memory_app(made.cloud), base_url=ORIGIN) as client:
        yield await made.enter(client)


async def send(world: World, operation: str, call: Call, *, key: str, more: str = "") -> Any:
    """Send it; with ``more`` behind it, the same JSON is another body."""
    headers = {HEADER: key, "Content-Type": "application/json"}
    body = ("" if call.body is None else json.dumps(call.body)) + more
    method = WRITES[operation].method
    return await world.client.request(method, API + call.path, headers=headers, content=body)


def stored(world: World) -> dict[str, Any]:
    """Return everything that is kept, but for what is no effect."""
    database = world.cloud.transactions.database
    kept = {name: dict(t.rows) for name, t in database.tables.items()}
    for name in BESIDE_THE_EFFECT:
        kept.pop(name)
    return kept | {"outbox": database.outbox}


class TestEveryWrite:
    def test_has_an_example(self) -> None:
        assert set(KEYED) == set(EXAMPLES)

    def test_takes_the_key_but_where_the_rules_say_otherwise(self) -> None:
        assert {name for name, write in WRITES.items() if write.once is Once.NEVER} == NEVER

    def test_finds_out_who_asks_before_it_does_anything(self) -> None:
        """That is what puts the key in force."""
        assert all("actor" in WRITES[name].names for name in KEYED)

    def test_that_calls_the_outside_keeps_its_intent(self) -> None:
        """Its effect cannot be one transaction: what was done outside is not undone with it.

        Seen to fail when ``openPortal`` said nothing of how it takes the key.
        """
        calling = {name for name in KEYED if WRITES[name].outside}

        assert {"startCheckout", "openPortal"} <= calling
        assert {WRITES[name].once for name in calling} == {Once.INTENT}

    def test_that_keeps_its_intent_itself_asks_for_the_key(self) -> None:
        intending = [name for name in KEYED if WRITES[name].once is Once.INTENT]

        assert all("idempotency" in WRITES[name].names for name in intending)

    @every_write
    async def test_is_refused_done_once_and_answered_again(
        self, world: World, operation: str
    ) -> None:
        """One walk per write, because each has a cloud to prepare."""
        call = await EXAMPLES[operation](world)

        await self._is_refused(world, operation, call, key="k" * 129)
        await self._is_refused(world, operation, call, key="k", signed_in=False)
        first = await self._leaves_one_audit_row(world, operation, call)
        await self._is_answered_again(world, operation, call, first)
        await self._refuses_another_body(world, operation, call)

    async def _is_refused(
        self, world: World, operation: str, call: Call, *, key: str, signed_in: bool = True
    ) -> None:
        kept, mine = stored(world), world.client.headers["Authorization"]
        if not signed_in:
            del world.client.headers["Authorization"]

        refused = await send(world, operation, call, key=key)

        world.client.headers["Authorization"] = mine
        expected = (422, "idempotency_key_invalid") if signed_in else (401, "unauthenticated")
        assert (refused.status_code, refused.json()["code"]) == expected
        assert stored(world) == kept

    async def _leaves_one_audit_row(self, world: World, operation: str, call: Call) -> Any:
        before = {row.id for row in world.cloud.transactions.database.audit_rows}

        answer = await send(world, operation, call, key="k")

        assert answer.status_code < 300, answer.text
        rows = world.cloud.transactions.database.audit_rows
        made = [row for row in rows if row.id not in before]
        assert [(row.actor, row.via, row.correlation_id) for row in made] == [
            ("ada", "api", answer.headers["x-correlation-id"])
        ]
        return answer

    async def _is_answered_again(
        self, world: World, operation: str, call: Call, first: Any
    ) -> None:
        kept = stored(world)

        again = await send(world, operation, call, key="k")

        assert stored(world) == kept, "nothing happened a second time"
        if WRITES[operation].once is Once.ONE_TIME:
            assert (again.status_code, again.json()["code"]) == (409, "secret_not_replayed")
            return
        assert (again.status_code, again.text) == (first.status_code, first.text)
        if WRITES[operation].once is not Once.INTENT:
            assert again.headers[REPLAYED_HEADER] == "true"

    async def _refuses_another_body(self, world: World, operation: str, call: Call) -> None:
        kept = stored(world)

        other = await send(world, operation, call, key="k", more=" ")

        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert stored(world) == kept

    @every_write
    async def test_is_documented_with_its_key(self, operation: str) -> None:
        document = described(APP)
        (told,) = [
            each
            for path in document["paths"].values()
            for each in path.values()
            if each["operationId"] == operation
        ]
        (header,) = [one for one in told["parameters"] if one["name"] == HEADER]

        assert header["required"] is (WRITES[operation].once is Once.REQUIRED)
        assert header["schema"]["maxLength"] == 128
        assert {"409", "422"} <= set(told["responses"])

    def test_that_answers_a_secret_never_has_it_stored(self) -> None:
        document = described(APP)
        secret = re.compile(r"(^|_)(token|secret|password)$")
        for path in document["paths"].values():
            for told in path.values():
                write = WRITES.get(told["operationId"])
                if write is None or write.once is Once.NEVER:
                    continue
                said = json.dumps(told["responses"])
                bodies = re.findall(r"#/components/schemas/([A-Za-z0-9_\[\]]+)", said)
                names = {
                    name
                    for body in bodies
                    for name in document["components"]["schemas"][body].get("properties", {})
                }
                holds = any(secret.search(name) for name in names)
                assert holds is (write.once is Once.ONE_TIME), told["operationId"]


class TestWhatTheKeyIsNotFor:
    async def test_sign_in_ignores_it(self, world: World) -> None:
        body = {"username": "ada", "password": "ada's long password"}
        path = f"{API}/auth/personal/login"
        answers = [
            await world.client.post(path, json=body, headers={HEADER: key})
            for key in ("k", "k", "k" * 500)
        ]

        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert len({answer.json()["access_token"] for answer in answers}) == 3

    async def test_a_dry_run_has_no_effect_to_remember(self, world: World) -> None:
        call = await EXAMPLES["launchAllocations"](world)
        dry = Call(f"{call.path}?dry_run=true", call.body)
        assert (await send(world, "launchAllocations", dry, key="k")).status_code == 200

        assert (await send(world, "launchAllocations", call, key="k")).status_code == 202

    async def test_two_people_never_share_one(self, world: World) -> None:
        call = await EXAMPLES["markAllRead"](world)

        await send(world, "markAllRead", call, key="k")

        kept = world.cloud.transactions.database.rows(STORED_RESPONSES)
        assert [row.id.split("/")[:2] for row in kept][-1:] == [
            [world.actor.tenant_id, world.actor.user_id]
        ]
