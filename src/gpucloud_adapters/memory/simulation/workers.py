"""Workers that die: due work is found in committed rows, taken up, dropped, and taken up again.

What the outbox hands on and what falls due is seen in each commit, as the relay and the sweep see
it, with their delays, their repetitions and their losses. A worker is killed at fault points and
at any other moment, or falls asleep in the middle of a task and wakes up after others have taken
it over; now and then there is none at all.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias

from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.memory.database import MemoryDatabase
from gpucloud_adapters.memory.simulation.dice import Dice
from gpucloud_adapters.memory.simulation.trouble import exposed
from gpucloud_adapters.memory.simulation.virtual import WorldClock
from gpucloud_adapters.memory.simulation.watch import EVENTS, Changed
from gpucloud_adapters.stored.kinds import (
    ALLOCATIONS,
    BILLING_ACCOUNTS,
    TASKS,
    USAGE_SEGMENTS,
    WAITLIST,
    WEBHOOK_EVENTS,
)
from gpucloud_core.allocations.endings import ReleaseExpired, ReleaseUnfunded
from gpucloud_core.allocations.launch import LaunchAllocations
from gpucloud_core.allocations.reconcile import ReconcileMoney, ReconcileNode
from gpucloud_core.billing.due import MeetDeadline, SettleDue
from gpucloud_core.billing.ports import PaymentProcessor
from gpucloud_core.billing.webhooks import DueWebhooks, HandleWebhook
from gpucloud_core.kernel.errors import DomainError, IllegalTransition
from gpucloud_core.kernel.faults import armed
from gpucloud_core.kernel.ids import NodeId, TaskId, TenantId
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.unit import Event, Scope
from gpucloud_core.waitlist.serve import ServeWaitlist

Job: TypeAlias = Callable[[], Awaitable[object]]

DueOf: TypeAlias = Callable[[Any], datetime | None]

_DUE: Final[dict[str, tuple[str, DueOf]]] = {
    "task": (TASKS.table, lambda row: None if row.finished_at else row.due_at),
    "deadlines": (BILLING_ACCOUNTS.table, lambda row: row.next_deadline_at),
    "settle": (USAGE_SEGMENTS.table, lambda row: row.next_settlement_at),
    "expired": (ALLOCATIONS.table, lambda row: row.releases_at),
    "webhooks": (WEBHOOK_EVENTS.table, lambda row: row.next_try_at),
}
"""The due rows of each kind of work: their table, and when one of them is due, if ever."""

_CADENCE: Final = {"task": 3.0, "deadlines": 1.0, "settle": 10.0, "expired": 5.0, "webhooks": 1.0}
"""Within how many seconds each kind of due row is found, if the workers are well."""

_AGAIN: Final = {
    "task": timedelta(seconds=10),
    **dict.fromkeys(("deadlines", "settle", "expired", "webhooks"), timedelta(seconds=1)),
}
"""How soon the same row is taken up again."""

_LIVELY: Final = frozenset({"work.before_call", "work.after_call"})
"""Where a worker may fall asleep: outside every transaction and every timeout."""

_NAPS: Final = ((10, 40), (60, 1800))
"""For how many seconds: until somebody else is in the middle of it, or has long done it."""

_RECONCILE_SECONDS: Final = 3600.0  # far apart: in life it is a minute, and as many reads
_SERVE_SECONDS: Final = 120.0  # far apart: in life it is seconds
_PATIENCE: Final = timedelta(hours=2)  # a due row that stays due for so long is never met
_REBORN: Final = (2.0, 30.0)  # seconds until a killed worker is there again


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


@dataclass(slots=True)
class Worker:
    """One process: what it does at present, and whether it lives."""

    name: str
    jobs: set[asyncio.Task[None]] = field(default_factory=set)
    is_up: bool = True


class Workers:
    """All workers, and everything that makes them work.

    Args:
        cloud: whose work it is.
        processor: reads stored payment events.
        dice: decides who lives.
        serve_dice: decides when the waitlist is served.
        crashed: told of every exception that no use case foresees.
        log: told what happens to the workers.
    """

    happened: Callable[[StoredEvent], None] = staticmethod(lambda _: None)

    def __init__(
        self,
        cloud: MemoryCloud,
        clock: WorldClock,
        processor: PaymentProcessor,
        *,
        dice: Dice,
        serve_dice: Dice,
        crashed: Callable[[str, Exception], None],
        log: Callable[[str], None],
        count: int = 2,
    ) -> None:
        self.is_calm = False
        self.met: Final[Counter[str]] = Counter()
        self.reached: Final[Counter[str]] = Counter()
        self.away = timedelta(0)  # for how long, altogether, there was none
        self._workers = [Worker(f"worker {number + 1}") for number in range(count)]
        self._cloud = cloud
        self._clock = clock
        self._dice = dice
        self._serve_dice = serve_dice
        self._crashed = crashed
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._due: dict[str, dict[str, datetime]] = {kind: {} for kind in _DUE}
        self._everybody_back = 0.0
        self._run_task = cloud.runner()
        transactions = cloud.transactions
        self._unfunded = ReleaseUnfunded(transactions=transactions, ids=cloud.ids)
        self._handle = HandleWebhook(transactions=transactions, processor=processor)
        self._due_webhooks = DueWebhooks(transactions=transactions)
        self._reconcile_node = ReconcileNode(
            transactions=transactions, ids=cloud.ids, driver=cloud.driver
        )
        self._reconcile_money = ReconcileMoney(transactions=transactions, ids=cloud.ids)
        self._jobs: dict[str, Job] = {
            "deadlines": MeetDeadline(transactions=transactions),
            "settle": SettleDue(transactions=transactions),
            "expired": ReleaseExpired(transactions=transactions, ids=cloud.ids),
            "webhooks": self._webhooks,
        }

    @property
    def is_busy(self) -> bool:
        return any(worker.jobs for worker in self._workers)

    def overdue(self) -> Iterator[tuple[str, datetime]]:
        """Give what has been due for longer than finding it may take, and since when."""
        latest = self._clock.now() - _PATIENCE - self.away
        for kind, rows in self._due.items():
            for key, at in rows.items():
                if at < latest:
                    yield f"{kind} {key}", at

    # ---- finding work --------------------------------------------------------------------------

    def look(self, database: MemoryDatabase, changed: Changed) -> None:
        """See what a commit has made due, and when; and hand its events on."""
        for kind, (table, due_of) in _DUE.items():
            for key in changed.get(table, ()):
                row = database.tables[table].rows.get(key)
                at = None if row is None else due_of(row)
                if at is None:
                    self._due[kind].pop(key, None)
                else:
                    self._due[kind][key] = at
                    self._wake(f"task {key}" if kind == "task" else kind, at)
        for number in changed.get(EVENTS, ()):
            stored = database.events[int(number)]
            self.happened(stored)
            self._hand_on(stored.event)

    def _wake(self, name: str, at: datetime) -> None:
        """Do the work ``name`` when ``at`` has come and somebody has found it."""
        kind = name.partition(" ")[0]
        when = self._loop.time() + self._clock.seconds_until(at)
        when += self._dice.between(0, _CADENCE[kind])
        known = self._waiting.get(name)
        if known is not None:
            if kind != "task" and known.when() <= when:
                return  # that one looks at all that is due then, and looks again for the rest
            known.cancel()
        self._waiting[name] = self._loop.call_at(when, self._find, name)

    def _find(self, name: str) -> None:
        worker = self._free_worker()
        if worker is None:
            later = max(self._everybody_back, self._loop.time()) + self._dice.between(1, 10)
            self._waiting[name] = self._loop.call_at(later, self._find, name)
            return
        self._waiting.pop(name, None)
        kind, _, key = name.partition(" ")
        job = partial(self._run_task, TaskId(key)) if kind == "task" else self._jobs[kind]
        running = self._start(worker, name, job)
        running.add_done_callback(lambda _: self._look_again(name, kind, key))
        if not self.is_calm and self._dice.chance(0.03):
            self.met["given twice"] += 1
            self._start(self._dice.pick(self._workers), name, job)

    def _look_again(self, name: str, kind: str, key: str) -> None:
        """Find work anew that is still to be done, whatever became of whoever had it."""
        if kind == "task":
            upcoming = self._due[kind].get(key)
        else:
            upcoming = min(self._due[kind].values(), default=None)
        if upcoming is not None and (kind != "task" or name not in self._waiting):
            soonest = self._clock.now() + _AGAIN[kind]
            self._wake(name, max(upcoming, soonest))

    async def _webhooks(self) -> None:
        for event_id in await self._due_webhooks():
            await self._handle(event_id)

    def _hand_on(self, event: Event) -> None:
        """Give a committed event to its consumer: once, twice, or to one that dies over it."""
        consumers: dict[str, Callable[[str], Job]] = {
            "task.queued": lambda subject: partial(self._run_task, TaskId(subject)),
            "billing.depleted": lambda subject: partial(self._unfunded, TenantId(subject)),
            "payment.event_received": lambda subject: partial(self._handle, subject),
        }
        consumer = consumers.get(event.kind)
        if consumer is None:
            return
        fate = "once" if self.is_calm else self._dice.weighed({"once": 90, "twice": 5, "lost": 5})
        if fate != "once":
            self.met[f"event {fate}"] += 1
        for _ in range({"once": 1, "twice": 2, "lost": 0}[fate]):
            delay = self._dice.between(0.001, 0.5)
            self._loop.call_later(delay, self._consume, event.kind, consumer(event.subject))

    def _consume(self, kind: str, job: Job) -> None:
        worker = self._free_worker()
        if worker is None:  # the relay is as dead as they are, and goes on from where it was
            later = max(self._everybody_back - self._loop.time(), 1.0)
            self._loop.call_later(later, self._consume, kind, job)
            return
        self._start(worker, kind, job)

    # ---- doing it, and dying over it -----------------------------------------------------------

    def _free_worker(self) -> Worker | None:
        up = [worker for worker in self._workers if worker.is_up]
        return self._dice.pick(up) if up else None

    def start(self, name: str, job: Job) -> asyncio.Task[None] | None:
        """Have any worker do a job; None if none is there."""
        worker = self._free_worker()
        return None if worker is None else self._start(worker, name, job)

    def _start(self, worker: Worker, name: str, job: Job) -> asyncio.Task[None]:
        running = asyncio.create_task(self._guard(worker, name, job))
        worker.jobs.add(running)
        running.add_done_callback(worker.jobs.discard)
        if not worker.is_up:
            running.cancel()
        return running

    async def _guard(self, worker: Worker, name: str, job: Job) -> None:
        """Run one job as its process would: whatever it raises ends at the job's own door."""
        with suppress(Killed), armed(partial(self._strike, worker)), exposed():
            try:
                await job()
            except DomainError as error:
                self._log(f"{worker.name}: {name} {error.code}")
                if isinstance(error, IllegalTransition):
                    self._crashed(name, error)
            except Exception as error:  # noqa: BLE001  the outermost loop: it is a finding
                if isinstance(error, ExceptionGroup) and error.split(DomainError)[1] is None:
                    self._log(f"{worker.name}: {name} {error}")  # each in its own transaction
                    return
                self._crashed(name, error)

    async def _strike(self, worker: Worker, point: str) -> None:
        self.reached[point] += 1
        if self.is_calm:
            return
        if self._dice.chance(0.004):
            self.met["killed at a point"] += 1
            self._log(f"{worker.name}: killed at {point}")
            self._kill(worker)
            raise Killed
        if point in _LIVELY and self._dice.chance(0.006):
            self.met["fell asleep"] += 1
            seconds = self._dice.between(*self._dice.pick(_NAPS))
            self._log(f"{worker.name}: asleep at {point} for {seconds:.0f} s")
            await asyncio.sleep(seconds)

    def calm(self) -> None:
        """Be well, all of them, from now on."""
        self.is_calm = True
        self._everybody_back = self._loop.time()
        for worker in self._workers:
            worker.is_up = True

    async def reconcile(self) -> None:
        """Compare every node and the money with the rows, for ever, dying over it at times."""
        while True:
            await asyncio.sleep(self._dice.between(0.5, 1.5) * _RECONCILE_SECONDS)
            self.start("reconcile", self._look_round)

    async def serve(self) -> None:
        """Serve the waitlist, for ever, dying over it at times."""
        launch = LaunchAllocations(
            transactions=self._cloud.transactions, ids=self._cloud.ids, fleet=self._cloud.fleet
        )
        serve = ServeWaitlist(transactions=self._cloud.transactions, launch=launch)
        dice = self._serve_dice
        while True:
            await asyncio.sleep(dice.between(0.5, 1.5) * _SERVE_SECONDS)
            if any(row.due_at for row in self._cloud.transactions.database.rows(WAITLIST)):
                self.start("waitlist", serve)

    async def _look_round(self) -> None:
        for node in await self._nodes():
            with suppress(DomainError):  # it does not answer: the next round will tell
                await self._reconcile_node(node)
        await self._reconcile_money()

    async def _nodes(self) -> tuple[NodeId, ...]:
        async with self._cloud.transactions.begin(Scope.platform()) as unit:
            return tuple(node.id for node in await unit.nodes.find())

    def kill_one(self) -> None:
        """Kill a worker wherever it is."""
        worker = self._dice.pick(self._workers)
        if worker.is_up:
            self.met["killed anywhere"] += 1
            self._log(f"{worker.name}: killed")
            self._kill(worker)

    def send_all_away(self, seconds: float) -> None:
        """Kill all workers, and let none be started for a while."""
        self.met["all away"] += 1
        self._log(f"workers: all away for {seconds:.0f} s")
        self._everybody_back = max(self._everybody_back, self._loop.time() + seconds)
        self.away += timedelta(seconds=seconds)
        for worker in self._workers:
            self._kill(worker)

    def _kill(self, worker: Worker) -> None:
        worker.is_up = False
        for job in worker.jobs - {asyncio.current_task()}:
            job.cancel()
        back = self._loop.time() + self._dice.between(*_REBORN)
        self._loop.call_at(max(back, self._everybody_back), self._revive, worker)

    def _revive(self, worker: Worker) -> None:
        worker.is_up = self._loop.time() >= self._everybody_back - _REBORN[0]
