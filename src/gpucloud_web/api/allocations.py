"""Launch, list, read, cancel and release allocations; the receipt."""

from typing import Annotated

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.launch import LaunchAllocations
from gpucloud_core.allocations.lifecycle import STATES_OF, PublicStatus
from gpucloud_core.allocations.lists import ListBriefs
from gpucloud_core.allocations.queries import ReadAllocation, ReadReceipt
from gpucloud_core.allocations.quote import QuoteLaunch
from gpucloud_core.allocations.release import CancelAllocation, ReleaseAllocation
from gpucloud_core.kernel.ids import AllocationId, ProjectId, parse_id
from gpucloud_web.api.allocation_bodies import (
    AcceptedBody,
    AllocationBody,
    AllocationItem,
    LaunchBody,
    QuoteBody,
    ReceiptBody,
)
from gpucloud_web.api.lists import Cursor, Limit, Listing, Sort, list_query, listing
from gpucloud_web.keyed import OPT, Once

Status = Annotated[
    list[PublicStatus] | None, QueryParameter(description="Any of these public statuses.")
]


class Allocations(Controller):
    path = "/allocations"
    tags = ["allocations"]

    @post(operation_id="launchAllocations", status_code=202, opt={OPT: Once.REQUIRED})
    async def launch(
        self,
        data: JSONBody[LaunchBody],
        actor: NamedDependency[Actor],
        project: NamedDependency[ProjectId],
        launch_allocations: FromDishka[LaunchAllocations],
        quote_launch: FromDishka[QuoteLaunch],
        dry_run: FromQuery[bool] = False,
    ) -> Response[AcceptedBody] | Response[QuoteBody]:
        """Launch one machine or a batch; with ``dry_run``, only the verdict and the price."""
        request = data.request()
        if dry_run:
            quote = await quote_launch(actor=actor, project_id=project, request=request)
            return Response(QuoteBody.of(quote), status_code=200)
        accepted = await launch_allocations(
            actor=actor,
            project_id=project,
            request=request,
        )
        return Response(AcceptedBody.of(accepted), status_code=202)

    @get(operation_id="listAllocations")
    async def index(
        self,
        actor: NamedDependency[Actor],
        project: NamedDependency[ProjectId],
        list_briefs: FromDishka[ListBriefs],
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
        status: Status = None,
        sku: FromQuery[list[str] | None] = None,
        q: FromQuery[str] = "",
    ) -> Listing[AllocationItem]:
        """List the project's allocations, newest first."""
        states = None if status is None else sorted({s for each in status for s in STATES_OF[each]})
        query = list_query(
            limit=limit, cursor=cursor, sort=sort, search=q, state=states, sku_id=sku
        )
        page = await list_briefs(actor=actor, project_id=project, query=query)
        return listing(page, AllocationItem.of)

    @get("/{allocation_id:str}", operation_id="getAllocation")
    async def show(
        self,
        allocation_id: FromPath[str],
        actor: NamedDependency[Actor],
        read_allocation: FromDishka[ReadAllocation],
    ) -> AllocationBody:
        """Read one allocation, with its cost up to this instant."""
        found = AllocationId(parse_id("alc", allocation_id))
        return AllocationBody.of(await read_allocation(actor=actor, allocation_id=found))

    @post("/{allocation_id:str}/release", operation_id="releaseAllocation", status_code=202)
    async def release(
        self,
        allocation_id: FromPath[str],
        actor: NamedDependency[Actor],
        release_allocation: FromDishka[ReleaseAllocation],
        read_allocation: FromDishka[ReadAllocation],
    ) -> AllocationBody:
        """Release an allocation: billing stops now, its disks are wiped; this cannot be undone."""
        found = AllocationId(parse_id("alc", allocation_id))
        await release_allocation(actor=actor, allocation_id=found)
        return AllocationBody.of(await read_allocation(actor=actor, allocation_id=found))

    @post("/{allocation_id:str}/cancel", operation_id="cancelAllocation", status_code=202)
    async def cancel(
        self,
        allocation_id: FromPath[str],
        actor: NamedDependency[Actor],
        cancel_allocation: FromDishka[CancelAllocation],
        read_allocation: FromDishka[ReadAllocation],
    ) -> AllocationBody:
        """Cancel a launch at its next step boundary; nothing is charged."""
        found = AllocationId(parse_id("alc", allocation_id))
        await cancel_allocation(actor=actor, allocation_id=found)
        return AllocationBody.of(await read_allocation(actor=actor, allocation_id=found))

    @get("/{allocation_id:str}/receipt", operation_id="getReceipt")
    async def receipt(
        self,
        allocation_id: FromPath[str],
        actor: NamedDependency[Actor],
        read_receipt: FromDishka[ReadReceipt],
    ) -> ReceiptBody:
        """Read the receipt: when billing stopped, what it cost, and the proof of the wipe."""
        found = AllocationId(parse_id("alc", allocation_id))
        return ReceiptBody.of(await read_receipt(actor=actor, allocation_id=found))
