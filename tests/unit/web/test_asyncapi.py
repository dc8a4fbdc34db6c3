"""The AsyncAPI document: valid, and complete: whatever is emitted or sent stands in it.

Seen to fail when the waitlist and the fleet emitted events that no table knew.
"""

import ast
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import jsonschema
import msgspec
import pytest
from litestar.testing import AsyncTestClient

import gpucloud_core
from api_world import ORIGIN, memory_app
from customer import Customer
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.memory.node_driver import Fault, FaultKind
from gpucloud_adapters.stored.kinds import TASK_EVENTS
from gpucloud_core.notices.events import EVENTS
from gpucloud_core.work.model import TaskEventKind
from gpucloud_web.api.streams import described
from gpucloud_web.terminals import frames

DATA: Final = Path(__file__).parents[2] / "data" / "asyncapi" / "3.0.0.json.gz"
CORE: Final = Path(gpucloud_core.__file__).parent
DOCUMENT: Final = described(ORIGIN)
SCHEMAS: Final[dict[str, Any]] = DOCUMENT["components"]["schemas"]


@pytest.fixture
async def client() -> AsyncIterator[AsyncTestClient[Any]]:
    async with AsyncTestClient(memory_app(await MemoryCloud.found())) as client:
        yield client


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def emitted_in_the_core() -> Iterator[str]:
    """Return the kind of every ``Event(...)`` in the source; what is computed ends with ``*``."""
    for path in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Event":
                for keyword in node.keywords:
                    if keyword.arg == "kind":
                        yield _told(keyword.value)


def _told(value: ast.expr) -> str:
    match value:
        case ast.Constant(value=str(kind)):
            return kind
        case ast.JoinedStr(values=[ast.Constant(value=str(prefix)), *_]):
            return f"{prefix}*"
        case _:
            return "*"


class TestDocument:
    def test_is_valid_asyncapi(self) -> None:
        schema = json.loads(gzip.decompress(DATA.read_bytes()))

        jsonschema.Draft7Validator(schema).validate(DOCUMENT)

    def test_refers_to_nothing_that_is_not_there(self) -> None:
        for reference in references(DOCUMENT):
            node = DOCUMENT
            for part in reference.removeprefix("#/").split("/"):
                node = node[part]

    async def test_is_served_where_it_is_promised(self, client: AsyncTestClient[Any]) -> None:
        answer = await client.get("/api/v1/asyncapi.json")

        assert answer.json() == DOCUMENT

    def test_names_addresses_that_exist(self, client: AsyncTestClient[Any]) -> None:
        served = {route.path.replace(":str", "") for route in client.app.routes}

        told = {channel["address"] for channel in DOCUMENT["channels"].values()} - {None}
        assert told <= served


class TestEvents:
    def test_has_every_event_that_the_source_can_emit(self) -> None:
        found = set(emitted_in_the_core())

        assert found >= {"task.queued", "allocation.*", "drift.*"}
        plain = {kind for kind in found if not kind.endswith("*")}
        prefixes = {kind[:-1] for kind in found if kind.endswith("*")} - {""}
        assert plain <= set(EVENTS)
        assert all(any(name.startswith(prefix) for name in EVENTS) for prefix in prefixes)

    async def test_has_every_event_and_fact_of_a_cloud_where_much_goes_wrong(self) -> None:
        ada = await Customer.arrive(dollars=20, nodes=2)
        allocation = await ada.launch(1)
        await ada.cloud.launch(ada.actor, ada.request(1, count=2, together=True))
        await ada.cloud.work()
        ada.cloud.driver.plan(Fault(verb="wipe", kind=FaultKind.REFUSED_BEFORE, times=99))
        await ada.cloud.restart(ada.actor, allocation)
        await ada.cloud.pass_time(timedelta(hours=6))
        await ada.cloud.reconcile()

        seen = set()
        for stored in ada.cloud.transactions.database.outbox:
            event = asdict(stored.event)
            schema = SCHEMAS[f"event_{event['kind']}"]
            jsonschema.Draft7Validator(schema).validate(json.loads(json.dumps(event)))
            seen.add(event["kind"])
        assert {"allocation.active", "billing.depleted", "allocation.release_failed"} <= seen


class TestTaskStory:
    async def test_has_every_line_that_is_written(self) -> None:
        ada = await Customer.arrive()
        ada.cloud.driver.plan(Fault(verb="provision", kind=FaultKind.REFUSED_BEFORE, times=5))
        await ada.launch(1)
        await ada.cloud.pass_time(timedelta(hours=1))

        written = {row.kind for row in ada.cloud.transactions.database.rows(TASK_EVENTS)}
        assert {"step.retrying", "step.failed", "task.failed"} <= written <= set(TaskEventKind)

    async def test_sends_what_the_document_says(self) -> None:
        ada = await Customer.arrive()
        task = (await ada.cloud.launch(ada.actor, ada.request(1))).task_id
        await ada.cloud.work()
        async with AsyncTestClient(memory_app(ada.cloud), base_url=ORIGIN) as client:
            body = {"username": "ada", "password": "ada's long password"}
            signed = await client.post("/api/v1/auth/personal/login", json=body)
            token = {"Authorization": f"Bearer {signed.json()['access_token']}"}
            stream = await client.get(f"/api/v1/tasks/{task}/stream", headers=token)

        names = {
            message["name"]
            for message in DOCUMENT["components"]["messages"].values()
            if "name" in message
        }
        frames = [
            dict(line.split(": ", 1) for line in frame.splitlines())
            for frame in stream.text.replace("\r", "").split("\n\n")
            if "event: " in frame
        ]
        assert frames[-1]["event"] == "end"
        for frame in frames[:-1]:
            assert frame["event"] in names
            told = json.loads(frame["data"])
            jsonschema.Draft7Validator(SCHEMAS["TaskEventBody"]).validate(told)
            assert frame["id"] == told["id"]


class TestTerminal:
    def test_has_every_frame_and_close(self) -> None:
        messages = DOCUMENT["channels"]["terminal"]["messages"]
        kinds = {
            kind.__name__.lower()
            for kind in vars(frames).values()
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        }
        assert set(messages) == {"output", "input", *kinds}

        told = DOCUMENT["channels"]["terminal"]["description"]
        assert all(f"`{why}`" in told for why in frames.CLOSE_CODES)
