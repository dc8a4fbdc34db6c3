"""What-if plans of operators: asked for, played by a worker, kept as the task that played them.

Nothing of the fleet is changed, and no advice is followed by itself.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.catalog.model import Beside
from gpucloud_core.fleet.actions import LeavesNothing
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.fleet.tasks import PLAN_CAPACITY, queue_about
from gpucloud_core.kernel.errors import NotFound, ValidationFailed
from gpucloud_core.kernel.ids import Ids, NodeId, TaskId
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.unit import Json, Scope, Transactions
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.placement.model import RefusalCode
from gpucloud_core.placement.plan import (
    PlanAsked,
    arrivals_of,
    as_it_is,
    faults,
    imagined,
    requests_of,
    too_much,
)
from gpucloud_core.placement.what_if import Arrival, Drain, Moment, Outlook, Tally, play
from gpucloud_core.work.model import Step, Task
from gpucloud_core.work.plan import Finish, Saga

SUBJECT: Final = "plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A question with its answer, once there is one; ``names`` are of the nodes in it."""

    task: Task
    asked: PlanAsked
    outlook: Outlook | None
    names: Mapping[NodeId, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCapacity:
    """Ask what a fleet could take of a demand."""

    transactions: Transactions[FleetUnit]
    ids: Ids

    async def __call__(self, *, actor: Actor, asked: PlanAsked) -> TaskId:
        """Queue it and return its task, which is the plan's id too.

        Raises:
            Forbidden: the actor is no operator of the platform.
            ValidationFailed: the question makes no sense, or is too large for a worker.
            NotFound: the platform has no node of the pool.
        """
        require(actor, Action.NODE_READ)
        if wrong := [*faults(asked), *too_much(asked)]:
            raise ValidationFailed("The question needs another look.", fields=wrong)
        async with self.transactions.begin(Scope.platform()) as unit:
            if asked.pool:
                await as_it_is(unit, asked.pool)
            data = question_json(asked)
            task = await queue_about(
                unit, self.ids, actor, SUBJECT, PLAN_CAPACITY, data=data, joins=False
            )
            told: dict[str, Json] = {
                "pool": [None, asked.pool or f"{asked.nodes} imagined nodes"],
                "mix": [None, data["mix"]],
            }
            await unit.audit(fact_by(actor, action="capacity.plan", target=task.id, changes=told))
        return task.id


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPlans:
    """A page of the plans that were asked for."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor, query: ListQuery) -> Page[Plan]:
        """Read it.

        Raises:
            Forbidden: the actor is no operator of the platform.
        """
        require(actor, Action.NODE_READ)
        async with self.transactions.begin(Scope.platform()) as unit:
            page = await unit.tasks.page(_only_plans(query))
        plans = tuple(plan_of(task, {}) for task in page.items)
        return Page(plans, page.next_cursor, page.prev_cursor)


def _only_plans(query: ListQuery) -> ListQuery:
    where = {**query.where, "subject": (SUBJECT,)}
    return ListQuery(where=where, sort=query.sort, cursor=query.cursor, limit=query.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """One plan."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor, plan_id: TaskId) -> Plan:
        """Read it.

        Raises:
            Forbidden: the actor is no operator of the platform.
            NotFound: there is no such plan.
        """
        require(actor, Action.NODE_READ)
        async with self.transactions.begin(Scope.platform()) as unit:
            task = await unit.tasks.get(plan_id)
            if task is None or task.kind != PLAN_CAPACITY.kind:
                raise NotFound("There is no plan with this id.")
            plan = plan_of(task, {})
            drains = plan.outlook.drains if plan.outlook else ()
            ids = sorted({node_id for drain in drains for node_id in (drain.node_id, *drain.to)})
            nodes = await unit.nodes.find_any("id", ids) if plan.asked.pool else ()
        return plan_of(task, {node.id: node.name for node in nodes})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPools:
    """The pools that nodes are sold from, each with how many nodes it has."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor) -> Mapping[str, int]:
        """Read them.

        Raises:
            Forbidden: the actor is no operator of the platform.
        """
        require(actor, Action.NODE_READ)
        async with self.transactions.begin(Scope.platform()) as unit:
            rows = (await unit.fleet.changes(None)).rows
        pools: dict[str, int] = {}
        for row in rows:
            if row.approved_mask:
                pools[row.pool] = pools.get(row.pool, 0) + 1
        return dict(sorted(pools.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayPlan(LeavesNothing):
    """What the step of a plan does."""

    transactions: Transactions[FleetUnit]
    saga: Saga = PLAN_CAPACITY

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        asked = question_of(task.data)
        if asked.pool:
            async with self.transactions.begin(Scope.platform()) as unit:
                ground = await as_it_is(unit, asked.pool)
        else:
            ground = imagined(asked)
        arrivals = arrivals_of(asked, ground.gpus)
        requests = requests_of(asked, arrivals, ground.pool)
        # In a thread: a long one must not keep the worker's leases from being renewed.
        outlook = await asyncio.to_thread(play, ground.image, requests, arrivals, held=ground.held)
        return {"outlook": json.dumps(asdict(outlook), separators=(",", ":"))}

    async def finished(self, unit: AllocationUnit, task: Task, finish: Finish) -> None:
        """The task is the plan."""


def plan_of(task: Task, names: Mapping[NodeId, str]) -> Plan:
    """Return the plan that a task is."""
    said = task.steps[0].result.get("outlook")
    outlook = outlook_of(json.loads(said)) if isinstance(said, str) else None
    return Plan(task=task, asked=question_of(task.data), outlook=outlook, names=names)


def question_json(asked: PlanAsked) -> dict[str, Json]:
    """Return a question as a task keeps it."""
    return {
        "pool": asked.pool,
        "system": asked.system,
        "nodes": asked.nodes,
        "mode": asked.mode.value,
        "vcpus_per_gpu": asked.vcpus_per_gpu,
        "memory_gib_per_gpu": asked.memory_gib_per_gpu,
        "beside": asked.beside.value,
        "mix": ",".join(f"{size}:{weight}" for size, weight in asked.mix.items()),
        "launches": asked.launches,
        "every_seconds": asked.every_seconds,
        "stay_hours": None if asked.stay_hours is None else str(asked.stay_hours),
        "seed": asked.seed,
        "trace": [[one.at_seconds, one.gpu_count, one.stays_seconds] for one in asked.trace],
    }


def question_of(data: Mapping[str, Any]) -> PlanAsked:
    """Return the question that a task keeps."""
    stay = data["stay_hours"]
    pairs = (part.split(":") for part in data["mix"].split(","))
    return PlanAsked(
        pool=data["pool"],
        system=data["system"],
        nodes=data["nodes"],
        mode=NodeMode(data["mode"]),
        vcpus_per_gpu=data["vcpus_per_gpu"],
        memory_gib_per_gpu=data["memory_gib_per_gpu"],
        beside=Beside(data.get("beside", Beside.NOTHING)),  # absent in plans from before
        mix={int(size): int(weight) for size, weight in pairs},
        launches=data["launches"],
        every_seconds=data["every_seconds"],
        stay_hours=None if stay is None else float(stay),
        seed=data["seed"],
        trace=tuple(
            Arrival(gpu_count=gpus, at_seconds=at, stays_seconds=stays)
            for at, gpus, stays in data["trace"]
        ),
    )


def outlook_of(said: Mapping[str, Any]) -> Outlook:
    """Return an outlook from its JSON, in which every key has become a text."""
    return Outlook(
        gpus=said["gpus"],
        sizes={int(size): Tally(**tally) for size, tally in said["sizes"].items()},
        moments=tuple(
            Moment(**{**one, "room": {int(size): n for size, n in one["room"].items()}})
            for one in said["moments"]
        ),
        reasons={RefusalCode(code): number for code, number in said["reasons"].items()},
        words=tuple(said["words"]),
        drains=tuple(
            Drain(
                node_id=NodeId(one["node_id"]),
                gpus_moved=one["gpus_moved"],
                slices=one["slices"],
                to=tuple(NodeId(node_id) for node_id in one["to"]),
            )
            for one in said["drains"]
        ),
    )
