"""Launch: every check, the hold, the claims and the tasks in one transaction, or a refusal.

A dry run looks at exactly the same checks and answers with the same words; it only takes nothing.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations import gang
from gpucloud_core.allocations.apply import enqueue, new_task
from gpucloud_core.allocations.batch import places_of, reopen
from gpucloud_core.allocations.checks import checks, refusal_of
from gpucloud_core.allocations.model import (
    Allocation,
    AllocationState,
    AppliedKey,
    EndOfBalance,
    StateChange,
)
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.quote import Asked, read_asked
from gpucloud_core.allocations.request import LaunchRequest, machine_name
from gpucloud_core.allocations.saga import PROVISION
from gpucloud_core.billing.accounts import HoldRequest, lock_account, place_holds
from gpucloud_core.billing.model import BillingAccount
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_core.kernel.ids import (
    AllocationId,
    ClaimId,
    Ids,
    ImageId,
    ProjectId,
    TaskId,
    UserId,
)
from gpucloud_core.kernel.once import once
from gpucloud_core.kernel.unit import Event, Scope, Transactions
from gpucloud_core.placement.claim import claim_all, preview
from gpucloud_core.placement.fleet_view import Errand, FleetView
from gpucloud_core.placement.model import Claim, Place, Refusal
from gpucloud_core.work.model import StepStatus, Task, TaskStatus

BATCH: Final = "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What a launch made: one task to follow, and each machine's allocation."""

    task_id: TaskId
    allocations: tuple[tuple[AllocationId, str], ...]  # id, public status

    def as_json(self) -> dict[str, object]:
        return {"task_id": self.task_id, "allocations": [list(pair) for pair in self.allocations]}

    @classmethod
    def of_json(cls, stored: object) -> "Accepted":
        match stored:
            case {"task_id": str(task_id), "allocations": list(pairs)}:
                made = tuple((AllocationId(pair[0]), str(pair[1])) for pair in pairs)
                return cls(task_id=TaskId(task_id), allocations=made)
            case _:
                raise ValueError("not the stored answer of a launch")


