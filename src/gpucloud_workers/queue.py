"""The queue: a Dramatiq broker on Redis, and the actor that takes a task up.

Messages carry ids only. Losing one loses nothing: the task stays due in the database, and the
lease makes a second delivery harmless.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, AsyncIO, ShutdownNotifications, TimeLimit

from gpucloud_adapters.settings import Secret
from gpucloud_core.kernel.ids import TaskId

QUEUE: Final = "tasks"
TIME_LIMIT_MS: Final = 30 * 60 * 1000
AGE_LIMIT_MS: Final = 60 * 1000  # older messages are dropped: the sweep has sent them again

Run = Callable[[TaskId], Awaitable[None]]


def make_broker(redis_url: Secret) -> RedisBroker:
    """Return the broker; middleware is named here, none comes by itself."""
    broker: RedisBroker = RedisBroker(  # type: ignore[no-untyped-call]  # dramatiq has no types here
        url=redis_url.reveal(),
        middleware=[
            AsyncIO(),
            AgeLimit(max_age=AGE_LIMIT_MS),
            TimeLimit(time_limit=TIME_LIMIT_MS),
            ShutdownNotifications(notify_shutdown=True),
        ],
        namespace="gpucloud",
    )
    return broker


@dataclass(frozen=True, slots=True)
class TaskQueue:
    """Sends tasks to whichever worker is free."""

    actor: dramatiq.Actor[[str], Awaitable[None]]

    @classmethod
    def over(cls, broker: dramatiq.Broker, run: Run) -> "TaskQueue":
        """Declare the actor on ``broker``; ``run`` is called on the worker's event loop."""

        async def run_task(task_id: str) -> None:
            await run(TaskId(task_id))

        declare = dramatiq.actor(broker=broker, actor_name="run_task", queue_name=QUEUE)
        return cls(declare(run_task))

    def send(self, task_id: TaskId) -> None:
        self.actor.send(task_id)
