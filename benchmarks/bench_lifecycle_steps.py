"""Steps of tasks per second, and how soon a queued task is taken up, beside bare Dramatiq jobs.

The way is the product's own: a transaction writes the task and its event, the bell wakes the relay,
the relay sends a message, a worker takes the task up and carries its steps out: what came of each
is committed with the intent of the next before that begins. The steps do nothing else and declare
so, as most steps of a release do; so this is what the runner costs. Bare jobs do nothing at all and
promise nothing; between the two stand jobs that commit one change of a row, as whatever is not to
be lost must. Real launches and releases, on nodes in memory, say what the steps themselves write.
All take turns on the same Valkey, PostgreSQL and worker.

    python benchmarks/bench_lifecycle_steps.py [--json]
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any, Final

import asyncpg
import dramatiq
from grounds import Report, fdatasync_ms, main, quantile, servers
from real_launches import GPUS, LAUNCH_STEPS, Launches, launch_actions
from redis.asyncio import Redis

from gpucloud_adapters.postgres.engine import Engine, create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions, PostgresUnit
from gpucloud_adapters.redis.outbox_bell import OutboxBell
from gpucloud_adapters.settings import Secret
from gpucloud_adapters.system import SystemIds, SystemSecrets
from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.kernel.unit import Event, Json, Scope
from gpucloud_core.work.model import Step, Task
from gpucloud_core.work.plan import Finish, Saga, StepPlan
from gpucloud_core.work.run import RunTask
from gpucloud_workers.app import LOOK_MS
from gpucloud_workers.queue import TaskQueue, make_broker
from gpucloud_workers.relay import Relay
from gpucloud_workers.schedule import Job, keep
from world.market import Customer, Market

STEPS: Final = 6  # as a launch has
TASKS: Final = 300
JOBS: Final = 1_500
COMMITTING_JOBS: Final = 600
ROUNDS: Final = 3
PACED: Final = 150
PACE_SECONDS: Final = 0.04
THREADS: Final = 16  # what serves bare jobs best; ours need fewer
STEPS_BAR: Final = 0.5
DISPATCH_BAR_MS: Final = 50.0
SAGA: Final = Saga(
    kind="bench",
    title="Bench",
    undoes=False,
    shares_finish=True,
    steps=tuple(
        StepPlan(
            key=f"step_{number}",
            title="Step",
            usual=timedelta(seconds=1),
            shares_begin=True,
            shares_end=True,
        )
        for number in range(STEPS)
    ),
)


@dataclass(slots=True)
class Nothing:
    """A saga whose steps do nothing, and say when it began."""

    saga: Saga = SAGA
    begun: dict[str, float] = field(default_factory=dict)

    async def lock(self, unit: PostgresUnit, task: Task) -> None: ...

    def intent(self, task: Task, step: str) -> str:
        return ""

    async def step_begun(self, unit: PostgresUnit, task: Task, step: str) -> None: ...

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        return {}

    async def undo(self, task: Task, step: Step) -> None: ...

    async def step_done(self, unit: PostgresUnit, task: Task, step: Step) -> None: ...

    async def undoing(self, unit: PostgresUnit, task: Task) -> None: ...

    async def is_late(self, unit: PostgresUnit, task: Task) -> bool:
        return False

    async def held_back(self, unit: PostgresUnit, task: Task, step: str) -> str:
        return ""

    async def finished(self, unit: PostgresUnit, task: Task, finish: Finish) -> None: ...


@dataclass(kw_only=True)
class Worker:
    """One worker process's consumer, and the three kinds of work it can be given."""

    database_url: str
    broker: dramatiq.Broker
    actions: Nothing = field(default_factory=Nothing)
    done: list[float] = field(default_factory=list)
    ended: int = 0  # runs of tasks
    run: RunTask[PostgresUnit] | None = None
    engine: Engine | None = None
    pool: asyncpg.Pool | None = None
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.queue = TaskQueue.over(self.broker, self._task)
        declare = dramatiq.actor(broker=self.broker, actor_name="bare", queue_name="bare")
        self.bare = declare(self._bare)
        declare = dramatiq.actor(broker=self.broker, actor_name="row", queue_name="row")
        self.row = declare(self._row)
        self.consumer = dramatiq.Worker(self.broker, worker_threads=THREADS, worker_timeout=LOOK_MS)

    async def _task(self, task_id: TaskId) -> None:
        self.actions.begun.setdefault(task_id, time.perf_counter())
        if self.run is None:
            self.engine = create_engine(self.database_url)
            transactions = PostgresTransactions(self.engine)
            self.run = RunTask(
                transactions=transactions,
                ids=SystemIds(),
                jitter=SystemSecrets(),
                actions={SAGA.kind: self.actions, **launch_actions(transactions)},
            )
        await self.run(task_id)
        self.ended += 1

    async def _bare(self, sent: float) -> None:
        self.done.append(time.perf_counter() - sent)

    async def _row(self, number: int) -> None:
        async with self.opening:
            if self.pool is None:
                self.pool = await asyncpg.create_pool(self.database_url, min_size=10, max_size=10)
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.fetchrow("SELECT * FROM jobs WHERE id = $1 FOR UPDATE", number)
            await connection.execute("UPDATE jobs SET steps = steps + 1 WHERE id = $1", number)
        self.done.append(0.0)


