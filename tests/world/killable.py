"""Worker processes that die, stop or cancel where a test says so, and the nursery they come from.

Run as a program this is the nursery: it has imported the product once, and forks a worker for each
line it reads, so that a worker costs a tenth of a second. What a worker is to do at which fault
point is in its order and nowhere else: production code can only be armed from within its process.

A worker runs with the product's own parts. ``serve`` is all of a worker: relay, sweep, jobs and
the queue's consumer. ``one`` is the consumer alone, over a queue of its own that holds one task,
so that a test knows which task meets which point; it ends with status 0 when the task had no more
to do. Leases are shorter than in production, as tests wait for those of the dead to end.
"""

import asyncio
import json
import os
import selectors
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NoReturn, Self

import dramatiq
from dishka import AsyncContainer, Provider, Scope, decorate, make_async_container

from gpucloud_adapters.bootstrap import Outside
from gpucloud_adapters.logs import configure_logs
from gpucloud_adapters.settings import Secret, Settings
from gpucloud_adapters.use_cases import inside
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel import unit
from gpucloud_core.kernel.faults import POINTS, armed
from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.kernel.unit import Transactions
from gpucloud_core.work.run import RunTask
from gpucloud_workers import app
from gpucloud_workers.queue import TaskQueue, make_broker

LEASE_SECONDS: Final = 5
DURING_SECONDS: Final = 0.05  # into a call that takes longer
_POLL_SECONDS: Final = 0.02
_DATABASES: Final = 15  # of a Redis, besides the first

KILL: Final = "kill"  # SIGKILL, at the point
KILL_DURING: Final = "kill_during"  # SIGKILL, shortly after it
STOP: Final = "stop"  # SIGSTOP
CANCEL: Final = "cancel"  # the customer cancels at this moment; the worker goes on


@dataclass(frozen=True, slots=True)
class Strike:
    """What happens when a point is reached for the ``nth`` time in a worker."""

    point: str
    does: str = KILL
    nth: int = 1

    def __post_init__(self) -> None:
        if self.point not in POINTS:
            raise ValueError(f"there is no fault point {self.point!r}")

    def __str__(self) -> str:
        times = f" no. {self.nth}" if self.nth > 1 else ""
        return f"{self.does} at {self.point}{times}"


# ---- in a worker ---------------------------------------------------------------------------


class Shortened(Provider):
    """The product's runner of tasks, with less patience."""

    scope = Scope.APP
    lease_seconds = LEASE_SECONDS

    @decorate
    def run_task(self, run: RunTask[AllocationUnit]) -> RunTask[AllocationUnit]:
        return replace(run, lease=timedelta(seconds=self.lease_seconds))


def make_container(settings: Settings) -> AsyncContainer:
    return make_async_container(Outside(), *inside(), Shortened(), context={Settings: settings})


class Struck(app.TaskRunner):
    """Runs tasks as a worker does, and meets its strikes on the way."""

    strikes: Sequence[Strike] = ()
    task: TaskId | None = None

    async def __call__(self, task_id: TaskId) -> None:
        reached: Counter[str] = Counter()

        async def strike(name: str) -> None:
            reached[name] += 1
            for each in self.strikes:
                if (each.point, each.nth) == (name, reached[name]):
                    await self._do(each.does, task_id)

        with armed(strike):
            await super().__call__(task_id)
        if self.task is not None:
            os._exit(0)

    async def _do(self, does: str, task_id: TaskId) -> None:
        if does == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        elif does == STOP:
            # To this very thread: sent to the process, another may be the one to take it, and until
            # that is scheduled this one goes on, into transactions that nobody ends.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        elif does == KILL_DURING:
            loop = asyncio.get_running_loop()
            loop.call_later(DURING_SECONDS, os.kill, os.getpid(), signal.SIGKILL)
        else:
            await self._cancel(task_id)

    async def _cancel(self, task_id: TaskId) -> None:
        """What ``ask_to_cancel`` writes while a step is under way."""
        if self.container is None:
            raise AssertionError("a task runs in a container")
        transactions = await self.container.get(Transactions[AllocationUnit])
        async with transactions.begin(unit.Scope.platform()) as here:
            task = await here.tasks.lock(task_id)
            if task is None:
                raise AssertionError("a task that runs is there")
            await here.tasks.put(replace(task, cancel_requested_at=await here.now()))


def _serve(settings: Settings, strikes: Sequence[Strike]) -> None:
    Struck.strikes = strikes
    asyncio.run(app.serve(settings))


