"""Drift between rows, nodes and money, made by hand or looked for while everything moves.

Seen to fail: when a slice whose allocation was not active counted as a stray (the machine of every
launch under way was cleaned up); when one counted whose claim was closed after the node was asked;
when the rows were read before it was asked (what was launched in between was an unknown machine);
when nothing was looked at again under the locks (two reconcilers cleaned up twice); when evidence
was held against keys edited after it was read; when an allocation that became active meanwhile was
a missing machine; and when a missing machine was billed up to now, not up to the last proof.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from customer import RATE, Customer
from gpucloud_adapters.memory.node_driver import Fault, FaultKind
from gpucloud_core.allocations.drift import Drift, DriftKind, Seen
from gpucloud_core.allocations.edit_keys import EditKeys
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.place import place_of, slice_spec
from gpucloud_core.allocations.reconcile import ReconcileNode
from gpucloud_core.billing.model import HoldState
from gpucloud_core.kernel.faults import armed
from gpucloud_core.kernel.ids import AllocationId, ClaimId, NodeId, entity_id
from gpucloud_core.kernel.unit import Event, Scope
from gpucloud_core.nodes.model import NodeAccess, SliceSpec
from gpucloud_core.nodes.ports import NodeUnreachable
from gpucloud_core.work.model import Task, TaskStatus

LATER = timedelta(minutes=5)
DESK = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKPD8ZkKbDOGcVkH3CyfdV9wKK5gOnJDBBxfGTMaTTpN desk"


class Tinkerer(Customer):
    """A customer whose cloud somebody tampers with."""

    async def running(self) -> AllocationId:
        allocation = await self.launch(1)
        await self.cloud.pass_time(LATER)
        return allocation

    async def ended(self) -> AllocationId:
        allocation = await self.running()
        await self.cloud.release(self.actor, allocation)
        await self.cloud.pass_time(LATER)
        return allocation

    async def row(self, allocation: AllocationId) -> Allocation:
        return (await self.cloud.read(self.actor, allocation)).allocation

    async def spec(self, allocation: AllocationId) -> tuple[NodeAccess, SliceSpec]:
        """What its node was asked to make."""
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            row = await unit.allocations.get(allocation)
            assert row is not None
            placed = await place_of(unit, row)
        return placed.access, slice_spec(placed, 999)

    async def make(self, allocation: AllocationId, **other: object) -> ClaimId:
        """Put a slice on the node, behind the platform's back."""
        access, spec = await self.spec(allocation)
        wrong = replace(spec, **other)  # type: ignore[arg-type]  # a test's shorthand
        self.cloud.driver.leave(access.host, wrong)
        return wrong.claim_id

    async def lose(self, allocation: AllocationId) -> None:
        access, spec = await self.spec(allocation)
        await self.cloud.driver.release(access, spec.claim_id)

    async def there(self) -> set[ClaimId]:
        """The slices that are really on the first node."""
        return set(self.cloud.driver.holdings("node-1").slices)

    def told(self) -> list[Event]:
        outbox = self.cloud.transactions.database.outbox
        return [each.event for each in outbox if each.event.kind.startswith(("drift.", "stray."))]

    async def tasks(self, kind: str) -> tuple[Task, ...]:
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            return await unit.tasks.find(kind=kind)

    async def under_way(self) -> set[str]:
        async with self.cloud.transactions.begin(Scope.platform()) as unit:
            return {task.subject for task in await unit.tasks.find(finished_at=None)}


class Hesitant(ReconcileNode):
    """Lets others go first between seeing a difference and acting on it."""

    async def _settle(self, drift: Drift, node_id: NodeId | None, seen: Seen) -> bool:
        await asyncio.sleep(0)
        return await super()._settle(drift, node_id, seen)


def kinds_of(found: tuple[Drift, ...]) -> list[DriftKind]:
    return [drift.kind for drift in found]


