"""Claims against rivals: retries, the last resort, batches, and transactions that come to nothing.

Seen to fail when the rows that a transaction had changed itself went into the shared image (its
rollback left them there), when the mark moved on while they were held back, and when a batch that
failed half-way kept what it had.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, cast

import pytest

from gpucloud_adapters.memory.unit import MemoryTransactions, MemoryUnit
from gpucloud_adapters.stored.kinds import CLAIMS, NODE_CAPACITY
from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_core.kernel.ids import SlotId
from gpucloud_core.kernel.once import attempting
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import Slot, SlotState, Topology
from gpucloud_core.nodes.slots import propose_slots
from gpucloud_core.nodes.systems import HGX_H200
from gpucloud_core.placement.capacity import capacity_of
from gpucloud_core.placement.claim import RETRIES, claim_all, preview
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.model import (
    Claim,
    NodeCapacity,
    Place,
    Placement,
    PlacementRequest,
    Refusal,
    RefusalCode,
    Spread,
)
from gpucloud_core.placement.ports import Fleet, FleetChanges, PlacementUnit
from node_builders import pcie_tree
from placement_builders import POOL, a_request
from row_builders import NOW, FixedClock, a_claim, a_node, a_tenant, fresh

PLATFORM: Final = Scope.platform()
TENANT: Final = a_tenant()
RIVAL: Final = a_tenant()


class Contested:
    """A fleet in which others are faster: ``lose`` says at which takes, ``steal`` how.

    A plain loss changes nothing (a lock held elsewhere); a theft takes the very same slots.
    Everything called is counted.
    """

    def __init__(self, fleet: Fleet, *, lose: int = 0, keep: int = 0, steal: bool = False) -> None:
        self._fleet = fleet
        self._lose = lose
        self._keep = keep
        self._steal = steal
        self.calls: Counter[str] = Counter()
        self.waits: list[bool] = []

    async def take(self, claim: Claim, *, may_wait: bool = True) -> bool:
        self.calls["take"] += 1
        self.waits.append(may_wait)
        if self._keep > 0:
            self._keep -= 1
        elif self._lose > 0:
            self._lose -= 1
            if self._steal:
                await self._fleet.take(a_claim(RIVAL.id, claim.node_id, claim.mask))
            return False
        return await self._fleet.take(claim, may_wait=may_wait)

    async def changes(self, since: str | None, *, promised_in: str = "") -> FleetChanges:
        self.calls["changes"] += 1
        return await self._fleet.changes(since, promised_in=promised_in)

    async def lowest(
        self, *, pool: str, masks: Sequence[int], beside: Beside = Beside.NOTHING, limit: int
    ) -> Sequence[NodeCapacity]:
        self.calls["lowest"] += 1
        return await self._fleet.lowest(pool=pool, masks=masks, beside=beside, limit=limit)

    async def set_slots(self, claim: Claim, state: str, reason: str = "") -> None:
        await self._fleet.set_slots(claim, state, reason)

    async def give_back(self, claim: Claim) -> None:
        self.calls["give_back"] += 1
        await self._fleet.give_back(claim)

    async def put(self, capacity: NodeCapacity) -> None:
        await self._fleet.put(capacity)

    async def get(self, node_id: str) -> NodeCapacity | None:
        return await self._fleet.get(node_id)


class ContestedUnit:
    """A unit whose fleet is contested; all else is the unit's own."""

    def __init__(self, unit: MemoryUnit, fleet: Contested) -> None:
        self.fleet = fleet
        self.nodes = unit.nodes


def contested(unit: MemoryUnit, **script: int | bool) -> tuple[PlacementUnit, Counter[str]]:
    fleet = Contested(unit.fleet, **script)  # type: ignore[arg-type]  # names are checked there
    return cast("PlacementUnit", ContestedUnit(unit, fleet)), fleet.calls


