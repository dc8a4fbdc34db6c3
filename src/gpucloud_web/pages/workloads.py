"""Workloads and allocations: the same things, in the user's words and as hardware and receipt."""

from dataclasses import replace
from functools import partial
from http import HTTPStatus

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect, Stream

from gpucloud_core.access.authorize import Action
from gpucloud_core.allocations.edit_keys import EditKeys
from gpucloud_core.allocations.lists import (
    AllocationLine,
    CountAllocations,
    ListAllocations,
    ListBriefs,
)
from gpucloud_core.allocations.queries import ReadAllocation, ReadReceipt, ReadTimeline
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import AllocationId, parse_id
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_web.api.exports import allocations_csv
from gpucloud_web.pages.addresses import ListState
from gpucloud_web.pages.forms import refused, submitted
from gpucloud_web.pages.rendered import see_other
from gpucloud_web.pages.visit import Visit, form_of, fresh_key, provide_visit
from gpucloud_web.pages.workload_acts import ACTS
from gpucloud_web.pages.workload_detail import TABS, WorkloadPage
from gpucloud_web.pages.workload_endings import ReceiptPage
from gpucloud_web.pages.workload_list import (
    NOTHING_YET,
    Drawing,
    WorkloadsPage,
    query_of,
    spec_of,
    still_in,
    where_of,
)
from gpucloud_web.pages.workload_tabs import parts_of
from gpucloud_web.tables import RowsPage

ROWS_MAX = 100
CONFLICT = 409


async def _list_of(visit: Visit, path: str) -> tuple[ListState, Drawing]:
    """Return what the address says of the list, and what its rows are drawn with."""
    names = await visit.sku_names()
    state = visit.list_state(path, spec_of(names, visit.actor.user_id or ""))
    may_act = visit.may(Action.ALLOCATION_RELEASE)
    return state, Drawing(base=path, names=names, zone=visit.zone, may_act=may_act)


