"""Restart a running allocation: same place, keys and disk, and everything in it started anew.

The time is billed, because the tenant asked for it; but only if the slice comes back. If it does
not, its meter has stopped when the restart began: nothing since then was of use to anybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations import faults
from gpucloud_core.allocations.actions import WORKER
from gpucloud_core.allocations.apply import Cause, advance, lock_allocation, queue
from gpucloud_core.allocations.errors import NotRestartable
from gpucloud_core.allocations.lifecycle import LIFECYCLE, AllocationEvent, Facts
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.operations import InPlace
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.release import begin_release
from gpucloud_core.allocations.saga import RESTART
from gpucloud_core.billing.accounts import end_of_balance, lock_account
from gpucloud_core.kernel.ids import AllocationId, Ids, TaskId
from gpucloud_core.kernel.machine import Refused
from gpucloud_core.kernel.unit import AuditFact, Json, Scope, Transactions
from gpucloud_core.work.model import Step, Task, TaskStatus
from gpucloud_core.work.plan import Finish, Saga


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartAllocation:
    """Queue ending everything that runs in an allocation and starting it anew."""

    transactions: Transactions[AllocationUnit]
    ids: Ids

    async def __call__(self, *, actor: Actor, allocation_id: AllocationId) -> Allocation:
        """Restart; asked again while it is under way, nothing more happens.

        Raises:
            NotFound, Forbidden: not theirs, or not theirs to restart.
            NotRestartable: it is not active.
        """
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            allocation = await lock_allocation(unit, actor.tenant_id, allocation_id)
            require(
                actor,
                Action.ALLOCATION_RESTART,
                tenant_id=allocation.tenant_id,
                project_id=allocation.project_id,
            )
            if allocation.state is AllocationState.RESTARTING:
                return allocation
            verdict = LIFECYCLE.decide(allocation.state, AllocationEvent.RESTART, Facts())
            if isinstance(verdict, Refused):
                raise NotRestartable(f"It is {allocation.state}. {NotRestartable.next_step}")
            now = await unit.now(not_before=allocation.state_since)
            task_id = TaskId(self.ids.new("tsk"))
            restarting = await advance(
                unit,
                self.ids,
                allocation,
                AllocationEvent.RESTART,
                Cause(actor=actor.username, at=now),
                {"task_id": task_id},
            )
            order: dict[str, Json] = {"generation": restarting.generation}
            await queue(unit, self.ids, restarting, RESTART, now, task_id=task_id, data=order)
            await unit.audit(
                fact_by(
                    actor,
                    action="allocation.restart",
                    target=restarting.id,
                    project_id=restarting.project_id,
                    changes={"state": [allocation.state, restarting.state]},
                )
            )
        return restarting


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartOnNode(InPlace):
    """Restart the slice, once for this task, and let it through the health gate again."""

    saga: Saga = RESTART

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        if step.key == "verify":
            return await self._verify(await self._place(task))
        placed = await self._place_in_time(task)
        allocation = placed.allocation
        generation = int(str(task.data["generation"]))
        async with faults.RESTART:
            await self.driver.restart(placed.access, allocation.claim_id, generation)
        return {}

    async def step_done(self, unit: AllocationUnit, task: Task, step: Step) -> None:
        """What it means is written when the task ends."""

    async def finished(self, unit: AllocationUnit, task: Task, finish: Finish) -> None:
        allocation = await self._allocation(unit, task)
        if allocation.state is not AllocationState.RESTARTING:
            return
        if finish.status is not TaskStatus.SUCCEEDED:
            cause = Cause(actor=WORKER, at=allocation.state_since, reason=finish.detail)
            await advance(unit, self.ids, allocation, AllocationEvent.DEGRADE, cause)
            return
        now = await unit.now(not_before=allocation.state_since)
        cause = Cause(actor=WORKER, at=now, reason="The health gate passed.")
        back = await advance(unit, self.ids, allocation, AllocationEvent.RESTARTED, cause)
        await self._release_if_unfunded(unit, back, cause)

    async def _release_if_unfunded(
        self, unit: AllocationUnit, allocation: Allocation, cause: Cause
    ) -> None:
        """Release it if its money ended meanwhile: while it restarted, nobody else could."""
        account = await lock_account(unit, allocation.tenant_id)
        plan = await end_of_balance(unit, account, cause.at)
        runs = await unit.usage_segments.count(allocation_id=allocation.id, ended_at=None)
        if runs and allocation.id not in plan:
            return
        over = Cause(actor=WORKER, at=cause.at, reason="The balance is used up.")
        await begin_release(unit, self.ids, allocation, over)
        await unit.audit(
            AuditFact(
                action="allocation.release",
                target=allocation.id,
                tenant_id=allocation.tenant_id,
                project_id=allocation.project_id,
                via="worker",
                changes={"reason": [None, "balance"]},
            )
        )
