"""The queue: a Dramatiq broker on Redis, and the actor that takes a task up.

Messages carry ids only. Losing one loses nothing: the task stays due in the database, and the
lease makes a second delivery harmless.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import dramatiq
import structlog
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, AsyncIO, ShutdownNotifications, TimeLimit

from gpucloud_adapters.settings import Secret
from gpucloud_core.kernel.ids import TaskId

log = structlog.get_logger(__name__)

QUEUE: Final = "tasks"
ROOM: Final = 256  # tasks in flight in one worker; each waits for a node most of the time
TIME_LIMIT_MS: Final = 60 * 1000  # of taking up, not of the task
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


@dataclass(slots=True)
class TaskQueue:
    """Sends tasks to whichever worker is free, and runs those that are sent here.

    A message is done with as soon as its task is under way: what drives a task on is its row, not
    the message. So a thread of the consumer is never kept by a node that does not answer, and
    however many tasks wait for such nodes, up to ``room`` of them, those of others are taken up.
    """

    run: Run
    room: int = ROOM
    actor: dramatiq.Actor[[str], Awaitable[None]] = field(init=False)
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _free: asyncio.Semaphore = field(init=False)
    _is_closing: bool = False

    def __post_init__(self) -> None:
        self._free = asyncio.Semaphore(self.room)

    @classmethod
    def over(cls, broker: dramatiq.Broker, run: Run, *, room: int = ROOM) -> Self:
        """Declare the actor on ``broker``; ``run`` is called on the worker's event loop."""
        queue = cls(run, room)

        async def run_task(task_id: str) -> None:
            await queue.take_up(TaskId(task_id))

        declare = dramatiq.actor(broker=broker, actor_name="run_task", queue_name=QUEUE)
        queue.actor = declare(run_task)
        return queue

    def send(self, task_id: TaskId) -> None:
        self.actor.send(task_id)

    async def take_up(self, task_id: TaskId) -> None:
        """Begin to run a task here; waits while there is no room."""
        await self._free.acquire()
        if self._is_closing:  # another worker finds the row due
            self._free.release()
            return
        running = asyncio.create_task(self._carry_out(task_id), name=task_id)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    def drain(self, seconds: float) -> None:
        """Take nothing more up, and wait for what runs here, no longer than so.

        Another worker goes on with what was late, and with what was sent here meanwhile.
        """
        self._is_closing = True
        running = tuple(self._running)
        if running:
            loop = running[0].get_loop()
            asyncio.run_coroutine_threadsafe(_ended(running, seconds), loop).result()

    async def _carry_out(self, task_id: TaskId) -> None:
        try:
            await self.run(task_id)
        except Exception:  # one of the outermost loops: whatever it was, the row falls due again
            log.exception("task.run_failed", task_id=task_id)
        finally:
            self._free.release()


async def _ended(running: Sequence[asyncio.Task[None]], seconds: float) -> None:
    _, late = await asyncio.wait(running, timeout=seconds)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