async def a_fleet(nodes: int, topology: Topology | None = None) -> MemoryTransactions:
    """Return a store with so many free nodes, and both tenants."""
    transactions = MemoryTransactions(FixedClock())
    async with transactions.begin(PLATFORM) as unit:
        await unit.tenants.add(TENANT)
        await unit.tenants.add(RIVAL)
        for _ in range(nodes):
            inside = topology or HGX_H200.topology(seed=fresh("nod"))
            node = a_node(topology=inside, shared_kernel=True)
            slots = propose_slots(
                node,
                slot_ids=[SlotId(fresh("slt")) for _ in inside.gpus],
                endpoints=[(f"{node.id}.example", 2200 + gpu.index) for gpu in inside.gpus],
                at=NOW,
            )
            ready = [_available(slot) for slot in slots]
            await unit.nodes.add(node)
            for slot in ready:
                await unit.slots.add(slot)
            await unit.fleet.put(capacity_of(node, ready, pool=POOL))
    return transactions


def _available(slot: Slot) -> Slot:
    return replace(slot, state=SlotState.AVAILABLE)


def claims_for(request: PlacementRequest) -> Callable[[Place], Claim]:
    def make(place: Place) -> Claim:
        return a_claim(
            TENANT.id,
            place.node_id,
            place.mask,
            vcpus=request.vcpus,
            memory_mib=request.memory_mib,
        )

    return make


async def claim(
    unit: PlacementUnit, view: FleetView, request: PlacementRequest
) -> tuple[Claim, ...] | Refusal:
    return await claim_all(unit, view, request, claims_for(request))


def open_claims(transactions: MemoryTransactions) -> list[Claim]:
    return [row for row in transactions.database.rows(CLAIMS) if row.released_at is None]


def is_up_to_date(view: FleetView, transactions: MemoryTransactions) -> bool:
    """Return whether the image holds exactly what is committed."""
    return all(
        view.image.get(row.node_id) == row for row in transactions.database.rows(NODE_CAPACITY)
    )


def taken(result: tuple[Claim, ...] | Refusal) -> tuple[Claim, ...]:
    assert not isinstance(result, Refusal), result
    return result


