"""The fleet in a few figures, and every tenant's allocations, for the platform's own people."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.drift import HOLDING
from gpucloud_core.allocations.lifecycle import PublicStatus, public_status
from gpucloud_core.allocations.model import Allocation, AllocationState, StateChange
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import AllocationId, NodeId
from gpucloud_core.kernel.rows import COUNTED_MAX, ListQuery, Page
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.model import NodeStatus
from gpucloud_core.nodes.ports import NodeGpus
from gpucloud_core.placement.model import NodeCapacity

_RUNNING: Final = (
    AllocationState.ACTIVE,
    AllocationState.RESTARTING,
    AllocationState.DEGRADED,
)
_IN_FLEET: Final = frozenset(NodeStatus) - {NodeStatus.RETIRED, NodeStatus.DELETED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """All GPUs of one model.

    Attributes:
        gpus_off_sale: neither held nor for sale: unapproved, withheld, or on a node off sale.
        most_free: the most that are free on one node, so the largest slice that might still fit.
    """

    model: str
    nodes: int
    gpus_total: int
    gpus_held: int
    gpus_free: int
    most_free: int

    @property
    def gpus_off_sale(self) -> int:
        return self.gpus_total - self.gpus_held - self.gpus_free


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The fleet at one instant.

    Attributes:
        gpus_total: of every node that is not retired.
        gpus_held: bound by an open claim.
        gpus_free: could be sold now.
        nodes_free: in service, sold from, and held by nobody.
        nodes_out: kept off sale: draining, offline, quarantined, or not reachable.
        allocations_active: running now; ``allocations_moving`` are on their way up or down.
        hardware: by model of GPU, most GPUs first.
    """

    gpus_total: int
    gpus_held: int
    gpus_free: int
    nodes_total: int
    nodes_free: int
    nodes_out: int
    allocations_active: int
    allocations_moving: int
    allocations_stuck: int
    users: int
    hardware: Sequence[Hardware]
    as_of: datetime


def hardware_of(
    nodes: Iterable[NodeGpus], capacity: Mapping[NodeId, NodeCapacity]
) -> list[Hardware]:
    """Return the fleet by model of GPU, most GPUs first; a node counts under its first GPU's."""
    kinds: dict[str, list[NodeGpus]] = defaultdict(list)
    for node in nodes:
        if node.gpus:
            kinds[node.model].append(node)
    found = []
    for model, alike in kinds.items():
        rows = [capacity[node.node_id] for node in alike if node.node_id in capacity]
        free = [row.free_mask.bit_count() if row.sellable else 0 for row in rows]
        found.append(
            Hardware(
                model=model,
                nodes=len(alike),
                gpus_total=sum(node.gpus for node in alike),
                gpus_held=sum(_held(row) for row in rows),
                gpus_free=sum(free),
                most_free=max(free, default=0),
            )
        )
    return sorted(found, key=lambda kind: (-kind.gpus_total, kind.model))


def _held(row: NodeCapacity) -> int:
    return (row.approved_mask & ~row.free_mask).bit_count()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOverview:
    """Count the fleet."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor) -> Overview:
        require(actor, Action.ADMIN_READ)
        async with self.transactions.look(Scope.platform()) as unit:
            nodes = await unit.nodes.gpus(_IN_FLEET)
            rows = (await unit.fleet.changes(None)).rows
            states = await unit.allocations.count_by("state")
            users = await unit.users.count(disabled_at=None)
            now = await unit.now()
        inside = {node.node_id for node in nodes}
        capacity = {row.node_id: row for row in rows if row.node_id in inside}
        hardware = hardware_of(nodes, capacity)
        counted = {AllocationState(str(state)): number for state, number in states.items()}
        moving = HOLDING - set(_RUNNING) | {AllocationState.RELEASING}
        sold = [row for row in capacity.values() if row.sellable]
        unsold = [row for row in capacity.values() if not row.sellable]
        return Overview(
            gpus_total=sum(kind.gpus_total for kind in hardware),
            gpus_held=sum(kind.gpus_held for kind in hardware),
            gpus_free=sum(kind.gpus_free for kind in hardware),
            nodes_total=len(nodes),
            nodes_free=sum(row.free_mask == row.approved_mask for row in sold),
            nodes_out=sum(bool(row.approved_mask) for row in unsold),
            allocations_active=sum(counted.get(state, 0) for state in _RUNNING),
            allocations_moving=sum(counted.get(state, 0) for state in moving),
            allocations_stuck=counted.get(AllocationState.RELEASE_FAILED, 0),
            users=users,
            hardware=hardware,
            as_of=now,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyLine:
    """An allocation of any tenant, with whose it is and where."""

    allocation: Allocation
    status: PublicStatus
    node_name: str
    owner: str
    tenant: str
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAnyAllocations:
    """A page of every tenant's allocations."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor, query: ListQuery) -> Page[AnyLine]:
        require(actor, Action.ANY_ALLOCATION_READ)
        async with self.transactions.look(Scope.platform()) as unit:
            page = await unit.allocations.page(query)
            lines = await _lines(unit, page.items)
        return Page(lines, page.next_cursor, page.prev_cursor)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountAnyAllocations:
    """How many allocations there are per raw state, for the tabs of the list."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor) -> dict[AllocationState, int]:
        require(actor, Action.ANY_ALLOCATION_READ)
        async with self.transactions.look(Scope.platform()) as unit:
            counted = await unit.allocations.count_by("state")
        return {AllocationState(str(state)): number for state, number in counted.items()}

    async def each(self, *, actor: Actor, queries: Sequence[ListQuery]) -> list[int]:
        """Return how many each query finds, up to ``COUNTED_MAX``."""
        require(actor, Action.ANY_ALLOCATION_READ)
        async with self.transactions.begin(Scope.platform()) as unit:
            return [await unit.allocations.matching(one, at_most=COUNTED_MAX) for one in queries]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyAllocation:
    """One allocation with every state it has been in, oldest first."""

    line: AnyLine
    changes: tuple[StateChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAnyAllocation:
    """One allocation, whoever's it is."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor, allocation_id: AllocationId) -> AnyAllocation:
        require(actor, Action.ANY_ALLOCATION_READ)
        async with self.transactions.look(Scope.platform()) as unit:
            row = await unit.allocations.get(allocation_id)
            if row is None:
                raise NotFound("There is no allocation with this id.")
            (line,) = await _lines(unit, [row])
            changes = await unit.state_changes.find(allocation_id=allocation_id)
        ordered = tuple(sorted(changes, key=lambda change: (change.at, change.id)))
        return AnyAllocation(line=line, changes=ordered)


async def _lines(unit: FleetUnit, rows: Sequence[Allocation]) -> tuple[AnyLine, ...]:
    nodes = await unit.nodes.find_any("id", list({row.node_id for row in rows}))
    users = await unit.users.find_any("id", list({row.user_id for row in rows}))
    tenants = await unit.tenants.find_any("id", list({row.tenant_id for row in rows}))
    tasks = await unit.tasks.find_any("id", [row.task_id for row in rows])
    now = await unit.now()
    places = {node.id: node.name for node in nodes}
    names = {user.id: user.username for user in users}
    owners = {tenant.id: tenant.name for tenant in tenants}
    asked = {task.id for task in tasks if task.cancel_requested_at is not None}
    return tuple(
        AnyLine(
            allocation=row,
            status=public_status(row.state, cause=row.cause, cancel_asked=row.task_id in asked),
            node_name=places.get(row.node_id, ""),
            owner=names.get(row.user_id, ""),
            tenant=owners.get(row.tenant_id, ""),
            as_of=now,
        )
        for row in rows
    )
