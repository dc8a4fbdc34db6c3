"""Home."""

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide

from gpucloud_core.access.authorize import Action
from gpucloud_core.access.ssh_keys import ListSshKeys
from gpucloud_core.allocations.catalog import ReadCatalog
from gpucloud_core.allocations.lists import ListAllocations
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_web.pages.billing import burn_of
from gpucloud_web.pages.home_rows import FirstRun, HomePage
from gpucloud_web.pages.visit import Visit, provide_visit
from gpucloud_web.pages.workload_rows import states_of

ROWS_SHOWN = 8


class HomePages(Controller):
    path = "/"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get()
    async def home(
        self,
        visit: NamedDependency[Visit],
        list_allocations: FromDishka[ListAllocations],
        read_catalog: FromDishka[ReadCatalog],
        list_ssh_keys: FromDishka[ListSshKeys],
    ) -> Response[str]:
        """Show what runs, what it costs, how long the money lasts, what needs a person."""
        project_id = visit.in_project()

        async def lines(*views: str) -> ListQuery:
            states = tuple(state for view in views for state in states_of(view))
            return ListQuery(where={"state": states}, limit=ROWS_SHOWN)

        active = await list_allocations(
            actor=visit.actor, project_id=project_id, query=await lines("active", "progress")
        )
        attention = await list_allocations(
            actor=visit.actor, project_id=project_id, query=await lines("attention")
        )
        first_run = None
        if not visit.counts and visit.balance.posted_micros == 0:
            keys = await list_ssh_keys(actor=visit.actor)
            first_run = FirstRun(
                may_pay=visit.may(Action.BILLING_PAY),
                owner=f"an owner of {visit.me.tenant.tenant.name}",
                has_key=bool(keys.items),
            )
        burn, ranges = await burn_of(visit, "/")
        view = HomePage.of(
            balance=visit.balance,
            counts=visit.counts,
            active=active.items,
            attention=attention.items,
            offers=await read_catalog(actor=visit.actor),
            names=await visit.sku_names(),
            first_run=first_run,
            burn=burn,
            ranges=ranges,
            now=visit.now,
            zone=visit.zone,
        )
        return visit.page("home/index.html", view)
