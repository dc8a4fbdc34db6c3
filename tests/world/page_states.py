"""Every screen in each of its states: how to bring it about, and what it then says.

A driver sets the scene for a person called Ada and returns the address to look at. Rows are put in
the state that is wanted, as other tests show how they get there. ``docs/ux/inventory.toml`` lists
the same states; a test holds the two equal.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from httpx import Response

from gpucloud_adapters.memory.cloud import SKU, MemoryCloud
from gpucloud_core.access.model import Role
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.billing.model import PaymentSession, PaymentState, Standing
from gpucloud_core.kernel.ids import PaymentId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.work.model import TaskStatus
from page_visitor import PageVisitor, launched, workload_in

S = AllocationState
PLATFORM = Scope.platform()
REVIEW = f"/launch?sku={SKU}&gpu_count=1&step=review"


@dataclass(frozen=True, slots=True)
class Scene:
    """Ada at her browser, over a cloud in memory."""

    visitor: PageVisitor
    cloud: MemoryCloud

    async def ada(self, *, dollars: int = 100) -> PageVisitor:
        return await self.visitor.arrive("ada", dollars=dollars)

    async def workload(self, name: str = "sft-llama", **changes: Any) -> str:
        """Return the address of a workload that has run for an hour, changed as told."""
        await self.ada()
        await launched(self.visitor, name)
        await self.cloud.work()
        await self.cloud.pass_time(timedelta(hours=1))
        address = workload_in((await self.visitor.get("/workloads")).text)
        if changes:
            async with self.cloud.transactions.begin(PLATFORM) as unit:
                (row,) = await unit.allocations.find()
                await unit.allocations.put(replace(row, **changes))
        return address

    async def in_state(self, state: AllocationState, **changes: Any) -> str:
        """Return the address of a workload in a state, with what such a one has."""
        now = self.cloud.clock.now()
        ended = {"ended_at": now} if state in {S.RELEASED, S.CANCELLED, S.FAILED} else {}
        return await self.workload(state=state, state_since=now, **{**ended, **changes})

    async def task(self, status: TaskStatus, **changes: Any) -> str:
        """Return the address of a launch's task in a state."""
        await self.ada()
        address = await launched(self.visitor)
        over = status not in {TaskStatus.QUEUED, TaskStatus.RUNNING}
        now = self.cloud.clock.now()
        async with self.cloud.transactions.begin(PLATFORM) as unit:
            (row,) = await unit.tasks.find()
            steps = changes.pop("steps", row.steps)
            changed = replace(row, status=status, steps=steps, started_at=now, **changes)
            await unit.tasks.put(replace(changed, finished_at=now) if over else changed)
        return address

    async def standing(self, standing: Standing) -> str:
        await self.workload()
        async with self.cloud.transactions.begin(PLATFORM) as unit:
            (account,) = await unit.billing_accounts.find()
            await unit.billing_accounts.put(replace(account, standing=standing))
        return "/billing"

    async def payment(self, state: PaymentState) -> str:
        await self.ada()
        now = self.cloud.clock.now()
        async with self.cloud.transactions.begin(PLATFORM) as unit:
            (user,) = await unit.users.find()
            (account,) = await unit.billing_accounts.find()
            session = PaymentSession(
                id=PaymentId("pay_00000000000000000000000001"),
                tenant_id=account.tenant_id,
                user_id=user.id,
                state=state,
                amount_micros=50_000_000,
                currency="USD",
                credited_micros=50_000_000 if state is PaymentState.COMPLETED else 0,
                created_at=now,
                updated_at=now,
            )
            await unit.payments.add(session)
        return f"/billing/return?payment={session.id}"

    async def as_role(self, role: Role) -> None:
        async with self.cloud.transactions.begin(PLATFORM) as unit:
            (member,) = await unit.tenant_members.find()
            await unit.tenant_members.put(replace(member, role=role))


