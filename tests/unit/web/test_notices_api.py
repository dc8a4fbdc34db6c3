"""Inbox and attention over HTTP: wire names, who may, and what is refused."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from api_world import ORIGIN, memory_app
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.stored.kinds import ATTENTION_ROWS, USERS
from gpucloud_core.access.model import PlatformRole
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import Event, Scope
from gpucloud_core.notices.tell import TellPeople

API = "/api/v1"


class Person:
    """Somebody signed up, with a client that is them."""

    def __init__(self, cloud: MemoryCloud, client: AsyncTestClient[Any]) -> None:
        self.cloud, self.client = cloud, client
        self.tenant_id = TenantId("")

    async def arrive(self) -> "Person":
        body = {"username": "ada", "password": "a long enough phrase"}
        answer = await self.client.post(f"{API}/auth/personal/signup", json=body)
        self.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        me = (await self.client.get(f"{API}/me")).json()
        self.tenant_id = TenantId(me["tenant"]["id"])
        return self

    async def become_operator(self) -> None:
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            (user,) = self.cloud.transactions.database.rows(USERS)
            await unit.users.put(replace(user, platform_role=PlatformRole.OPS))

    async def hear(self, number: int, kind: str) -> None:
        event = Event(kind=kind, subject=self.tenant_id, tenant_id=self.tenant_id)
        tell = TellPeople(transactions=self.cloud.transactions, ids=self.cloud.ids)
        await tell(StoredEvent(id=number, event=event, created_at=self.cloud.clock.now()))

    async def get(self, path: str, **params: Any) -> Any:
        return await self.client.get(API + path, params=params)

    async def post(self, path: str, body: dict[str, str] | None = None) -> Any:
        return await self.client.post(API + path, json=body or {})


@pytest.fixture
async def ada() -> AsyncIterator[Person]:
    cloud = await MemoryCloud.found()
    async with AsyncTestClient(memory_app(cloud), base_url=ORIGIN) as client:
        yield await Person(cloud, client).arrive()


class TestInbox:
    async def test_is_read_and_emptied(self, ada: Person) -> None:
        await ada.hear(1, "billing.depleted")
        await ada.hear(2, "payment.completed")

        listed = (await ada.get("/me/inbox")).json()["items"]
        assert [item["kind"] for item in listed] == ["payment.completed", "billing.depleted"]
        assert set(listed[0]) == {
            *("id", "kind", "level", "title", "text", "link", "created_at", "read_at")
        }
        assert (await ada.get("/me/inbox/unread")).json() == {"unread": 2}

        read = await ada.post(f"/me/inbox/{listed[0]['id']}/read")
        assert (read.status_code, read.json()["read_at"] is None) == (200, False)
        unread = (await ada.get("/me/inbox", unread=True)).json()["items"]
        assert [item["id"] for item in unread] == [listed[1]["id"]]
        assert (await ada.post("/me/inbox/read")).json() == {"unread": 0}
        assert (await ada.get("/me/inbox", unread=True)).json()["items"] == []

    async def test_knows_only_its_own(self, ada: Person) -> None:
        never = await ada.post("/me/inbox/not_00000000000000000000000000/read")
        other = await ada.post("/me/inbox/alc_00000000000000000000000000/read")

        assert (never.status_code, other.status_code) == (404, 404)


class TestAttention:
    async def test_is_for_operators(self, ada: Person) -> None:
        await ada.hear(1, "drift.stray_hold")
        (row,) = ada.cloud.transactions.database.rows(ATTENTION_ROWS)

        assert (await ada.get("/ops/attention")).status_code == 403
        for verb in ("acknowledge", "snooze"):
            body = {"reason": "x", "until": rfc3339(row.first_seen + timedelta(hours=1))}
            wanted = body if verb == "snooze" else {"reason": "x"}
            assert (await ada.post(f"/ops/attention/{row.id}/{verb}", wanted)).status_code == 403

    async def test_is_listed_acknowledged_and_snoozed(self, ada: Person) -> None:
        await ada.become_operator()
        await ada.hear(1, "drift.stray_hold")
        await ada.hear(2, "payment.unmatched")

        listed = (await ada.get("/ops/attention")).json()["items"]
        critical = (await ada.get("/ops/attention", severity="critical")).json()["items"]
        assert [row["kind"] for row in listed] == ["payment.unmatched", "drift.stray_hold"]
        assert [row["kind"] for row in critical] == ["payment.unmatched"]

        place = f"/ops/attention/{listed[0]['id']}"
        known = await ada.post(f"{place}/acknowledge", {"reason": "asking the provider"})
        until = ada.cloud.clock.now() + timedelta(hours=2)
        later = await ada.post(f"{place}/snooze", {"reason": "x", "until": rfc3339(until)})
        assert (known.status_code, known.json()["acknowledged_by"]) == (200, "ada")
        assert later.json()["snoozed_until"].startswith("2026-01-01T02:00:00")

    async def test_wants_a_reason_and_a_sensible_instant(self, ada: Person) -> None:
        await ada.become_operator()
        await ada.hear(1, "drift.stray_hold")
        (row,) = ada.cloud.transactions.database.rows(ATTENTION_ROWS)
        place = f"/ops/attention/{row.id}"

        silent = await ada.post(f"{place}/acknowledge", {"reason": "  "})
        past = await ada.post(f"{place}/snooze", {"reason": "x", "until": rfc3339(row.first_seen)})

        assert (silent.status_code, silent.json()["errors"][0]["field"]) == (422, "/reason")
        assert (past.status_code, past.json()["errors"][0]["field"]) == (422, "/until")
