"""Serve the queues: whoever's turn has come is launched or told, each in a transaction of its own.

A launch is made by the very use case that people launch with, in the transaction that ends the
entry: there is never the one without the other. Any number of workers may do this at once: an
entry is looked at again under its lock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from gpucloud_core.access.authorize import Forbidden
from gpucloud_core.access.sessions import member_as_actor
from gpucloud_core.allocations.errors import (
    CountNotAllowed,
    ImageNotOffered,
    SkuNotOffered,
    SoldOut,
    SshKeyRequired,
    SshKeyUnknown,
)
from gpucloud_core.allocations.launch import LaunchAllocations
from gpucloud_core.allocations.quote import placement_request
from gpucloud_core.catalog.model import Sku
from gpucloud_core.catalog.prices import price_at
from gpucloud_core.kernel.errors import DomainError, NotFound, ValidationFailed
from gpucloud_core.kernel.unit import Event, Json, Scope, Transactions
from gpucloud_core.placement.model import PlacementRequest
from gpucloud_core.placement.promised import drop
from gpucloud_core.placement.promises import Promise
from gpucloud_core.waitlist.join import moved
from gpucloud_core.waitlist.lifecycle import WAITLIST, WaitEffect, WaitEvent, WaitFacts
from gpucloud_core.waitlist.model import WaitEntry, WaitState
from gpucloud_core.waitlist.ports import WaitlistUnit
from gpucloud_core.waitlist.turns import End, PassOver, Serve, Turn, take_turns

POOLS_AT_ONCE: Final = 20
AGAIN: Final = timedelta(minutes=1)
"""After how long an entry that was refused for money or quota is tried again."""

HOPELESS: Final = (
    NotFound,
    Forbidden,
    ValidationFailed,
    SkuNotOffered,
    CountNotAllowed,
    ImageNotOffered,
    SshKeyRequired,
    SshKeyUnknown,
)
"""Refusals that waiting does not mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeWaitlist:
    """Look at every pool with something due."""

    transactions: Transactions[WaitlistUnit]
    launch: LaunchAllocations

    async def __call__(self) -> int:
        """Return how many entries moved."""
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            pools = await unit.waitlist.pools_due(now, limit=POOLS_AT_ONCE)
        return sum([await self._serve(pool) for pool in pools])

    async def _serve(self, pool: str) -> int:
        turns = await self._turns(pool)
        count = 0
        for turn in turns:
            match turn:
                case Serve(entry, WaitEvent.LAUNCH):
                    count += await self._launch(entry)
                case Serve(entry, _, request):
                    count += await self._offer(entry, request)
                case End(entry, event):
                    count += await self._move(entry, event)
                case PassOver(entry, reason) if reason != entry.reason:
                    await self._note(entry, reason)
                case PassOver():
                    pass
        return count

    async def _turns(self, pool: str) -> tuple[Turn, ...]:
        async with self.transactions.begin(Scope.platform()) as unit:
            await self.launch.fleet.refresh(unit)
            entries = await unit.waitlist.find(pool=pool, state=WaitState.WAITING)
            entries += await unit.waitlist.find(pool=pool, state=WaitState.OFFERED)
            came = {entry.id for entry in entries if await _came(unit, entry)}
            requests = await _requests(unit, entries)
            prices = await _prices(unit, entries)
            now = await unit.now()
        claimed: list[Turn] = [
            End(entry, WaitEvent.LAUNCH) for entry in entries if entry.id in came
        ]
        rest = [entry for entry in entries if entry.id not in came]
        return (*claimed, *take_turns(rest, self.launch.fleet.image, requests, prices, now))

    async def _launch(self, entry: WaitEntry) -> int:
        try:
            return await self._launch_at_once(entry)
        except SoldOut:
            return 0  # somebody was faster; it keeps its turn
        except HOPELESS as error:
            return await self._move(entry, WaitEvent.FAIL, reason=error.detail)
        except DomainError as error:
            await self._refused(entry, error)
            return 0

    async def _launch_at_once(self, entry: WaitEntry) -> int:
        """Launch and end the entry in one transaction."""
        async with self.transactions.begin(Scope.platform()) as unit:
            actor = await member_as_actor(unit, entry.tenant_id, entry.user_id, via="worker")
        with self.launch.fleet.errand() as errand:
            async with self.transactions.begin(Scope.tenant(entry.tenant_id)) as unit:
                locked = await unit.waitlist.lock(entry.id)
                if locked is None or locked.state is not WaitState.WAITING:
                    return 0
                accepted = await self.launch.within(
                    unit, errand, actor=actor, project_id=entry.project_id, request=entry.request
                )
                now = await unit.now(not_before=locked.state_since)
                done = replace(moved(locked, WaitEvent.LAUNCH, now), task_id=accepted.task_id)
                await unit.waitlist.put(done)
                await _tell(unit, locked, WaitEvent.LAUNCH, done)
        return 1

    async def _move(self, entry: WaitEntry, event: WaitEvent, *, reason: str = "") -> int:
        async with self.transactions.begin(Scope.tenant(entry.tenant_id)) as unit:
            locked = await unit.waitlist.lock(entry.id)
            if locked is None or locked.state is not entry.state:
                return 0
            now = await unit.now(not_before=locked.state_since)
            done = moved(locked, event, now, reason=reason)
            await unit.waitlist.put(done)
            if locked.state is WaitState.OFFERED:
                await drop(unit, locked.id)
            await _tell(unit, locked, event, done)
        return 1

    async def _offer(self, entry: WaitEntry, request: PlacementRequest) -> int:
        """Tell its person, and promise them the room for as long as they may take."""
        async with self.transactions.begin(Scope.tenant(entry.tenant_id)) as unit:
            locked = await unit.waitlist.lock(entry.id)
            if locked is None or locked.state is not entry.state:
                return 0
            now = await unit.now(not_before=locked.state_since)
            offered = moved(locked, WaitEvent.OFFER, now)
            await unit.waitlist.put(offered)
            promise = Promise.of(
                request,
                promise_id=entry.id,
                user_id=entry.user_id,
                project_id=entry.project_id,
                until=offered.due_at or now,
            )
            async with unit.within(Scope.platform()) as part:
                await part.promises.add(promise)
            await _tell(unit, locked, WaitEvent.OFFER, offered)
        return 1

    async def _note(self, entry: WaitEntry, reason: str) -> None:
        """Keep why it was passed over, for its person to read."""
        async with self.transactions.begin(Scope.tenant(entry.tenant_id)) as unit:
            locked = await unit.waitlist.lock(entry.id)
            if locked is not None and locked.state is WaitState.WAITING:
                await unit.waitlist.put(replace(locked, reason=reason))

    async def _refused(self, entry: WaitEntry, error: DomainError) -> None:
        """Let it wait a little, and tell its person once for each kind of refusal."""
        async with self.transactions.begin(Scope.tenant(entry.tenant_id)) as unit:
            locked = await unit.waitlist.lock(entry.id)
            if locked is None or locked.state is not WaitState.WAITING:
                return
            due = await unit.now() + AGAIN
            kept = replace(locked, reason=error.detail, reason_code=error.code, due_at=due)
            await unit.waitlist.put(kept)
            if locked.reason_code != error.code:
                await unit.emit(_event("blocked", kept))


