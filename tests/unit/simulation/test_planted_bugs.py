"""The world catches what it is there to catch: real bugs, planted in the real core, are found.

A simulation that never fails proves nothing. Each bug here was, or could have been, a slip of one
line; it is planted for the length of a test, and one of a few worlds has to break a promise.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from gpucloud_adapters.memory.simulation.world import Plan, simulate
from gpucloud_adapters.memory.unit import MemoryUnit
from gpucloud_core.allocations import apply
from gpucloud_core.allocations.lifecycle import LIFECYCLE, AllocationEvent, Effect
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.billing import ledger
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.machine import Machine
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes import holdings
from gpucloud_core.work import plan as planner
from gpucloud_core.work import run
from gpucloud_core.work.model import StepStatus, Task, TaskStatus

WORLDS: Final = 24
BUSY: Final = Plan(seed=1, days=1, tenants=4, nodes=1, pause_hours=0.3, rough=4)

S, E, X = AllocationState, AllocationEvent, Effect
Plant = Callable[[pytest.MonkeyPatch], None]


def _with_effects(
    state: AllocationState, event: AllocationEvent, *effects: Effect
) -> Machine[Any, Any, Any, Any]:
    """Return the lifecycle with other effects of one move."""
    moves = {key: dict(row) for key, row in LIFECYCLE.moves.items()}
    moves[state][event] = replace(moves[state][event], effects=effects)
    return replace(LIFECYCLE, moves=moves)


def hold_kept_on_failure(patch: pytest.MonkeyPatch) -> None:
    """What failed keeps its hold."""
    changed = _with_effects(S.UNWINDING, E.UNWOUND_FAILED, X.FREE_CAPACITY)
    patch.setattr(apply, "LIFECYCLE", changed)


def capacity_back_before_the_proof(patch: pytest.MonkeyPatch) -> None:
    """The place is given back at the release, not after the wipe."""
    effects = (X.STOP_METER, X.SLOTS_CLEANING, X.QUEUE_RELEASE, X.FREE_CAPACITY)
    patch.setattr(apply, "LIFECYCLE", _with_effects(S.ACTIVE, E.RELEASE, *effects))


def meter_runs_through_the_wipe(patch: pytest.MonkeyPatch) -> None:
    """The meter is not stopped by the release."""
    effects = (X.SLOTS_CLEANING, X.QUEUE_RELEASE)
    patch.setattr(apply, "LIFECYCLE", _with_effects(S.ACTIVE, E.RELEASE, *effects))


def undo_of_completed_steps_only(patch: pytest.MonkeyPatch) -> None:
    """A step whose worker died is not undone: as if nothing were named before it is made."""

    def undo(saga: planner.Saga, task: Task) -> planner.NextStep:
        for step in reversed(task.steps):
            if step.status is StepStatus.COMPLETED and saga.plan_of(step.key).leaves:
                return planner.Undo(step.key)
        if task.error:
            return planner.Finish(TaskStatus.FAILED, task.error, task.error_detail)
        return planner.Finish(TaskStatus.CANCELLED)

    patch.setattr(planner, "_undo", undo)


class _Everybodys(str):
    """A token that fits every lease."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, _: object) -> bool:
        return True

    def __ne__(self, _: object) -> bool:
        return False


def late_results_are_written(patch: pytest.MonkeyPatch) -> None:
    """A worker that slept writes down what came of its call, whoever has the task by now."""
    turn = run.RunTask._turn

    async def careless(self: Any, task_id: Any, token: str, outcome: Any, known: Any) -> Any:
        if outcome is not None:
            async with self.transactions.begin(Scope.platform()) as unit:
                task = await unit.tasks.get(task_id)
            outcome = replace(outcome, generation=task.generation)
            token = _Everybodys(token)
        return await turn(self, task_id, token, outcome, known)

    patch.setattr(run.RunTask, "_turn", careless)


def payment_credited_for_each_event(patch: pytest.MonkeyPatch) -> None:
    """The key of a payment in the ledger is the event, not the provider's object."""
    payment, numbers = ledger.payment, iter(range(10**9))

    def once_more(**asked: Any) -> Any:
        made = payment(**asked)
        return replace(made, idempotency_key=f"{made.idempotency_key}/{next(numbers)}")

    patch.setattr(ledger, "payment", once_more)


def nothing_is_recorded(patch: pytest.MonkeyPatch) -> None:
    """Nobody writes down who did what."""

    async def forget(*_: object) -> None:
        """Write nothing."""

    patch.setattr(MemoryUnit, "audit", forget)


def node_makes_what_was_released(patch: pytest.MonkeyPatch) -> None:
    """The node forgets at once what was released before it was made."""
    patch.setattr(holdings, "_never_made", lambda held, _claim_id, _now: held)


def keys_are_taken_at_their_word(patch: pytest.MonkeyPatch) -> None:
    """A refusal of the node counts as done."""
    act = run.RunTask._act

    async def trusting(self: Any, task: Any, move: Any) -> Any:
        outcome = await act(self, task, move)
        is_undo = isinstance(move, planner.Undo) and isinstance(outcome.error, DomainError)
        return replace(outcome, error=None) if is_undo else outcome

    patch.setattr(run.RunTask, "_act", trusting)


PLANTED: Final[dict[Plant, tuple[str, int]]] = {
    hold_kept_on_failure: ("I6 I10", 1),
    capacity_back_before_the_proof: ("I7 I8 I10", 1),
    meter_runs_through_the_wipe: ("I3 I10", 1),
    undo_of_completed_steps_only: ("I8 I9 I10", 1),
    late_results_are_written: ("lease", 1),
    payment_credited_for_each_event: ("I4", 1),
    node_makes_what_was_released: ("I9", 7),
    keys_are_taken_at_their_word: ("I8 I9", 1),
    nothing_is_recorded: ("I15", 1),
}
"""Each bug, the promises of which it breaks one, and the first seed to try."""


class TestTheWorld:
    @pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
    def test_catches(self, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
        plant(monkeypatch)
        promises, first = PLANTED[plant]

        worlds = (simulate(replace(BUSY, seed=seed)) for seed in range(first, first + WORLDS))
        broken = next((world for world in worlds if not world.ok), None)

        assert broken is not None, f"{WORLDS} worlds went by and nobody noticed"
        assert broken.breaches[0].split()[0] in promises.split()