class TestClaimAll:
    async def test_binds_what_was_chosen_and_keeps_what_it_rested_on(self) -> None:
        transactions, view = await a_fleet(2), FleetView()

        async with transactions.begin(PLATFORM) as unit:
            (first,) = taken(await claim(unit, view, a_request(4)))

        assert open_claims(transactions) == [first]
        assert first.explanation["candidates"] == 2
        assert first.mask == 0b1111

    async def test_makes_as_many_statements_in_a_large_fleet_as_in_a_small_one(self) -> None:
        counts = []
        for nodes in (2, 60):
            transactions, view = await a_fleet(nodes), FleetView()
            async with transactions.begin(PLATFORM) as unit:
                contest, calls = contested(unit)
                taken(await claim(contest, view, a_request(2, count=3)))
            counts.append(calls)

        assert counts[0] == counts[1] == {"changes": 1, "take": 3}

    async def test_decides_again_after_a_lost_race(self) -> None:
        transactions, view = await a_fleet(1), FleetView()

        async with transactions.begin(PLATFORM) as unit:
            contest, calls = contested(unit, lose=2, steal=True)
            (won,) = taken(await claim(contest, view, a_request(1)))

        assert calls == {"changes": 3, "take": 3}
        assert won.mask == 0b100

    async def test_keeps_off_the_nodes_of_another_launch_of_the_process(self) -> None:
        transactions, view = await a_fleet(2), FleetView()

        async with transactions.begin(PLATFORM) as unit:
            with view.errand() as errand, view.errand() as other:
                make = claims_for(a_request(1))
                (first,) = taken(await claim_all(unit, view, a_request(1), make, errand=errand))
                (second,) = taken(await claim_all(unit, view, a_request(1), make, errand=other))
                (third,) = taken(await claim_all(unit, view, a_request(1), make, errand=errand))

        assert first.node_id == third.node_id != second.node_id
        assert not view.busy

    async def test_waits_for_a_busy_node_only_where_there_is_no_other_place(self) -> None:
        transactions, view = await a_fleet(1), FleetView()

        async with transactions.begin(PLATFORM) as unit:
            fleet = Contested(unit.fleet)
            contest = cast("PlacementUnit", ContestedUnit(unit, fleet))
            with view.errand() as errand, view.errand() as other:
                make = claims_for(a_request(1))
                taken(await claim_all(contest, view, a_request(1), make, errand=errand))
                taken(await claim_all(contest, view, a_request(1), make, errand=other))

        assert fleet.waits == [False, True]
        assert len({one.mask for one in open_claims(transactions)}) == 2

    async def test_lets_the_database_pick_when_it_keeps_losing(self) -> None:
        transactions, view = await a_fleet(2), FleetView()

        async with transactions.begin(PLATFORM) as unit:
            contest, calls = contested(unit, lose=1 + RETRIES)
            (won,) = taken(await claim(contest, view, a_request(2)))

        assert calls == {"changes": 6, "take": 7, "lowest": 1}
        assert open_claims(transactions) == [won]

    async def test_says_so_when_even_then_others_are_faster(self) -> None:
        transactions, view = await a_fleet(1), FleetView()

        async with transactions.begin(PLATFORM) as unit:
            contest, _ = contested(unit, lose=100)
            refusal = await claim(contest, view, a_request(2))

        assert isinstance(refusal, Refusal)
        assert refusal.reasons[0].code is RefusalCode.SOLD_OUT
        assert "at this moment" in refusal.reasons[0].detail

    async def test_refuses_when_the_last_one_is_stolen(self) -> None:
        transactions, view = await a_fleet(1), FleetView()

        async with transactions.begin(PLATFORM) as unit:
            contest, calls = contested(unit, lose=1, steal=True)
            refusal = await claim(contest, view, a_request(8))

        assert isinstance(refusal, Refusal)
        assert refusal.reasons[0].detail == "Nothing is free now."
        assert calls == {"changes": 2, "take": 1}

    async def test_keeps_what_a_batch_has_while_it_looks_for_the_rest(self) -> None:
        transactions, view = await a_fleet(3), FleetView()

        async with transactions.begin(PLATFORM) as unit:
            contest, calls = contested(unit, keep=1, lose=1)
            won = taken(
                await claim(contest, view, a_request(1, count=3, spread=Spread.DISTINCT_NODES))
            )

        assert calls == {"changes": 2, "take": 4}
        assert len({one.node_id for one in won}) == 3
        assert {one.id for one in open_claims(transactions)} == {one.id for one in won}

    @pytest.mark.parametrize("is_last_resort", [False, True])
    async def test_gives_all_back_when_a_batch_cannot_be_finished(
        self, is_last_resort: bool
    ) -> None:
        transactions, view = await a_fleet(2), FleetView()
        script = {"lose": 100} if is_last_resort else {"lose": 1, "steal": True}

        async with transactions.begin(PLATFORM) as unit:
            contest, calls = contested(unit, keep=1, **script)
            refusal = await claim(contest, view, a_request(8, count=2))

        assert isinstance(refusal, Refusal)
        assert refusal.fits_now == 1
        assert calls["give_back"] == 1
        assert {one.tenant_id for one in open_claims(transactions)} <= {RIVAL.id}

    async def test_takes_nothing_of_a_batch_that_does_not_fit(self) -> None:
        transactions, view = await a_fleet(1), FleetView()

        async with transactions.begin(PLATFORM) as unit:
            contest, calls = contested(unit)
            refusal = await claim(contest, view, a_request(4, count=3))

        assert isinstance(refusal, Refusal)
        assert (refusal.fits_now, calls["take"]) == (2, 0)

    async def test_sells_every_gpu_once_to_racers_of_several_processes(self) -> None:
        transactions = await a_fleet(2)
        views = [FleetView(), FleetView(), FleetView()]

        async def launch(number: int) -> tuple[Claim, ...] | Refusal:
            async with transactions.begin(PLATFORM) as unit:
                return await claim(unit, views[number % 3], a_request(1 + number % 2))

        results = await asyncio.gather(*(launch(number) for number in range(20)))

        won = [one for result in results if not isinstance(result, Refusal) for one in result]
        held: dict[str, int] = {}
        for one in won:
            assert not held.get(one.node_id, 0) & one.mask
            held[one.node_id] = held.get(one.node_id, 0) | one.mask
        assert sum(mask.bit_count() for mask in held.values()) == 16


