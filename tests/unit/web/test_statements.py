"""How often each page asks the store: at most so often, and no more often where there is more.

Each outermost call of a verb of the store counts as one statement, which is what it is with
PostgreSQL. A page that asks once a row is found out: the same pages are drawn of a small
tenant and of one with three times as much.

Seen to fail when the list of nodes asked for each node's capacity by itself, and when the list of
workloads read each row's task.
"""

import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import wraps
from typing import Any, Final

import pytest
from litestar.testing import AsyncTestClient

from api_world import memory_app
from gpucloud_adapters.memory.cloud import SKU, MemoryCloud
from gpucloud_adapters.memory.fleet import MemoryFleet
from gpucloud_adapters.memory.ledger import MemoryLedger
from gpucloud_adapters.memory.rows import MemoryRows
from gpucloud_adapters.stored.kinds import ALLOCATIONS, AUDIT_ROWS, NODES, TASKS
from gpucloud_core.access.model import PlatformRole
from gpucloud_core.access.saved_views import SaveView
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.unit import Event, Scope
from gpucloud_core.notices.tell import TellPeople
from page_visitor import KEY, PageVisitor

SMALL, LARGE = 3, 9
MOST: Final = {
    "/": 23,
    "/account": 10,
    "/inbox": 11,
    "/workloads": 17,
    "/workloads?limit=100&sort=name": 17,
    "/workloads/{active}": 21,
    "/workloads/{active}?tab=access": 19,
    "/workloads/{active}?tab=hardware": 18,
    "/workloads/{active}?tab=metrics": 21,
    "/workloads/{active}?tab=timeline": 18,
    "/workloads/{active}?tab=cost": 20,
    "/workloads/{active}/release": 15,
    "/workloads/{active}/timer": 15,
    "/workloads/{released}/receipt": 11,
    "/infra/allocations": 17,
    "/infra/catalog": 14,
    "/infra/waitlist": 12,
    "/launch?step=hardware": 16,
    "/launch?step=capacity": 16,
    "/launch?step=review": 16,
    "/tasks/{task}": 14,
    "/billing": 19,
    "/billing?range=30d": 19,
    "/billing?view=ledger": 17,
    "/access/ssh-keys": 11,
    "/find?q=run": 7,
    "/find?q=GPU-0000": 9,
    "/ops/attention": 11,
    "/admin": 14,
    "/admin/nodes": 18,
    "/admin/nodes/{node}": 18,
    "/admin/nodes/plans": 11,
    "/admin/skus": 12,
    "/admin/skus/" + SKU: 14,
    "/admin/os-images": 11,
    "/admin/allocations": 24,
    "/admin/allocations/{active}": 16,
    "/admin/audit-logs": 15,
    "/admin/audit-logs/{audited}": 12,
}
"""Statements that each page may make, whoever asks it being an operator with a project."""

_within: ContextVar[bool] = ContextVar("within", default=False)


@dataclass
class Counter:
    asked: list[str]


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    """Count the outermost calls of every verb of every store in memory."""
    counter = Counter([])

    def counted(name: str, verb: Any) -> Any:
        @wraps(verb)
        async def call(self: Any, *args: Any, **named: Any) -> Any:
            if _within.get():
                return await verb(self, *args, **named)
            table = self.kind.table if isinstance(self, MemoryRows) else type(self).__name__
            counter.asked.append(f"{table}.{name}")
            token = _within.set(True)
            try:
                return await verb(self, *args, **named)
            finally:
                _within.reset(token)

        return call

    with monkeypatch.context() as patch:
        for store in _stores(MemoryRows, MemoryFleet, MemoryLedger):
            for name, verb in vars(store).items():
                if inspect.iscoroutinefunction(verb) and not name.startswith("_"):
                    patch.setattr(store, name, counted(name, verb))
        yield counter


def _stores(*classes: type[Any]) -> Iterator[type[Any]]:
    for store in classes:
        yield store
        yield from _stores(*store.__subclasses__())


@asynccontextmanager
async def tenant_of(size: int) -> AsyncIterator[tuple[PageVisitor, dict[str, str]]]:
    """Give somebody who has so many of each thing, and the ids of one of each."""
    cloud = await MemoryCloud.found(nodes=size)
    ada = await cloud.sign_up("ada")
    await cloud.give(ada, 100_000_000 * size)
    key = await cloud.add_key(ada, KEY)
    for number in range(2 * size):
        name = f"run-{number}"
        request = LaunchRequest(sku_id=SKU, gpu_count=1, ssh_key_ids=(key.id,), name=name)
        accepted = await cloud.launch(ada, request)
        await cloud.work()
        if number % 2:
            await cloud.release(ada, accepted.allocations[0][0])
    await cloud.pass_time(timedelta(hours=2))
    database = cloud.transactions.database
    tell = TellPeople(transactions=cloud.transactions, ids=cloud.ids)
    for event in database.outbox:
        await tell(event)
    for number in range(size):
        drift = Event(kind="drift.stray_hold", subject=f"alc_{number}", payload={"expected": ""})
        await tell(StoredEvent(id=10_000 + number, event=drift, created_at=cloud.clock.now()))
    async with cloud.transactions.begin(Scope.platform()) as unit:
        user = await unit.users.get(ada.user_id or "")
        assert user is not None
        await unit.users.put(replace(user, platform_role=PlatformRole.ADMIN))
    save = SaveView(transactions=cloud.transactions, ids=cloud.ids)
    await save(actor=ada, of="workloads", name="mine", query={"q": "run"})
    runs = {row.state: row for row in database.rows(ALLOCATIONS)}
    known = {
        "active": next(row.id for row in runs.values() if row.state == "active"),
        "released": next(row.id for row in runs.values() if row.state == "released"),
        "task": database.rows(TASKS)[0].id,
        "node": database.rows(NODES)[0].id,
        "audited": database.rows(AUDIT_ROWS)[0].id,
    }
    async with AsyncTestClient(memory_app(cloud)) as client:
        client.follow_redirects = False
        visitor = PageVisitor(cloud, client)
        fields = {"username": "ada", "password": "ada's long password"}
        assert (await visitor.post("/login", fields)).status_code == 303
        yield visitor, known


async def asked_for_each(size: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Return what each page asks of a tenant of this size."""
    found = {}
    async with tenant_of(size) as (visitor, known):
        with counting(monkeypatch) as counter:
            for path in MOST:
                counter.asked.clear()
                answer = await visitor.get(path.format(**known))
                assert answer.status_code == 200, (path, answer.status_code)
                found[path] = sorted(counter.asked)
    return found


class TestPages:
    async def test_ask_no_more_often_than_they_may_and_not_once_a_row(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small = await asked_for_each(SMALL, monkeypatch)
        large = await asked_for_each(LARGE, monkeypatch)

        more = {path: large[path] for path in MOST if len(large[path]) > len(small[path])}
        assert more == {}, "these ask more often where there is more"
        over = {path: large[path] for path, most in MOST.items() if len(large[path]) > most}
        assert over == {}, "these ask more often than they may"
