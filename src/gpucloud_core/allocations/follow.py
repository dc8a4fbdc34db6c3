"""What may be done to a launch while one follows its task: cancel the rest, retry what failed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations import gang
from gpucloud_core.allocations.apply import ask_to_cancel
from gpucloud_core.allocations.errors import NotCancellable, NothingToRetry
from gpucloud_core.allocations.launch import Accepted, LaunchAllocations
from gpucloud_core.allocations.lifecycle import CANCELLABLE
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.billing.accounts import lock_account
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import AllocationId, TaskId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.placement.model import Spread, Within
from gpucloud_core.work.model import Task


async def launched_by(unit: AllocationUnit, task: Task) -> tuple[Allocation, ...]:
    """Return the allocations that a launch's task, or a batch's members, stand for."""
    members = await unit.tasks.find(parent_id=task.id) if not task.subject else (task,)
    return await unit.allocations.find_any("id", [member.subject for member in members])


async def _task_of(unit: AllocationUnit, actor: Actor, task_id: TaskId, action: Action) -> Task:
    task = await unit.tasks.get(task_id)
    if task is None:
        raise NotFound("There is no task with this id.")
    require(actor, action, tenant_id=task.tenant_id, project_id=task.project_id)
    return task


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTask:
    """Cancel a launch; of a batch, whatever is not active yet."""

    transactions: Transactions[AllocationUnit]

    async def __call__(self, *, actor: Actor, task_id: TaskId) -> tuple[AllocationId, ...]:
        """Return the allocations that were asked to stop; asked again, nothing more happens.

        Raises:
            NotFound: no such task, or not theirs.
            NotCancellable: nothing of it can be cancelled any more.
        """
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            task = await _task_of(unit, actor, task_id, Action.TASK_CANCEL)
            await lock_account(unit, actor.tenant_id)
            rows = sorted(await launched_by(unit, task), key=lambda row: row.id)
            locked = [await unit.allocations.lock(row.id) for row in rows]
            waiting = [
                row
                for row in locked
                if row is not None
                and row.state in CANCELLABLE
                and not await gang.is_handed_over(unit, row.task_id)
            ]
            ending = [row for row in locked if row is not None and row.cause == "cancelled"]
            if not waiting and not ending:
                raise NotCancellable
            for row in waiting:
                await ask_to_cancel(unit, row.task_id)
            if waiting:
                await unit.audit(
                    fact_by(
                        actor,
                        action="task.cancel",
                        target=task.id,
                        project_id=task.project_id,
                        changes={"allocations": [[], [row.id for row in waiting]]},
                    )
                )
        return tuple(row.id for row in waiting)


def request_again(task: Task, failed: Sequence[Allocation]) -> LaunchRequest:
    """Return the launch that asks once more for what failed; all of one batch asked alike."""
    first = failed[0]
    stems = Counter(row.name.rpartition("-")[0] or row.name for row in failed)
    return LaunchRequest(
        sku_id=first.sku_id,
        gpu_count=first.gpu_count,
        count=len(failed),
        spread=Spread(str(task.data.get("spread", Spread.ANY))),
        together=bool(task.data.get("together")),
        within=Within(str(task.data.get("within", Within.FABRIC))),
        image_id=first.image_id,
        ssh_key_ids=tuple(key.id for key in first.keys),
        name=stems.most_common(1)[0][0],
        region=first.region,
        network=first.network,
        end_of_balance=first.end_of_balance,
        ttl_seconds=first.ttl_seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryFailed:
    """Launch again what failed of a launch, in the same batch."""

    transactions: Transactions[AllocationUnit]
    launch: LaunchAllocations

    async def __call__(self, *, actor: Actor, task_id: TaskId) -> Accepted:
        """Launch as many new machines as failed; every check is made again.

        Raises:
            NotFound: no such task, or not theirs.
            NothingToRetry: nothing failed, or it is on its way again.
            DomainError: a check fails, as for any launch.
        """
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            task = await _task_of(unit, actor, task_id, Action.ALLOCATION_LAUNCH)
            failed = not_replaced(await launched_by(unit, task))
        if not failed:
            raise NothingToRetry
        return await self.launch(
            actor=actor,
            project_id=task.project_id,
            request=request_again(task, failed),
            batch=None if task.subject else task.id,
        )


def not_replaced(rows: Sequence[Allocation]) -> list[Allocation]:
    """Return the failed members that no later member stands for yet.

    A retry adds one member for each that failed, so the first ones that failed are those that
    were replaced.
    """
    ordered = sorted(rows, key=lambda row: row.id)
    failed = [row for row in ordered if row.state is AllocationState.FAILED]
    asked = min((row.requested_at for row in ordered), default=None)
    later = sum(1 for row in ordered if row.requested_at != asked)
    return failed[later:]
