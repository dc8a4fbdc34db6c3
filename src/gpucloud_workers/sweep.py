"""Finds work that is due in the database and was not taken up: whatever the queue lost."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.kernel.unit import Scope, Transactions

PATIENCE = timedelta(seconds=3)  # how long the queue may take before we step in
AGAIN = timedelta(seconds=10)
BATCH = 200


@dataclass(slots=True, kw_only=True)
class SweepTasks:
    """Send due tasks to the queue again; a second delivery finds the lease and goes away."""

    transactions: Transactions[AllocationUnit]
    send: Callable[[TaskId], None]
    _sent: dict[TaskId, datetime] = field(default_factory=dict)

    async def __call__(self) -> int:
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            due = await unit.tasks.due(now - PATIENCE, limit=BATCH)
        self._sent = {task: at for task, at in self._sent.items() if now - at < AGAIN}
        for task_id in due:
            if task_id not in self._sent:
                self.send(task_id)
                self._sent[task_id] = now
        return 0
