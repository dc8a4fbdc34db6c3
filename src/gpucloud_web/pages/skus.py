"""Admin, SKUs: what is sold, in which sizes, with which images, at which price from when."""

from datetime import datetime

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.access.model import Actor
from gpucloud_core.catalog.manage import (
    AddSku,
    ChangeSku,
    SetPrice,
    SkuChanges,
    WithdrawPrice,
)
from gpucloud_core.catalog.model import OsImage, Price
from gpucloud_core.catalog.queries import ListAllImages, ListAllSkus
from gpucloud_core.fleet.sold import ReadSoldSku, SoldSku
from gpucloud_core.kernel.errors import DomainError, NotFound
from gpucloud_core.kernel.ids import SkuId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_web.pages.catalog_acts import sale_act, withdrawal_act
from gpucloud_web.pages.forms import form_faults, refused, said, submitted
from gpucloud_web.pages.insiders import INSIDERS, provide_insider
from gpucloud_web.pages.list_page import ListPage, listed
from gpucloud_web.pages.sku_forms import (
    PriceForm,
    SkuForm,
    asked_of,
    changes_of,
    price_of,
)
from gpucloud_web.pages.sku_rows import NO_SKUS, PATH, SKUS, SkuPage, sku_row, where_of
from gpucloud_web.pages.visit import Visit, form_of, fresh_key

SALES = ("archive", "restore")


