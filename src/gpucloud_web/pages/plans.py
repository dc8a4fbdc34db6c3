"""Admin, Nodes, Plans: what a fleet could take of a demand; nothing is changed by asking."""

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.fleet.plan import ListPlans, ListPools, PlanCapacity, ReadPlan
from gpucloud_core.kernel.errors import DomainError, FieldError, ValidationFailed
from gpucloud_core.kernel.ids import TaskId, parse_id
from gpucloud_web.pages.forms import form_faults, refused, submitted
from gpucloud_web.pages.insiders import INSIDERS, provide_insider
from gpucloud_web.pages.list_page import ListPage, listed
from gpucloud_web.pages.plan_forms import PlanForm, asked_of
from gpucloud_web.pages.plan_rows import (
    NO_PLANS,
    PATH,
    PLANS,
    PlanPage,
    plan_row,
)
from gpucloud_web.pages.visit import PageRequest, Visit, form_of, fresh_key

TRACE_BYTES_MAX = 256 * 1024


async def _trace(request: PageRequest) -> str:
    """Return the text of the file that was sent along, if there is one.

    Raises:
        ValidationFailed: it is too large, or no text.
    """
    sent = (await request.form()).get("trace")
    if not isinstance(sent, UploadFile):
        return ""
    content = await sent.read(TRACE_BYTES_MAX + 1)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if len(content) > TRACE_BYTES_MAX or "\0" in text:
        detail = f"A trace is a CSV text of up to {TRACE_BYTES_MAX // 1024} KiB."
        raise ValidationFailed(detail, fields=[FieldError("/trace", "unreadable", detail)])
    return text


class PlanPages(Controller):
    path = PATH
    include_in_schema = False
    dependencies = {"visit": Provide(provide_insider)}
    exception_handlers = INSIDERS

    @get()
    async def index(
        self, visit: NamedDependency[Visit], list_plans: FromDishka[ListPlans]
    ) -> Response[str]:
        """List the plans that were asked for."""
        plans = await listed(
            visit,
            PATH,
            PLANS,
            ask=lambda query: list_plans(actor=visit.actor, query=query),
            row=lambda plan: plan_row(plan, visit.now, visit.zone),
            empty=NO_PLANS,
        )
        return visit.page(
            "lists/index.html",
            ListPage(
                title="Capacity plans",
                list=plans,
                sub="What a fleet could take of a demand. Nothing is changed by asking.",
                primary="New plan",
                primary_href=f"{PATH}/new",
            ),
        )

    @get("/new")
    async def ask(
        self, visit: NamedDependency[Visit], list_pools: FromDishka[ListPools]
    ) -> Response[str]:
        """Ask for a fleet and a demand."""
        pools = await list_pools(actor=visit.actor)
        pool = visit.request.query_params.get("pool", "")
        return visit.page("plans/new.html", PlanForm.of(pools=pools, key=fresh_key(), pool=pool))

    @post("/new", status_code=303)
    async def plan(
        self,
        visit: NamedDependency[Visit],
        plan_capacity: FromDishka[PlanCapacity],
        list_pools: FromDishka[ListPools],
    ) -> Response[str] | Redirect:
        """Queue it, and go to where the answer will stand."""
        await visit.request.body()  # a form with a file is read as it streams by; keys need it all
        form = await form_of(visit.request)

        async def ask() -> str:
            asked = asked_of(form, await _trace(visit.request))
            return await plan_capacity(actor=visit.actor, asked=asked)

        async def again(error: DomainError) -> Response[str]:
            page = PlanForm.of(
                pools=await list_pools(actor=visit.actor),
                key=fresh_key(),
                form=form,
                errors=form_faults(error),
            )
            return refused(visit, "plans/new.html", page, error)

        return await submitted(
            visit, form, ask, to=lambda plan_id: f"{PATH}/{plan_id}", again=again
        )

    @get("/{plan_id:str}")
    async def show(
        self,
        plan_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_plan: FromDishka[ReadPlan],
    ) -> Response[str]:
        """Show what came of it, or how far it is."""
        plan = await read_plan(actor=visit.actor, plan_id=TaskId(parse_id("tsk", plan_id)))
        return visit.page("plans/detail.html", PlanPage.of(plan, visit.now, visit.zone))
