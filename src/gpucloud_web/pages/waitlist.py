"""The waitlist: what the project waits for, joining from the catalog, and giving a turn up."""

from collections.abc import Sequence

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.access.ssh_keys import ListSshKeys
from gpucloud_core.allocations.catalog import ListImages, ReadCatalog
from gpucloud_core.kernel.errors import DomainError, NotFound
from gpucloud_core.kernel.ids import WaitlistId, parse_id
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.waitlist.join import JoinWaitlist, LeaveWaitlist
from gpucloud_core.waitlist.queries import ListWaitlist, ReadForecast, ReadWaitEntry
from gpucloud_web.components import FieldFault
from gpucloud_web.pages.forms import form_faults, refused, status_of, submitted
from gpucloud_web.pages.visit import Form, Visit, form_of, fresh_key, one, provide_visit
from gpucloud_web.pages.wait_rows import (
    ENTRIES,
    PATH,
    JoinPage,
    WaitlistPage,
    WithdrawPage,
    asked_of,
    where_of,
)

_KEYS = ListQuery(limit=100)
_FIELDS = {"ssh_key_ids": "keys", "image_id": "image", "price_max_micros": "limit"}


def _id(text: str) -> WaitlistId:
    return WaitlistId(parse_id("wtl", text))


async def _join_page(
    visit: Visit,
    form: Form,
    *,
    errors: Sequence[FieldFault] = (),
    status: int = 200,
) -> Response[str]:
    offers = await (await visit.use_case(ReadCatalog))(actor=visit.actor)
    offer = next((each for each in offers if each.sku == one(form, "sku")), None)
    sizes = offer.allowed_gpu_counts if offer else ()
    size = one(form, "gpu_count")
    if offer is None or size not in map(str, sizes):
        raise NotFound("The catalog has no such size.")
    foretold = await visit.use_case(ReadForecast)
    keys = await (await visit.use_case(ListSshKeys))(actor=visit.actor, query=_KEYS)
    sku = next(each for each in await visit.skus() if each.id == offer.sku)
    images = await (await visit.use_case(ListImages))(actor=visit.actor)
    page = JoinPage.of(
        offer,
        await foretold(actor=visit.actor, sku_id=offer.sku, gpu_count=int(size)),
        keys=keys.items,
        images=[image for image in images if image.id in sku.image_ids],
        form=form,
        zone=visit.zone,
        key=fresh_key(),
        errors=errors,
    )
    return visit.page("waitlist/join.html", page, status=status)


class WaitlistPages(Controller):
    path = PATH
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get()
    async def index(
        self, visit: NamedDependency[Visit], list_waitlist: FromDishka[ListWaitlist]
    ) -> Response[str]:
        """List what the project waits for."""
        asked = visit.list_state(self.path, ENTRIES)
        project = visit.in_project()
        state, page = await asked.read(
            lambda now: list_waitlist(
                actor=visit.actor, project_id=project, query=now.query(where_of(now))
            )
        )
        view = WaitlistPage.of(
            state=state, page=page, names=await visit.sku_names(), zone=visit.zone
        )
        return visit.page("waitlist/index.html", view)

    @get("/join")
    async def ask_join(self, visit: NamedDependency[Visit]) -> Response[str]:
        """Ask how to wait for a size of a SKU."""
        query = visit.request.query_params
        form = {name: [query.get(name, "")] for name in ("sku", "gpu_count", "kind")}
        return await _join_page(visit, form)

    @post("/join", status_code=303)
    async def join(
        self, visit: NamedDependency[Visit], join_waitlist: FromDishka[JoinWaitlist]
    ) -> Response[str] | Redirect:
        """Take a turn."""
        form = await form_of(visit.request)
        project = visit.in_project()

        async def take() -> str:
            entry = await join_waitlist(actor=visit.actor, project_id=project, asked=asked_of(form))
            return entry.id

        async def again(error: DomainError) -> Response[str]:
            faults = [
                FieldFault(field=_FIELDS.get(each.field, each.field), text=each.text)
                for each in form_faults(error)
            ]
            return await _join_page(visit, form, errors=faults, status=status_of(error))

        return await submitted(visit, form, take, to=lambda _: PATH, again=again)

    @get("/{entry_id:str}/withdraw")
    async def ask_withdraw(
        self,
        entry_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_entry: FromDishka[ReadWaitEntry],
    ) -> Response[str]:
        """Say what withdrawing means, before it is done."""
        line = await read_entry(actor=visit.actor, entry_id=_id(entry_id))
        page = WithdrawPage.of(line, await visit.sku_names(), key=fresh_key())
        return visit.page("waitlist/withdraw.html", page)

    @post("/{entry_id:str}/withdraw", status_code=303)
    async def withdraw(
        self,
        entry_id: FromPath[str],
        visit: NamedDependency[Visit],
        leave_waitlist: FromDishka[LeaveWaitlist],
        read_entry: FromDishka[ReadWaitEntry],
    ) -> Response[str] | Redirect:
        """Give the turn up."""
        form = await form_of(visit.request)

        async def leave() -> str:
            return (await leave_waitlist(actor=visit.actor, entry_id=_id(entry_id))).id

        async def again(error: DomainError) -> Response[str]:
            line = await read_entry(actor=visit.actor, entry_id=_id(entry_id))
            names = await visit.sku_names()
            page = WithdrawPage.of(line, names, key=fresh_key(), error=error.detail)
            return refused(visit, "waitlist/withdraw.html", page, error)

        return await submitted(visit, form, leave, to=lambda _: PATH, again=again)
