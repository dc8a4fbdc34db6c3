"""Customers: they launch, change their minds, run out of money, and press every button twice."""

import asyncio
import base64
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gpucloud_adapters.memory.cloud import SKU, MemoryCloud
from gpucloud_adapters.memory.simulation.dice import Dice
from gpucloud_adapters.memory.simulation.provider import RestlessPayments
from gpucloud_adapters.memory.simulation.terminals import Terminals
from gpucloud_adapters.memory.simulation.trouble import exposed
from gpucloud_adapters.memory.simulation.virtual import WorldClock
from gpucloud_adapters.memory.simulation.waiting import Waiting
from gpucloud_adapters.stored.kinds import TASKS
from gpucloud_core.access.model import Actor
from gpucloud_core.access.ssh_keys import DeleteSshKey
from gpucloud_core.allocations.edit_keys import EditKeys
from gpucloud_core.allocations.errors import SoldOut
from gpucloud_core.allocations.follow import CancelTask, RetryFailed
from gpucloud_core.allocations.launch import BATCH, LaunchAllocations, launch_once
from gpucloud_core.allocations.model import AllocationState, EndOfBalance
from gpucloud_core.allocations.release import CancelAllocation, ReleaseAllocation
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.allocations.restart import RestartAllocation
from gpucloud_core.billing.payments import CheckoutAsked, StartCheckout
from gpucloud_core.billing.ports import ProcessorUnavailable
from gpucloud_core.kernel.errors import Conflict, DomainError, Unavailable
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_core.kernel.ids import AllocationId, SshKeyId, TaskId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.placement.model import Spread

S = AllocationState
ORIGIN: Final = "https://gpus.example"
DOLLAR: Final = 1_000_000

_HOUR: Final = 3600.0
_RELEASABLE: Final = (S.ACTIVE, S.DEGRADED, S.RELEASE_FAILED)
_CANCELLABLE: Final = (S.REQUESTED, S.PROVISIONING)
_LAUNCHES: Final = frozenset({"provision", BATCH})
_PATIENCE: Final = 4  # how often a button is pressed that gives no answer
_AMOUNTS: Final = (5, 10, 20, 40, 100, 250)


def public_key_of(person: str) -> str:
    """Return the Ed25519 public key line of somebody who does not exist."""
    parts = (b"ssh-ed25519", hashlib.sha256(person.encode()).digest())
    blob = b"".join(len(part).to_bytes(4) + part for part in parts)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