async def _page_of(
    visit: Visit, list_allocations: ListAllocations, state: ListState
) -> Page[AllocationLine]:
    return await list_allocations(
        actor=visit.actor, project_id=visit.in_project(), query=query_of(state)
    )


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
        self,
        visit: NamedDependency[Visit],
        list_allocations: FromDishka[ListAllocations],
        count: FromDishka[CountAllocations],
    ) -> Response[str]:
        """List what the project runs and ran."""
        asked, drawing = await _list_of(visit, self.path)
        state, page = await asked.read(lambda now: _page_of(visit, list_allocations, now))
        each = partial(count.each, actor=visit.actor, project_id=visit.in_project())
        state = await state.counted(query_of, each)
        view = WorkloadsPage.of(
            title=self.title, state=state, page=page, counts=visit.counts, drawing=drawing
        )
        return visit.page("workloads/index.html", view)

    @get("/rows")
    async def rows(
        self, visit: NamedDependency[Visit], list_allocations: FromDishka[ListAllocations]
    ) -> Response[str]:
        """Draw rows of the list as they are now; those that have left it say where they went."""
        state, drawing = await _list_of(visit, self.path)
        ids = tuple(visit.request.query_params.getall("id", []))[:ROWS_MAX]
        query = ListQuery(where={"id": ids}, limit=ROWS_MAX)
        page = await list_allocations(actor=visit.actor, project_id=visit.in_project(), query=query)
        where = where_of(state)
        shown = [drawing.row(line) for line in page.items if still_in(line, where)]
        gone = [drawing.gone(line, state) for line in page.items if not still_in(line, where)]
        view = RowsPage(list=state.list_view(page, shown, empty=NOTHING_YET), gone=tuple(gone))
        return visit.page("lists/rows.html", view)

    @get("/csv")
    async def csv(
        self, visit: NamedDependency[Visit], list_briefs: FromDishka[ListBriefs]
    ) -> Stream:
        """Export what the filters leave, as the API does."""
        state, _ = await _list_of(visit, self.path)
        return await allocations_csv(
            actor=visit.actor,
            project_id=visit.in_project(),
            list_briefs=list_briefs,
            query=replace(query_of(state), cursor=None),
            name=f"{self.title.lower()}-{state.view}",
            now=visit.now,
        )

    @get("/{allocation_id:str}")
    async def show(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_allocation: FromDishka[ReadAllocation],
        read_timeline: FromDishka[ReadTimeline],
    ) -> Response[str]:
        """Show one, from the tab the address names."""
        asked = visit.request.query_params.get("tab", "")
        tab = asked if asked in TABS else self.first_tab
        return await self._shown(visit, _id(allocation_id), read_allocation, read_timeline, tab)

    @post("/{allocation_id:str}/keys", status_code=303)
    async def edit_keys(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        edit_keys: FromDishka[EditKeys],
        read_allocation: FromDishka[ReadAllocation],
        read_timeline: FromDishka[ReadTimeline],
    ) -> Response[str] | Redirect:
        """Let exactly the chosen keys in; the page shows when each was read back."""
        found = _id(allocation_id)
        chosen = tuple((await form_of(visit.request)).get("keys", ()))
        try:
            await edit_keys(actor=visit.actor, allocation_id=found, ssh_key_ids=chosen)
        except DomainError as error:
            said = f"{error.detail} {error.next_step}".strip()
            return await self._shown(
                visit, found, read_allocation, read_timeline, "access", key_error=said
            )
        return see_other(f"{self.path}/{found}?tab=access")

    async def _shown(
        self,
        visit: Visit,
        allocation_id: AllocationId,
        read_allocation: ReadAllocation,
        read_timeline: ReadTimeline,
        tab: str,
        *,
        key_error: str = "",
    ) -> Response[str]:
        found = await read_allocation(actor=visit.actor, allocation_id=allocation_id)
        parts = await parts_of(visit, found, href=f"{self.path}/{allocation_id}", tab=tab)
        view = WorkloadPage.of(
            found,
            parts=replace(parts, key_error=key_error),
            changes=await read_timeline(actor=visit.actor, allocation_id=allocation_id),
            project=visit.project_name,
            names=await visit.sku_names(),
            zone=visit.zone,
            base=self.path,
            tab=tab,
        )
        status = CONFLICT if key_error else HTTPStatus.OK
        return visit.page("workloads/detail.html", view, status=status)

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

    @get([f"/{{allocation_id:str}}/{act}" for act in ACTS])
    async def ask(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_allocation: FromDishka[ReadAllocation],
    ) -> Response[str]:
        """Say what an act will do, before it does."""
        found = await read_allocation(actor=visit.actor, allocation_id=_id(allocation_id))
        confirm = ACTS[visit.last_part].confirm
        view = confirm(found, base=self.path, idempotency_key=fresh_key())
        return visit.page("workloads/confirm.html", view)

    @post([f"/{{allocation_id:str}}/{act}" for act in ACTS], status_code=303)
    async def do(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_allocation: FromDishka[ReadAllocation],
    ) -> Response[str] | Redirect:
        """Do it and follow its task; a refusal is shown where it was asked."""
        act = ACTS[visit.last_part]
        form = await form_of(visit.request)
        use_case = await visit.use_case(act.use_case)

        async def change() -> str:
            changed = await use_case(actor=visit.actor, allocation_id=_id(allocation_id))
            return changed.task_id

        async def again(error: DomainError) -> Response[str]:
            found = await read_allocation(actor=visit.actor, allocation_id=_id(allocation_id))
            view = act.confirm(
                found, base=self.path, idempotency_key=fresh_key(), error=error.detail
            )
            return refused(visit, "workloads/confirm.html", view, error)

        return await submitted(
            visit, form, change, to=lambda task_id: f"/tasks/{task_id}", again=again
        )


class WorkloadPages(_Pages):
    path = "/workloads"


class AllocationPages(_Pages):
    path = "/infra/allocations"
    title = "Allocations"
    first_tab = "hardware"