class TestFleetView:
    @pytest.mark.parametrize("lose", [0, 1, 1 + RETRIES])
    async def test_keeps_nothing_of_a_transaction_that_is_rolled_back(self, lose: int) -> None:
        transactions, view = await a_fleet(3), FleetView()
        request = a_request(2, count=2, spread=Spread.DISTINCT_NODES)

        async def claim_and_fail() -> None:
            async with transactions.begin(PLATFORM) as unit:
                contest, _ = contested(unit, keep=1, lose=lose)
                taken(await claim(contest, view, request))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await claim_and_fail()

        assert is_up_to_date(view, transactions)
        async with transactions.begin(PLATFORM) as unit:
            assert isinstance(await preview(unit, view, a_request(8, count=3)), Placement)

    async def test_sees_its_own_claims_once_they_are_committed(self) -> None:
        transactions, view = await a_fleet(3), FleetView()
        request = a_request(2, count=2, spread=Spread.DISTINCT_NODES)

        async with transactions.begin(PLATFORM) as unit:
            contest, _ = contested(unit, keep=1, lose=1)
            taken(await claim(contest, view, request))
        async with transactions.begin(PLATFORM) as unit:
            await view.refresh(unit)

        assert is_up_to_date(view, transactions)

    async def test_misses_nothing_that_others_did_to_a_node_it_held_back(self) -> None:
        transactions, view = await a_fleet(1), FleetView()
        async with transactions.begin(PLATFORM) as unit:
            await view.refresh(unit)
            (row,) = transactions.database.rows(NODE_CAPACITY)
            await unit.fleet.take(a_claim(RIVAL.id, row.node_id, 0b1))

        async with transactions.begin(PLATFORM) as unit:
            fresh = await view.refresh(unit, own={row.node_id})
            assert [changed.free_mask for changed in fresh.own] == [0b1111_1110]
            assert view.image.row(row.node_id).free_mask == 0xFF
        async with transactions.begin(PLATFORM) as unit:
            await view.refresh(unit)

        assert is_up_to_date(view, transactions)

    async def test_learns_the_inside_of_a_class_once(self) -> None:
        transactions, view = await a_fleet(5, pcie_tree(4)), FleetView()

        async with transactions.begin(PLATFORM) as unit:
            decision = await preview(unit, view, a_request(4, vcpus=8, memory_mib=1024))

        assert isinstance(decision, Placement)
        assert decision.candidates == 5


class TestErrand:
    async def test_lasts_until_the_transaction_of_a_keyed_launch_has_ended(self) -> None:
        transactions, view = await a_fleet(1), FleetView()
        key = IdempotencyKey.of(tenant_id=TENANT.id, route="launch", key="k", body=b"")
        async with attempting() as attempt:
            attempt.arm(key)
            with view.errand() as errand:
                async with transactions.begin(Scope.tenant(TENANT.id)) as unit:
                    request = a_request(1)
                    taken(await claim_all(unit, view, request, claims_for(request), errand=errand))
            still_busy = list(view.busy)
            await attempt.keep(200, "{}")

        assert len(still_busy) == 1
        assert not view.busy
