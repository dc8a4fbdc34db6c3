"""Screens of operators, and those that wait, time or follow several machines, in their states.

Ada is the customer; the operator is Olga, who runs the cloud that Ada is a customer of. Drivers
are like those of ``world.page_states``.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from gpucloud_adapters.memory.node_driver import Fault, FaultKind
from gpucloud_adapters.stored.kinds import ALLOCATIONS, ATTENTION_ROWS, NODES, TASKS, TENANTS
from gpucloud_core.access.model import Actor, PlatformRole
from gpucloud_core.fleet.look import LookAtNode
from gpucloud_core.fleet.tasks import DISCOVER_NODE
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.unit import Event, Scope
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.notices.tell import TellPeople
from operator_world import HOST_KEY, NEW_HOST, PRIVATE_KEY
from page_visitor import PageVisitor, launched
from world.page_states import Driver, Matrix, Scene, refusal

PLATFORM: Final = Scope.platform()
ADMIN_NODES: Final = "/admin/nodes"
ATTENTION: Final = "/ops/attention"
NEW_NODE: Final = {
    "name": "hgx-h200-09",
    "region": "eu-fra-1",
    "host": NEW_HOST,
    "port": "22",
    "username": "gpucloud",
    "host_key": HOST_KEY,
    "private_key": PRIVATE_KEY,
    "mode": "container",
    "slot_port": "22000",
    "shared_kernel": "on",
}


async def told(scene: Scene) -> None:
    """Tell people everything that has happened so far."""
    tell = TellPeople(transactions=scene.cloud.transactions, ids=scene.cloud.ids)
    for event in scene.cloud.transactions.database.outbox:
        await tell(event)


async def drift(scene: Scene) -> str:
    """Raise something that operators have to look at, and return the path of its row."""
    tenant = scene.cloud.transactions.database.rows(TENANTS)[0]
    found = {"expected": "nothing", "found": "$3.29"}
    event = Event(kind="drift.stray_hold", subject=tenant.id, payload=found)
    tell = TellPeople(transactions=scene.cloud.transactions, ids=scene.cloud.ids)
    await tell(StoredEvent(id=10_001, event=event, created_at=scene.cloud.clock.now()))
    return f"{ATTENTION}/{scene.cloud.transactions.database.rows(ATTENTION_ROWS)[-1].id}"


async def olga(scene: Scene) -> PageVisitor:
    """Sign in as the operator; whoever was signed in before has gone home."""
    scene.visitor.cookies.clear()
    visitor = await scene.visitor.arrive("olga", dollars=0)
    async with scene.cloud.transactions.begin(PLATFORM) as unit:
        (user,) = await unit.users.find(username_key="olga")
        await unit.users.put(replace(user, platform_role=PlatformRole.ADMIN))
    return visitor


def _olga_at(path: str, before: Driver | None = None) -> Driver:
    async def driver(scene: Scene) -> str:
        if before is not None:
            await before(scene)
        await olga(scene)
        return path

    return driver


async def _work(scene: Scene) -> str:
    """Ada runs three things; one of them cannot be given back."""
    ada = await scene.ada(dollars=1_000)
    for name in ("sft-llama-70b", "rlhf-sweep-03", "eval-nightly"):
        await launched(ada, name)
        await scene.cloud.work()
        await scene.cloud.pass_time(timedelta(minutes=37))
    rows = scene.cloud.transactions.database.rows(ALLOCATIONS)
    stuck = next(row for row in rows if row.name == "rlhf-sweep-03")
    scene.cloud.driver.plan(Fault(verb="wipe", kind=FaultKind.REFUSED_BEFORE, times=99))
    page = await ada.get(f"/workloads/{stuck.id}/release")
    await ada.submit(page, f"/workloads/{stuck.id}/release", {})
    await scene.cloud.pass_time(timedelta(minutes=90))
    return f"/admin/allocations/{stuck.id}"


async def _admin_allocation(scene: Scene) -> str:
    path = await _work(scene)
    await olga(scene)
    return path


async def _force_refused(scene: Scene) -> str:
    return await _admin_allocation(scene) + "/force-release"


async def _inbox(scene: Scene) -> str:
    await _work(scene)
    await told(scene)
    return "/inbox"


async def _attention(scene: Scene) -> str:
    await _work(scene)
    await told(scene)
    await drift(scene)
    await olga(scene)
    return ATTENTION


def _act(verb: str) -> Driver:
    async def driver(scene: Scene) -> str:
        await olga(scene)
        return f"{await drift(scene)}/{verb}"

    return driver


async def _undiscovered(scene: Scene) -> str:
    visitor = await olga(scene)
    scene.cloud.driver.plug(NEW_HOST, hgx_h200(seed="new"))
    form = await visitor.get(f"{ADMIN_NODES}/new")
    await visitor.submit(form, f"{ADMIN_NODES}/new", NEW_NODE)
    rows = scene.cloud.transactions.database.rows(NODES)
    node = next(row for row in rows if row.name == NEW_NODE["name"])
    return f"{ADMIN_NODES}/{node.id}"


async def _enrolling(scene: Scene) -> str:
    path = await _undiscovered(scene)
    await scene.visitor.post(f"{path}/discover", {})
    await scene.cloud.work()
    return f"{path}?tab=slots"


async def _in_use(scene: Scene) -> str:
    await _work(scene)
    await olga(scene)
    held = scene.cloud.transactions.database.rows(ALLOCATIONS)[0]
    return f"{ADMIN_NODES}/{held.node_id}"


async def _drifted(scene: Scene) -> str:
    await olga(scene)
    node = next(row for row in scene.cloud.transactions.database.rows(NODES))
    scene.cloud.driver.plug("node-1", hgx_h200(seed="other"))
    actor = await _operator(scene)
    look = LookAtNode(transactions=scene.cloud.transactions, ids=scene.cloud.ids)
    await look(actor=actor, node_id=node.id, saga=DISCOVER_NODE)
    await scene.cloud.work()
    return f"{ADMIN_NODES}/{node.id}?tab=discovery"


async def _operator(scene: Scene) -> Actor:
    tenant = scene.cloud.transactions.database.rows(TENANTS)[0]
    return replace(scene.cloud.operator(tenant.id), platform_role=PlatformRole.ADMIN)


async def _all_taken(scene: Scene) -> None:
    ada = await scene.ada(dollars=1_000)
    for number in range(8):
        await launched(ada, f"sweep-{number}")
    await scene.cloud.work()


JOIN: Final = "/infra/waitlist/join?sku=h200-sxm&gpu_count=4&kind=launch"


async def _join(scene: Scene) -> str:
    await _all_taken(scene)
    return JOIN


async def _waiting(scene: Scene) -> str:
    await _all_taken(scene)
    ada = scene.visitor
    form = await ada.get(JOIN)
    key = form.text.partition('name="keys" value="')[2].partition('"')[0]
    fields = {"kind": "launch", "keys": key, "days": "7", "limit": "4.50"}
    await ada.submit(form, "/infra/waitlist/join", fields)
    return "/infra/waitlist"


async def _withdraw(scene: Scene) -> str:
    page = await scene.visitor.get(await _waiting(scene))
    return page.text.partition("/withdraw")[0].rpartition('"')[2] + "/withdraw"


async def _no_key(scene: Scene) -> str:
    await scene.ada(dollars=0)
    return "/infra/waitlist/join?sku=h200-sxm&gpu_count=4"


def _timer(fields: dict[str, str] | None) -> Driver:
    async def driver(scene: Scene) -> str:
        workload = await scene.workload()
        path = f"{workload}/timer"
        if fields is not None:
            page = await scene.visitor.get(path)
            await scene.visitor.submit(page, path, fields)
        return path

    return driver


async def batch_of_four(scene: Scene, *, failing: int = 5) -> str:
    """Launch four machines, the first of which fails for good, and return their task's path."""
    ada = await scene.ada(dollars=1_000)
    page = await ada.get("/launch?sku=h200-sxm&gpu_count=1&step=capacity")
    page = await ada.follow(
        await ada.submit(page, "/launch", {"gpu_count": "1", "count": "4", "go": "review"})
    )
    answer = await ada.submit(page, "/launch", {"go": "launch", "name": "sweep"})
    refused = Fault(verb="provision", kind=FaultKind.REFUSED_BEFORE, times=failing)
    scene.cloud.driver.plan(refused)
    tasks = scene.cloud.transactions.database.rows(TASKS)
    first = next(task for task in tasks if task.kind == "provision")
    for _ in range(failing):
        await scene.cloud.runner()(first.id)
        scene.cloud.clock.advance_to(scene.cloud.clock.now() + timedelta(seconds=30))
    return str(answer.headers["location"])


