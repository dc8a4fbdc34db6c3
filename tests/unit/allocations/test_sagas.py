"""Every saga under every failure: each step repeated, failing, unanswered, killed and overslept.

Generic over ``SAGAS``: a new saga needs a scene in which its task is queued, and nothing else. The
invariants are asked after every transaction; once all has settled there is everything or nothing,
and nodes and rows agree. The points at which a worker dies or oversleeps are found by walking the
same way once before, so that a new fault point is tried without being named here.

Seen to fail when

- an undo looked only at steps that were completed: the slice of a killed worker stayed;
- the undo of a launch removed the slice and did not wipe what it left;
- the hold stayed open when a launch had failed;
- a release gave its capacity back before it was proven clean;
- a worker that had overslept its lease wrote its late result down;
- the node did not remember what was released before it was made: a worker that had overslept made
  the slice of a launch that was cancelled long ago.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, Self

import pytest

from customer import DOLLAR, KEY, Customer
from gpucloud_adapters.memory.cloud import CountedSecrets, MemoryCloud, OwnClock
from gpucloud_adapters.memory.node_driver import Fault, FaultKind, MemoryNodeDriver
from gpucloud_adapters.memory.simulation.checks import Checks
from gpucloud_adapters.memory.simulation.invariants import ENDED, Breach
from gpucloud_adapters.memory.simulation.watch import Changed, watched_database
from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_core.allocations.edit_keys import EditKeys
from gpucloud_core.allocations.force import ForceCleanAllocation
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.place import place_of, slice_spec
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.restart import RestartAllocation
from gpucloud_core.allocations.saga import SAGAS
from gpucloud_core.kernel.errors import Unavailable
from gpucloud_core.kernel.faults import POINTS, armed
from gpucloud_core.kernel.ids import AllocationId, TaskId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.holdings import Stage
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.work.model import StepStatus, Task, TaskStatus
from gpucloud_core.work.plan import Saga
from gpucloud_core.work.run import RunTask

S = AllocationState
SECOND = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKPD8ZkKbDOGcVkH3CyfdV9wKK5gOnJDBBxfGTMaTTpN desk"
PRICE = 3_290_000
LONG = timedelta(minutes=11)  # longer than any lease


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


# ---- what goes wrong in a step -----------------------------------------------------------------


class Meddled:
    """The actions of a saga, whose steps end as a script says; what it does not say goes well.

    ``script`` has the fates of the calls to come of ``do`` or ``undo`` and a step.
    """

    def __init__(self, actions: Any, script: Mapping[tuple[str, str], list[str]]) -> None:
        self._actions = actions
        self._script = script

    def __getattr__(self, name: str) -> Any:
        return getattr(self._actions, name)

    async def do(self, task: Task, step: Any) -> Any:
        return await self._call("do", task, step)

    async def undo(self, task: Task, step: Any) -> None:
        await self._call("undo", task, step)

    async def _call(self, verb: str, task: Task, step: Any) -> Any:
        fates = self._script.get((verb, step.key))
        fate = fates.pop(0) if fates else "well"
        call = getattr(self._actions, verb)
        if fate == "killed before":
            raise Killed
        if fate == "fails":
            raise Unavailable("it did not work")
        if fate == "twice":
            await call(task, step)
        answer = await call(task, step)
        if fate == "killed after":
            raise Killed
        if fate == "answer lost":
            raise Unavailable("no answer")
        return answer


FATES: Final = {
    "twice": ["twice"] * 20,
    "fails once": ["fails"],
    "answer lost": ["answer lost"],
    "killed before": ["killed before"],
    "killed after": ["killed after"],
    "killed twice": ["killed before", "killed after"],
}
"""Fates that a step survives."""
FOR_GOOD: Final = ["fails"] * 50


# ---- scenes ------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Scene:
    """A cloud in which one task of a kind is queued and nothing of it is done."""

    ada: Customer
    breaches: list[Breach]
    checks: Checks
    begins_broken: bool = False  # what the task is to mend is a breach until it has
    allocation_id: AllocationId = field(init=False)
    task_id: TaskId = field(init=False)
    script: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @classmethod
    async def open(cls) -> Self:
        breaches: list[Breach] = []

        def seen(changed: Changed) -> None:
            checks.committed(changed)
            checks.node_changed("node-1")

        clock, database = OwnClock(), watched_database(seen)
        topologies = {"node-1": hgx_h200(seed="node-1")}
        driver = MemoryNodeDriver(topologies, clock=clock)
        checks = Checks(database, driver, clock, found=breaches.append)
        cloud = MemoryCloud(
            clock=clock,
            transactions=MemoryTransactions(clock, database),
            driver=driver,
            secrets=CountedSecrets(),
        )
        await cloud.stock(topologies, micros_per_gpu_hour=PRICE)
        actor = await cloud.sign_up("ada")
        await cloud.give(actor, 500 * DOLLAR)
        key = await cloud.add_key(actor, KEY)
        return cls(ada=Customer(cloud, actor, key.id), breaches=breaches, checks=checks)

    @property
    def cloud(self) -> MemoryCloud:
        return self.ada.cloud

    async def running(self) -> Self:
        self.allocation_id = await self.ada.launch(2)
        await self.cloud.work()
        return self

    async def queued(self, kind: str) -> Self:
        """Find the task that is to be played."""
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            (task,) = await unit.tasks.find(subject=self.allocation_id, kind=kind, finished_at=None)
        self.task_id = task.id
        return self

    async def allocation(self) -> Allocation:
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            row = await unit.allocations.get(self.allocation_id)
        assert row is not None
        return row

    async def task(self) -> Task:
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            task = await unit.tasks.get(self.task_id)
        assert task is not None
        return task

    def runner(self, *, meddled: bool = True) -> RunTask[AllocationUnit]:
        run = self.cloud.runner()
        if not meddled:
            return run
        actions = {kind: Meddled(each, self.script) for kind, each in run.actions.items()}
        return replace(run, actions=actions)

    async def turn(self) -> None:
        """Let a worker take up whatever is due; it may be killed over it."""
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            due = await unit.tasks.due(self.cloud.clock.now(), limit=10)
        for task_id in due:
            with suppress(Killed):
                await self.runner()(task_id)

    async def settle(self) -> Task:
        """Take up due rows until the task has ended."""
        for _ in range(80):
            task = await self.task()
            if task.finished_at is not None:
                break
            await self.turn()
            self.let_pass(timedelta(minutes=3))
        else:
            raise AssertionError(f"it never ends: {task}")
        if not self.begins_broken:
            assert self.breaches == []
        return task

    async def agree(self) -> None:
        """Let all be well from now on and reconcile until nothing is found; then ask everything."""
        self.script.clear()
        for _ in range(5):
            self.let_pass(timedelta(hours=2))
            if not await self.cloud.reconcile():
                break
            for _ in range(3):
                await self.turn()
                self.let_pass(timedelta(minutes=3))
        else:
            raise AssertionError("rows and nodes never agree")
        if self.begins_broken:
            self.breaches.clear()
        self.checks.at_rest()
        self.checks.everything()
        assert self.breaches == []

    def let_pass(self, time: timedelta) -> None:
        self.cloud.clock.advance_to(self.cloud.clock.now() + time)


async def provision() -> Scene:
    scene = await Scene.open()
    scene.allocation_id = await scene.ada.launch(2)
    return await scene.queued("provision")


async def release() -> Scene:
    scene = await (await Scene.open()).running()
    await scene.cloud.release(scene.ada.actor, scene.allocation_id)
    return await scene.queued("release")


async def restart() -> Scene:
    scene = await (await Scene.open()).running()
    again = RestartAllocation(transactions=scene.cloud.transactions, ids=scene.cloud.ids)
    await again(actor=scene.ada.actor, allocation_id=scene.allocation_id)
    return await scene.queued("restart")


async def edit_keys() -> Scene:
    scene = await (await Scene.open()).running()
    second = await scene.cloud.add_key(scene.ada.actor, SECOND)
    edit = EditKeys(transactions=scene.cloud.transactions, ids=scene.cloud.ids)
    await edit(actor=scene.ada.actor, allocation_id=scene.allocation_id, ssh_key_ids=(second.id,))
    return await scene.queued("edit_keys")


async def force_cleanup() -> Scene:
    scene = await (await Scene.open()).running()
    scene.cloud.driver.plan(Fault(verb="verify-clean", kind=FaultKind.REFUSED_BEFORE, times=6))
    await scene.cloud.release(scene.ada.actor, scene.allocation_id)
    await scene.cloud.pass_time(timedelta(minutes=30))
    force = ForceCleanAllocation(transactions=scene.cloud.transactions, ids=scene.cloud.ids)
    await force(
        actor=scene.cloud.operator(scene.ada.actor.tenant_id),
        allocation_id=scene.allocation_id,
        reason="Seen on the node.",
        runtime_verified_absent=True,
    )
    return await scene.queued("force_cleanup")


async def clean_up() -> Scene:
    """A slice that somebody put back on the node after its allocation had ended."""
    scene = await (await Scene.open()).running()
    await scene.cloud.pass_time(timedelta(minutes=5))
    await scene.cloud.release(scene.ada.actor, scene.allocation_id)
    await scene.cloud.pass_time(timedelta(minutes=5))
    async with scene.cloud.transactions.begin(Scope.platform()) as unit:
        row = await unit.allocations.get(scene.allocation_id)
        assert row is not None
        placed = await place_of(unit, row)
    scene.cloud.driver.leave(placed.access.host, slice_spec(placed, 999))
    await scene.cloud.reconcile()
    scene.begins_broken = True
    return await scene.queued("clean_up")


SCENES: Final[dict[str, Callable[[], Awaitable[Scene]]]] = {
    "provision": provision,
    "release": release,
    "restart": restart,
    "edit_keys": edit_keys,
    "force_cleanup": force_cleanup,
    "clean_up": clean_up,
}


# ---- what must be so in the end ----------------------------------------------------------------


IN_THE_END: Final = {
    "provision": (S.ACTIVE, S.FAILED),
    "release": (S.RELEASED, S.RELEASE_FAILED),
    "restart": (S.ACTIVE, S.DEGRADED),
    "edit_keys": (S.ACTIVE, S.ACTIVE),
    "force_cleanup": (S.RELEASED, S.RELEASE_FAILED),
    "clean_up": (S.RELEASED, S.RELEASED),
}
"""The state of the allocation after its task has succeeded, and after it has failed."""


async def assert_everything_or_nothing(scene: Scene, kind: str, task: Task) -> None:
    """The task ended as it says, and what it leaves is all of it or none."""
    row = await scene.allocation()
    succeeded, failed = IN_THE_END[kind]
    if task.status is TaskStatus.SUCCEEDED:
        assert row.state is succeeded
        assert all(step.status is StepStatus.COMPLETED for step in task.steps)
    elif task.error == "unwind_failed":
        assert row.state is S.RELEASE_FAILED
    elif task.status is TaskStatus.CANCELLED:
        assert row.state is S.CANCELLED
    else:
        assert row.state is failed
    await scene.agree()
    if row.state in ENDED:
        await assert_nothing_is_left(scene)
    if row.state in {S.FAILED, S.CANCELLED}:
        balance = await scene.cloud.balance(scene.ada.actor)
        assert (balance.posted_micros, balance.held_micros) == (500 * DOLLAR, 0)


async def assert_nothing_is_left(scene: Scene) -> None:
    records = scene.cloud.driver.holdings("node-1").records.values()
    assert all(held.stage is Stage.WIPED for held in records)
    async with scene.cloud.transactions.begin(Scope.platform()) as unit:
        assert await unit.claims.count(released_at=None) == 0
        assert await unit.holds.count(state="open") == 0
        slots = await unit.slots.find()
    assert {slot.state for slot in slots} == {"available"}


DONE_BY_THE_LAUNCH: Final = ("provision", "reserve")
STEPS: Final = [
    (kind, plan.key)
    for kind, saga in SAGAS.items()
    for plan in saga.steps
    if (kind, plan.key) != DONE_BY_THE_LAUNCH
]
UNDOABLE: Final = [
    (kind, plan.key) for kind, saga in SAGAS.items() for plan in saga.steps if plan.leaves
]


class TestEverySaga:
    def test_has_a_scene(self) -> None:
        assert set(SCENES) == set(SAGAS), "a new saga needs a scene, and its ends in IN_THE_END"

    @pytest.mark.parametrize("fate", FATES)
    @pytest.mark.parametrize(("kind", "step"), STEPS)
    async def test_survives(self, kind: str, step: str, fate: str) -> None:
        scene = await SCENES[kind]()
        scene.script["do", step] = list(FATES[fate])

        task = await scene.settle()

        assert task.status is TaskStatus.SUCCEEDED
        await assert_everything_or_nothing(scene, kind, task)

    @pytest.mark.parametrize(("kind", "step"), STEPS)
    async def test_fails_whole(self, kind: str, step: str) -> None:
        scene = await SCENES[kind]()
        scene.script["do", step] = list(FOR_GOOD)

        task = await scene.settle()

        assert task.status is TaskStatus.FAILED
        await assert_everything_or_nothing(scene, kind, task)

    @pytest.mark.parametrize("fate", FATES)
    @pytest.mark.parametrize(("kind", "step"), UNDOABLE)
    async def test_undoes_in_spite_of(self, kind: str, step: str, fate: str) -> None:
        scene = await SCENES[kind]()
        scene.script["do", last_step(SAGAS[kind])] = list(FOR_GOOD)
        scene.script["undo", step] = list(FATES[fate])

        task = await scene.settle()

        assert task.status is TaskStatus.FAILED
        assert task.error != "unwind_failed"
        await assert_everything_or_nothing(scene, kind, task)

    @pytest.mark.parametrize(("kind", "step"), UNDOABLE)
    async def test_fences_what_it_cannot_undo(self, kind: str, step: str) -> None:
        scene = await SCENES[kind]()
        scene.script["do", last_step(SAGAS[kind])] = list(FOR_GOOD)
        scene.script["undo", step] = list(FOR_GOOD)

        task = await scene.settle()

        assert task.error == "unwind_failed"
        await assert_everything_or_nothing(scene, kind, task)
        assert "cleanup_blocked" in await scene.ada.slots()


def last_step(saga: Saga) -> str:
    return saga.steps[-1].key


# ---- fault points ------------------------------------------------------------------------------

WAYS: Final = {
    "straight": None,
    "turned round": FOR_GOOD,  # the last step fails for good, so that a saga with undo unwinds
}


async def played(kind: str, way: str) -> Scene:
    scene = await SCENES[kind]()
    fates = WAYS[way]
    if fates is not None:
        scene.script["do", last_step(SAGAS[kind])] = list(fates)
    return scene


async def trace(kind: str, way: str) -> list[str]:
    """Return the points that a task reaches on its way, in order."""
    reached: list[str] = []

    async def note(point: str) -> None:
        reached.append(point)

    scene = await played(kind, way)
    with armed(note):
        await scene.settle()
    return reached


@contextmanager
def struck(number: int, strike: Callable[[], Awaitable[None]]) -> Iterator[list[str]]:
    """Strike once, at the ``number``-th point that is reached; give what was reached."""
    reached: list[str] = []

    async def at_point(point: str) -> None:
        reached.append(point)
        if len(reached) == number + 1:
            await strike()

    with armed(at_point):
        yield reached


PLAYS: Final = [
    pytest.param(kind, way, id=f"{kind} {way}")
    for kind, saga in SAGAS.items()
    for way in WAYS
    if way == "straight" or saga.undoes
]


class TestAtEveryPoint:
    @pytest.mark.parametrize(("kind", "way"), PLAYS)
    async def test_a_worker_may_die(self, kind: str, way: str) -> None:
        async def die() -> None:
            raise Killed

        for number, point in enumerate(await trace(kind, way)):
            scene = await played(kind, way)
            with struck(number, die) as reached:
                task = await scene.settle()

            assert reached[number] == point
            await assert_everything_or_nothing(scene, kind, task)
            assert (task.status is TaskStatus.SUCCEEDED) == (way == "straight")

    @pytest.mark.parametrize(("kind", "way"), PLAYS)
    async def test_a_worker_may_oversleep(self, kind: str, way: str) -> None:
        """While it sleeps another takes the task to its end; then it goes on as if nothing was."""
        for number, _ in enumerate(await trace(kind, way)):
            scene = await played(kind, way)

            async def oversleep(scene: Scene = scene) -> None:
                for _ in range(30):
                    scene.let_pass(LONG)
                    with armed(ignore):
                        await scene.turn()

            with struck(number, oversleep):
                task = await scene.settle()

            await assert_everything_or_nothing(scene, kind, task)

    @pytest.mark.parametrize("kind", [kind for kind, saga in SAGAS.items() if saga.undoes])
    async def test_a_worker_may_oversleep_a_cancel(self, kind: str) -> None:
        """Whoever sleeps makes late what was cancelled, undone and given back long ago."""
        for number, _ in enumerate(await trace(kind, "straight")):
            scene = await SCENES[kind]()

            async def oversleep(scene: Scene = scene) -> None:
                await scene.cloud.cancel(scene.ada.actor, scene.allocation_id)
                for _ in range(30):
                    scene.let_pass(LONG)
                    with armed(ignore):
                        await scene.turn()

            with struck(number, oversleep):
                task = await scene.settle()

            assert task.status is TaskStatus.CANCELLED
            await assert_everything_or_nothing(scene, kind, task)

    async def test_something_was_tried(self) -> None:
        tried = {point for kind in SAGAS for way in WAYS for point in await trace(kind, way)}

        assert tried | RECONCILING == set(POINTS), "a new fault point is not reached by any saga"


RECONCILING: Final = {"reconcile.before_look", "reconcile.after_look"}
"""Points of what is no saga: a round of the reconciler, which is killed in the seeded world."""


async def ignore(_: str) -> None:
    """Let somebody else's points be."""