Driver = Callable[[Scene], Awaitable[str]]
"""Brings a state about; returns the address to look at."""
Sight = Callable[[Scene], Awaitable[str | Response]]
"""Likewise; or returns what is seen already, as the answer to a form is."""


async def seen(sight: Sight, scene: Scene) -> Response:
    """Return the page of a state."""
    found = await sight(scene)
    return await scene.visitor.get(found) if isinstance(found, str) else found


def refusal(driver: Driver, **fields: str) -> Sight:
    """Return what is seen when the form at an address is sent with what cannot be."""

    async def sight(scene: Scene) -> Response:
        address = await driver(scene)
        form = await scene.visitor.get(address)
        answer = await scene.visitor.fill(form, address.partition("?")[0], fields)
        assert answer.status_code >= 400, address
        return answer

    return sight


def _state(state: AllocationState, **changes: Any) -> Driver:
    return lambda scene: scene.in_state(state, **changes)


def _task(status: TaskStatus, **changes: Any) -> Driver:
    return lambda scene: scene.task(status, **dict(changes))


def _standing(standing: Standing) -> Driver:
    return lambda scene: scene.standing(standing)


def _payment(state: PaymentState) -> Driver:
    return lambda scene: scene.payment(state)


def _at(path: str, *, dollars: int = 100) -> Driver:
    async def driver(scene: Scene) -> str:
        await scene.ada(dollars=dollars)
        return path

    return driver


def _then(driver: Driver, address: str) -> Driver:
    async def then(scene: Scene) -> str:
        await driver(scene)
        return address

    return then


def below(driver: Driver, part: str) -> Driver:
    async def below(scene: Scene) -> str:
        return await driver(scene) + part

    return below


async def _signed_out(scene: Scene) -> str:
    await scene.ada()
    await scene.visitor.post("/logout", {})
    return "/login?out"


async def _refused_sign_in(scene: Scene) -> Response:
    address = await _signed_out(scene)
    form = await scene.visitor.get(address)
    return await scene.visitor.submit(form, "/login", {"username": "ada", "password": "a guess"})


async def _ask_owner(scene: Scene) -> str:
    await scene.ada(dollars=0)
    await scene.as_role(Role.MEMBER)
    return "/"


async def _may_not_pay(scene: Scene) -> str:
    await scene.workload()
    await scene.as_role(Role.MEMBER)
    return "/billing"


async def _sold_out(scene: Scene) -> str:
    ada = await scene.ada(dollars=1_000)
    page = await ada.get(f"/launch?sku={SKU}&gpu_count=8&step=capacity")
    fields = {"go": "review", "gpu_count": "8", "count": "2"}
    review = await ada.follow(await ada.submit(page, "/launch", fields))
    await ada.submit(review, "/launch", {"go": "launch"})
    return "/infra/catalog"


async def _no_match(scene: Scene) -> str:
    await scene.workload()
    return "/workloads?q=zzz"


async def _second_page(scene: Scene) -> str:
    await scene.ada(dollars=400)
    for number in range(27):
        await many(scene, number)
    page = await scene.visitor.get("/workloads")
    return older_of(page.text)


async def many(scene: Scene, number: int) -> None:
    """Add one more released workload like the others."""
    async with scene.cloud.transactions.begin(PLATFORM) as unit:
        found = await unit.allocations.find()
    if not found:
        await launched(scene.visitor)
        await scene.cloud.work()
        async with scene.cloud.transactions.begin(PLATFORM) as unit:
            found = await unit.allocations.find()
    await add_copy(scene, found[0], number)


async def _strange_names(scene: Scene) -> str:
    """Names that are long, strange or of another direction, each of a workload."""
    await scene.ada(dollars=400)
    await many(scene, 0)
    async with scene.cloud.transactions.begin(PLATFORM) as unit:
        row = (await unit.allocations.find())[0]
        for number, name in enumerate(STRANGE, start=1):
            await unit.allocations.add(copy_of(row, number, name=name))
    return "/workloads"


