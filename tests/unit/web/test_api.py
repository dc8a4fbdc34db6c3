"""The JSON API over a cloud in memory: wire names, codes, idempotency, and who may see what."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from api_world import ORIGIN, memory_app
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_core.kernel.ids import TenantId

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada"
API = "/api/v1"
Json = dict[str, Any]


class Caller:
    """A program with an access token."""

    def __init__(self, cloud: MemoryCloud, client: AsyncTestClient[Any]) -> None:
        self.cloud, self.client = cloud, client
        self.headers: dict[str, str] = {}
        self.tokens: Json = {}

    async def sign_up(self, username: str = "ada") -> "Caller":
        body = {"username": username, "password": "a long enough phrase"}
        answer = await self.client.post(f"{API}/auth/personal/signup", json=body)
        assert answer.status_code == 201, answer.text
        self._keep(answer.json())
        return self

    def _keep(self, tokens: Json) -> None:
        self.tokens = tokens
        self.headers = {"Authorization": f"Bearer {tokens['access_token']}"}

    async def refresh(self) -> None:
        answer = await self.post(
            "/auth/token/refresh", {"refresh_token": self.tokens["refresh_token"]}
        )
        self._keep(answer.json())

    async def get(self, path: str, **params: Any) -> Any:
        return await self.client.get(API + path, headers=self.headers, params=params)

    async def post(self, path: str, body: Json | None = None, key: str | None = None) -> Any:
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        return await self.client.post(API + path, headers=headers, json=body or {})

    async def fund(self, dollars: int = 100) -> None:
        me = (await self.get("/me")).json()
        actor = self.cloud.operator(TenantId(me["tenant"]["id"]))
        await self.cloud.give(actor, dollars * 1_000_000)

    async def key_id(self) -> str:
        answer = await self.post("/ssh-keys", {"name": "laptop", "public_key": KEY})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def launch(self, key: str = "launch-1", **more: Any) -> Any:
        body = {"sku": "h200-sxm", "gpu_count": 2, **more}
        return await self.post("/allocations", body, key=key)


@pytest.fixture
async def ada() -> AsyncIterator[Caller]:
    cloud = await MemoryCloud.found()
    async with AsyncTestClient(memory_app(cloud), base_url=ORIGIN) as client:
        yield await Caller(cloud, client).sign_up()


class TestJourneyOverTheApi:
    async def test_goes_from_sign_up_to_the_receipt(self, ada: Caller) -> None:
        await ada.fund()
        key_id = await ada.key_id()

        catalog = (await ada.get("/catalog")).json()["items"]
        assert catalog[0]["available"] == {"1": 8, "2": 4, "4": 2, "8": 1}

        accepted = await ada.launch(ssh_key_ids=[key_id])
        assert accepted.status_code == 202, accepted.text
        launched = accepted.json()
        allocation_id = launched["allocations"][0]["id"]
        assert launched["allocations"][0]["status"] == "provisioning"
        await ada.cloud.work()

        task = (await ada.get(f"/tasks/{launched['task_id']}")).json()
        assert task["status"] == "succeeded"
        assert [step["status"] for step in task["steps"]] == ["completed"] * 6

        await ada.cloud.pass_time(timedelta(hours=1))
        assert (await ada.get("/me")).status_code == 401, "an access token lives 15 minutes"
        await ada.refresh()
        running = (await ada.get(f"/allocations/{allocation_id}")).json()
        assert running["status"] == "active"
        assert running["cost_micros"] == 2 * 3_290_000
        assert running["connection"]["ssh_command"].startswith("ssh ubuntu@10.0.0.")
        assert [gpu["numa"] for gpu in running["gpus"]] in ([0, 0], [1, 1])

        released = await ada.post(f"/allocations/{allocation_id}/release", key="release-1")
        assert released.status_code == 202
        assert released.json()["status"] == "releasing"
        await ada.cloud.work()

        receipt = (await ada.get(f"/allocations/{allocation_id}/receipt")).json()
        assert receipt["billed_seconds"] == 3600
        assert receipt["cost_micros"] == 6_580_000
        assert receipt["wipe"]["method"]
        assert receipt["capacity_free_at"]
        usage = (await ada.get("/billing/usage")).json()["items"]
        assert [(row["cost_micros"], row["settled"]) for row in usage] == [(6_580_000, True)]
        ledger = (await ada.get("/billing/ledger", limit=100)).json()["items"]
        assert all(sum(row["entries"].values()) == 0 for row in ledger)

    async def test_exports_usage_that_no_spreadsheet_takes_for_a_formula(self, ada: Caller) -> None:
        answer = await ada.get("/billing/usage/csv")

        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.text.startswith("allocation_id,project_id,sku,gpu_count,from,to,seconds")

    async def test_streams_a_task_and_resumes_after_an_event(self, ada: Caller) -> None:
        await ada.fund()
        launched = (await ada.launch(ssh_key_ids=[await ada.key_id()])).json()
        await ada.cloud.work()
        path = f"/tasks/{launched['task_id']}"
        events = (await ada.get(f"{path}/events")).json()["items"]
        assert events[0]["kind"] == "task.succeeded", "newest first"

        ada.headers["Last-Event-ID"] = events[1]["id"]
        stream = await ada.get(f"{path}/stream")

        assert stream.text.count("event: ") == 2, "the one after it, and the end"


class TestMe:
    async def test_has_the_promised_names(self, ada: Caller) -> None:
        me = (await ada.get("/me")).json()

        assert me["username"] == "ada"
        assert me["tenant"]["kind"] == "personal"
        assert me["projects"][0]["is_default"]
        assert me["default_project_id"] == me["projects"][0]["id"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"gpu_count": 0}, "/gpu_count"),
            ({"count": 99}, "/count"),
            ({"name": "  "}, "/name"),
            ({"network": {"ssh_cidrs": ["everywhere"]}}, "/network/ssh_cidrs/0"),
            ({"network": {"inbound": [{"port": 22}]}}, "/network/inbound/0/port"),
            ({"ttl_seconds": 1}, "/ttl_seconds"),
        ],
    )
    async def test_names_the_field_and_says_what_to_do(
        self, ada: Caller, body: Json, field: str
    ) -> None:
        answer = await ada.launch(**body)

        problem = answer.json()
        assert answer.status_code == 422
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert problem["code"] == "validation_failed"
        assert [each["field"] for each in problem["errors"]] == [field]
        assert problem["next_step"]
        assert problem["correlation_id"].startswith("req_")

    @pytest.mark.parametrize(
        "body", [{"gpu_count": "two"}, {"unknown": 1}, {"spread": "far"}, {"ssh_key_ids": "x"}]
    )
    async def test_refuses_a_body_of_another_form(self, ada: Caller, body: Json) -> None:
        answer = await ada.launch(**body)

        assert answer.status_code == 422
        assert answer.json()["code"] == "validation_failed"

    async def test_refuses_what_is_not_json(self, ada: Caller) -> None:
        answer = await ada.client.post(
            f"{API}/allocations", headers=ada.headers | {"Idempotency-Key": "k"}, content=b"{"
        )

        assert answer.status_code == 422

    async def test_shows_every_failing_check_at_once(self, ada: Caller) -> None:
        answer = await ada.launch()

        codes = {error["code"] for error in answer.json()["errors"]}
        assert codes == {"ssh_key_required", "insufficient_balance"}

    @pytest.mark.parametrize(
        ("sku", "gpus", "code", "status"),
        [
            ("nothing", 1, "sku_not_offered", 422),
            ("h200-sxm", 3, "gpu_count_not_allowed", 422),
            ("h200-sxm", 1, "insufficient_balance", 402),
        ],
    )
    async def test_has_a_code_for_each_refusal(
        self, ada: Caller, sku: str, gpus: int, code: str, status: int
    ) -> None:
        keys = [await ada.key_id()]

        answer = await ada.launch(sku=sku, gpu_count=gpus, ssh_key_ids=keys)

        assert (answer.json()["code"], answer.status_code) == (code, status)
        assert (await ada.get("/allocations")).json()["items"] == []

    async def test_is_sold_out_without_making_a_task(self, ada: Caller) -> None:
        await ada.fund()
        keys = [await ada.key_id()]
        await ada.launch(gpu_count=8, ssh_key_ids=keys)

        answer = await ada.launch(key="launch-2", gpu_count=1, ssh_key_ids=keys)

        assert (answer.status_code, answer.json()["code"]) == (409, "sold_out")
        assert len((await ada.get("/allocations")).json()["items"]) == 1

    async def test_quotes_without_a_key(self, ada: Caller) -> None:
        body = {"sku": "h200-sxm", "gpu_count": 4}
        answer = await ada.post("/allocations?dry_run=true", body)

        quote = answer.json()
        assert answer.status_code == 200
        assert quote["verdict"] == "refused"
        assert quote["hold_micros"] == quote["price_micros_per_hour"] == 13_160_000
        assert {c["code"] for c in quote["checks"] if not c["ok"]} == {"ssh_key", "balance"}


class TestIdempotency:
    async def test_is_required_where_money_is_spent(self, ada: Caller) -> None:
        answer = await ada.post("/allocations", {"sku": "h200-sxm", "gpu_count": 1})

        assert answer.json()["code"] == "idempotency_key_required"

    async def test_replays_the_first_answer(self, ada: Caller) -> None:
        await ada.fund()
        keys = [await ada.key_id()]

        first = await ada.launch(ssh_key_ids=keys)
        again = await ada.launch(ssh_key_ids=keys)

        assert again.json() == first.json()
        assert len((await ada.get("/allocations")).json()["items"]) == 1

    async def test_refuses_another_body_under_the_same_key(self, ada: Caller) -> None:
        await ada.fund()
        keys = [await ada.key_id()]
        await ada.launch(ssh_key_ids=keys)

        answer = await ada.launch(ssh_key_ids=keys, gpu_count=1)

        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")

    async def test_evaluates_a_refusal_again(self, ada: Caller) -> None:
        keys = [await ada.key_id()]
        assert (await ada.launch(ssh_key_ids=keys)).status_code == 402
        await ada.fund()

        assert (await ada.launch(ssh_key_ids=keys)).status_code == 202


class TestOthers:
    async def test_see_nothing_of_it(self, ada: Caller) -> None:
        await ada.fund()
        launched = (await ada.launch(ssh_key_ids=[await ada.key_id()])).json()
        allocation = launched["allocations"][0]["id"]
        eve = await Caller(ada.cloud, ada.client).sign_up("eve")

        never = await eve.get("/allocations/alc_00000000000000000000000000")
        foreign = await eve.get(f"/allocations/{allocation}")

        assert foreign.status_code == never.status_code == 404
        bodies = [answer.json() for answer in (foreign, never)]
        for body in bodies:
            del body["correlation_id"]
        assert bodies[0] == bodies[1]
        for path in (f"/allocations/{allocation}/release", f"/allocations/{allocation}/cancel"):
            assert (await eve.post(path)).status_code == 404
        assert (await eve.get(f"/tasks/{launched['task_id']}")).status_code == 404
        assert (await eve.get("/allocations")).json()["items"] == []

    async def test_must_sign_in(self, ada: Caller) -> None:
        ada.headers = {}

        answer = await ada.get("/me")

        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"

    async def test_cannot_write_from_another_site(self, ada: Caller) -> None:
        answer = await ada.client.post(
            f"{API}/auth/personal/login",
            headers={"Origin": "https://evil.example"},
            json={"username": "ada", "password": "x"},
        )

        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request")


class TestEveryAnswer:
    @pytest.mark.parametrize("path", ["/api/v1/me", "/healthz", "/nowhere", "/api/v1/openapi.json"])
    async def test_carries_the_security_headers(self, ada: Caller, path: str) -> None:
        answer = await ada.client.get(path)

        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-correlation-id"].startswith("req_")


class TestOpenApi:
    async def test_names_every_operation_once(self, ada: Caller) -> None:
        document = (await ada.client.get("/api/v1/openapi.json")).json()

        assert document["openapi"].startswith("3.1")
        named = [
            operation["operationId"]
            for path in document["paths"].values()
            for operation in path.values()
        ]
        assert len(named) == len(set(named))
        assert {"launchAllocations", "getReceipt", "startCheckout", "mintTerminalToken"} <= {*named}
