"""What somebody means who types a few words: a thing by its name, id, address, serial or UUID.

Everybody finds their project's allocations; operators also nodes and whoever's allocations are on
them, administrators people. It is asked with every key that is pressed, so it reads little: no
list is joined to what stands beside it, and the inside of nodes is looked into only for what may
be the mark of a part.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gpucloud_core.access.authorize import Action, Allowed, authorize
from gpucloud_core.access.model import Actor, User
from gpucloud_core.allocations.lifecycle import CANCELLABLE, LIVE, PublicStatus, public_status
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.kernel.ids import PREFIXES, ProjectId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.model import Node

FOUND_MAX: Final = 6
_MARK: Final = re.compile(r"(?=.*[0-9])[0-9A-Za-z][0-9A-Za-z._:-]{3,63}")
_HOLDS: Final = (*sorted(LIVE), AllocationState.RELEASE_FAILED)


def may_be_mark(text: str) -> bool:
    """Tell whether this may be an address, or the serial or UUID of a part; ids of ours are not."""
    return _MARK.fullmatch(text) is not None and text.partition("_")[0] not in PREFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAllocation:
    allocation: Allocation
    status: PublicStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is, best first. ``elsewhere`` are allocations of any tenant, for operators."""

    allocations: Sequence[FoundAllocation] = ()
    elsewhere: Sequence[FoundAllocation] = ()
    nodes: Sequence[Node] = ()
    users: Sequence[User] = field(default=(), repr=False)


def carries(allocation: Allocation, node: Node, mark: str) -> bool:
    """Tell whether ``mark`` is where an allocation answers, or a GPU that it has on ``node``."""
    if allocation.connection is not None and allocation.connection.host == mark:
        return True
    held = (gpu for gpu in node.topology.gpus if allocation.mask >> gpu.index & 1)
    return any(mark in {gpu.uuid, gpu.serial} for gpu in held)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindThings:
    """Find what the actor may see. Whatever they may not see is not there."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor, project_id: ProjectId | None, text: str) -> Found:
        """Return what ``text`` means, at most ``FOUND_MAX`` of each kind.

        Args:
            actor: who asks.
            project_id: where they are; None in no project.
            text: one line, not empty.
        """
        allocations: list[FoundAllocation] = []
        if project_id is not None and _may(actor, Action.ALLOCATION_READ, project_id):
            async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
                allocations = await _in_project(unit, project_id, text)
        if not any(_may(actor, action) for action in (Action.NODE_READ, Action.USER_READ)):
            return Found(allocations=allocations)
        async with self.transactions.look(Scope.platform()) as unit:
            return await _anywhere(unit, actor, text, allocations)


async def _in_project(unit: FleetUnit, project_id: ProjectId, text: str) -> list[FoundAllocation]:
    where = {"project_id": (project_id,)}
    page = await unit.allocations.page(ListQuery(where=where, search=text, limit=FOUND_MAX))
    rows = page.items
    if not rows and may_be_mark(text):
        nodes = await unit.nodes.with_mark(text, limit=FOUND_MAX)
        rows = await _on(unit, nodes, text, project_id=(project_id,))
    return await _with_status(unit, rows)


async def _anywhere(
    unit: FleetUnit, actor: Actor, text: str, here: Sequence[FoundAllocation]
) -> Found:
    nodes: Sequence[Node] = ()
    elsewhere: Sequence[Allocation] = ()
    users: Sequence[User] = ()
    query = ListQuery(search=text, limit=FOUND_MAX)
    if _may(actor, Action.NODE_READ):
        nodes = (await unit.nodes.page(query)).items
        if not nodes and may_be_mark(text):
            nodes = await unit.nodes.with_mark(text, limit=FOUND_MAX)
            elsewhere = await _on(unit, nodes, text)
    if not elsewhere and _may(actor, Action.ANY_ALLOCATION_READ):
        held = ListQuery(search=text, limit=FOUND_MAX, where={"state": _HOLDS})
        elsewhere = (await unit.allocations.page(held)).items
    if _may(actor, Action.USER_READ):
        users = (await unit.users.page(query)).items
    known = {one.allocation.id for one in here}
    return Found(
        allocations=here,
        elsewhere=await _with_status(unit, [row for row in elsewhere if row.id not in known]),
        nodes=nodes,
        users=users,
    )


async def _on(
    unit: FleetUnit, nodes: Iterable[Node], mark: str, **where: tuple[object, ...]
) -> tuple[Allocation, ...]:
    """Return the allocations on these nodes that ``mark`` is about."""
    by_id = {node.id: node for node in nodes}
    if not by_id:
        return ()
    narrowed = {"node_id": tuple(by_id), "state": _HOLDS, **where}
    page = await unit.allocations.page(ListQuery(where=narrowed, limit=100))
    rows = [row for row in page.items if carries(row, by_id[row.node_id], mark)]
    return tuple(rows[:FOUND_MAX])


async def _with_status(unit: FleetUnit, rows: Sequence[Allocation]) -> list[FoundAllocation]:
    moving = [row.task_id for row in rows if row.state in CANCELLABLE]
    tasks = await unit.tasks.find_any("id", moving) if moving else ()
    asked = {task.id for task in tasks if task.cancel_requested_at is not None}
    return [
        FoundAllocation(
            allocation=row,
            status=public_status(row.state, cause=row.cause, cancel_asked=row.task_id in asked),
        )
        for row in rows
    ]


def _may(actor: Actor, action: Action, project_id: ProjectId | None = None) -> bool:
    verdict = authorize(actor, action, tenant_id=actor.tenant_id, project_id=project_id)
    return isinstance(verdict, Allowed)