async def _ten_thousand(scene: Scene) -> str:
    await scene.ada(dollars=400)
    await many(scene, 0)
    async with scene.cloud.transactions.begin(PLATFORM) as unit:
        row = (await unit.allocations.find(name="run-0"))[0]
        for number in range(1, 10_000):
            await unit.allocations.add(copy_of(row, number))
    return "/workloads?view=released"


def copy_of(row: Allocation, number: int, **changes: Any) -> Allocation:
    """Return one more released workload like ``row``."""
    facts = {
        "id": type(row.id)(f"alc_{number:026}"),
        "claim_id": type(row.claim_id)(f"clm_{number:026}"),
        "name": f"run-{number}",
        "state": S.RELEASED,
        "ended_at": row.active_at,
    }
    return replace(row, **{**facts, **changes})


async def add_copy(scene: Scene, row: Allocation, number: int) -> None:
    async with scene.cloud.transactions.begin(PLATFORM) as unit:
        await unit.allocations.add(copy_of(row, number))


def older_of(html: str) -> str:
    """Return where the Older button of a list leads."""
    before = html.split('rel="next"', maxsplit=1)[0]
    return before.rpartition('href="')[2].split('"')[0].replace("&amp;", "&")


RUNNING = TaskStatus.RUNNING
STRANGE: Final = (
    "مُدرَّب-70b",
    "עִבְרִית",
    "🚀👩‍🚀 sweep",
    "<b>bold</b>",
    "x" * 200,
    "a name of words that goes on " * 6,
)
Matrix = Mapping[str, Mapping[str, tuple[Sight, str]]]
_NEW_VIEW: Final = "/views/new?list=workloads&back=/workloads"
MATRIX: Final[Matrix] = {
    "/": {
        "first_run": (_at("/", dollars=0), "Add funds to get started"),
        "first_run_ask_owner": (_ask_owner, "Ask an owner of"),
        "empty": (_at("/"), "Nothing runs just now."),
        "low": (_then(_standing(Standing.LOW), "/"), "Low balance."),
        "depleted": (_then(_standing(Standing.DEPLETED), "/"), "Depleted."),
        "attention": (_then(_state(S.RELEASE_FAILED), "/"), "Retry release…"),
    },
    "/workloads": {
        "empty_first": (_at("/workloads"), "Nothing launched yet"),
        "empty_filtered": (_no_match, "No matches"),
        "bad_address": (_at("/workloads?view=gone"), "Ignored in the address: view."),
        "second_page": (_second_page, 'rel="prev"'),
        "strange_names": (_strange_names, STRANGE[0]),
        "ten_thousand": (_ten_thousand, "10,000"),
    },
    "/workloads/{id}": {
        "provisioning": (_state(S.PROVISIONING), "Follow the task"),
        "active": (_state(S.ACTIVE), "Open terminal"),
        "degraded": (_state(S.DEGRADED), "Evidence from our side says that it does not work."),
        "cancelling": (_state(S.UNWINDING, cause="cancelled"), "Cancelling"),
        "failing": (_state(S.UNWINDING, cause="failed"), "It is on its way; nothing to do."),
        "releasing": (_state(S.RELEASING), "Releasing"),
        "released": (_state(S.RELEASED), "Released"),
        "cancelled": (_state(S.CANCELLED), "Cancelled"),
        "failed": (_state(S.FAILED, failure_reason="node_refused"), "Launch failed."),
        "release_failed": (
            _state(S.RELEASE_FAILED, release_failed_reason="release_failed"),
            "Retry release…",
        ),
    },
    "/workloads/{id}/restart": {
        "refused": (below(_state(S.RELEASED), "/restart"), "Restart sft-llama?"),
    },
    "/infra/catalog": {
        "sold_out": (_sold_out, "Unavailable"),
        "empty": (_at("/infra/catalog"), "What can be launched now."),
    },
    "/tasks/{id}": {
        "queued": (_task(TaskStatus.QUEUED), "Queued"),
        "running": (_task(RUNNING), "Step 2 of"),
        "retrying": (
            _task(RUNNING, wait_reason="its node has not answered yet"),
            "its node has not answered yet",
        ),
        "undoing": (_task(RUNNING, undoing=True), "Undoing"),
        "succeeded": (_task(TaskStatus.SUCCEEDED), "Succeeded"),
        "failed": (_task(TaskStatus.FAILED, error="node_refused"), "Failed"),
        "cancelled": (_task(TaskStatus.CANCELLED), "Cancelled"),
    },
    "/billing": {
        "healthy": (_standing(Standing.HEALTHY), "Healthy"),
        "low": (_standing(Standing.LOW), "Low balance"),
        "auto_release_pending": (_standing(Standing.AUTO_RELEASE_PENDING), "Release scheduled"),
        "depleted": (_standing(Standing.DEPLETED), "Depleted"),
        "suspended": (_standing(Standing.SUSPENDED), "A payment is disputed"),
        "may_not_pay": (_may_not_pay, "Ask one of them."),
        "empty": (_at("/billing"), "Nothing billed yet"),
    },
    "/billing/return": {
        "waiting": (_payment(PaymentState.OPEN), "Waiting for the payment"),
        "completed": (_payment(PaymentState.COMPLETED), "$50.00 is on your balance."),
        "expired": (_payment(PaymentState.EXPIRED), "The pay page has expired."),
        "cancelled": (_payment(PaymentState.CANCELLED), "Nothing was charged."),
        "failed_reconcile": (
            _payment(PaymentState.FAILED_RECONCILE),
            "We have to look at this payment.",
        ),
    },
    "/account/password": {
        "form": (_at("/account/password"), "Present password"),
        "refused": (
            refusal(_at("/account/password"), current_password="not it", new_password="a" * 20),
            "This is not your present password.",
        ),
    },
    "/account/email": {
        "form": (_at("/account/email"), "Send the link"),
        "refused": (
            refusal(_at("/account/email"), email="a@b.example", current_password="not it"),
            "This is not your present password.",
        ),
    },
    "/account/email/confirm": {
        "form": (_at("/account/email/confirm?token=x"), "Confirm your mail address"),
        "refused": (
            refusal(_at("/account/email/confirm?token=x")),
            "This link is not good, or no longer.",
        ),
    },
    "/views/new": {
        "form": (_at(_NEW_VIEW), "Save this view"),
        "refused": (refusal(_at(_NEW_VIEW), name=" "), "Give the view a name."),
    },
    "/inbox": {"empty_first": (_at("/inbox"), "Nothing yet")},
    "/access/ssh-keys": {
        "empty_first": (_at("/access/ssh-keys", dollars=0), "No key yet"),
        "refused": (
            refusal(_at("/access/ssh-keys"), public_key="ssh-rsa"),
            "The key itself is missing",
        ),
    },
    "/login": {
        "personal": (_at("/login"), "Username"),
        "refused": (_refused_sign_in, "The username or the password is not right."),
        "work_coming": (_at("/login?tab=work"), "Continue with SSO"),
        "signed_out": (_signed_out, "Signed out."),
    },
    "/admin": {"restricted": (_at("/admin"), "This page is for a platform admin.")},
}
"""Path to state to how it comes about and what the page says then."""

WITH_OWN_TESTS: Final = {
    "/billing/return": {"confirming"},
    "/workloads/{id}/timer": {"ended"},
    "/ops/attention/{id}/acknowledge": {"restricted"},
    "/ops/attention/{id}/snooze": {"restricted"},
    "/views/{id}/rename": {"form", "refused"},
    "/views/{id}/delete": {"form"},
    "/admin/nodes": {"empty_first"},
    "/admin/nodes/new": {"restricted"},
    "/admin/nodes/{id}": {"restricted", "refused"},
    "/admin/allocations": {"bad_address"},
    "/admin/allocations/{id}": {"restricted"},
    "/access/ssh-keys": {"confirm_delete"},
}
"""States that tests of their own bring about: they take a form, a provider or several people."""