async def launch_once(key: IdempotencyKey, launch: Callable[[], Awaitable[Accepted]]) -> Accepted:
    """Launch, or return what was launched when the key was first used."""
    return await once(key, launch, written=Accepted.as_json, read=Accepted.of_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchAllocations:
    """Take the place, set the money aside, and queue the work; or refuse with every reason."""

    transactions: Transactions[AllocationUnit]
    ids: Ids
    fleet: FleetView

    async def __call__(
        self,
        *,
        actor: Actor,
        project_id: ProjectId,
        request: LaunchRequest,
        batch: TaskId | None = None,
    ) -> Accepted:
        """Accept the launch, into ``batch`` or under a task of its own.

        Raises:
            ValidationFailed: single fields make no sense.
            DomainError: a check fails; its code is the most fundamental one's and ``fields``
                name all. Nothing was taken and no task was made.
        """
        scope = Scope.tenant(actor.tenant_id)
        with self.fleet.errand() as errand:
            async with self.transactions.begin(scope) as unit:
                return await self.within(
                    unit,
                    errand,
                    actor=actor,
                    project_id=project_id,
                    request=request,
                    batch=batch,
                )

    async def within(
        self,
        unit: AllocationUnit,
        errand: Errand,
        *,
        actor: Actor,
        project_id: ProjectId,
        request: LaunchRequest,
        batch: TaskId | None = None,
    ) -> Accepted:
        """Accept the launch in a transaction of the actor's tenant that is under way.

        ``errand`` is the fleet's, and outlives the transaction.

        Raises:
            ValidationFailed, DomainError: as the call itself; then the transaction must not be
                committed.
        """
        account = await lock_account(unit, actor.tenant_id)
        asked = await read_asked(unit, actor, project_id, request, account)
        beside = () if batch is None else await places_of(unit, batch)
        claims = await self._take(unit, actor, project_id, asked, errand, beside)
        return await self._accept(unit, actor, project_id, asked, account, claims, batch)

    async def _take(
        self,
        unit: AllocationUnit,
        actor: Actor,
        project_id: ProjectId,
        asked: Asked,
        errand: Errand,
        beside: Sequence[Place],
    ) -> tuple[Claim, ...]:
        wanted = asked.placement()
        promises = asked.promises(unit, actor, project_id)
        others_fail = refusal_of(checks(asked.request, asked.facts(None))) is not None
        if wanted is None or others_fail:
            decision = await preview(unit, self.fleet, wanted, promises) if wanted else None
            refusal = decision if isinstance(decision, Refusal) else None
            error = refusal_of(checks(asked.request, asked.facts(refusal)))
            if error is None:
                raise AssertionError("a launch without a place has a failed check")
            raise error

        def make_claim(place: Place) -> Claim:
            return Claim(
                id=ClaimId(self.ids.new("clm")),
                tenant_id=actor.tenant_id,
                allocation_id=AllocationId(self.ids.new("alc")),
                node_id=place.node_id,
                mask=place.mask,
                whole_node=wanted.whole_node,
                vcpus=wanted.vcpus,
                memory_mib=wanted.memory_mib,
                beside=wanted.beside,
                claimed_at=asked.now,
            )

        taken = await claim_all(
            unit,
            self.fleet,
            wanted,
            make_claim,
            errand=errand,
            beside=beside,
            promises=promises,
        )
        if isinstance(taken, Refusal):
            error = refusal_of(checks(asked.request, asked.facts(taken)))
            if error is None:
                raise AssertionError("a refusal is a failed check")
            raise error
        if promises is not None:
            await promises.use()
        return taken

    async def _accept(
        self,
        unit: AllocationUnit,
        actor: Actor,
        project_id: ProjectId,
        asked: Asked,
        account: BillingAccount,
        claims: Sequence[Claim],
        batch: TaskId | None,
    ) -> Accepted:
        parent = batch or TaskId(self.ids.new("tsk"))
        alone = len(claims) == 1 and batch is None
        rows = [
            self._allocation(
                actor,
                project_id,
                asked,
                claim,
                number,
                parent if alone else TaskId(self.ids.new("tsk")),
            )
            for number, claim in enumerate(claims)
        ]
        if batch is not None:
            await reopen(unit, batch)
        reserves = [
            HoldRequest(
                allocation_id=row.id,
                micros=asked.hold_micros,
                run_on_reserve=row.end_of_balance is EndOfBalance.RUN_ON_RESERVE,
            )
            for row in rows
        ]
        await place_holds(
            unit, account, reserves, now=asked.now, new_id=self.ids.new, books=asked.books
        )
        if batch is None and not alone:
            await unit.tasks.add(_batch_task(parent, rows[0], asked))
        for row in rows:
            await unit.allocations.add(row)
            await self._story(unit, actor, row, asked.now)
            task = new_task(
                self.ids,
                row,
                PROVISION,
                asked.now,
                usual=asked.usual_seconds,
                task_id=row.task_id,
                parent_id=None if alone else parent,
                data=gang.of_launch(asked.request, rows[0].id),
            )
            await enqueue(unit, _reserved(task, asked.now))
            await unit.audit(
                fact_by(
                    actor,
                    action="allocation.launch",
                    target=row.id,
                    project_id=project_id,
                    changes={"sku": [None, row.sku_id], "gpus": [None, row.gpu_count]},
                )
            )
        return Accepted(task_id=parent, allocations=tuple((row.id, "provisioning") for row in rows))

    def _allocation(
        self,
        actor: Actor,
        project_id: ProjectId,
        asked: Asked,
        claim: Claim,
        number: int,
        task_id: TaskId,
    ) -> Allocation:
        request, sku, image = asked.request, asked.sku, asked.image
        if sku is None or image is None or actor.user_id is None:
            raise AssertionError("a launch that passed its checks has a SKU, an image and a user")
        return Allocation(
            id=claim.allocation_id,
            tenant_id=actor.tenant_id,
            project_id=project_id,
            user_id=UserId(actor.user_id),
            name=machine_name(request, number, claim.allocation_id),
            sku_id=sku.id,
            shape=sku.shape,
            region=sku.region,
            gpu_count=request.gpu_count,
            image_id=ImageId(image.id),
            network=request.network,
            keys=tuple(
                AppliedKey(
                    id=key.id,
                    fingerprint=key.fingerprint,
                    public_key=key.public_key,
                    name=key.name,
                )
                for key in asked.keys
            ),
            end_of_balance=request.end_of_balance,
            ttl_seconds=request.ttl_seconds,
            rate_micros_per_hour=asked.rate_micros_per_hour,
            currency=asked.balance.currency,
            state=AllocationState.REQUESTED,
            state_since=asked.now,
            claim_id=claim.id,
            node_id=claim.node_id,
            mask=claim.mask,
            task_id=task_id,
            requested_at=asked.now,
        )

    async def _story(
        self, unit: AllocationUnit, actor: Actor, row: Allocation, now: datetime
    ) -> None:
        await unit.state_changes.add(
            StateChange(
                id=self.ids.new("evt"),
                tenant_id=row.tenant_id,
                allocation_id=row.id,
                at=now,
                state=row.state,
                event="launch",
                actor=actor.username,
                reason="The place and the hold are secured.",
            )
        )
        await unit.emit(
            Event(
                kind="allocation.requested",
                subject=row.id,
                tenant_id=row.tenant_id,
                payload={"task_id": row.task_id},
            )
        )


def _reserved(task: Task, now: datetime) -> Task:
    """Return a fresh launch task whose first step is done: the transaction itself was it."""
    first, *rest = task.steps
    done = replace(first, status=StepStatus.COMPLETED, attempt=1, started_at=now, finished_at=now)
    return replace(task, steps=(done, *rest))


def _batch_task(task_id: TaskId, first: Allocation, asked: Asked) -> Task:
    """Return the parent; it knows how its members were to stand, for when some are retried."""
    request = asked.request
    return Task(
        id=task_id,
        tenant_id=first.tenant_id,
        project_id=first.project_id,
        kind=BATCH,
        subject="",
        status=TaskStatus.RUNNING,
        data={
            "spread": request.spread,
            "together": request.together,
            "within": request.within,
        },
        created_at=asked.now,
        started_at=asked.now,
    )
