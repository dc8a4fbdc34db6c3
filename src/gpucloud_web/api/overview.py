"""The fleet in a few figures, and every tenant's allocations, for the platform's own people."""

from datetime import datetime
from typing import Annotated

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.lifecycle import STATES_OF, PublicStatus
from gpucloud_core.fleet.overview import (
    AnyLine,
    Hardware,
    ListAnyAllocations,
    Overview,
    ReadOverview,
)
from gpucloud_web.api.lists import Cursor, Limit, Listing, Sort, list_query, listing

Statuses = Annotated[list[PublicStatus] | None, QueryParameter(description="Only these.")]
Owner = Annotated[str | None, QueryParameter(description="Launched by this user.")]
OnNode = Annotated[str | None, QueryParameter(description="On this node.")]
Search = Annotated[str, QueryParameter(description="Text in the id or the name.")]


class HardwareBody(msgspec.Struct, kw_only=True):
    """All GPUs of one model; ``most_free_gpus`` is the most that are free on one node."""

    model: str
    nodes: int
    total_gpus: int
    held_gpus: int
    free_gpus: int
    most_free_gpus: int

    @classmethod
    def of(cls, kind: Hardware) -> "HardwareBody":
        return cls(
            model=kind.model,
            nodes=kind.nodes,
            total_gpus=kind.gpus_total,
            held_gpus=kind.gpus_held,
            free_gpus=kind.gpus_free,
            most_free_gpus=kind.most_free,
        )


class OverviewBody(msgspec.Struct, kw_only=True):
    """The fleet at one instant."""

    total_gpus: int
    held_gpus: int
    free_gpus: int
    total_nodes: int
    free_nodes: int
    nodes_off_sale: int
    active_allocations: int
    moving_allocations: int
    release_failed_allocations: int
    users: int
    hardware: list[HardwareBody]
    as_of: datetime

    @classmethod
    def of(cls, seen: Overview) -> "OverviewBody":
        return cls(
            total_gpus=seen.gpus_total,
            held_gpus=seen.gpus_held,
            free_gpus=seen.gpus_free,
            total_nodes=seen.nodes_total,
            free_nodes=seen.nodes_free,
            nodes_off_sale=seen.nodes_out,
            active_allocations=seen.allocations_active,
            moving_allocations=seen.allocations_moving,
            release_failed_allocations=seen.allocations_stuck,
            users=seen.users,
            hardware=[HardwareBody.of(kind) for kind in seen.hardware],
            as_of=seen.as_of,
        )


class AnyAllocationBody(msgspec.Struct, kw_only=True):
    """An allocation of any tenant, with whose it is and where."""

    id: str
    name: str
    status: str
    sku: str
    gpu_count: int
    tenant_id: str
    tenant: str
    project_id: str
    user_id: str
    owner: str
    node_id: str
    node: str
    task_id: str
    failure_reason: str | None
    release_failed_reason: str | None
    requested_at: datetime
    active_at: datetime | None
    billing_stopped_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, line: AnyLine) -> "AnyAllocationBody":
        row = line.allocation
        return cls(
            id=row.id,
            name=row.name,
            status=line.status,
            sku=row.sku_id,
            gpu_count=row.gpu_count,
            tenant_id=row.tenant_id,
            tenant=line.tenant,
            project_id=row.project_id,
            user_id=row.user_id,
            owner=line.owner,
            node_id=row.node_id,
            node=line.node_name,
            task_id=row.task_id,
            failure_reason=row.failure_reason,
            release_failed_reason=row.release_failed_reason,
            requested_at=row.requested_at,
            active_at=row.active_at,
            billing_stopped_at=row.billing_stopped_at,
            ended_at=row.ended_at,
        )


@get("/admin/overview", operation_id="getOverview", tags=["admin"])
async def get_overview(
    actor: NamedDependency[Actor], read_overview: FromDishka[ReadOverview]
) -> OverviewBody:
    """Count GPUs, free nodes, active allocations and users."""
    return OverviewBody.of(await read_overview(actor=actor))


@get("/admin/allocations", operation_id="listAnyAllocations", tags=["admin"])
async def list_any_allocations(
    actor: NamedDependency[Actor],
    list_any: FromDishka[ListAnyAllocations],
    status: Statuses = None,
    user_id: Owner = None,
    node_id: OnNode = None,
    q: Search = "",
    sort: Sort = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[AnyAllocationBody]:
    """List the allocations of every tenant, newest first."""
    states = None if status is None else [s for one in status for s in STATES_OF[one]]
    query = list_query(
        limit=limit,
        cursor=cursor,
        sort=sort,
        search=q,
        state=states,
        user_id=None if user_id is None else [user_id],
        node_id=None if node_id is None else [node_id],
    )
    return listing(await list_any(actor=actor, query=query), AnyAllocationBody.of)
