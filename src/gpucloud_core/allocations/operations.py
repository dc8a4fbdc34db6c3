"""Tasks that change an allocation in place, or end it on an operator's word."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gpucloud_core.allocations import reasons
from gpucloud_core.allocations.actions import WORKER, OnNode
from gpucloud_core.allocations.apply import Cause, advance
from gpucloud_core.allocations.errors import KeysNotApplied
from gpucloud_core.allocations.lifecycle import AllocationEvent
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.saga import EDIT_KEYS, FORCE_CLEANUP
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import Json
from gpucloud_core.work.model import Step, Task, TaskStatus
from gpucloud_core.work.plan import Finish, Saga


@dataclass(frozen=True, slots=True, kw_only=True)
class InPlace(OnNode):
    """What tasks without an undo share: nothing is written before a step is done."""

    def intent(self, task: Task, step: str) -> str:
        return ""

    async def step_begun(self, unit: AllocationUnit, task: Task, step: str) -> None:
        """Nothing changes in the rows until a step is done."""

    async def undo(self, task: Task, step: Step) -> None:
        """There is no way back."""

    async def undoing(self, unit: AllocationUnit, task: Task) -> None:
        """There is no way back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditKeysOnNode(InPlace):
    """Let exactly the chosen keys in, and stamp each with when it was read back."""

    saga: Saga = EDIT_KEYS

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        await self._apply_keys(await self._place(task))
        placed = await self._place(task)
        evidence = await self.driver.verify(placed.access, placed.allocation.claim_id)
        if set(evidence.key_fingerprints) != {key.fingerprint for key in placed.allocation.keys}:
            raise KeysNotApplied
        return {"applied": " ".join(sorted(evidence.key_fingerprints))}

    async def step_done(self, unit: AllocationUnit, task: Task, step: Step) -> None:
        await self._keys_applied(unit, task, step)

    async def finished(self, unit: AllocationUnit, task: Task, finish: Finish) -> None:
        """The keys without a stamp say that it did not work; the task says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceCleanup(InPlace):
    """Free capacity that an operator has seen to be clean; the receipt says on whose word."""

    saga: Saga = FORCE_CLEANUP

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        return {}

    async def step_done(self, unit: AllocationUnit, task: Task, step: Step) -> None:
        """What it means is written when the task ends."""

    async def finished(self, unit: AllocationUnit, task: Task, finish: Finish) -> None:
        allocation = await self._allocation(unit, task)
        now = await unit.now()
        if finish.status is not TaskStatus.SUCCEEDED:
            cause = Cause(actor=WORKER, at=now, reason=finish.detail)
            changes = {"release_failed_reason": reasons.release_failed_reason(finish.error)}
            await advance(unit, self.ids, allocation, AllocationEvent.GIVE_UP, cause, changes)
            return
        proof: dict[str, Json] = {
            "method": "operator",
            "claim_id": allocation.claim_id,
            "verified_at": rfc3339(now),
        }
        vouched = replace(allocation, receipt={**allocation.receipt, "wipe": proof})
        cause = Cause(actor=WORKER, at=now, reason="An operator verified that nothing is left.")
        await advance(unit, self.ids, vouched, AllocationEvent.CLEAN, cause)
