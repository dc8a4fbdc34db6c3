"""The task that removes a slice which outlived its allocation: by tag, and with the same proof."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gpucloud_core.allocations import faults
from gpucloud_core.allocations.operations import InPlace
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.saga import CLEAN_UP
from gpucloud_core.kernel.errors import IllegalTransition
from gpucloud_core.kernel.unit import Event, Json
from gpucloud_core.work.model import Step, Task, TaskStatus
from gpucloud_core.work.plan import Finish, Saga

CLEANED: Final = "stray.cleaned"
CLEANUP_FAILED: Final = "drift.cleanup_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUp(InPlace):
    """Cut off, remove, wipe and prove whatever on the node carries a closed claim's tag.

    The rows of the allocation are not touched: it has ended, and stays as it ended.
    """

    saga: Saga = CLEAN_UP

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        placed = await self._place(task)
        if placed.claim.released_at is None:
            raise IllegalTransition("Its claim is open: this slice is somebody's.")
        claim_id = placed.claim.id
        match step.key:
            case "cut_off":
                async with faults.CUT_OFF:
                    await self.driver.cut_off(placed.access, claim_id)
            case "remove":
                async with faults.REMOVE:
                    await self.driver.release(placed.access, claim_id)
            case "wipe":
                return {"evidence": await self._wipe(placed, not_before=task.created_at)}
            case _:
                await self._verify_clean(placed)
        return {}

    async def step_done(self, unit: AllocationUnit, task: Task, step: Step) -> None:
        """The proof stays with the task's step."""

    async def finished(self, unit: AllocationUnit, task: Task, finish: Finish) -> None:
        wiped = next((step.result.get("evidence") for step in task.steps if step.key == "wipe"), "")
        done = finish.status is TaskStatus.SUCCEEDED
        payload: dict[str, Json] = {
            "task_id": task.id,
            "tenant_id": task.tenant_id,
            "error": finish.error,
            "detail": finish.detail,
            "wipe": json.loads(str(wiped)) if wiped else None,
        }
        kind = CLEANED if done else CLEANUP_FAILED
        await unit.emit(Event(kind=kind, subject=task.subject, payload=payload))