async def _came(unit: WaitlistUnit, entry: WaitEntry) -> bool:
    """Tell whether the person who was told has launched what they waited for."""
    if entry.state is not WaitState.OFFERED:
        return False
    launched = await unit.allocations.find(
        project_id=entry.project_id, sku_id=entry.sku_id, gpu_count=entry.gpu_count
    )
    return any(
        row.user_id == entry.user_id and row.requested_at >= entry.state_since for row in launched
    )


async def _requests(
    unit: WaitlistUnit, entries: Sequence[WaitEntry]
) -> dict[str, PlacementRequest]:
    found = await unit.skus.find_any("id", list({entry.sku_id for entry in entries}))
    skus: dict[str, Sku] = {sku.id: sku for sku in found if sku.active}
    return {
        entry.id: placement_request(skus[entry.sku_id], entry.request)
        for entry in entries
        if entry.sku_id in skus and entry.gpu_count in skus[entry.sku_id].allowed_gpu_counts
    }


async def _prices(unit: WaitlistUnit, entries: Sequence[WaitEntry]) -> dict[str, int]:
    now = await unit.now()
    known: dict[str, int] = {}
    for sku_id in {entry.sku_id for entry in entries}:
        price = price_at(await unit.prices.find(sku_id=sku_id), now)
        if price is not None:
            known[sku_id] = price.micros_per_gpu_hour
    return known


async def _tell(unit: WaitlistUnit, before: WaitEntry, event: WaitEvent, after: WaitEntry) -> None:
    verdict = WAITLIST.decide(before.state, event, WaitFacts())
    if WaitEffect.TELL in getattr(verdict, "effects", ()):
        await unit.emit(_event(after.state, after))


def _event(what: str, entry: WaitEntry) -> Event:
    payload: dict[str, Json] = {
        "user_id": entry.user_id,
        "sku_id": entry.sku_id,
        "gpu_count": entry.gpu_count,
        "name": entry.request.name,
        "task_id": entry.task_id,
        "reason": entry.reason,
        "from": what,
    }
    return Event(
        kind=f"waitlist.{what}", subject=entry.id, tenant_id=entry.tenant_id, payload=payload
    )
