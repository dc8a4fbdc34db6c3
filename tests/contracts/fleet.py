"""What the fleet promises: no slot is held twice, no change is missed, nothing leaks.

Seen to fail, each in its own way, when ``take`` did not look at the free mask, when it did not
look at the slots' states, when it always waited for a node's capacity (deadlock), and when the
mark of ``changes`` was the newest transaction instead of the oldest still running; and when
``take`` did not look at what comes with the slots.
"""

import asyncio
import functools
from dataclasses import replace

import pytest

from contracts.stores import PLATFORM, Household, StoreContract, StoreUnit
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.errors import Conflict, NotFound
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.unit import Transactions
from gpucloud_core.nodes.boards_hgx import HGX_H200
from gpucloud_core.nodes.marks import marks_of
from gpucloud_core.nodes.model import NodeStatus, SlotState
from gpucloud_core.placement.model import Claim, NodeCapacity
from row_builders import NOW, SECOND, a_capacity, a_claim, a_node, a_slot, fresh


class FleetContract(StoreContract):
    async def a_fleet(
        self, transactions: Transactions[StoreUnit], nodes: int = 1, gpus: int = 8
    ) -> list[NodeCapacity]:
        """Store nodes with free slots in a pool of their own; return their capacity."""
        fleet = [a_node(gpus=gpus) for _ in range(nodes)]
        rows = [a_capacity(node.id, gpus=gpus, pool=fleet[0].id) for node in fleet]
        async with transactions.begin(PLATFORM) as unit:
            for node, row in zip(fleet, rows, strict=True):
                await unit.nodes.add(node)
                for index in range(gpus):
                    await unit.slots.add(a_slot(node.id, index))
                await unit.fleet.put(row)
        return rows

    async def slot_states(
        self, transactions: Transactions[StoreUnit], node_id: NodeId
    ) -> list[SlotState]:
        async with transactions.begin(PLATFORM) as unit:
            slots = await unit.slots.find(node_id=node_id)
        return [slot.state for slot in sorted(slots, key=lambda slot: slot.index)]

    async def take(
        self, transactions: Transactions[StoreUnit], home: Household, claim: Claim
    ) -> bool:
        async with transactions.begin(home.scope) as unit:
            return await unit.fleet.take(claim)

    async def test_reads_the_capacity_of_many_nodes_at_once(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        rows = await self.a_fleet(transactions, nodes=3)
        some = [row.node_id for row in rows[:2]]

        async with transactions.begin(home.scope) as unit:
            found = await unit.fleet.get_any([*some, NodeId("absent")])
            assert found == {node_id: await unit.fleet.get(node_id) for node_id in some}
            assert await unit.fleet.get_any([]) == {}

    async def test_finds_a_node_by_what_stands_on_it(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        """Seen to fail when the serials of disks were left out of the statement."""
        inside = HGX_H200.topology(seed=fresh("seed"))
        node = replace(a_node(), topology=inside, slot_host=fresh("slots"))
        node = replace(node, access=replace(node.access, host=f"mgmt.{node.id}"))
        async with transactions.begin(PLATFORM) as unit:
            await unit.nodes.add(node)
            await unit.nodes.add(a_node())
            await unit.slots.add(a_slot(node.id, 0, ssh_host=(slot := fresh("slot"))))

        assert len(marks_of(node)) == 2 + 2 * len(inside.gpus) + len(inside.nvmes)
        async with transactions.begin(home.scope) as unit:
            for mark in (*marks_of(node), slot):
                assert await unit.nodes.with_mark(mark, limit=9) == (node,), mark
            for nothing in ("", "absent", inside.gpus[0].model, inside.gpus[0].uuid[:-1]):
                assert node not in await unit.nodes.with_mark(nothing, limit=9)

    async def test_binds_the_slots_of_a_claim(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        (row,) = await self.a_fleet(transactions, gpus=4)
        claim = a_claim(home.tenant.id, row.node_id, 0b0110)

        assert await self.take(transactions, home, claim)

        async with transactions.begin(home.scope) as unit:
            assert await unit.fleet.get(row.node_id) == replace(
                row,
                free_mask=0b1001,
                free_vcpus=row.free_vcpus - claim.vcpus,
                free_memory_mib=row.free_memory_mib - claim.memory_mib,
                version=1,
            )
            assert await unit.claims.get(claim.id) == claim
        assert await self.slot_states(transactions, row.node_id) == [
            SlotState.AVAILABLE,
            SlotState.CLAIMED,
            SlotState.CLAIMED,
            SlotState.AVAILABLE,
        ]
        assert await self.committed(transactions, "claims", "id", claim.id) == 1

    @pytest.mark.parametrize(
        "change",
        [
            {"sellable": False},
            {"free_mask": 0b1101},
            {"free_vcpus": 15},
            {"free_memory_mib": 131_071},
        ],
    )
    async def test_changes_nothing_when_the_slots_are_not_to_be_had(
        self, transactions: Transactions[StoreUnit], home: Household, change: dict[str, int]
    ) -> None:
        (row,) = await self.a_fleet(transactions, gpus=4)
        async with transactions.begin(PLATFORM) as unit:
            await unit.fleet.put(replace(row, **change))  # type: ignore[arg-type]  # any field
            before = await unit.fleet.get(row.node_id)
        claim = a_claim(home.tenant.id, row.node_id, 0b0110)

        assert not await self.take(transactions, home, claim)

        async with transactions.begin(PLATFORM) as unit:
            assert await unit.fleet.get(row.node_id) == before
        assert set(await self.slot_states(transactions, row.node_id)) == {SlotState.AVAILABLE}
        assert await self.committed(transactions, "claims", "id", claim.id) == 0

    @pytest.mark.parametrize("beside", list(Beside))
    async def test_gives_only_slots_that_come_with_what_is_claimed(
        self, transactions: Transactions[StoreUnit], home: Household, beside: Beside
    ) -> None:
        (row,) = await self.a_fleet(transactions, gpus=4)
        row = replace(row, disk_mask=0b0011, nic_mask=0b0110)
        async with transactions.begin(PLATFORM) as unit:
            await unit.fleet.put(row)
        able = {
            Beside.NOTHING: (0, 1, 2, 3),
            Beside.DISK: (0, 1),
            Beside.NIC: (1, 2),
            Beside.BOTH: (1,),
        }[beside]

        async with transactions.begin(PLATFORM) as unit:
            for index in range(4):
                found = await unit.fleet.lowest(
                    pool=row.pool, masks=[1 << index], beside=beside, limit=1
                )
                assert [one.node_id for one in found] == [row.node_id] * (index in able)
        for index in range(4):
            claim = a_claim(home.tenant.id, row.node_id, 1 << index, beside=beside)
            assert await self.take(transactions, home, claim) == (index in able)

    async def test_takes_no_slot_that_is_not_available(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        (row,) = await self.a_fleet(transactions, gpus=2)
        async with transactions.begin(PLATFORM) as unit:
            slots = await unit.slots.find(node_id=row.node_id, index=1)
            await unit.slots.put(replace(slots[0], state=SlotState.CLEANUP_BLOCKED))

        assert not await self.take(transactions, home, a_claim(home.tenant.id, row.node_id, 0b11))
        assert await self.take(transactions, home, a_claim(home.tenant.id, row.node_id, 0b01))

    async def test_gives_a_whole_node_only_when_all_of_it_is_free(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        (row,) = await self.a_fleet(transactions, gpus=4)
        whole = functools.partial(a_claim, home.tenant.id, row.node_id, 0b1111, whole_node=True)
        part = a_claim(home.tenant.id, row.node_id, 0b0001)

        assert await self.take(transactions, home, part)
        assert not await self.take(transactions, home, whole())
        async with transactions.begin(home.scope) as unit:
            await unit.fleet.give_back(replace(part, released_at=NOW))
        assert await self.take(transactions, home, whole())
        assert not await self.take(transactions, home, whole())

    async def test_gives_a_node_to_one_claim_at_a_time_unless_it_may_be_shared(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        (row,) = await self.a_fleet(transactions, gpus=4)
        async with transactions.begin(PLATFORM) as unit:
            await unit.fleet.put(replace(row, shared=False))
        first, second = (a_claim(home.tenant.id, row.node_id, 1 << bit) for bit in range(2))

        assert await self.take(transactions, home, first)
        assert not await self.take(transactions, home, second)
        async with transactions.begin(home.scope) as unit:
            await unit.fleet.give_back(replace(first, released_at=NOW))
        assert await self.take(transactions, home, second)

    async def test_makes_slots_available_again_once(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        (row,) = await self.a_fleet(transactions, gpus=4)
        claim = a_claim(home.tenant.id, row.node_id, 0b0110)
        await self.take(transactions, home, claim)
        released = replace(claim, released_at=NOW + SECOND)

        for _ in range(2):
            async with transactions.begin(PLATFORM) as unit:
                await unit.fleet.give_back(released)

        async with transactions.begin(PLATFORM) as unit:
            assert await unit.fleet.get(row.node_id) == replace(row, version=2)
            assert await unit.claims.get(claim.id) == released
        assert set(await self.slot_states(transactions, row.node_id)) == {SlotState.AVAILABLE}

    async def test_keeps_slots_that_lost_their_approval_out_of_sale(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        (row,) = await self.a_fleet(transactions, gpus=2)
        claim = a_claim(home.tenant.id, row.node_id, 0b11)
        await self.take(transactions, home, claim)
        async with transactions.begin(PLATFORM) as unit:
            taken = await unit.fleet.get(row.node_id)
            assert taken is not None
            await unit.fleet.put(replace(taken, approved_mask=0b01))
            await unit.fleet.give_back(replace(claim, released_at=NOW))

            given = await unit.fleet.get(row.node_id)
        assert given is not None
        assert given.free_mask == 0b01

    async def test_moves_the_slots_of_an_open_claim(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        (row,) = await self.a_fleet(transactions, gpus=2)
        claim = a_claim(home.tenant.id, row.node_id, 0b10)
        await self.take(transactions, home, claim)

        async with transactions.begin(home.scope) as unit:
            await unit.fleet.set_slots(claim, SlotState.IN_USE, "the customer is in")
        async with transactions.begin(neighbour.scope) as unit:
            with pytest.raises(NotFound):
                await unit.fleet.set_slots(claim, SlotState.AVAILABLE)

        async with transactions.begin(PLATFORM) as unit:
            (slot,) = await unit.slots.find(node_id=row.node_id, index=1)
            assert (slot.state, slot.reason) == (SlotState.IN_USE, "the customer is in")
            kept = await unit.fleet.get(row.node_id)
            assert kept is not None
            assert kept.free_mask == 0b01
            await unit.fleet.give_back(replace(claim, released_at=NOW))
            with pytest.raises(NotFound):
                await unit.fleet.set_slots(claim, SlotState.CLEANING)

    async def test_refuses_a_put_of_what_changed_meanwhile(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        (row,) = await self.a_fleet(transactions)
        await self.take(transactions, home, a_claim(home.tenant.id, row.node_id, 1))

        with pytest.raises(Conflict):
            async with transactions.begin(PLATFORM) as unit:
                await unit.fleet.put(replace(row, sellable=False))
        with pytest.raises(InvariantError):
            async with transactions.begin(home.scope) as unit:
                await unit.fleet.put(replace(row, version=1, sellable=False))

    async def test_sells_nothing_of_a_node_whose_gate_is_held(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        (row,) = await self.a_fleet(transactions, gpus=4)
        claim = a_claim(home.tenant.id, row.node_id, 0b0110)

        async with transactions.begin(PLATFORM) as unit:
            held = await unit.fleet.lock(row.node_id)
            assert held is not None
            taking = asyncio.create_task(self.take(transactions, home, claim))
            await unit.fleet.put(replace(held, sellable=False))

        assert not await taking

    async def test_refuses_an_overlapping_claim_of_a_wrong_program(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        (row,) = await self.a_fleet(transactions, gpus=8)
        await self.take(transactions, home, a_claim(home.tenant.id, row.node_id, 0b0110))

        for wrong in (
            a_claim(neighbour.tenant.id, row.node_id, 0b0100),
            a_claim(neighbour.tenant.id, row.node_id, 0b1111_0111),
            a_claim(neighbour.tenant.id, row.node_id, 0b1000, whole_node=True),
        ):
            with pytest.raises(InvariantError):
                async with transactions.begin(neighbour.scope) as unit:
                    await unit.claims.add(wrong)
        async with transactions.begin(neighbour.scope) as unit:
            await unit.claims.add(a_claim(neighbour.tenant.id, row.node_id, 0b1001))

    async def test_tells_names_gpus_and_capacity_without_reading_what_is_inside(
        self, transactions: Transactions[StoreUnit]
    ) -> None:
        """Seen to fail when nodes of every status counted, and when names came in any order."""
        first, second, gone = await self.a_fleet(transactions, nodes=3, gpus=2)
        async with transactions.begin(PLATFORM) as unit:
            node = await unit.nodes.get(gone.node_id)
            assert node
            await unit.nodes.put(replace(node, status=NodeStatus.DELETED))
        async with transactions.begin(PLATFORM) as unit:
            names = await unit.nodes.first_names(10_000)
            gpus = await unit.nodes.gpus([NodeStatus.ACTIVE])
            rows = await unit.fleet.get_any([second.node_id, NodeId("absent")])
            some = await unit.nodes.first_names(1)

        ours = {first.node_id, second.node_id, gone.node_id}
        assert list(names.values()) == sorted(names.values())
        assert set(names) & ours == {first.node_id, second.node_id}
        assert list(some) == list(names)[:1]
        model = node.topology.gpus[0].model
        assert sorted(each for each in gpus if each.node_id in ours) == sorted(
            (row.node_id, model, len(node.topology.gpus)) for row in (first, second)
        )
        assert list(rows) == [second.node_id]

    async def test_tells_every_change_since_a_mark(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        rows = await self.a_fleet(transactions, nodes=3, gpus=2)
        async with transactions.begin(home.scope) as unit:
            start = await unit.fleet.changes(None)
        assert {row.node_id for row in rows} <= {row.node_id for row in start.rows}

        await self.take(transactions, home, a_claim(home.tenant.id, rows[1].node_id, 0b01))

        async with transactions.begin(home.scope) as unit:
            changes = await unit.fleet.changes(start.mark)
        changed = {row.node_id: row for row in changes.rows}
        assert changed[rows[1].node_id].free_mask == 0b10
        assert rows[0].node_id not in changed

        async with transactions.begin(home.scope) as unit:
            assert (await unit.fleet.changes(changes.mark)).rows == ()

    async def test_tells_more_changes_than_come_in_one_go(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        """Seen to fail when only the first of them were told."""
        async with transactions.begin(home.scope) as unit:
            mark = (await unit.fleet.changes(None)).mark
        rows = await self.a_fleet(transactions, nodes=260, gpus=1)

        async with transactions.begin(home.scope) as unit:
            changes = await unit.fleet.changes(mark)

        assert {row.node_id for row in rows} <= {row.node_id for row in changes.rows}

    async def test_keeps_an_image_right_while_others_commit_out_of_order(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        rows = await self.a_fleet(transactions, nodes=4, gpus=8)
        ours = {row.node_id for row in rows}
        image: dict[NodeId, NodeCapacity] = {}

        async def work(number: int) -> None:
            async with transactions.begin(home.scope) as unit:
                node_id = rows[number % 4].node_id
                await unit.fleet.take(a_claim(home.tenant.id, node_id, 1 << number % 8))
                await asyncio.sleep(number % 3 * 0.002)

        async def watch() -> None:
            mark = None
            for _ in range(12):
                async with transactions.begin(home.scope) as unit:
                    changes = await unit.fleet.changes(mark)
                mark = changes.mark
                image.update({row.node_id: row for row in changes.rows if row.node_id in ours})
                await asyncio.sleep(0.001)
            await workers
            async with transactions.begin(home.scope) as unit:
                changes = await unit.fleet.changes(mark)
            image.update({row.node_id: row for row in changes.rows if row.node_id in ours})

        workers = asyncio.gather(*(work(number) for number in range(16)))
        await watch()

        async with transactions.begin(home.scope) as unit:
            for node_id in ours:
                assert image[node_id] == await unit.fleet.get(node_id)

    async def test_picks_the_first_nodes_that_fit_one_of_the_masks(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        rows = await self.a_fleet(transactions, nodes=3, gpus=4)
        pool = rows[0].pool
        await self.take(transactions, home, a_claim(home.tenant.id, rows[0].node_id, 0b0001))

        async with transactions.begin(home.scope) as unit:
            first = await unit.fleet.lowest(pool=pool, masks=[0b0001, 0b0011], limit=1)
            every = await unit.fleet.lowest(pool=pool, masks=[0b1100], limit=9)
            none = await unit.fleet.lowest(pool=f"not {pool}", masks=[1], limit=9)
        assert [row.node_id for row in first] == [rows[1].node_id]
        assert [row.node_id for row in every] == [row.node_id for row in rows]
        assert list(none) == []

    async def test_sells_each_slot_once_when_many_want_it(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        rows = await self.a_fleet(transactions, nodes=2, gpus=4)
        claims = [
            (household, a_claim(household.tenant.id, row.node_id, 1 << index))
            for row in rows
            for index in range(4)
            for household in (home, neighbour, home)
        ]

        won = await asyncio.gather(
            *(self.take(transactions, household, claim) for household, claim in claims)
        )

        held = [claim for (_, claim), has in zip(claims, won, strict=True) if has]
        assert len(held) == 8
        assert {(claim.node_id, claim.mask) for claim in held} == {
            (row.node_id, 1 << index) for row in rows for index in range(4)
        }
        async with transactions.begin(PLATFORM) as unit:
            for row in rows:
                left = await unit.fleet.get(row.node_id)
                assert left is not None
                assert (left.free_mask, left.free_vcpus) == (0, 0)

    async def test_never_overlaps_when_many_want_overlapping_sets(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        (row,) = await self.a_fleet(transactions, gpus=8)
        masks = [0b11 << shift for shift in range(7)] * 2 + [0b1111, 0b1111_0000, 0b1111_1111]
        claims = [a_claim(home.tenant.id, row.node_id, mask) for mask in masks]

        won = await asyncio.gather(*(self.take(transactions, home, claim) for claim in claims))

        held = [claim.mask for claim, has in zip(claims, won, strict=True) if has]
        async with transactions.begin(PLATFORM) as unit:
            left = await unit.fleet.get(row.node_id)
        assert left is not None
        assert sum(held) == 0b1111_1111 & ~left.free_mask
        assert sum(mask.bit_count() for mask in held) == 8 - left.free_mask.bit_count()

    async def test_does_not_block_for_ever_when_batches_cross(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        rows = await self.a_fleet(transactions, nodes=2, gpus=8)

        async def batch(number: int) -> int:
            order = rows if number % 2 else rows[::-1]
            async with transactions.begin(home.scope) as unit:
                taken = 0
                for row in order:
                    claim = a_claim(home.tenant.id, row.node_id, 1 << number)
                    taken += await unit.fleet.take(claim)
                    await asyncio.sleep(0.002)
                return taken

        taken = await asyncio.gather(*(batch(number) for number in range(8)))

        assert sum(taken) >= 8
        async with transactions.begin(PLATFORM) as unit:
            capacities = [await unit.fleet.get(row.node_id) for row in rows]
        assert sum(8 - row.free_mask.bit_count() for row in capacities if row) == sum(taken)
