"""Admin: the dashboard, and the allocations of every tenant with what may be forced."""

from functools import partial
from typing import Final

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.access.authorize import Action
from gpucloud_core.allocations.force import ForceCleanAllocation, ForceRelease
from gpucloud_core.fleet.overview import (
    CountAnyAllocations,
    ListAnyAllocations,
    ReadAnyAllocation,
    ReadOverview,
)
from gpucloud_core.fleet.queries import NameNodes
from gpucloud_core.kernel.errors import DomainError, ValidationFailed
from gpucloud_core.kernel.ids import AllocationId, parse_id
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.notices.attention import ListAttention
from gpucloud_web.pages.admin_rows import (
    PATH,
    AnyPage,
    DashboardPage,
    ForcePage,
    OneAnyPage,
    query_of,
    spec_of,
)
from gpucloud_web.pages.forms import refused, said, submitted
from gpucloud_web.pages.insiders import INSIDERS, provide_insider
from gpucloud_web.pages.visit import Visit, form_of, fresh_key, one

TROUBLE_SHOWN = 6
FORCES = ("force-release", "force-cleanup")


NODES_CHOSEN_FROM: Final = 1_000  # in a select; of more, nobody finds one by looking


def _id(text: str) -> AllocationId:
    return AllocationId(parse_id("alc", text))


class DashboardPages(Controller):
    path = "/admin"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_insider)}
    exception_handlers = INSIDERS

    @get()
    async def index(
        self,
        visit: NamedDependency[Visit],
        read_overview: FromDishka[ReadOverview],
        list_attention: FromDishka[ListAttention],
    ) -> Response[str]:
        """Show the fleet in a few figures, and what wants somebody."""
        seen = await read_overview(actor=visit.actor)
        query = ListQuery(sort="-last_seen", limit=TROUBLE_SHOWN, where={"cleared_at": (None,)})
        trouble = await list_attention(actor=visit.actor, query=query)
        page = DashboardPage.of(seen, trouble.items, visit.zone)
        return visit.page("admin/index.html", page)


class AnyAllocationPages(Controller):
    path = PATH
    include_in_schema = False
    dependencies = {"visit": Provide(provide_insider)}
    exception_handlers = INSIDERS

    @get()
    async def index(
        self,
        visit: NamedDependency[Visit],
        list_any: FromDishka[ListAnyAllocations],
        count_any: FromDishka[CountAnyAllocations],
        name_nodes: FromDishka[NameNodes],
    ) -> Response[str]:
        """List what every tenant runs and ran."""
        nodes = await name_nodes(actor=visit.actor, at_most=NODES_CHOSEN_FROM)
        spec = spec_of(nodes)
        asked = visit.list_state(self.path, spec)
        state, page = await asked.read(lambda now: list_any(actor=visit.actor, query=query_of(now)))
        state = await state.counted(query_of, partial(count_any.each, actor=visit.actor))
        view = AnyPage.of(
            state=state,
            page=page,
            counts=await count_any(actor=visit.actor),
            names=await visit.sku_names(),
            zone=visit.zone,
            may_force=visit.may(Action.ANY_ALLOCATION_FORCE),
        )
        return visit.page("admin/allocations.html", view)

    @get("/{allocation_id:str}")
    async def show(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_any: FromDishka[ReadAnyAllocation],
    ) -> Response[str]:
        """Show one, whoever's it is, with every state it has been in."""
        view = OneAnyPage.of(
            await read_any(actor=visit.actor, allocation_id=_id(allocation_id)),
            await visit.sku_names(),
            visit.zone,
            may_force=visit.may(Action.ANY_ALLOCATION_FORCE),
        )
        return visit.page("admin/allocation.html", view)

    @get([f"/{{allocation_id:str}}/{act}" for act in FORCES])
    async def ask(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_any: FromDishka[ReadAnyAllocation],
    ) -> Response[str]:
        """Say what forcing it means, before it is done."""
        seen = await read_any(actor=visit.actor, allocation_id=_id(allocation_id))
        page = ForcePage.of(seen.line, visit.last_part, key=fresh_key())
        return visit.page("admin/force.html", page)

    @post([f"/{{allocation_id:str}}/{act}" for act in FORCES], status_code=303)
    async def force(
        self,
        allocation_id: FromPath[str],
        visit: NamedDependency[Visit],
        release: FromDishka[ForceRelease],
        clean: FromDishka[ForceCleanAllocation],
        read_any: FromDishka[ReadAnyAllocation],
    ) -> Response[str] | Redirect:
        """Force it, with its name typed and a reason; a refusal is shown where it was asked."""
        form = await form_of(visit.request)
        found, act = _id(allocation_id), visit.last_part
        line = (await read_any(actor=visit.actor, allocation_id=found)).line
        why, vouched = one(form, "reason"), bool(one(form, "runtime_verified_absent"))

        async def do() -> str:
            name = line.allocation.name
            if one(form, "confirm").strip() != name:
                raise ValidationFailed(f"Type {name} to confirm; nothing was changed.")
            if act == "force-release":
                done = await release(actor=visit.actor, allocation_id=found, reason=why)
            else:
                done = await clean(
                    actor=visit.actor,
                    allocation_id=found,
                    reason=why,
                    runtime_verified_absent=vouched,
                )
            return done.id

        async def again(error: DomainError) -> Response[str]:
            page = ForcePage.of(line, act, key=fresh_key(), error=said(error))
            return refused(visit, "admin/force.html", page, error)

        return await submitted(visit, form, do, to=lambda done: f"{PATH}/{done}", again=again)
