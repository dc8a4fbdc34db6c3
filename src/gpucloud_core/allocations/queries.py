"""What pages and lists read of allocations and their tasks: rows joined to views, no rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gpucloud_core.access.authorize import Action, Allowed, authorize, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.briefs import status_of
from gpucloud_core.allocations.errors import ReceiptNotReady
from gpucloud_core.allocations.lifecycle import PublicStatus
from gpucloud_core.allocations.model import Allocation, StateChange
from gpucloud_core.allocations.place import disks_of, nics_of, slots_in
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.told import event_to_tenant, task_to_tenant
from gpucloud_core.catalog.model import OsImage
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import AllocationId, TaskId
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.time import microseconds_between
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.metering.charge import cost_of
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.nodes.model import Gpu, Nic, Node, Nvme, Slot
from gpucloud_core.placement.explain import explain_to_tenant
from gpucloud_core.placement.model import Claim
from gpucloud_core.work.model import Task, TaskEvent, TaskStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationView:
    """An allocation with what its readers want beside it. ``others`` are slots not its own."""

    allocation: Allocation
    status: PublicStatus
    node: Node
    slots: tuple[Slot, ...]  # all of the node
    gpus: tuple[Gpu, ...]  # its own
    disks: tuple[Nvme, ...]  # its data disks, in the order of their folders
    nics: tuple[Nic, ...]  # its network ports
    why_here: tuple[str, ...]  # what placement rested on, in sentences
    cost_micros: int  # up to as_of, to the micro-unit
    settled_micros: int
    billed_seconds: int
    task: Task | None
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that the meter stopped and that nothing was left."""

    allocation: Allocation
    billed_seconds: int
    cost_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """A task, its members if it is a batch, and the allocations it moves."""

    task: Task
    members: tuple[Task, ...]
    allocations: tuple[Allocation, ...]
    as_of: datetime
    node: Node | None = None  # what it is about, if that is a node
    image: OsImage | None = None  # likewise

    def to_tenant(self) -> "TaskView":
        """Return it without what nodes said in their own words."""
        members = tuple(map(task_to_tenant, self.members))
        return replace(self, task=task_to_tenant(self.task), members=members)


def billed_seconds(segments: Sequence[UsageSegment], now: datetime) -> int:
    """Return the whole seconds billed up to ``now``."""
    spent = sum(microseconds_between(s.started_at, s.ended_at or now) for s in segments)
    return spent // 1_000_000


def _why_here(claim: Claim | None) -> tuple[str, ...]:
    if claim is None or not claim.explanation:
        return ()
    return explain_to_tenant(claim.explanation, gpu_count=claim.mask.bit_count())


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAllocation:
    """One allocation of the actor's tenant."""

    transactions: Transactions[AllocationUnit]

    async def __call__(self, *, actor: Actor, allocation_id: AllocationId) -> AllocationView:
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            allocation = await readable(unit, actor, allocation_id)
            node = await unit.nodes.get(allocation.node_id)
            if node is None:
                raise NotFound("The allocation's node is gone.")
            slots = await unit.slots.find(node_id=node.id)
            claim = await unit.claims.get(allocation.claim_id)
            segments = await unit.usage_segments.find(allocation_id=allocation.id)
            task = await unit.tasks.get(allocation.task_id)
            now = await unit.now()
        own_slots = slots_in(allocation.mask, slots)
        own = {slot.gpu_uuid for slot in own_slots}
        disks = {disk.name: disk for disk in node.topology.nvmes}
        nics = {nic.pci_address: nic for nic in node.topology.nics}
        return AllocationView(
            allocation=allocation,
            status=status_of(allocation, task),
            node=node,
            slots=tuple(sorted(slots, key=lambda slot: slot.index)),
            gpus=tuple(gpu for gpu in node.topology.gpus if gpu.uuid in own),
            disks=tuple(disks[n] for n in disks_of(claim, own_slots) if n in disks),
            nics=tuple(nics[n] for n in nics_of(claim, own_slots) if n in nics),
            why_here=_why_here(claim),
            cost_micros=cost_of(segments, now),
            settled_micros=sum(segment.settled_micros for segment in segments),
            billed_seconds=billed_seconds(segments, now),
            task=task,
            as_of=now,
        )


