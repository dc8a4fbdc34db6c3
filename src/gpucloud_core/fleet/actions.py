"""What tasks share that only look: no locks before their own, nothing to undo, no late hour."""

from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.work.model import Step, Task


class LeavesNothing:
    """Each step writes in a unit of its own, so that repeating it changes nothing."""

    __slots__ = ()

    async def lock(self, unit: AllocationUnit, task: Task) -> None:
        """Nothing comes before the task's own lock."""

    def intent(self, task: Task, step: str) -> str:
        return ""

    async def step_begun(self, unit: AllocationUnit, task: Task, step: str) -> None:
        """A look changes nothing."""

    async def step_done(self, unit: AllocationUnit, task: Task, step: Step) -> None:
        """What was seen is written by the step itself, or when the task ends."""

    async def undo(self, task: Task, step: Step) -> None:
        """A look leaves nothing behind."""

    async def held_back(self, unit: AllocationUnit, task: Task, step: str) -> str:
        return ""

    async def is_late(self, unit: AllocationUnit, task: Task) -> bool:
        return False

    async def undoing(self, unit: AllocationUnit, task: Task) -> None:
        """A look leaves nothing behind."""