@dataclass(kw_only=True)
class Customer:
    """One person with a tenant of their own, and the habits that their dice give them."""

    name: str
    cloud: MemoryCloud
    clock: WorldClock
    payments: RestlessPayments
    terminals: Terminals
    waiting: Waiting
    dice: Dice
    log: Callable[[str], None]
    pause_seconds: float = 3 * _HOUR
    answers: Counter[str] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)
    _actor: Actor | None = None
    _numbers: int = 0
    _launched: TaskId | None = None  # the task of the last launch

    @property
    def actor(self) -> Actor:
        if self._actor is None:
            raise AssertionError(f"{self.name} has not signed up")
        return self._actor

    async def live(self) -> None:
        """Arrive, and then do this and that for ever."""
        await asyncio.sleep(self.dice.between(0, 4 * _HOUR))
        self._actor = await self.cloud.sign_up(self.name)
        for number in range(self.dice.whole(1, 2)):
            key = await self.cloud.add_key(self.actor, public_key_of(f"{self.name}/{number}"))
            self.keys.append(key.id)
        await self._try("pay", self._pay)
        while True:
            await asyncio.sleep(self.dice.wait(self.pause_seconds))
            await self._answered(self._look_at_the_waitlist())
            act = self.dice.weighed(_HABITS)
            await self._try(act, getattr(self, f"_{act}"))

    async def leave(self) -> None:
        """Release everything, or cancel it; called again until nothing is left."""
        if self._actor is not None:
            await self._answered(self.waiting.leave(self.actor))
        for state, end in ((_RELEASABLE, self._release_one), (_CANCELLABLE, self._cancel_one)):
            for allocation_id in await self._mine(state):
                await self._answered(end(allocation_id))

    async def _try(self, act: str, do: Callable[[], Awaitable[None]]) -> None:
        await self._answered(do())

    async def _answered(self, asked: Awaitable[object]) -> None:
        """Count what the platform says to a wish: done, or the code of its refusal."""
        try:
            with exposed():
                await asked
        except DomainError as error:
            self.answers[error.code] += 1
            self.log(f"{self.name}: {error.code}")
        else:
            self.answers["done"] += 1

    # ---- habits --------------------------------------------------------------------------------

    async def _launch(self) -> None:
        """Launch, and press again with the same key as long as no answer comes."""
        request, key, before = self._request(), self._key("launch"), self._launches()
        for _ in range(_PATIENCE):
            try:
                await self._launch_as(request, key)
            except SoldOut:
                if await self.waiting.sold_out(self.actor, request):
                    self.log(f"{self.name}: waits for {request.gpu_count} GPUs")
                raise
            except (Conflict, Unavailable):
                await asyncio.sleep(self.dice.between(1, 5))
            else:
                break
        if self._launches() > before + 1:
            raise AssertionError(f"one key launched {self._launches() - before} times")

    def _launches(self) -> int:
        tasks = self.cloud.transactions.database.table(TASKS)
        mine = tasks.candidates({"tenant_id": self.actor.tenant_id})
        launches = sum(task.kind in _LAUNCHES and task.parent_id is None for task in mine)
        return launches - self.waiting.launched(self.actor)

    async def _look_at_the_waitlist(self) -> None:
        """Take what was offered, or give it up."""
        offered = await self.waiting.look(self.actor)
        if offered is not None:
            await self._launch_as(offered)

    async def _launch_twice(self) -> None:
        """Press the button twice, with the same key or at the same time."""
        request, key = self._request(), self._key("launch")
        both = [self._launch_as(request, key), self._launch_as(request, key)]
        first, second = await asyncio.gather(*both, return_exceptions=True)
        for outcome in (first, second):
            if isinstance(outcome, BaseException) and not isinstance(outcome, DomainError):
                raise outcome
        if isinstance(first, list) and isinstance(second, list) and first != second:
            raise AssertionError(f"one key made {first} and {second}")

    async def _change_mind(self) -> None:
        """Launch, and cancel at any moment after it."""
        for allocation_id in await self._launch_as(self._request()):
            await asyncio.sleep(self.dice.between(0, 12))
            await self._answered(self._cancel_one(allocation_id))

    async def _cancel(self) -> None:
        for allocation_id in await self._mine(_CANCELLABLE):
            await self._answered(self._cancel_one(allocation_id))

    async def _release(self) -> None:
        mine = await self._mine(_RELEASABLE)
        if mine:
            await self._release_one(self.dice.pick(mine))

    async def _release_all(self) -> None:
        """Release everything at once, some of it twice."""
        mine = await self._mine(_RELEASABLE)
        await asyncio.gather(*(self._answered(self._release_one(each)) for each in mine + mine[:1]))

    async def _restart(self) -> None:
        """Restart something, and perhaps release it while it restarts."""
        mine = await self._mine((S.ACTIVE,))
        if not mine:
            return
        chosen = self.dice.pick(mine)
        restart = RestartAllocation(transactions=self.cloud.transactions, ids=self.cloud.ids)
        await restart(actor=self.actor, allocation_id=chosen)
        self.log(f"{self.name}: restarted {chosen}")
        if self.dice.chance(0.2):
            await asyncio.sleep(self.dice.between(0, 20))
            await self._release_one(chosen)

    async def _edit_keys(self) -> None:
        """Let other keys in; at times once more before that is done."""
        mine = await self._mine((S.ACTIVE,))
        if not mine:
            return
        chosen = self.dice.pick(mine)
        edit = EditKeys(transactions=self.cloud.transactions, ids=self.cloud.ids)
        for _ in range(self.dice.whole(1, 2)):
            keys = tuple(key for key in self.keys if self.dice.chance(0.5)) or (self.keys[0],)
            await edit(actor=self.actor, allocation_id=chosen, ssh_key_ids=keys)
            self.log(f"{self.name}: lets {len(keys)} keys into {chosen}")
            await asyncio.sleep(self.dice.between(0, 5))

    async def _retry(self) -> None:
        """Launch again what failed of the last launch."""
        if self._launched is None:
            return
        cloud = self.cloud
        launch = LaunchAllocations(
            transactions=cloud.transactions, ids=cloud.ids, fleet=cloud.fleet
        )
        retry = RetryFailed(transactions=cloud.transactions, launch=launch)
        key = self._key("retry")
        await launch_once(key, partial(retry, actor=self.actor, task_id=self._launched))
        self.log(f"{self.name}: retried {self._launched}")

    async def _cancel_launch(self) -> None:
        """Cancel the rest of the last launch."""
        if self._launched is not None:
            cancel = CancelTask(transactions=self.cloud.transactions)
            await cancel(actor=self.actor, task_id=self._launched)

    async def _terminal(self) -> None:
        """Open a terminal, and leave it open."""
        mine = await self._mine((S.ACTIVE,))
        if mine:
            await self.terminals.open(self.actor, self.dice.pick(mine))

    async def _change_keys(self) -> None:
        """Take a key away that may be in use, and add another."""
        number = self.dice.whole(3, 9)
        key = await self.cloud.add_key(self.actor, public_key_of(f"{self.name}/{number}"))
        gone, self.keys = self.keys[0], [*self.keys[1:], key.id]
        await DeleteSshKey(transactions=self.cloud.transactions)(
            actor=self.actor, key_id=SshKeyId(gone)
        )
        self.log(f"{self.name}: has {len(self.keys)} keys, {key.id} among them")

    async def _read(self) -> None:
        """Look at the balance, at a quote, and at everything of one's own."""
        await self.cloud.balance(self.actor)
        await self.cloud.quote(self.actor, self._request())
        for allocation_id in await self._mine(tuple(AllocationState)):
            view = await self.cloud.read(self.actor, allocation_id)
            if view.task is not None:
                await self.cloud.read_task(self.actor, view.task.id)
            if view.allocation.release_requested_at is not None:
                await self.cloud.receipt(self.actor, allocation_id)

    async def _pay(self) -> None:
        page = await self._checkout()
        if page is None:
            return
        match self.dice.weighed({"pay": 80, "transfer": 8, "turn back": 6, "expire": 6}):
            case "pay":
                await asyncio.sleep(self.dice.between(5, 120))
                self.payments.settle(page)
            case "transfer":
                self.payments.begin_transfer(page)
            case "expire":
                self.payments.give_up(page)
            case _:
                pass

    async def _pay_at_the_end(self) -> None:
        """Pay in the very moment in which the money is gone."""
        balance = await self.cloud.balance(self.actor)
        if balance.depletes_at is None:
            return
        page = await self._checkout()
        offset = self.dice.pick((-1.0, -0.1, 0.0, 0.05, 0.5, 2.0))
        await asyncio.sleep(max(0.0, self.clock.seconds_until(balance.depletes_at) + offset))
        if page is not None:
            self.payments.settle(page)

    # ---- how it is done ------------------------------------------------------------------------

    def _request(self) -> LaunchRequest:
        dice = self.dice
        return LaunchRequest(
            sku_id=SKU,
            gpu_count=dice.weighed({1: 40, 2: 25, 4: 20, 8: 13, 3: 2}),
            count=dice.weighed({1: 75, 2: 12, 3: 8, 5: 5}),
            spread=dice.pick(tuple(Spread)),
            together=dice.chance(0.1),
            ssh_key_ids=tuple(self.keys if dice.chance(0.97) else []),
            end_of_balance=dice.pick(tuple(EndOfBalance)),
            ttl_seconds=dice.pick((None, None, None, 300, 3600, 86_400)),
        )

    async def _launch_as(
        self, request: LaunchRequest, key: IdempotencyKey | None = None
    ) -> list[AllocationId]:
        cloud = self.cloud
        launch = LaunchAllocations(
            transactions=cloud.transactions, ids=cloud.ids, fleet=cloud.fleet
        )
        ask = partial(
            launch,
            actor=self.actor,
            project_id=cloud.project_of(self.actor),
            request=request,
        )
        accepted = await (ask() if key is None else launch_once(key, ask))
        self._launched = accepted.task_id
        made = [allocation_id for allocation_id, _ in accepted.allocations]
        self.log(f"{self.name}: launched {' '.join(made)}")
        return made

    async def _checkout(self) -> str | None:
        """Ask for a pay page until the provider answers; return it, or None without patience."""
        start = StartCheckout(
            transactions=self.cloud.transactions,
            processor=self.payments,
            ids=self.cloud.ids,
            public_origin=ORIGIN,
        )
        asked = CheckoutAsked(amount_micros=self.dice.pick(_AMOUNTS) * DOLLAR, currency="USD")
        key = self._key("checkout")
        for _ in range(self.dice.whole(1, 4)):
            try:
                session = await start(actor=self.actor, asked=asked, idempotency=key)
            except ProcessorUnavailable:
                await asyncio.sleep(self.dice.between(1, 30))
            else:
                return session.provider_id
        return None

    async def _release_one(self, allocation_id: AllocationId) -> None:
        cloud = self.cloud
        release = ReleaseAllocation(transactions=cloud.transactions, ids=cloud.ids)
        await release(actor=self.actor, allocation_id=allocation_id)
        self.log(f"{self.name}: released {allocation_id}")

    async def _cancel_one(self, allocation_id: AllocationId) -> None:
        cancel = CancelAllocation(transactions=self.cloud.transactions)
        await cancel(actor=self.actor, allocation_id=allocation_id)
        self.log(f"{self.name}: cancelled {allocation_id}")

    async def _mine(self, states: tuple[AllocationState, ...]) -> list[AllocationId]:
        if self._actor is None:
            return []
        async with self.cloud.transactions.begin(Scope.tenant(self.actor.tenant_id)) as unit:
            found = await unit.allocations.find(tenant_id=self.actor.tenant_id)
        return [row.id for row in found if row.state in states]

    def _key(self, route: str) -> IdempotencyKey:
        self._numbers += 1
        tenant_id = self.actor.tenant_id
        key = f"{self.name}-{self._numbers}"
        return IdempotencyKey.of(tenant_id=tenant_id, route=route, key=key, body=b"")


_HABITS: Final[Mapping[str, float]] = {
    "launch": 30,
    "launch_twice": 6,
    "change_mind": 12,
    "cancel": 6,
    "release": 22,
    "release_all": 5,
    "restart": 5,
    "edit_keys": 5,
    "retry": 4,
    "cancel_launch": 3,
    "terminal": 5,
    "change_keys": 2,
    "read": 5,
    "pay": 12,
    "pay_at_the_end": 6,
}
