"""Operators on what-if plans: what a fleet could take of a demand."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gpucloud_core.access.model import Actor
from gpucloud_core.catalog.model import Beside
from gpucloud_core.fleet.plan import ListPlans, Plan, PlanCapacity, ReadPlan, question_json
from gpucloud_core.kernel.ids import TaskId, parse_id
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.placement.plan import PlanAsked, parse_mix, parse_trace
from gpucloud_web.api.lists import Cursor, Limit, Listing, list_query, listing


class PlanBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A fleet (a pool, or so many nodes of a standard system) and a demand.

    ``mix`` has sizes with weights, such as ``1:60,2:15,8:10``; ``trace`` is CSV text with the
    columns at_seconds, gpus and, where launches end, stays_seconds.
    """

    pool: str = ""
    system: str = "hgx-h200"
    nodes: int = 16
    mode: NodeMode = NodeMode.CONTAINER
    vcpus_per_gpu: int = 22
    memory_gib_per_gpu: int = 224
    beside: Beside = Beside.NOTHING
    mix: str = "1:60,2:15,4:15,8:10"
    launches: int | None = None
    every_seconds: int = 60
    stay_hours: float | None = None
    seed: int = 1
    trace: str = ""

    def asked(self) -> PlanAsked:
        said = msgspec.structs.asdict(self)
        trace = parse_trace(self.trace) if self.trace else ()
        return PlanAsked(**{**said, "mix": parse_mix(self.mix), "trace": trace})


class PlanSeen(msgspec.Struct, kw_only=True):
    """A plan; ``outlook`` is there once it was played."""

    id: str
    status: str
    created_at: datetime
    finished_at: datetime | None
    error: str
    asked: dict[str, Any]
    outlook: dict[str, Any] | None

    @classmethod
    def of(cls, plan: Plan) -> "PlanSeen":
        return cls(
            id=plan.task.id,
            status=plan.task.status,
            created_at=plan.task.created_at,
            finished_at=plan.task.finished_at,
            error=plan.task.error_detail,
            asked=question_json(plan.asked),
            outlook=asdict(plan.outlook) if plan.outlook else None,
        )


class PlanAccepted(msgspec.Struct):
    """The task that plays it, which is the plan's id too."""

    task_id: str


class AdminPlans(Controller):
    path = "/admin/plans"
    tags = ["admin"]

    @get(operation_id="listPlans")
    async def index(
        self,
        actor: NamedDependency[Actor],
        list_plans: FromDishka[ListPlans],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Listing[PlanSeen]:
        """List the plans that were asked for, newest first."""
        query = list_query(limit=limit, cursor=cursor)
        return listing(await list_plans(actor=actor, query=query), PlanSeen.of)

    @post(operation_id="planCapacity", status_code=202)
    async def plan(
        self,
        data: JSONBody[PlanBody],
        actor: NamedDependency[Actor],
        plan_capacity: FromDishka[PlanCapacity],
    ) -> PlanAccepted:
        """Ask what a fleet could take of a demand; nothing is changed."""
        return PlanAccepted(await plan_capacity(actor=actor, asked=data.asked()))

    @get("/{plan_id:str}", operation_id="getPlan")
    async def show(
        self,
        plan_id: FromPath[str],
        actor: NamedDependency[Actor],
        read_plan: FromDishka[ReadPlan],
    ) -> PlanSeen:
        """Read a plan: what fits, what is refused and why, how the room develops, and advice."""
        found = TaskId(parse_id("tsk", plan_id))
        return PlanSeen.of(await read_plan(actor=actor, plan_id=found))