async def _batch_over(scene: Scene) -> str:
    path = await batch_of_four(scene)
    await scene.cloud.work()
    return path


def _as_ada(path: str) -> Driver:
    async def driver(scene: Scene) -> str:
        await scene.ada()
        return path

    return driver


OPERATOR_MATRIX: Final[Matrix] = {
    "/workloads/{id}/timer": {
        "none": (_timer(None), "Now: when you say so."),
        "ttl": (_timer({"kind": "ttl", "hours": "8"}), 'value="8"'),
        "schedule": (_timer({"kind": "schedule", "at": "2026-01-02T18:00"}), "2026-01-02T18:00"),
        "refused": (refusal(_timer(None), kind="ttl", hours="long"), "Type hours, such as 8"),
    },
    "/infra/waitlist": {
        "empty_first": (_as_ada("/infra/waitlist"), "Nothing is waited for"),
        "waiting": (_waiting, "1 of 1"),
        "empty_filtered": (_as_ada("/infra/waitlist?view=over"), "No "),
        "bad_address": (_as_ada("/infra/waitlist?view=gone"), "Ignored in the address: view."),
        "withdraw": (_withdraw, "Withdraw"),
    },
    "/infra/waitlist/join": {
        "form": (_join, "Wait for H200 SXM 141 GB ×4"),
        "no_key": (_no_key, "Wait for H200 SXM 141 GB ×4"),
        "refused": (refusal(_join, kind="launch", days="7", limit="cheap"), "Type a price per GPU"),
    },
    "/tasks/{id}": {
        "batch": (batch_of_four, "on the way"),
        "batch_over": (_batch_over, "Retry 1 that failed"),
    },
    "/inbox": {"unread": (_inbox, "Mark all")},
    "/ops/attention": {
        "restricted": (_as_ada(ATTENTION), "This page is for platform ops"),
        "empty_first": (_olga_at(ATTENTION), "Nothing"),
        "rows": (_attention, "found: $3.29"),
        "empty_filtered": (_olga_at(f"{ATTENTION}?q=zzz"), "No"),
    },
    "/ops/attention/{id}/acknowledge": {
        "form": (_act("acknowledge"), "Others read it beside the row"),
        "refused": (
            refusal(_act("acknowledge"), reason="x" * 3_000),
            "Say why, in at most 500 characters.",
        ),
    },
    "/ops/attention/{id}/snooze": {
        "form": (_act("snooze"), "For how long"),
        "refused": (
            refusal(_act("snooze"), reason="x" * 3_000),
            "Say why, in at most 500 characters.",
        ),
    },
    "/admin": {"rows": (_olga_at("/admin", _work), "Total GPUs")},
    "/admin/nodes": {
        "restricted": (_as_ada(ADMIN_NODES), "platform ops or a platform admin"),
        "rows": (_olga_at(ADMIN_NODES, _work), "sft-llama-70b"),
        "empty_filtered": (_olga_at(f"{ADMIN_NODES}?q=zzz"), "No nodes match"),
        "bad_address": (_olga_at(f"{ADMIN_NODES}?view=none"), "Ignored in the address: view."),
    },
    "/admin/nodes/new": {
        "form": (_olga_at(f"{ADMIN_NODES}/new"), "Add node"),
        "refused": (
            refusal(_olga_at(f"{ADMIN_NODES}/new"), **NEW_NODE | {"port": "0"}),
            "from 1 to 65535",
        ),
    },
    "/admin/nodes/{id}": {
        "undiscovered": (_undiscovered, "Nothing is known of its inside yet"),
        "enrolling": (_enrolling, "all "),
        "drift": (_drifted, "gpu_gone"),
        "in_use": (_in_use, "sft-llama-70b"),
    },
    "/admin/allocations": {
        "restricted": (_as_ada("/admin/allocations"), "platform ops or a platform admin"),
        "empty_first": (_olga_at("/admin/allocations"), "Nobody has launched anything yet"),
        "rows": (_olga_at("/admin/allocations", _work), "sft-llama-70b"),
        "empty_filtered": (_olga_at("/admin/allocations?q=zzz", _work), "No "),
    },
    "/admin/allocations/{id}": {
        "release_failed": (_admin_allocation, "rlhf-sweep-03"),
        "force_release": (_force_refused, "Force"),
        "refused": (refusal(_force_refused, confirm="another", reason="stuck"), "Type rlhf"),
    },
}