async def every_image(list_images: ListAllImages, actor: Actor) -> tuple[OsImage, ...]:
    """Return every image there is, for the boxes of a form."""
    found: list[OsImage] = []
    cursor: str | None = None
    while True:
        query = ListQuery(sort="name", limit=100, cursor=cursor)
        page = await list_images(actor=actor, query=query)
        found.extend(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return tuple(found)


def _address(sku_id: str) -> str:
    return f"{PATH}/{sku_id}"


class SkuPages(Controller):
    path = PATH
    include_in_schema = False
    dependencies = {"visit": Provide(provide_insider)}
    exception_handlers = INSIDERS

    @get()
    async def index(
        self, visit: NamedDependency[Visit], list_skus: FromDishka[ListAllSkus]
    ) -> Response[str]:
        """List what is sold, and what was."""
        skus = await listed(
            visit,
            PATH,
            SKUS,
            ask=lambda query: list_skus(actor=visit.actor, query=query),
            where=where_of,
            row=lambda line: sku_row(line, visit.zone),
            empty=NO_SKUS,
        )
        return visit.page(
            "lists/index.html",
            ListPage(
                title="SKUs",
                list=skus,
                sub="What is sold, in which sizes, at which price.",
                primary="Add SKU",
                primary_href=f"{PATH}/new",
            ),
        )

    @get("/new")
    async def ask_add(
        self, visit: NamedDependency[Visit], list_images: FromDishka[ListAllImages]
    ) -> Response[str]:
        """Ask what is to be sold."""
        images = await every_image(list_images, visit.actor)
        return visit.page("skus/form.html", SkuForm.of(images=images, key=fresh_key()))

    @post("/new", status_code=303)
    async def add(
        self,
        visit: NamedDependency[Visit],
        add_sku: FromDishka[AddSku],
        list_images: FromDishka[ListAllImages],
    ) -> Response[str] | Redirect:
        """Put it into the catalog, and go on to its price."""
        form = await form_of(visit.request)

        async def add() -> str:
            return (await add_sku(actor=visit.actor, asked=asked_of(form))).id

        async def again(error: DomainError) -> Response[str]:
            images = await every_image(list_images, visit.actor)
            page = SkuForm.of(images=images, key=fresh_key(), form=form, errors=form_faults(error))
            return refused(visit, "skus/form.html", page, error)

        return await submitted(
            visit, form, add, to=lambda sku_id: f"{PATH}/{sku_id}/price", again=again
        )

    @get("/{sku_id:str}")
    async def show(
        self,
        sku_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_sku: FromDishka[ReadSoldSku],
    ) -> Response[str]:
        """Show one with its prices over time, and what runs at which of them."""
        sold = await read_sku(actor=visit.actor, sku_id=SkuId(sku_id))
        return visit.page("skus/detail.html", SkuPage.of(sold, visit.zone))

    @get("/{sku_id:str}/edit")
    async def ask_change(
        self,
        sku_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_sku: FromDishka[ReadSoldSku],
        list_images: FromDishka[ListAllImages],
    ) -> Response[str]:
        """Ask what changes from now on."""
        sold = await read_sku(actor=visit.actor, sku_id=SkuId(sku_id))
        images = await every_image(list_images, visit.actor)
        page = SkuForm.of(images=images, key=fresh_key(), sku=sold.sku)
        return visit.page("skus/form.html", page)

    @post("/{sku_id:str}/edit", status_code=303)
    async def change(
        self,
        sku_id: FromPath[str],
        visit: NamedDependency[Visit],
        change_sku: FromDishka[ChangeSku],
        read_sku: FromDishka[ReadSoldSku],
        list_images: FromDishka[ListAllImages],
    ) -> Response[str] | Redirect:
        """Change what it offers from now on."""
        form = await form_of(visit.request)
        sku = (await read_sku(actor=visit.actor, sku_id=SkuId(sku_id))).sku

        async def change() -> str:
            changes = changes_of(form, sku)
            return (await change_sku(actor=visit.actor, sku_id=sku.id, changes=changes)).id

        async def again(error: DomainError) -> Response[str]:
            images = await every_image(list_images, visit.actor)
            page = SkuForm.of(
                images=images, key=fresh_key(), sku=sku, form=form, errors=form_faults(error)
            )
            return refused(visit, "skus/form.html", page, error)

        return await submitted(visit, form, change, to=_address, again=again)

    @get([f"/{{sku_id:str}}/{act}" for act in SALES])
    async def ask_sale(
        self,
        sku_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_sku: FromDishka[ReadSoldSku],
    ) -> Response[str]:
        """Say what taking it off sale means, or putting it back."""
        sold = await read_sku(actor=visit.actor, sku_id=SkuId(sku_id))
        return visit.page("skus/confirm.html", sale_act(sold, visit.last_part, key=fresh_key()))

    @post([f"/{{sku_id:str}}/{act}" for act in SALES], status_code=303)
    async def sale(
        self,
        sku_id: FromPath[str],
        visit: NamedDependency[Visit],
        change_sku: FromDishka[ChangeSku],
        read_sku: FromDishka[ReadSoldSku],
    ) -> Response[str] | Redirect:
        """Take it off sale, or put it back."""
        form, act = await form_of(visit.request), visit.last_part
        changes = SkuChanges(active=act == "restore")

        async def change() -> str:
            changed = await change_sku(actor=visit.actor, sku_id=SkuId(sku_id), changes=changes)
            return changed.id

        async def again(error: DomainError) -> Response[str]:
            sold = await read_sku(actor=visit.actor, sku_id=SkuId(sku_id))
            page = sale_act(sold, act, key=fresh_key(), error=said(error))
            return refused(visit, "skus/confirm.html", page, error)

        return await submitted(visit, form, change, to=_address, again=again)


class PricePages(Controller):
    """A SKU's price: a new one begins now or later, and one that has not begun is taken back."""

    path = f"{PATH}/{{sku_id:str}}/price"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_insider)}
    exception_handlers = INSIDERS

    @get()
    async def ask(
        self,
        sku_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_sku: FromDishka[ReadSoldSku],
    ) -> Response[str]:
        """Ask for a price, and from when it holds."""
        sold = await read_sku(actor=visit.actor, sku_id=SkuId(sku_id))
        return visit.page("skus/price.html", PriceForm.of(sold, zone=visit.zone, key=fresh_key()))

    @post(status_code=303)
    async def set(
        self,
        sku_id: FromPath[str],
        visit: NamedDependency[Visit],
        set_price: FromDishka[SetPrice],
        read_sku: FromDishka[ReadSoldSku],
    ) -> Response[str] | Redirect:
        """Set it; what runs keeps what it pays."""
        form = await form_of(visit.request)
        sold = await read_sku(actor=visit.actor, sku_id=SkuId(sku_id))
        currency = sold.prices[-1].currency if sold.prices else "USD"

        async def put() -> str:
            micros, begins = price_of(form, visit.zone)
            price = await set_price(
                actor=visit.actor,
                sku_id=sold.sku.id,
                micros_per_gpu_hour=micros,
                currency=currency,
                starts_at=begins,
            )
            return price.id

        async def again(error: DomainError) -> Response[str]:
            page = PriceForm.of(
                sold, zone=visit.zone, key=fresh_key(), form=form, errors=form_faults(error)
            )
            return refused(visit, "skus/price.html", page, error)

        return await submitted(visit, form, put, to=lambda _: _address(sku_id), again=again)

    @get("/withdraw")
    async def ask_withdraw(
        self,
        sku_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_sku: FromDishka[ReadSoldSku],
    ) -> Response[str]:
        """Say what taking a price back means."""
        sold = await read_sku(actor=visit.actor, sku_id=SkuId(sku_id))
        price = _planned(sold, visit.request.query_params.get("at", ""))
        page = withdrawal_act(sold, price, zone=visit.zone, key=fresh_key())
        return visit.page("skus/confirm.html", page)

    @post("/withdraw", status_code=303)
    async def withdraw(
        self,
        sku_id: FromPath[str],
        visit: NamedDependency[Visit],
        withdraw_price: FromDishka[WithdrawPrice],
        read_sku: FromDishka[ReadSoldSku],
    ) -> Response[str] | Redirect:
        """Take it back; one that has begun stays."""
        form = await form_of(visit.request)
        sold = await read_sku(actor=visit.actor, sku_id=SkuId(sku_id))
        price = _planned(sold, visit.request.query_params.get("at", ""))

        async def take_back() -> str:
            taken = await withdraw_price(
                actor=visit.actor, sku_id=sold.sku.id, starts_at=price.starts_at
            )
            return taken.id

        async def again(error: DomainError) -> Response[str]:
            page = withdrawal_act(sold, price, zone=visit.zone, key=fresh_key(), error=said(error))
            return refused(visit, "skus/confirm.html", page, error)

        return await submitted(visit, form, take_back, to=lambda _: _address(sku_id), again=again)


def _planned(sold: SoldSku, text: str) -> Price:
    """Return the price that an address names by its first second."""
    try:
        begins = datetime.fromisoformat(text)
    except ValueError:
        begins = None
    for price in sold.prices:
        if begins and begins.tzinfo and price.starts_at.replace(microsecond=0) == begins:
            return price
    raise NotFound("No price of this SKU begins at this instant.")
