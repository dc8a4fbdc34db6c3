"""The fleet's capacity in memory: what is free on each node, and the claims that hold the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from gpucloud_adapters.memory.database import MemoryDatabase
from gpucloud_adapters.memory.kind_rows import MemoryClaims
from gpucloud_adapters.memory.rows import MemoryRows
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_adapters.stored.kinds import NODE_CAPACITY, PROMISES, SLOTS
from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.errors import Conflict, NotFound
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.time import Clock
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import Slot, SlotState
from gpucloud_core.placement.model import Claim, NodeCapacity
from gpucloud_core.placement.ports import FleetChanges


class MemoryFleet:
    """Written by every scope: a claim of any tenant changes the capacity all of them share."""

    def __init__(self, database: MemoryDatabase, scope: Scope, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._capacity = database.table(NODE_CAPACITY)
        self._slots = database.table(SLOTS)
        self._claims = MemoryClaims(database, scope)
        self._scope = scope

    async def changes(self, since: str | None, *, promised_in: str = "") -> FleetChanges:
        seen = 0 if since is None else int(since)
        stamps = self._database.fleet_stamps
        changed = [
            self._capacity.rows[node] for node, stamp in stamps.of_node.items() if stamp > seen
        ]
        promises = MemoryRows(self._database, self._scope, PROMISES)
        return FleetChanges(
            mark=str(stamps.latest),
            rows=tuple(sorted(changed, key=lambda row: row.node_id)),
            promises=await promises.find(pool=promised_in) if promised_in else (),
        )

    async def take(self, claim: Claim, *, may_wait: bool = True) -> bool:
        capacity = self._capacity.rows.get(claim.node_id)
        if capacity is None or not _fits(capacity, claim):
            return False
        slots = self._slots_of(claim)
        if len(slots) != claim.mask.bit_count() or any(
            slot.state is not SlotState.AVAILABLE for slot in slots
        ):
            return False
        await self._claims.add(claim)
        self._store(
            replace(
                capacity,
                free_mask=capacity.free_mask & ~claim.mask,
                free_vcpus=capacity.free_vcpus - claim.vcpus,
                free_memory_mib=capacity.free_memory_mib - claim.memory_mib,
                version=capacity.version + 1,
            )
        )
        self._move(slots, SlotState.CLAIMED, claim.claimed_at)
        return True

    async def set_slots(self, claim: Claim, state: str, reason: str = "") -> None:
        stored = await self._claims.get(claim.id)
        if stored is None or stored.released_at is not None:
            raise NotFound("This claim is not open.")
        self._move(self._slots_of(stored), SlotState(state), self._clock.now(), reason)

    async def give_back(self, claim: Claim) -> None:
        stored = await self._claims.get(claim.id)
        if claim.released_at is None:
            raise InvariantError(f"{claim.id} is given back without an instant")
        if stored is None:
            raise NotFound("There is no such claim.")
        if stored.released_at is not None:
            return
        capacity = self._capacity.rows[stored.node_id]
        await self._claims.put(replace(stored, released_at=claim.released_at))
        self._move(self._slots_of(stored), SlotState.AVAILABLE, claim.released_at)
        self._store(
            replace(
                capacity,
                free_mask=capacity.free_mask | stored.mask & capacity.approved_mask,
                free_vcpus=capacity.free_vcpus + stored.vcpus,
                free_memory_mib=capacity.free_memory_mib + stored.memory_mib,
                version=capacity.version + 1,
            )
        )

    async def put(self, capacity: NodeCapacity) -> None:
        if self._scope.tenant_id is not None:
            raise InvariantError("a tenant's unit may not change what a node offers")
        stored = self._capacity.rows.get(capacity.node_id)
        if stored is None:
            self._store(capacity)
            return
        if stored.version != capacity.version:
            raise Conflict("The node's capacity changed since it was read.")
        self._store(replace(capacity, version=capacity.version + 1))

    async def get(self, node_id: str) -> NodeCapacity | None:
        return self._capacity.rows.get(node_id)

    async def get_any(self, node_ids: Sequence[NodeId]) -> Mapping[NodeId, NodeCapacity]:
        rows = self._capacity.rows
        return {node_id: rows[node_id] for node_id in node_ids if node_id in rows}

    async def lock(self, node_id: str) -> NodeCapacity | None:
        if self._scope.tenant_id is not None:
            raise InvariantError("a tenant's unit may not change what a node offers")
        return await self.get(node_id)

    async def lowest(
        self, *, pool: str, masks: Sequence[int], beside: Beside = Beside.NOTHING, limit: int
    ) -> Sequence[NodeCapacity]:
        fitting = [
            row
            for row in self._capacity.rows.values()
            if row.pool == pool
            and row.sellable
            and any(row.free_with(beside) & mask == mask for mask in masks)
        ]
        return sorted(fitting, key=lambda row: row.node_id)[:limit]

    def _slots_of(self, claim: Claim) -> list[Slot]:
        return [
            slot
            for index in range(claim.mask.bit_length())
            if claim.mask >> index & 1
            for slot in self._slots.candidates({"node_id": claim.node_id, "index": index})
        ]

    def _move(self, slots: list[Slot], state: SlotState, at: datetime, reason: str = "") -> None:
        for slot in slots:
            self._slots.replace(replace(slot, state=state, state_since=at, reason=reason))

    def _store(self, capacity: NodeCapacity) -> None:
        if capacity.free_mask & ~capacity.approved_mask:
            raise InvariantError(f"{capacity.node_id} would sell slots that are not approved")
        if (capacity.disk_mask | capacity.nic_mask) & ~capacity.approved_mask:
            raise InvariantError(f"{capacity.node_id} has devices of slots that are not approved")
        if min(capacity.free_mask, capacity.free_vcpus, capacity.free_memory_mib) < 0:
            raise InvariantError(f"{capacity.node_id} would give more than it has")
        if capacity.node_id in self._capacity.rows:
            self._capacity.replace(capacity)
        else:
            self._capacity.insert(capacity)
        stamps = self._database.fleet_stamps
        stamps.latest += 1
        self._database.journal.assign(stamps.of_node, capacity.node_id, stamps.latest)


def _fits(capacity: NodeCapacity, claim: Claim) -> bool:
    untouched = capacity.free_mask == capacity.approved_mask
    return (
        capacity.sellable
        and capacity.free_with(claim.beside) & claim.mask == claim.mask
        and capacity.free_vcpus >= claim.vcpus
        and capacity.free_memory_mib >= claim.memory_mib
        and (untouched or (capacity.shared and not claim.whole_node))
        and (claim.mask == capacity.approved_mask or not claim.whole_node)
    )
