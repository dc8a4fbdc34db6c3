"""One world from its seed to its end: put together, let loose, calmed down, and looked over."""

import asyncio
import hashlib
import traceback
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from gpucloud_adapters.memory.cloud import START, MemoryCloud
from gpucloud_adapters.memory.simulation.checks import Checks
from gpucloud_adapters.memory.simulation.coverage import Coverage
from gpucloud_adapters.memory.simulation.dice import Dice
from gpucloud_adapters.memory.simulation.invariants import ENDED, Breach
from gpucloud_adapters.memory.simulation.keepers import Keepers
from gpucloud_adapters.memory.simulation.mischief import Mischief
from gpucloud_adapters.memory.simulation.nodes import RestlessNodes
from gpucloud_adapters.memory.simulation.operators import Operators
from gpucloud_adapters.memory.simulation.people import Customer
from gpucloud_adapters.memory.simulation.provider import RestlessPayments
from gpucloud_adapters.memory.simulation.terminals import Terminals
from gpucloud_adapters.memory.simulation.trouble import RestlessTransactions
from gpucloud_adapters.memory.simulation.virtual import WorldClock, run_virtually
from gpucloud_adapters.memory.simulation.waiting import Waiting
from gpucloud_adapters.memory.simulation.watch import Changed, watched_database
from gpucloud_adapters.memory.simulation.workers import Workers
from gpucloud_adapters.stored.kinds import ALLOCATIONS, STATE_CHANGES, TASKS, WEBHOOK_EVENTS
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.billing.webhooks import ReceiveWebhook
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.nodes.systems import hgx_h200

