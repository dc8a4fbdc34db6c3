"""What pages and lists read of many allocations at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.briefs import AllocationBrief, status_of, step_line
from gpucloud_core.allocations.lifecycle import LIFECYCLE, PublicStatus
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.ids import ProjectId
from gpucloud_core.kernel.rows import COUNTED_MAX, ListQuery, Page
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.model import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationLine:
    """One row of a list."""

    allocation: Allocation
    status: PublicStatus
    node_name: str
    cost_micros: int
    step: str  # "Make the slice (3 of 6)" while it moves
    as_of: datetime
    slots: tuple[Slot, ...] = ()  # all of its node, in PCI order, while it holds some of them


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAllocations:
    """A page of a project's allocations.

    What has ended holds no slots and moves no more: neither is read for it.
    """

    transactions: Transactions[AllocationUnit]

    async def __call__(
        self, *, actor: Actor, project_id: ProjectId, query: ListQuery, with_slots: bool = True
    ) -> Page[AllocationLine]:
        """Return the page; ``with_slots`` reads what is beside each on its node too."""
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            return await read_lines(
                unit, _in_project(query, actor, project_id), with_slots=with_slots
            )


async def read_lines(
    unit: AllocationUnit, query: ListQuery, *, with_slots: bool
) -> Page[AllocationLine]:
    """Return a page of lines; ``with_slots`` reads what is beside each on its node too."""
    page = await unit.allocations.page(query)
    now = await unit.now()
    ids = [allocation.id for allocation in page.items]
    costs = await unit.usage_segments.costs(ids, now)
    names = await unit.nodes.names({row.node_id for row in page.items})
    live = [row for row in page.items if not LIFECYCLE.is_final(row.state)]
    tasks = await unit.tasks.find_any("id", [row.task_id for row in live]) if live else ()
    places = sorted({row.node_id for row in live})
    slots = await unit.slots.find_any("node_id", places) if places and with_slots else ()
    by_task = {task.id: task for task in tasks}
    by_node: dict[str, list[Slot]] = {}
    for slot in sorted(slots, key=lambda slot: slot.index):
        by_node.setdefault(slot.node_id, []).append(slot)
    lines = tuple(
        AllocationLine(
            allocation=row,
            status=status_of(row, by_task.get(row.task_id)),
            node_name=names.get(row.node_id, ""),
            cost_micros=costs.get(row.id, 0),
            step=step_line(by_task.get(row.task_id)),
            as_of=now,
            slots=tuple(by_node.get(row.node_id, ())),
        )
        for row in page.items
    )
    return Page(lines, page.next_cursor, page.prev_cursor)


def _in_project(query: ListQuery, actor: Actor, project_id: ProjectId) -> ListQuery:
    """Return the query for one project's allocations, if ``actor`` may read them."""
    require(actor, Action.ALLOCATION_READ, tenant_id=actor.tenant_id, project_id=project_id)
    return replace(query, where={**query.where, "project_id": (project_id,)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListBriefs:
    """A page of a project's allocations, in brief."""

    transactions: Transactions[AllocationUnit]

    async def __call__(
        self, *, actor: Actor, project_id: ProjectId, query: ListQuery
    ) -> Page[AllocationBrief]:
        """Return the page.

        Raises:
            NotFound, Forbidden: the project is not theirs to read.
            ValidationFailed: there is no such list.
        """
        asked = _in_project(query, actor, project_id)
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            return await unit.allocations.briefs(asked)


async def read_briefs(unit: AllocationUnit, query: ListQuery) -> Page[AllocationBrief]:
    """Return a page of briefs, made of the lines: what a brief is."""
    page = await read_lines(unit, query, with_slots=False)
    return Page(tuple(map(_brief, page.items)), page.next_cursor, page.prev_cursor)


def _brief(line: AllocationLine) -> AllocationBrief:
    row = line.allocation
    return AllocationBrief(
        id=row.id,
        name=row.name,
        status=line.status,
        shape=row.shape,
        sku=row.sku_id,
        gpu_count=row.gpu_count,
        project_id=row.project_id,
        task_id=row.task_id,
        node=line.node_name,
        region=row.region,
        step=line.step,
        requested_at=row.requested_at,
        active_at=row.active_at,
        billing_stopped_at=row.billing_stopped_at,
        failure_reason=row.failure_reason,
        release_failed_reason=row.release_failed_reason,
        rate_micros_per_hour=row.rate_micros_per_hour,
        cost_micros=line.cost_micros,
        currency=row.currency,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CountAllocations:
    """How many allocations of a project are in each raw state, for the tabs of lists."""

    transactions: Transactions[AllocationUnit]

    async def __call__(self, *, actor: Actor, project_id: ProjectId) -> dict[AllocationState, int]:
        require(actor, Action.ALLOCATION_READ, tenant_id=actor.tenant_id, project_id=project_id)
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            counted = await unit.allocations.count_by("state", project_id=project_id)
        return {AllocationState(str(state)): number for state, number in counted.items()}

    async def each(
        self, *, actor: Actor, project_id: ProjectId, queries: Sequence[ListQuery]
    ) -> list[int]:
        """Return how many allocations each query finds, up to ``COUNTED_MAX``."""
        inside = [_in_project(query, actor, project_id) for query in queries]
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            return [await unit.allocations.matching(one, at_most=COUNTED_MAX) for one in inside]
