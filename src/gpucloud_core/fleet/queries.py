"""What operators see of nodes: the list, and one node with who holds what and what still fits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.quote import placement_request
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.catalog.model import Sku
from gpucloud_core.catalog.pools import pool_of
from gpucloud_core.fleet.held import Holding, holdings_on
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.rows import COUNTED_MAX, ListQuery, Page
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.model import Node, NodeStatus, Slot
from gpucloud_core.nodes.review import NodeReview, review
from gpucloud_core.placement.choose import how_many
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import NodeCapacity
from gpucloud_core.work.model import Task

_TASKS_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLine:
    """One row of the list of nodes."""

    node: Node
    slots: tuple[Slot, ...]
    held: tuple[Holding, ...]
    capacity: NodeCapacity | None
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StillFits:
    """How many launches of each size of one SKU still fit on a node, one after another."""

    sku: Sku
    launches: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One node with everything an operator decides by."""

    node: Node
    slots: tuple[Slot, ...]
    review: NodeReview
    held: tuple[Holding, ...]
    capacity: NodeCapacity | None
    fits: tuple[StillFits, ...]
    tasks: tuple[Task, ...]  # newest first
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListNodes:
    """A page of nodes, whoever holds them."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor, query: ListQuery) -> Page[NodeLine]:
        require(actor, Action.NODE_READ)
        async with self.transactions.look(Scope.platform()) as unit:
            page = await unit.nodes.page(query)
            ids = [node.id for node in page.items]
            slots = await unit.slots.find_any("node_id", ids)
            held = await holdings_on(unit, ids)
            capacity = await unit.fleet.get_any(ids)
            now = await unit.now()
        lines = tuple(
            NodeLine(
                node=node,
                slots=_sorted(slot for slot in slots if slot.node_id == node.id),
                held=tuple(one for one in held if one.claim.node_id == node.id),
                capacity=capacity.get(node.id),
                as_of=now,
            )
            for node in page.items
        )
        return Page(lines, page.next_cursor, page.prev_cursor)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameNodes:
    """What nodes are called, for a choice among them."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor, at_most: int) -> Mapping[NodeId, str]:
        require(actor, Action.NODE_READ)
        async with self.transactions.look(Scope.platform()) as unit:
            return await unit.nodes.first_names(at_most)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountNodes:
    """How many nodes have each status, for the tabs of the list."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor) -> dict[NodeStatus, int]:
        require(actor, Action.NODE_READ)
        async with self.transactions.look(Scope.platform()) as unit:
            counted = await unit.nodes.count_by("status")
        return {NodeStatus(str(status)): number for status, number in counted.items()}

    async def each(self, *, actor: Actor, queries: Sequence[ListQuery]) -> list[int]:
        """Return how many each query finds, up to ``COUNTED_MAX``."""
        require(actor, Action.NODE_READ)
        async with self.transactions.begin(Scope.platform()) as unit:
            return [await unit.nodes.matching(one, at_most=COUNTED_MAX) for one in queries]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadNode:
    """One node."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor, node_id: NodeId) -> NodeView:
        require(actor, Action.NODE_READ)
        async with self.transactions.look(Scope.platform()) as unit:
            node = await unit.nodes.get(node_id)
            if node is None:
                raise NotFound("There is no node with this id.")
            slots = _sorted(await unit.slots.find(node_id=node_id))
            capacity = await unit.fleet.get(node_id)
            held = await holdings_on(unit, [node_id])
            tasks = await unit.tasks.find(subject=node_id)
            skus = await unit.skus.find(active=True)
            now = await unit.now()
        return NodeView(
            node=node,
            slots=slots,
            review=review(node, slots),
            held=held,
            capacity=capacity,
            fits=still_fits(node, capacity, skus),
            tasks=tuple(sorted(tasks, key=lambda task: task.id, reverse=True))[:_TASKS_SHOWN],
            as_of=now,
        )


def still_fits(
    node: Node, capacity: NodeCapacity | None, skus: Sequence[Sku]
) -> tuple[StillFits, ...]:
    """Return what could be sold of the node now, by the very rules that placement goes by."""
    if capacity is None or not capacity.sellable:
        return ()
    image = FleetImage()
    image.learn(node.topology)
    image.put(capacity)
    return tuple(
        StillFits(
            sku=sku,
            launches={
                count: how_many(
                    placement_request(sku, LaunchRequest(sku_id=sku.id, gpu_count=count)), image
                )
                for count in sorted(sku.allowed_gpu_counts)
            },
        )
        for sku in skus
        if pool_of(sku) == capacity.pool
    )


def _sorted(slots: Iterable[Slot]) -> tuple[Slot, ...]:
    return tuple(sorted(slots, key=lambda slot: slot.index))
