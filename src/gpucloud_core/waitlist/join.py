"""Join the waitlist, and leave it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gpucloud_core.access.acting import fact_by, person
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.errors import CountNotAllowed, SkuNotOffered, SshKeyRequired
from gpucloud_core.allocations.request import LaunchRequest, field_errors
from gpucloud_core.catalog.model import Sku
from gpucloud_core.catalog.pools import pool_of
from gpucloud_core.kernel.errors import (
    DomainError,
    ErrorKind,
    FieldError,
    IllegalTransition,
    NotFound,
    ValidationFailed,
)
from gpucloud_core.kernel.ids import Ids, ProjectId, WaitlistId
from gpucloud_core.kernel.machine import Refused
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.placement.promised import drop
from gpucloud_core.waitlist.lifecycle import WAITLIST, WaitEvent, WaitFacts
from gpucloud_core.waitlist.model import WaitEntry, WaitKind, WaitState
from gpucloud_core.waitlist.ports import WaitlistUnit
from gpucloud_core.waitlist.turns import next_turn

ENTRIES_MAX: Final = 50
WAIT_SECONDS: Final = (600, 30 * 86_400)
WEEK: Final = 7 * 86_400


class WaitlistFull(DomainError):
    """The tenant waits for as much as it may."""

    code = "waitlist_full"
    kind = ErrorKind.CONFLICT
    next_step = "Withdraw an entry that is not needed any more, then join again."


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitAsked:
    """What to wait for, how, and for how long.

    ``request`` is the launch as it will be made; for ``NOTIFY`` its keys may be left out.
    """

    kind: WaitKind
    request: LaunchRequest
    price_max_micros: int | None = None
    wait_seconds: int = WEEK


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinWaitlist:
    """Take a turn."""

    transactions: Transactions[WaitlistUnit]
    ids: Ids

    async def __call__(
        self,
        *,
        actor: Actor,
        project_id: ProjectId,
        asked: WaitAsked,
    ) -> WaitEntry:
        """Return the entry.

        Raises:
            NotFound, Forbidden: not their project, or not theirs to launch in.
            ValidationFailed: single fields make no sense.
            SkuNotOffered, CountNotAllowed, SshKeyRequired: it could never be launched so.
            WaitlistFull: the tenant has as many entries as it may.
        """
        require(actor, Action.ALLOCATION_LAUNCH, tenant_id=actor.tenant_id, project_id=project_id)
        if faults := wait_errors(asked):
            raise ValidationFailed("Some fields need another look.", fields=faults)
        # The platform's scope: a turn depends on everybody who waits.
        async with self.transactions.begin(Scope.platform()) as unit:
            entry = await self._entry(unit, actor, project_id, asked)
            await unit.waitlist.add(entry)
            await unit.audit(
                fact_by(
                    actor,
                    action="waitlist.join",
                    target=entry.id,
                    project_id=project_id,
                    changes={
                        "kind": [None, entry.kind],
                        "sku": [None, entry.sku_id],
                        "gpus": [None, entry.gpu_count],
                    },
                )
            )
        return entry

    async def _entry(
        self, unit: WaitlistUnit, actor: Actor, project_id: ProjectId, asked: WaitAsked
    ) -> WaitEntry:
        now = await unit.now()
        sku = await _sold(unit, asked.request)
        if asked.kind is WaitKind.LAUNCH and not asked.request.ssh_key_ids:
            raise SshKeyRequired
        pool = pool_of(sku)
        own = await unit.waitlist.find(tenant_id=actor.tenant_id)
        live = [entry for entry in own if not WAITLIST.is_final(entry.state)]
        if len(live) >= ENTRIES_MAX:
            raise WaitlistFull(f"You wait for {len(live)} launches already.")
        waiting = await unit.waitlist.find(pool=pool, state=WaitState.WAITING)
        return WaitEntry(
            id=WaitlistId(self.ids.new("wtl")),
            tenant_id=actor.tenant_id,
            project_id=project_id,
            user_id=person(actor),
            kind=asked.kind,
            request=asked.request,
            sku_id=sku.id,
            gpu_count=asked.request.gpu_count,
            pool=pool,
            turn=next_turn(waiting, [entry for entry in own if entry.pool == pool]),
            price_max_micros=asked.price_max_micros,
            state_since=now,
            expires_at=now + timedelta(seconds=asked.wait_seconds),
            due_at=now,
            created_at=now,
        )


async def _sold(unit: WaitlistUnit, request: LaunchRequest) -> Sku:
    sku = await unit.skus.get(request.sku_id)
    if sku is None or not sku.active or request.region not in {None, sku.region}:
        raise SkuNotOffered(f"{request.sku_id[:80]!r} is not in the catalog.")
    if request.gpu_count not in sku.allowed_gpu_counts:
        allowed = ", ".join(map(str, sku.allowed_gpu_counts))
        raise CountNotAllowed(f"{sku.display_name} is sold with {allowed} GPUs per machine.")
    return sku


def wait_errors(asked: WaitAsked) -> tuple[FieldError, ...]:
    """Return everything wrong with single fields."""
    found = [*field_errors(asked.request)]
    lowest, highest = WAIT_SECONDS
    if not lowest <= asked.wait_seconds <= highest:
        detail = "Wait between 10 minutes and 30 days, in seconds."
        found.append(FieldError("/wait_seconds", "out_of_range", detail))
    if asked.price_max_micros is not None and asked.price_max_micros <= 0:
        detail = "Give a price per GPU and hour above zero, or leave it out."
        found.append(FieldError("/price_max_micros", "out_of_range", detail))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveWaitlist:
    """Give a turn up."""

    transactions: Transactions[WaitlistUnit]

    async def __call__(
        self,
        *,
        actor: Actor,
        entry_id: WaitlistId,
    ) -> WaitEntry:
        """Withdraw the entry; one that was withdrawn before stays so.

        Raises:
            NotFound, Forbidden: not theirs, or not theirs to withdraw.
            IllegalTransition: it has ended otherwise, such as by a launch.
        """
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            entry = await unit.waitlist.lock(entry_id)
            if entry is None:
                raise NotFound("There is no waitlist entry with this id.")
            require(
                actor,
                Action.ALLOCATION_LAUNCH,
                tenant_id=entry.tenant_id,
                project_id=entry.project_id,
            )
            if entry.state is WaitState.WITHDRAWN:
                return entry
            gone = moved(entry, WaitEvent.WITHDRAW, await unit.now(not_before=entry.state_since))
            await unit.waitlist.put(gone)
            await drop(unit, entry.id)
            await unit.audit(
                fact_by(
                    actor,
                    action="waitlist.withdraw",
                    target=entry.id,
                    project_id=entry.project_id,
                    changes={"state": [entry.state, gone.state]},
                )
            )
        return gone


def moved(entry: WaitEntry, event: WaitEvent, now: datetime, *, reason: str = "") -> WaitEntry:
    """Return the entry after ``event``; its next due instant follows from where it is then.

    Raises:
        IllegalTransition: the table does not allow it.
    """
    verdict = WAITLIST.decide(entry.state, event, WaitFacts())
    if isinstance(verdict, Refused):
        raise IllegalTransition(f"It is {entry.state} already.")
    limit = WAITLIST.states[verdict.state].limit
    return replace(
        entry,
        state=verdict.state,
        state_since=now,
        due_at=None if limit is None else now + limit[0],
        reason=reason,
        reason_code="",
    )
