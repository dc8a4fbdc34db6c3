"""Workloads and allocations: the same things, in the user's words and as hardware and receipt."""

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.allocations.queries import (
    ListAllocations,
    ReadAllocation,
    ReadReceipt,
    ReadTimeline,
)
from gpucloud_core.allocations.release import CancelAllocation, ReleaseAllocation
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import AllocationId, parse_id
from gpucloud_web.pages.addresses import ListState
from gpucloud_web.pages.rendered import see_other
from gpucloud_web.pages.visit import Visit, form_of, fresh_key, one, provide_visit
from gpucloud_web.pages.workload_detail import TABS, WorkloadPage
from gpucloud_web.pages.workload_endings import ConfirmPage, ReceiptPage
from gpucloud_web.pages.workload_rows import SORTS, VIEWS, WorkloadsPage, states_of

CONFLICT = 409


def _id(text: str) -> AllocationId:
    return AllocationId(parse_id("alc", text))


class _Pages(Controller):
    """The routes; two controllers mount them at their own address."""

    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}
    title = "Workloads"
    first_tab = "overview"

    @get()
    async def index(
        self, visit: NamedDependency[Visit], list_allocations: FromDishka[ListAllocations]
    ) -> Response[str]:
        """List what the project runs and ran."""
        query = dict(visit.request.query_params)
        state = ListState.of(self.path, query, views=VIEWS, sorts=SORTS)
        states = states_of(state.view)
        page = await list_allocations(
            actor=visit.actor,
            project_id=visit.in_project(),
            query=state.query({"state": states} if states else {}),
        )
        view = WorkloadsPage.of(
            title=self.title,
            state=state,
            page=page,
            counts=visit.counts,
            names=await visit.sku_names(),
            zone=visit.zone,
        )
        return visit.page("workloads/index.html", view)

    @get("/{allocation_id:str}")
    async def show(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_allocation: FromDishka[ReadAllocation],
        read_timeline: FromDishka[ReadTimeline],
    ) -> Response[str]:
        """Show one, from the tab the address names."""
        found = await read_allocation(actor=visit.actor, allocation_id=_id(allocation_id))
        asked = visit.request.query_params.get("tab", "")
        view = WorkloadPage.of(
            found,
            changes=await read_timeline(actor=visit.actor, allocation_id=_id(allocation_id)),
            project=visit.project_name,
            names=await visit.sku_names(),
            zone=visit.zone,
            base=self.path,
            tab=asked if asked in TABS else self.first_tab,
        )
        return visit.page("workloads/detail.html", view)

    @get("/{allocation_id:str}/receipt")
    async def receipt(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_receipt: FromDishka[ReadReceipt],
    ) -> Response[str]:
        """Prove that the meter stopped and that nothing is left."""
        receipt = await read_receipt(actor=visit.actor, allocation_id=_id(allocation_id))
        view = ReceiptPage.of(receipt, now=visit.now, zone=visit.zone, base=self.path)
        return visit.page("workloads/receipt.html", view)

    @get("/{allocation_id:str}/release")
    async def ask_release(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_allocation: FromDishka[ReadAllocation],
    ) -> Response[str]:
        """Say what a release will do, before it does."""
        found = await read_allocation(actor=visit.actor, allocation_id=_id(allocation_id))
        view = ConfirmPage.release(found, base=self.path, idempotency_key=fresh_key())
        return visit.page("workloads/confirm.html", view)

    @post("/{allocation_id:str}/release", status_code=303)
    async def release(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        release_allocation: FromDishka[ReleaseAllocation],
        read_allocation: FromDishka[ReadAllocation],
    ) -> Response[str] | Redirect:
        """Release it and follow the task."""
        form = await form_of(visit.request)
        key = await visit.idempotency(one(form, "idempotency_key"))
        try:
            released = await release_allocation(
                actor=visit.actor, allocation_id=_id(allocation_id), idempotency=key
            )
        except DomainError as error:
            found = await read_allocation(actor=visit.actor, allocation_id=_id(allocation_id))
            view = ConfirmPage.release(
                found, base=self.path, idempotency_key=fresh_key(), error=error.detail
            )
            return visit.page("workloads/confirm.html", view, status=CONFLICT)
        return see_other(f"/tasks/{released.task_id}")

    @get("/{allocation_id:str}/cancel")
    async def ask_cancel(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_allocation: FromDishka[ReadAllocation],
    ) -> Response[str]:
        """Say what cancelling a launch will do, before it does."""
        found = await read_allocation(actor=visit.actor, allocation_id=_id(allocation_id))
        view = ConfirmPage.cancel(found, base=self.path, idempotency_key=fresh_key())
        return visit.page("workloads/confirm.html", view)

    @post("/{allocation_id:str}/cancel", status_code=303)
    async def cancel(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        cancel_allocation: FromDishka[CancelAllocation],
        read_allocation: FromDishka[ReadAllocation],
    ) -> Response[str] | Redirect:
        """Ask a launch to stop and follow its task."""
        form = await form_of(visit.request)
        key = await visit.idempotency(one(form, "idempotency_key"))
        try:
            cancelled = await cancel_allocation(
                actor=visit.actor, allocation_id=_id(allocation_id), idempotency=key
            )
        except DomainError as error:
            found = await read_allocation(actor=visit.actor, allocation_id=_id(allocation_id))
            view = ConfirmPage.cancel(
                found, base=self.path, idempotency_key=fresh_key(), error=error.detail
            )
            return visit.page("workloads/confirm.html", view, status=CONFLICT)
        return see_other(f"/tasks/{cancelled.task_id}")


class WorkloadPages(_Pages):
    path = "/workloads"


class AllocationPages(_Pages):
    path = "/infra/allocations"
    title = "Allocations"
    first_tab = "hardware"