class TestAQuietCloud:
    async def test_has_no_drift(self) -> None:
        ada = await Tinkerer.arrive(nodes=2)
        await ada.running()
        await ada.ended()

        assert await ada.cloud.reconcile() == ()
        assert ada.told() == []


class TestAStrayMachine:
    async def test_is_removed_wiped_and_proven_gone(self) -> None:
        ada = await Tinkerer.arrive()
        allocation = await ada.ended()
        claim = await ada.make(allocation)

        assert kinds_of(await ada.cloud.reconcile()) == [DriftKind.STRAY_MACHINE]
        await ada.cloud.work()

        assert await ada.there() == set()
        access, spec = await ada.spec(allocation)
        assert not await ada.cloud.driver.verify_clean(access, claim, spec.gpu_uuids)
        found, cleaned = ada.told()
        assert found.payload["expected"] == f"nothing: {allocation} is released"
        assert cleaned.kind == "stray.cleaned"
        wipe = cleaned.payload["wipe"]
        assert isinstance(wipe, dict)
        assert wipe["claim_id"] == claim
        assert await ada.cloud.reconcile() == ()

    async def test_is_cleaned_up_once(self) -> None:
        ada = await Tinkerer.arrive()
        await ada.make(await ada.ended())

        await ada.cloud.reconcile()
        assert await ada.cloud.reconcile() == (), "it is on its way"

        assert len(await ada.tasks("clean_up")) == 1

    async def test_is_cleaned_up_once_though_two_look_at_the_same_time(self) -> None:
        ada = await Tinkerer.arrive()
        await ada.make(await ada.ended())
        async with ada.cloud.transactions.begin(Scope.platform()) as unit:
            (node,) = await unit.nodes.find()
        cloud = ada.cloud
        one = Hesitant(transactions=cloud.transactions, ids=cloud.ids, driver=cloud.driver)

        both = await asyncio.gather(one(node.id), one(node.id))

        assert sorted(len(found) for found in both) == [0, 1]
        assert len(await ada.tasks("clean_up")) == 1

    async def test_that_cannot_be_wiped_is_left_to_people(self) -> None:
        ada = await Tinkerer.arrive()
        await ada.make(await ada.ended())
        ada.cloud.driver.plan(Fault(verb="wipe", kind=FaultKind.REFUSED_BEFORE, times=99))
        await ada.cloud.reconcile()
        await ada.cloud.pass_time(timedelta(minutes=30))
        assert ada.told()[-1].kind == "drift.cleanup_failed"

        await ada.cloud.reconcile()

        assert [task.status for task in await ada.tasks("clean_up")] == [TaskStatus.FAILED]

    async def test_makes_way_for_whoever_has_the_place_now(self) -> None:
        ada = await Tinkerer.arrive()
        stray = await ada.make(await ada.ended())
        await ada.cloud.reconcile()

        second = await ada.launch(8)
        await ada.cloud.pass_time(LATER)

        assert await ada.state(second) is AllocationState.ACTIVE
        assert stray not in await ada.there()

    async def test_leaves_the_ended_allocation_as_it_ended(self) -> None:
        ada = await Tinkerer.arrive()
        allocation = await ada.ended()
        before = await ada.row(allocation)
        await ada.make(allocation)

        await ada.cloud.reconcile()
        await ada.cloud.work()

        assert await ada.row(allocation) == before


class TestAMachineWithoutARow:
    async def test_is_reported_and_never_touched(self) -> None:
        ada = await Tinkerer.arrive()
        stranger = ClaimId(entity_id("clm", 424_242))
        await ada.make(await ada.ended(), claim_id=stranger)

        found = await ada.cloud.reconcile()
        await ada.cloud.pass_time(timedelta(hours=1))

        assert kinds_of(found) == [DriftKind.UNKNOWN_MACHINE]
        assert await ada.there() == {stranger}
        (event,) = ada.told()
        assert (event.kind, event.subject) == ("drift.unknown_machine", stranger)