@dataclass(kw_only=True)
class Office:
    """Where tasks come from."""

    transactions: PostgresTransactions
    customer: Customer
    ids: SystemIds = field(default_factory=SystemIds)

    async def task(self, *, tell: bool) -> TaskId:
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            task = Task(
                id=TaskId(self.ids.new("tsk")),
                tenant_id=self.customer.actor.tenant_id,
                project_id=self.customer.project_id,
                kind=SAGA.kind,
                subject="",
                steps=SAGA.fresh_steps({}),
                due_at=now,
                created_at=now,
            )
            await unit.tasks.add(task)
            if tell:
                event = Event(kind="task.queued", subject=task.id, tenant_id=task.tenant_id)
                await unit.emit(event)
        return task.id


async def drained(begin: Callable[[], object], is_done: Callable[[], bool]) -> float:
    """Return the seconds from ``begin`` until it is done."""
    begun = time.perf_counter()
    await asyncio.to_thread(begin)
    while not is_done():  # noqa: ASYNC110  another thread tells nobody
        await asyncio.sleep(0.002)
    return time.perf_counter() - begun


async def one_round(worker: Worker, office: Office, launches: Launches) -> dict[str, Any]:
    """Give the worker each kind of work, one after the other; all is queued beforehand."""
    rates: dict[str, float] = {}
    for name, count in (("bare", JOBS), ("row", COMMITTING_JOBS)):
        worker.done.clear()
        actor: Any = getattr(worker, name)
        for number in range(count):
            actor.send(time.perf_counter() if name == "bare" else number)
        rates[name] = count / await consumed(worker, partial(has, worker.done, count))
    task_ids = [await office.task(tell=False) for _ in range(TASKS)]
    seconds = await carried_out(worker, task_ids)
    real = await carried_out(worker, await launches.launch())
    real += await carried_out(worker, await launches.release())
    return {
        "bare_jobs_per_s": round(rates["bare"]),
        "committing_jobs_per_s": round(rates["row"]),
        "steps_per_s": round(TASKS * STEPS / seconds),
        "launch_steps_per_s": round(GPUS * LAUNCH_STEPS / real),
    }


async def carried_out(worker: Worker, task_ids: Sequence[TaskId]) -> float:
    """Return the seconds until a run of each task has ended, which all do in one run."""
    worker.ended = 0
    for task_id in task_ids:
        worker.queue.send(task_id)
    return await consumed(worker, lambda: worker.ended >= len(task_ids))


def has(done: Sequence[float], count: int) -> bool:
    return len(done) >= count


async def consumed(worker: Worker, is_done: Callable[[], bool]) -> float:
    seconds = await drained(worker.consumer.resume, is_done)
    await asyncio.to_thread(worker.consumer.pause)
    return seconds