async def readable(
    unit: AllocationUnit,
    actor: Actor,
    allocation_id: AllocationId,
    action: Action = Action.ALLOCATION_READ,
) -> Allocation:
    """Return the allocation if ``actor`` may do ``action`` to it.

    Raises:
        NotFound: it is not there, or not theirs.
        Forbidden: it is their tenant's, but their role does not allow it.
    """
    allocation = await unit.allocations.get(allocation_id)
    if allocation is None:
        raise NotFound("There is no allocation with this id.")
    require(actor, action, tenant_id=allocation.tenant_id, project_id=allocation.project_id)
    return allocation


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTimeline:
    """Every state an allocation has been in, oldest first."""

    transactions: Transactions[AllocationUnit]

    async def __call__(
        self, *, actor: Actor, allocation_id: AllocationId
    ) -> tuple[StateChange, ...]:
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            allocation = await readable(unit, actor, allocation_id)
            changes = await unit.state_changes.find(allocation_id=allocation.id)
        return tuple(sorted(changes, key=lambda change: (change.at, change.id)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReceipt:
    """What was asked, when the meter stopped, what it cost, and the proof of the wipe."""

    transactions: Transactions[AllocationUnit]

    async def __call__(self, *, actor: Actor, allocation_id: AllocationId) -> Receipt:
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            allocation = await readable(unit, actor, allocation_id)
            if allocation.billing_stopped_at is None:
                raise ReceiptNotReady
            segments = await unit.usage_segments.find(allocation_id=allocation.id)
            now = await unit.now()
        return Receipt(
            allocation=allocation,
            billed_seconds=billed_seconds(segments, now),
            cost_micros=cost_of(segments, now),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTask:
    """A task with its steps, its members and its allocations."""

    transactions: Transactions[AllocationUnit]

    async def __call__(self, *, actor: Actor, task_id: TaskId) -> TaskView:
        """Read it.

        Raises:
            NotFound: there is none, or it is not theirs to know of.
        """
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            task = await unit.tasks.get(task_id)
            if task is not None:
                require(
                    actor, Action.TASK_READ, tenant_id=task.tenant_id, project_id=task.project_id
                )
                view = await _view(unit, task)
                return view if _sees_causes(actor) else view.to_tenant()
        async with self.transactions.look(_beyond(actor)) as unit:
            return await _view(unit, await _platform_task(unit, actor, task_id))


def _sees_causes(actor: Actor) -> bool:
    """Tell whether a node's own words are for the actor: an operator of the platform."""
    return isinstance(authorize(actor, Action.NODE_READ), Allowed)


async def _view(unit: AllocationUnit, task: Task) -> TaskView:
    members = await unit.tasks.find(parent_id=task.id) if not task.subject else ()
    subjects = [member.subject for member in members] or [task.subject]
    allocations = await unit.allocations.find_any("id", subjects)
    other = not members and not allocations
    return TaskView(
        task=task,
        members=members,
        allocations=allocations,
        as_of=await unit.now(),
        node=await unit.nodes.get(task.subject) if other else None,
        image=await unit.os_images.get(task.subject) if other else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTaskEvents:
    """A task's story, newest first."""

    transactions: Transactions[AllocationUnit]

    async def __call__(
        self, *, actor: Actor, task_id: TaskId, cursor: str | None = None, limit: int = 50
    ) -> Page[TaskEvent]:
        """Read a page of it.

        Raises:
            NotFound: there is no such task, or it is not theirs to know of.
        """
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            task = await unit.tasks.get(task_id)
            if task is not None:
                require(
                    actor, Action.TASK_READ, tenant_id=task.tenant_id, project_id=task.project_id
                )
                page = await _story(unit, task, cursor, limit)
                if _sees_causes(actor):
                    return page
                return replace(
                    page, items=tuple(event_to_tenant(each, task.kind) for each in page.items)
                )
        async with self.transactions.look(_beyond(actor)) as unit:
            return await _story(unit, await _platform_task(unit, actor, task_id), cursor, limit)


async def _story(
    unit: AllocationUnit, task: Task, cursor: str | None, limit: int
) -> Page[TaskEvent]:
    members = await unit.tasks.find(parent_id=task.id) if not task.subject else ()
    told = (task.id, *(member.id for member in members))
    return await unit.task_events.page(
        ListQuery(where={"task_id": told}, sort="-id", cursor=cursor, limit=limit)
    )


_ABOUT_PLATFORM: Final[Mapping[str, Action]] = {
    "nod": Action.NODE_READ,
    "img": Action.CATALOG_MANAGE,
    "audit": Action.AUDIT_READ,
    "plan": Action.NODE_READ,
}
"""Tasks about what is the platform's own, by the kind of id they are about, and who may read them
in whichever tenant the operator was that asked for them."""


def _beyond(actor: Actor) -> Scope:
    """Return the scope to look on in for a task that is not of the actor's tenant.

    Raises:
        NotFound: they read no tasks of the platform.
    """
    if not any(
        isinstance(authorize(actor, action), Allowed) for action in _ABOUT_PLATFORM.values()
    ):
        raise NotFound("There is no task with this id.")
    return Scope.platform()


async def _platform_task(unit: AllocationUnit, actor: Actor, task_id: TaskId) -> Task:
    task = await unit.tasks.get(task_id)
    action = _ABOUT_PLATFORM.get(task.subject.partition("_")[0]) if task else None
    if task is None or action is None or not isinstance(authorize(actor, action), Allowed):
        raise NotFound("There is no task with this id.")
    return task


def is_over(task: Task) -> bool:
    """Tell whether a task has ended, one way or another."""
    return task.status not in {TaskStatus.QUEUED, TaskStatus.RUNNING}