class TestAMissingMachine:
    async def test_stops_the_meter_at_the_last_proof(self) -> None:
        ada = await Tinkerer.arrive()
        allocation = await ada.running()
        await ada.cloud.reconcile()
        proven_at = ada.cloud.clock.now()
        await ada.cloud.pass_time(timedelta(minutes=90))  # settled meanwhile
        await ada.lose(allocation)

        assert kinds_of(await ada.cloud.reconcile()) == [DriftKind.MISSING_MACHINE]

        view = await ada.cloud.read(ada.actor, allocation)
        assert view.allocation.state is AllocationState.DEGRADED
        assert view.allocation.active_at is not None
        run = (proven_at - view.allocation.active_at) // timedelta(microseconds=1)
        assert view.cost_micros == view.settled_micros == RATE * run // 3_600_000_000
        assert (await ada.cloud.balance(ada.actor)).held_micros == RATE, "its place is kept"

    async def test_never_proven_since_it_was_active_costs_nothing(self) -> None:
        ada = await Tinkerer.arrive()
        allocation = await ada.running()
        await ada.lose(allocation)

        await ada.cloud.reconcile()

        assert (await ada.cloud.read(ada.actor, allocation)).cost_micros == 0

    async def test_that_stopped_by_itself_counts_too(self) -> None:
        ada = await Tinkerer.arrive()
        allocation = await ada.running()
        access, spec = await ada.spec(allocation)
        await ada.cloud.driver.cut_off(access, spec.claim_id)

        assert kinds_of(await ada.cloud.reconcile()) == [DriftKind.MISSING_MACHINE]

    async def test_can_still_be_released_with_proof(self) -> None:
        ada = await Tinkerer.arrive()
        allocation = await ada.running()
        await ada.lose(allocation)
        await ada.cloud.reconcile()

        await ada.cloud.release(ada.actor, allocation)
        await ada.cloud.work()

        assert await ada.state(allocation) is AllocationState.RELEASED
        assert await ada.cloud.reconcile() == ()

    async def test_is_not_concluded_from_silence(self) -> None:
        ada = await Tinkerer.arrive()
        allocation = await ada.running()
        ada.cloud.driver.plan(Fault(verb="list", kind=FaultKind.UNREACHABLE_BEFORE))

        with pytest.raises(NodeUnreachable):
            await ada.cloud.reconcile()

        assert await ada.state(allocation) is AllocationState.ACTIVE


class TestWrongKeys:
    async def test_are_put_right(self) -> None:
        ada = await Tinkerer.arrive()
        allocation = await ada.running()
        access, spec = await ada.spec(allocation)
        await ada.cloud.driver.set_keys(access, spec.claim_id, [DESK])

        assert kinds_of(await ada.cloud.reconcile()) == [DriftKind.WRONG_KEYS]
        await ada.cloud.work()

        evidence = await ada.cloud.driver.verify(access, spec.claim_id)
        recorded = {key.fingerprint for key in (await ada.row(allocation)).keys}
        assert set(evidence.key_fingerprints) == recorded
        assert await ada.cloud.reconcile() == ()

    async def test_that_stay_wrong_are_left_to_people(self) -> None:
        ada = await Tinkerer.arrive()
        allocation = await ada.running()
        access, spec = await ada.spec(allocation)
        await ada.cloud.driver.set_keys(access, spec.claim_id, [DESK])
        ada.cloud.driver.plan(Fault(verb="set-keys", kind=FaultKind.PRETENDED, times=99))
        await ada.cloud.reconcile()
        await ada.cloud.pass_time(timedelta(minutes=20))

        assert kinds_of(await ada.cloud.reconcile()) == [DriftKind.WRONG_KEYS]
        assert len(await ada.tasks("edit_keys")) == 1
        assert ada.told()[-1].payload["task_id"] is None

    async def test_that_got_in_unheard_are_noted(self) -> None:
        ada = await Tinkerer.arrive()
        allocation = await ada.running()
        desk = await ada.cloud.add_key(ada.actor, DESK)
        edit = EditKeys(transactions=ada.cloud.transactions, ids=ada.cloud.ids)
        ada.cloud.driver.plan(Fault(verb="set-keys", kind=FaultKind.UNREACHABLE_AFTER, times=6))
        await edit(actor=ada.actor, allocation_id=allocation, ssh_key_ids=(desk.id,))
        await ada.cloud.pass_time(timedelta(hours=2))
        assert not any(key.applied_at for key in (await ada.row(allocation)).keys)

        assert kinds_of(await ada.cloud.reconcile()) == [DriftKind.WRONG_KEYS]
        await ada.cloud.work()

        assert all(key.applied_at for key in (await ada.row(allocation)).keys)
        assert await ada.cloud.reconcile() == ()