PRICE: Final = 3_290_000
_DAY: Final = 86_400.0
_HOUR: Final = 3600.0
_MINUTE: Final = 60.0
_QUIET_LOOKS: Final = 3
_ROUNDS_MAX: Final = 40
_RECORDS: Final = frozenset({"audit_rows", "task_events", "state_changes"})
_TAIL: Final = 80  # last lines of the story that a failure shows
_PATIENCE: Final = timedelta(days=10)  # how long a calm world may take to come to rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a world is made of. Two worlds of one plan are the same to the last event."""

    seed: int
    days: float = 3
    tenants: int = 4
    nodes: int = 2
    pause_hours: float = 3
    rough: float = 1  # how often single calls and transactions go wrong, against a usual world


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of a world."""

    plan: Plan
    breaches: tuple[str, ...]
    fingerprint: str  # of every event in order
    events: int
    virtual_days: float
    counts: Mapping[str, Mapping[str, int]]
    taken: Mapping[str, Mapping[str, int]]  # by machine, each move of it, and how often
    story: tuple[str, ...]  # the end of it

    @property
    def ok(self) -> bool:
        return not self.breaches


def simulate(plan: Plan, *, tell: Callable[[str], None] | None = None) -> Report:
    """Run the world of ``plan`` to its end, or to its first breach; ``tell`` hears every line."""
    return run_virtually(World(plan, tell=tell).run())


class PlainHasher:
    """Passwords of people who do not exist, kept as they are: hashing takes real time."""

    async def hash(self, password: str) -> str:
        return password

    async def verify(self, encoded: str | None, password: str) -> bool:
        return encoded == password


class World:
    """Everything there is. Build and ``run`` on a virtual loop."""

    def __init__(self, plan: Plan, *, tell: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.tell = tell
        self.breaches: list[str] = []
        self._events = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._story: deque[str] = deque(maxlen=_TAIL)
        self._broken = asyncio.Event()

    async def run(self) -> Report:
        await self._found()
        story = asyncio.create_task(self._tell_all())
        broken = asyncio.create_task(self._broken.wait())
        await asyncio.wait({story, broken}, return_when=asyncio.FIRST_COMPLETED)
        if story.done():
            story.result()
        return self._report()

    # ---- the story -----------------------------------------------------------------------------

    async def _found(self) -> None:
        plan = self.plan
        self.clock = WorldClock()
        topologies = {f"node-{n + 1}": hgx_h200(seed=f"node-{n + 1}") for n in range(plan.nodes)}
        database = watched_database(self._committed)
        self.nodes = RestlessNodes(
            topologies,
            clock=self.clock,
            dice=self._dice("nodes"),
            told=self._node_changed,
            rough=plan.rough,
        )
        self.payments = RestlessPayments(self.clock, self._dice("provider"), log=self.log)
        self.transactions = RestlessTransactions(
            self.clock, database, self._dice("database"), rough=plan.rough
        )
        self.cloud = MemoryCloud(
            clock=self.clock,
            transactions=self.transactions,
            driver=self.nodes,
            hasher=PlainHasher(),
        )
        self.workers = Workers(
            self.cloud,
            self.clock,
            self.payments,
            dice=self._dice("workers"),
            serve_dice=self._dice("waitlist"),
            crashed=self._crashed,
            log=self.log,
        )
        self.keepers = Keepers(self.cloud, self._dice("keepers"), self.workers.start)
        self.workers.happened = self.keepers.happened
        self.payments.receive = ReceiveWebhook(
            transactions=self.cloud.transactions, processor=self.payments
        )
        self.coverage = Coverage(database)
        self.checks = Checks(
            database,
            self.nodes,
            self.clock,
            found=self._broke,
            payments=self.payments,
            away=lambda: self.workers.away,
            lied_about=self.nodes.lied_about,
        )
        self.operators = Operators(self.cloud, dice=self._dice("operators"), log=self.log)
        self.mischief = Mischief(
            self.nodes, self.workers, self.clock, dice=self._dice, log=self.log
        )
        terminals = Terminals(self.cloud)
        self.customers = [
            Customer(
                name=f"customer-{number + 1}",
                cloud=self.cloud,
                clock=self.clock,
                payments=self.payments,
                terminals=terminals,
                waiting=Waiting(cloud=self.cloud, dice=self._dice(f"queue {number + 1}")),
                dice=self._dice(f"customer {number + 1}"),
                log=self.log,
                pause_seconds=plan.pause_hours * _HOUR,
            )
            for number in range(plan.tenants)
        ]
        await self.cloud.stock(topologies, micros_per_gpu_hour=PRICE)

    async def _tell_all(self) -> None:
        """Let everybody live for the days of the plan; then let all become quiet, and end."""
        begun = [*(customer.live() for customer in self.customers), *self.mischief.all()]
        begun += [self.workers.reconcile(), self.workers.serve(), self.keepers.sweep()]
        begun += [self.operators.work(), self.operators.tend()]
        life = [asyncio.create_task(self._survive(each)) for each in (*begun, self._watch())]
        await asyncio.sleep(self.plan.days * _DAY)
        for each in life:
            each.cancel()
        self.log("world: calm")
        self.mischief.calm()
        self.transactions.is_calm = True
        await self.operators.bring_all_back()
        self.payments.calm()
        await self._agree()
        await self.keepers.look_round()
        self.checks.at_rest()
        self.checks.records(self.keepers.anchors.kept)
        await self._empty()
        await self.keepers.look_round()
        self.checks.at_the_end()
        self.checks.records(self.keepers.anchors.kept)

    async def _survive(self, story: Coroutine[Any, Any, None]) -> None:
        try:
            await story
        except Exception as error:  # noqa: BLE001  whatever a use case did not foresee: a finding
            self._crashed("life", error)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_HOUR)
            self.checks.time_passed()
            for what, at in self.workers.overdue():
                self._broke(Breach("I11", what, f"due since {at}, and nobody does it"))

    async def _rest(self) -> None:
        """Wait until nothing moves any more."""
        patience = self.clock.true_time() + _PATIENCE
        quiet = 0
        while quiet < _QUIET_LOOKS:
            await asyncio.sleep(_MINUTE)
            quiet = 0 if self._moves() else quiet + 1
            if self.clock.true_time() > patience:
                self._broke(Breach("settle", "world", f"it does not rest: {self._moves()}"))
                return

    async def _agree(self) -> None:
        """Rest, and reconcile, until two rounds in a row find nothing."""
        quiet = 0
        for _ in range(_ROUNDS_MAX):
            await self._rest()
            drifts = await self.cloud.reconcile()
            quiet = 0 if drifts else quiet + 1
            if quiet == 2:  # noqa: PLR2004  what "settled" means
                return
            await asyncio.sleep(2 * _HOUR)
        self._broke(Breach("settle", "world", f"rows and nodes never agree: {drifts}"))

    def _moves(self) -> str:
        """Say what still moves; nothing when all is at rest."""
        database = self.cloud.transactions.database
        going = [task.id for task in database.rows(TASKS) if task.steps and not task.finished_at]
        if going:
            return f"{going[0]} and {len(going) - 1} more tasks"
        if any(not event.handled_at for event in database.rows(WEBHOOK_EVENTS)):
            return "an event of the provider is not handled"
        if self.keepers.has_untold:
            return "somebody is not told yet"
        if self.payments.has_news:
            return "the provider has news"
        return "an order is on its way to a node" if self.nodes.has_stragglers else ""

    async def _empty(self) -> None:
        """Let everybody leave, until nobody has anything any more."""
        database = self.cloud.transactions.database
        for _ in range(_PATIENCE.days):
            for customer in self.customers:
                await customer.leave()
            await self._agree()
            rows = database.rows(ALLOCATIONS)
            if all(row.state in ENDED for row in rows):
                return
            for row in rows:
                if row.state is AllocationState.RELEASE_FAILED:
                    await self.operators.mend(row)

    # ---- what is seen --------------------------------------------------------------------------

    def log(self, line: str) -> None:
        """Tell a line of the story. The lines in their order are the fingerprint of a world."""
        self._events += 1
        told = f"{rfc3339(self.clock.true_time())} {line}"
        self._hash.update(told.encode())
        self._story.append(told)
        if self.tell is not None:
            self.tell(told)

    def _committed(self, changed: Changed) -> None:
        self.log(f"  {_in_words(changed)}")
        database = self.cloud.transactions.database
        for key in changed.get(STATE_CHANGES.table, ()):
            change = database.table(STATE_CHANGES).rows[key]
            subject = _short(change.allocation_id)
            self.log(f"  {subject} {change.state} by {change.event}: {change.reason}")
        self.coverage.look(changed)
        self.workers.look(database, changed)
        self.checks.committed(changed)

    def _node_changed(self, host: str, verb: str) -> None:
        self.log(f"  {host}: {verb}")
        self.checks.node_changed(host)

    def _crashed(self, what: str, error: Exception) -> None:
        trace = "".join(traceback.format_exception(error))
        self._broke(Breach("crash", what, trace))

    def _broke(self, breach: Breach) -> None:
        self.log(str(breach))
        self.breaches.append(str(breach))
        self._broken.set()

    def _report(self) -> Report:
        ends = Counter(row.state for row in self.cloud.transactions.database.rows(ALLOCATIONS))
        answers: Counter[str] = Counter()
        for customer in self.customers:
            answers += customer.answers
        return Report(
            plan=self.plan,
            breaches=tuple(self.breaches),
            fingerprint=self._hash.hexdigest(),
            events=self._events,
            virtual_days=(self.clock.true_time() - START) / timedelta(days=1),
            counts={
                "allocations": dict(sorted(ends.items())),
                "answers": dict(sorted(answers.items())),
                "nodes": dict(sorted(self.nodes.met.items())),
                "payments": dict(sorted(self.payments.met.items())),
                "database": dict(sorted(self.transactions.met.items())),
                "workers": dict(sorted(self.workers.met.items())),
                "mischief": dict(sorted(self.mischief.met.items())),
                "points": dict(sorted(self.workers.reached.items())),
            },
            taken=self.coverage.taken,
            story=tuple(self._story),
        )

    def _dice(self, actor: str) -> Dice:
        return Dice(self.plan.seed, actor)


def _in_words(changed: Changed) -> str:
    """Say which rows a commit changed; what only records the rest is left out."""
    return ", ".join(
        f"{name} {' '.join(map(_short, keys))}"
        for name, keys in changed.items()
        if name not in _RECORDS
    )


def _short(key: str) -> str:
    """Return a counted id without its leading zeros."""
    prefix, _, number = key.partition("_")
    return f"{prefix}_{number.lstrip('0')}"