async def dispatch(worker: Worker, office: Office, relaying: Awaitable[None]) -> dict[str, Any]:
    """Give tasks and bare jobs one at a time; return how long each waited to be taken up."""
    await asyncio.to_thread(worker.consumer.resume)
    relay = asyncio.ensure_future(relaying)
    worker.done.clear()
    committed: dict[str, float] = {}
    for _ in range(PACED):
        await asyncio.to_thread(worker.bare.send, time.perf_counter())
        await asyncio.sleep(PACE_SECONDS)
        committed[await office.task(tell=True)] = time.perf_counter()
        await asyncio.sleep(PACE_SECONDS)
    async with asyncio.timeout(30):
        while not (  # noqa: ASYNC110  another thread tells nobody
            has(worker.done, PACED) and worker.actions.begun.keys() >= committed.keys()
        ):
            await asyncio.sleep(0.01)
    relay.cancel()
    with suppress(asyncio.CancelledError):
        await relay
    waits = [(worker.actions.begun[one] - at) * 1000 for one, at in committed.items()]
    bare = [wait * 1000 for wait in worker.done]
    return {
        "bare_dispatch_ms_p50": round(quantile(bare, 0.5), 1),
        "bare_dispatch_ms_p99": round(quantile(bare, 0.99), 1),
        "dispatch_ms_p50": round(quantile(waits, 0.5), 1),
        "dispatch_ms_p99": round(quantile(waits, 0.99), 1),
    }


async def measured(worker: Worker, database_url: str, redis_url: str) -> list[dict[str, Any]]:
    engine = create_engine(database_url)
    await asyncio.to_thread(worker.consumer.start)
    await asyncio.to_thread(worker.consumer.pause)
    async with Redis.from_url(redis_url) as client:
        bell = OutboxBell(client)
        transactions = PostgresTransactions(engine, committed=bell.ring)
        market = Market(transactions=transactions)
        await market.open()
        office = Office(transactions=transactions, customer=await market.customer("ada"))
        launches = Launches(market=market)
        await launches.open()
        results = [await one_round(worker, office, launches) for _ in range(ROUNDS)]

        async def wake(event: Event) -> None:
            await asyncio.to_thread(worker.queue.send, TaskId(event.subject))

        await forgotten(Relay(transactions=transactions, consumers={}))
        relay = Relay(transactions=transactions, consumers={"task.queued": wake})
        async with bell.heard() as rung:
            job = Job("relay", timedelta(milliseconds=200), relay, woken=rung)
            results.append(await dispatch(worker, office, keep(job)))
        await bell.close()
    await engine.dispose()
    await asyncio.to_thread(worker.consumer.stop)
    return results


async def forgotten(relay: Relay) -> None:
    """Mark all events of the rounds: nobody shall wait for their being handed on."""
    while await relay():
        pass


async def make_rows(superuser_url: str) -> None:
    connection = await asyncpg.connect(superuser_url)
    await connection.execute(
        "CREATE TABLE jobs (id bigint PRIMARY KEY, steps bigint NOT NULL DEFAULT 0);"
        "GRANT SELECT, UPDATE ON jobs TO PUBLIC"
    )
    await connection.execute("INSERT INTO jobs SELECT generate_series(0, 9999)")
    await connection.close()


def measure() -> Report:
    report = Report(benchmark="lifecycle_steps")
    with servers() as on:
        asyncio.run(make_rows(on.superuser_url))
        broker = make_broker(Secret(on.redis_url))
        worker = Worker(database_url=on.database_url, broker=broker)
        report.results = asyncio.run(measured(worker, on.database_url, on.redis_url))
        report.results.append({"fdatasync_ms": fdatasync_ms(on.folder)})
        broker.close()
    rounds = report.results[:ROUNDS]
    for steps in ("steps", "launch_steps"):
        for base in ("bare", "committing"):
            ratio = median(each[f"{steps}_per_s"] / each[f"{base}_jobs_per_s"] for each in rounds)
            report.ratios[f"{steps}_to_{base}"] = round(ratio, 2)
    report.at_least("steps_to_bare", report.ratios["steps_to_bare"], STEPS_BAR)
    report.at_most("dispatch_ms_p99", report.results[ROUNDS]["dispatch_ms_p99"], DISPATCH_BAR_MS)
    return report


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