class TestAWrongOwner:
    async def test_is_reported_with_both_sides(self) -> None:
        ada = await Tinkerer.arrive()
        allocation = await ada.running()
        await ada.lose(allocation)
        access, spec = await ada.spec(allocation)
        await ada.cloud.driver.wipe(access, spec.claim_id, spec.gpu_uuids)
        other = AllocationId(entity_id("alc", 424_242))
        await ada.make(allocation, allocation_id=other)

        assert kinds_of(await ada.cloud.reconcile()) == [DriftKind.WRONG_OWNER]

        (event,) = ada.told()
        assert allocation in str(event.payload["expected"])
        assert other in str(event.payload["found"])
        assert await ada.there() == {spec.claim_id}

    async def test_is_seen_on_the_wrong_node(self) -> None:
        ada = await Tinkerer.arrive(nodes=2)
        allocation = await ada.running()
        access, spec = await ada.spec(allocation)
        other = "node-2" if access.host == "node-1" else "node-1"
        async with ada.cloud.transactions.begin(Scope.platform()) as unit:
            (node,) = await unit.nodes.find(name=other)
        gpu = node.topology.gpus[0]
        elsewhere = replace(spec, gpu_uuids=(gpu.uuid,), gpu_indexes=(0,))
        await ada.cloud.driver.provision(node.access, elsewhere)

        assert kinds_of(await ada.cloud.reconcile()) == [DriftKind.WRONG_OWNER]


class TestWrongDevices:
    async def test_are_reported_and_the_slice_is_left_alone(self) -> None:
        ada = await Tinkerer.arrive()
        allocation = await ada.running()
        await ada.lose(allocation)
        access, spec = await ada.spec(allocation)
        await ada.cloud.driver.wipe(access, spec.claim_id, spec.gpu_uuids)
        async with ada.cloud.transactions.begin(Scope.platform()) as unit:
            (node,) = await unit.nodes.find()
        other = next(gpu for gpu in node.topology.gpus if gpu.uuid not in spec.gpu_uuids)
        await ada.make(allocation, gpu_uuids=(other.uuid,), gpu_indexes=(other.index,))

        assert kinds_of(await ada.cloud.reconcile()) == [DriftKind.WRONG_GPUS]

        (event,) = ada.told()
        assert event.payload["expected"] == spec.gpu_uuids[0]
        assert event.payload["found"] == other.uuid
        assert await ada.tasks("edit_keys") == ()