def _one(settings: Settings, strikes: Sequence[Strike], task_id: TaskId, queue: int) -> None:
    address = settings.redis_url.reveal().rpartition("/")[0]
    broker = make_broker(Secret(f"{address}/{1 + queue % _DATABASES}"))
    Struck.strikes, Struck.task = strikes, task_id
    runner = Struck(settings)
    sender = TaskQueue.over(broker, runner)
    consumer = dramatiq.Worker(broker, worker_threads=1)
    broker.flush_all()
    consumer.start()
    sender.send(task_id)
    while True:
        signal.pause()


# ---- the nursery ---------------------------------------------------------------------------


def _born(order: Mapping[str, Any]) -> NoReturn:
    """Be the worker of ``order``, in a process that was just forked."""
    status = 1
    try:
        with open(order["log"], "ab") as log:  # noqa: PTH123  descriptors are what is wanted
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        configure_logs()
        setattr(app, "make_container", make_container)  # noqa: B010  a name it imports for itself
        setattr(app, "TaskRunner", Struck)  # noqa: B010  mypy knows it as a class
        settings = Settings.of(order["environment"])
        strikes = [Strike(**each) for each in order["strikes"]]
        Shortened.lease_seconds = order["lease_seconds"]
        if order["task"]:
            _one(settings, strikes, TaskId(order["task"]), order["number"])
        else:
            _serve(settings, strikes)
        status = 0
    except BaseException:  # noqa: BLE001  a forked process may not go on as its parent would
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _say(**word: object) -> None:
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()


def _nursery() -> None:
    """Fork a worker for each line; say when one was born and how it ended; end with its parent."""
    living: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            if selector.select(_POLL_SECONDS):
                if not (line := sys.stdin.readline()):
                    break
                if not (pid := os.fork()):
                    _born(json.loads(line))
                living.add(pid)
                _say(born=pid)
            while living and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                living.discard(ended[0])
                _say(ended=ended[0], status=os.waitstatus_to_exitcode(ended[1]))
    for pid in living:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# ---- in a test -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process, seen from the test."""

    pid: int
    end: "asyncio.Future[int]"

    async def ended(self, seconds: float = 60) -> int:
        """Return its exit status; negative is the signal that killed it."""
        async with asyncio.timeout(seconds):
            return await asyncio.shield(self.end)

    async def stopped(self, seconds: float = 60) -> None:
        """Return when it has stopped itself."""
        async with asyncio.timeout(seconds):
            while self._state() != "T":
                assert not self.end.done(), f"it ended with {self.end.result()}"
                await asyncio.sleep(_POLL_SECONDS)

    def _state(self) -> str:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


class Nursery:
    """Starts workers; ends them all when its block ends."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = dict(environment)
        self._log = log
        self._number = 0
        self._births: asyncio.Queue[Worker] = asyncio.Queue()
        self._living: dict[int, Worker] = {}
        self._asking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        tests = str(Path(__file__).parent.parent)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "world.killable",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=dict(os.environ)
            | {"PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])},
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reading

    async def serve(self, *strikes: Strike) -> Worker:
        """Start all of a worker."""
        return await self._start("", strikes)

    async def one(
        self, task_id: str, *strikes: Strike, lease_seconds: int = LEASE_SECONDS
    ) -> Worker:
        """Start a worker that is given this task and no other."""
        return await self._start(task_id, strikes, lease_seconds)

    async def _start(
        self, task_id: str, strikes: Sequence[Strike], lease_seconds: int = LEASE_SECONDS
    ) -> Worker:
        assert self._process.stdin is not None
        async with self._asking:
            self._number += 1
            order = {
                "environment": self._environment,
                "log": str(self._log),
                "strikes": [asdict(each) for each in strikes],
                "task": task_id,
                "lease_seconds": lease_seconds,
                "number": self._number,
            }
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            async with asyncio.timeout(30):
                return await self._births.get()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            match json.loads(line):
                case {"born": pid}:
                    worker = Worker(pid, asyncio.get_running_loop().create_future())
                    self._living[pid] = worker
                    self._births.put_nowait(worker)
                case {"ended": pid, "status": status}:
                    self._living.pop(pid).end.set_result(status)
                case other:
                    raise AssertionError(other)

    def words(self) -> str:
        """Return what the workers said last, for a failure's report."""
        return self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""


if __name__ == "__main__":
    _nursery()