class TestMoney:
    """Rows are changed by hand: no use case leaves them so."""

    async def test_set_aside_for_nothing_is_reported(self) -> None:
        ada = await Tinkerer.arrive()
        await ada.ended()
        async with ada.cloud.transactions.begin(Scope.platform()) as unit:
            (hold,) = await unit.holds.find()
            await unit.holds.put(replace(hold, state=HoldState.OPEN, closed_at=None))

        assert kinds_of(await ada.cloud.reconcile()) == [DriftKind.STRAY_HOLD]

    async def test_that_runs_for_nothing_is_reported(self) -> None:
        ada = await Tinkerer.arrive()
        await ada.ended()
        async with ada.cloud.transactions.begin(Scope.platform()) as unit:
            (segment,) = await unit.usage_segments.find()
            await unit.usage_segments.put(replace(segment, ended_at=None))

        assert kinds_of(await ada.cloud.reconcile()) == [DriftKind.STRAY_METER]

    async def test_that_is_not_set_aside_is_reported(self) -> None:
        ada = await Tinkerer.arrive()
        await ada.running()
        async with ada.cloud.transactions.begin(Scope.platform()) as unit:
            (hold,) = await unit.holds.find()
            await unit.holds.put(replace(hold, state=HoldState.VOIDED))

        assert kinds_of(await ada.cloud.reconcile()) == [DriftKind.MISSING_HOLD]


class TestADatabaseFromABackup:
    async def test_adopts_what_it_knows_and_reports_what_it_does_not(self) -> None:
        ada = await Tinkerer.arrive()
        kept, gone = await ada.running(), await ada.running()
        backup = deepcopy(ada.cloud.transactions.database)
        await ada.cloud.release(ada.actor, gone)
        await ada.cloud.pass_time(LATER)
        younger = await ada.running()
        claim = (await ada.row(younger)).claim_id

        ada.cloud.transactions.database = backup
        found = await ada.cloud.reconcile()

        assert {(d.kind, d.subject) for d in found} == {
            (DriftKind.UNKNOWN_MACHINE, claim),
            (DriftKind.MISSING_MACHINE, gone),
        }
        assert await ada.state(kept) is AllocationState.ACTIVE
        assert await ada.state(gone) is AllocationState.DEGRADED, "and is billed no more"


class Busy:
    """Something is done at each fault point that is reached, but not within itself."""

    def __init__(self, act: Callable[[str], Awaitable[None]]) -> None:
        self._act, self._inside = act, False
        self.reached: set[str] = set()

    async def __call__(self, point: str) -> None:
        if self._inside:
            return
        self._inside = True
        self.reached.add(point)
        try:
            await self._act(point)
        finally:
            self._inside = False


@asynccontextmanager
async def reconciled_throughout(ada: Tinkerer, pause: timedelta) -> AsyncIterator[Busy]:
    """Reconcile at every point of every task, after a pause in which the task hangs there."""

    async def look(point: str) -> None:
        ada.cloud.clock.advance_to(ada.cloud.clock.now() + pause)
        under_way = await ada.under_way()
        found = [
            drift
            for drift in await ada.cloud.reconcile()
            # A restart that was given up may have left its slice as well as it was.
            if drift.kind is not DriftKind.BACK_AGAIN or drift.subject in under_way
        ]
        assert found == [], f"at {point}"

    busy = Busy(look)
    with armed(busy):
        yield busy


FAULTS = st.builds(
    Fault,
    verb=st.sampled_from(["provision", "set-keys", "verify", "restart", "cut-off", "wipe"]),
    kind=st.sampled_from(
        [FaultKind.UNREACHABLE_BEFORE, FaultKind.UNREACHABLE_AFTER, FaultKind.REFUSED_AFTER]
    ),
    times=st.integers(1, 7),
)
ACTS = st.lists(
    st.sampled_from(["launch", "release", "cancel", "edit", "restart", "wait"]),
    min_size=1,
    max_size=8,
)


class Hand:
    """Does one thing after another to a cloud, where it can be done."""

    def __init__(self, ada: Tinkerer, second_key: str) -> None:
        self._ada, self._second = ada, second_key
        self._all: list[AllocationId] = []

    async def do(self, act: str) -> None:
        cloud = self._ada.cloud
        state = AllocationState
        if act == "launch":
            if len(self._all) < 6:  # there is always room
                self._all.append(await self._ada.launch(1))
            return
        wanted = {"cancel": {state.REQUESTED, state.PROVISIONING}}.get(act, {state.ACTIVE})
        for allocation in self._all:
            if await self._ada.state(allocation) not in wanted:
                continue
            match act:
                case "release":
                    await cloud.release(self._ada.actor, allocation)
                case "cancel":
                    await cloud.cancel(self._ada.actor, allocation)
                case "restart":
                    await cloud.restart(self._ada.actor, allocation)
                case "edit":
                    keys = (await self._ada.row(allocation)).keys
                    other = self._second if len(keys) == 1 else None
                    chosen = (self._ada.key_id, other) if other else (self._ada.key_id,)
                    edit = EditKeys(transactions=cloud.transactions, ids=cloud.ids)
                    await edit(actor=self._ada.actor, allocation_id=allocation, ssh_key_ids=chosen)
                case _:
                    pass
            return


class TestWhileTasksRun:
    @settings(max_examples=25, deadline=None)
    @given(acts=ACTS, faults=st.lists(FAULTS, max_size=3), minutes=st.sampled_from([0, 1, 7]))
    @example(
        acts=["launch", "launch", "release", "restart"],
        faults=[
            Fault(verb="restart", kind=FaultKind.UNREACHABLE_BEFORE, times=3),
            Fault(verb="cut-off", kind=FaultKind.UNREACHABLE_BEFORE, times=3),
        ],
        minutes=1,
    )
    async def test_nothing_on_its_way_is_drift(
        self, acts: list[str], faults: list[Fault], minutes: int
    ) -> None:
        ada = await Tinkerer.arrive(dollars=900)
        hand = Hand(ada, (await ada.cloud.add_key(ada.actor, DESK)).id)
        for fault in faults:
            ada.cloud.driver.plan(fault)
        async with reconciled_throughout(ada, timedelta(minutes=minutes)):
            for act in acts:
                await hand.do(act)
                await ada.cloud.work()
            await ada.cloud.pass_time(timedelta(hours=2))
        edits = await ada.tasks("edit_keys")
        if not any(task.status is TaskStatus.FAILED for task in edits):
            # Only that a restart which came too late has brought its slice back after all.
            assert set(kinds_of(await ada.cloud.reconcile())) <= {DriftKind.BACK_AGAIN}
        assert await ada.tasks("clean_up") == ()

    async def test_every_point_of_a_life_is_looked_at(self) -> None:
        ada = await Tinkerer.arrive()
        async with reconciled_throughout(ada, timedelta(seconds=75)) as busy:
            allocation = await ada.running()
            await ada.cloud.restart(ada.actor, allocation)
            await ada.cloud.pass_time(LATER)
            await ada.cloud.release(ada.actor, allocation)
            await ada.cloud.work()

        assert {point.partition(".")[0] for point in busy.reached} == {
            "work",
            "provision",
            "restart",
            "release",
            "cleanup",
        }


class TestWhileItLooks:
    @settings(max_examples=40, deadline=None)
    @given(
        first=ACTS,
        during=ACTS,
        point=st.sampled_from(["reconcile.before_look", "reconcile.after_look"]),
        minutes=st.sampled_from([0, 7]),
    )
    async def test_what_changes_meanwhile_is_no_drift(
        self, first: list[str], during: list[str], point: str, minutes: int
    ) -> None:
        ada = await Tinkerer.arrive(dollars=900)
        hand = Hand(ada, (await ada.cloud.add_key(ada.actor, DESK)).id)
        for act in ["launch", *first]:
            await hand.do(act)
            await ada.cloud.pass_time(timedelta(minutes=2))

        async def change(reached: str) -> None:
            if reached == point:
                for act in during:
                    await hand.do(act)
                    await ada.cloud.work()
                ada.cloud.clock.advance_to(ada.cloud.clock.now() + timedelta(minutes=minutes))

        with armed(Busy(change)):
            assert await ada.cloud.reconcile() == ()
