"""Operators on the catalog: SKUs and their prices over time."""

from datetime import datetime
from typing import Annotated

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from gpucloud_core.access.model import Actor
from gpucloud_core.catalog.manage import (
    AddSku,
    ChangeSku,
    SetPrice,
    SkuAsked,
    SkuChanges,
    WithdrawPrice,
)
from gpucloud_core.catalog.model import USUAL_MIX, Beside, Price, Runtime, Sku
from gpucloud_core.catalog.queries import ListAllSkus, PricedSku
from gpucloud_core.fleet.sold import ReadSoldSku, RunningAt, SoldSku
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import SkuId
from gpucloud_web.api.lists import Cursor, Limit, Listing, Sort, list_query, listing

Search = Annotated[str, QueryParameter(description="Text in the id, the name or the GPU model.")]


class SkuBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A SKU to add; its shape follows from its runtime. It is sold once it has a price.

    ``disk_per_gpu`` and ``nic_per_gpu`` say whether a local disk and a network port come with
    each GPU. ``demand_mix`` has a weight for each size of the launches to come, by which placement
    keeps room; the usual one where it is left out.
    """

    id: str
    display_name: str
    vendor: str
    gpu_model: str
    gpu_memory_mib: int
    runtime: Runtime
    region: str
    allowed_gpu_counts: list[int]
    vcpus_per_gpu: int
    memory_mib_per_gpu: int
    disk_per_gpu: bool = False
    nic_per_gpu: bool = False
    image_ids: list[str] = []
    demand_mix: dict[int, int] | None = None
    summary: str = ""

    def asked(self) -> SkuAsked:
        said = msgspec.structs.asdict(self)
        beside = Beside.of(disk=said.pop("disk_per_gpu"), nic=said.pop("nic_per_gpu"))
        counts, images = tuple(self.allowed_gpu_counts), tuple(self.image_ids)
        mix = USUAL_MIX if self.demand_mix is None else tuple(self.demand_mix.items())
        changed = {"allowed_gpu_counts": counts, "image_ids": images, "beside": beside}
        return SkuAsked(**{**said, **changed, "demand_mix": mix})


class SkuChangesBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What of a SKU changes; left out, it stays."""

    display_name: str | None = None
    allowed_gpu_counts: list[int] | None = None
    vcpus_per_gpu: int | None = None
    memory_mib_per_gpu: int | None = None
    disk_per_gpu: bool | None = None
    nic_per_gpu: bool | None = None
    image_ids: list[str] | None = None
    demand_mix: dict[int, int] | None = None
    summary: str | None = None
    active: bool | None = None

    def changes(self) -> SkuChanges:
        counts, images = self.allowed_gpu_counts, self.image_ids
        return SkuChanges(
            display_name=self.display_name,
            allowed_gpu_counts=None if counts is None else tuple(counts),
            vcpus_per_gpu=self.vcpus_per_gpu,
            memory_mib_per_gpu=self.memory_mib_per_gpu,
            disk_per_gpu=self.disk_per_gpu,
            nic_per_gpu=self.nic_per_gpu,
            image_ids=None if images is None else tuple(images),
            demand_mix=None if self.demand_mix is None else tuple(self.demand_mix.items()),
            summary=self.summary,
            active=self.active,
        )


class PriceBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A price from an instant on; left out, from now."""

    price_micros_per_gpu_hour: int
    currency: str = "USD"
    starts_at: datetime | None = None


class PriceSeen(msgspec.Struct):
    price_micros_per_gpu_hour: int
    currency: str
    starts_at: datetime

    @classmethod
    def of(cls, price: Price) -> "PriceSeen":
        return cls(price.micros_per_gpu_hour, price.currency, price.starts_at)


class SkuSeen(msgspec.Struct, kw_only=True):
    """A SKU as operators see it; ``prices`` oldest first, each until the next begins."""

    id: str
    display_name: str
    vendor: str
    gpu_model: str
    gpu_memory_mib: int
    shape: str
    runtime: str
    region: str
    allowed_gpu_counts: list[int]
    vcpus_per_gpu: int
    memory_mib_per_gpu: int
    disk_per_gpu: bool
    nic_per_gpu: bool
    image_ids: list[str]
    demand_mix: dict[int, int]
    summary: str
    active: bool
    created_at: datetime
    prices: list[PriceSeen]

    @classmethod
    def of(cls, sku: Sku, prices: tuple[Price, ...] = ()) -> "SkuSeen":
        return cls(
            id=sku.id,
            display_name=sku.display_name,
            vendor=sku.vendor,
            gpu_model=sku.gpu_model,
            gpu_memory_mib=sku.gpu_memory_mib,
            shape=sku.shape,
            runtime=sku.runtime,
            region=sku.region,
            allowed_gpu_counts=list(sku.allowed_gpu_counts),
            vcpus_per_gpu=sku.vcpus_per_gpu,
            memory_mib_per_gpu=sku.memory_mib_per_gpu,
            disk_per_gpu=sku.beside.has_disk,
            nic_per_gpu=sku.beside.has_nic,
            image_ids=list(sku.image_ids),
            demand_mix=dict(sku.demand_mix),
            summary=sku.summary,
            active=sku.active,
            created_at=sku.created_at,
            prices=[PriceSeen.of(price) for price in prices],
        )

    @classmethod
    def priced(cls, row: PricedSku) -> "SkuSeen":
        return cls.of(row.sku, row.prices)


class RunningBody(msgspec.Struct):
    """What runs at one price, which it keeps for as long as it runs."""

    price_micros_per_gpu_hour: int
    currency: str
    allocations: int
    gpus: int
    since: datetime

    @classmethod
    def of(cls, one: RunningAt) -> "RunningBody":
        return cls(one.micros_per_gpu_hour, one.currency, one.allocations, one.gpus, one.since)


class SoldSkuBody(SkuSeen, kw_only=True):
    """A SKU with what stands on it; ``available`` has launches that would succeed, by size."""

    running: list[RunningBody]
    pool: str
    nodes: int
    gpus: int
    free_gpus: int
    available: dict[str, int]
    as_of: datetime

    @classmethod
    def seen(cls, sold: SoldSku) -> "SoldSkuBody":
        return cls(
            **msgspec.structs.asdict(SkuSeen.of(sold.sku, sold.prices)),
            running=[RunningBody.of(one) for one in sold.running],
            pool=sold.pool.name,
            nodes=sold.pool.nodes,
            gpus=sold.pool.gpus,
            free_gpus=sold.pool.free_gpus,
            available={str(count): number for count, number in sold.pool.launches.items()},
            as_of=sold.as_of,
        )


class AdminSkus(Controller):
    path = "/admin/skus"
    tags = ["admin"]

    @get(operation_id="listAllSkus")
    async def index(
        self,
        actor: NamedDependency[Actor],
        list_skus: FromDishka[ListAllSkus],
        search: Search = "",
        sort: Sort = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Listing[SkuSeen]:
        """List every SKU, on sale or not, with its prices over time."""
        query = list_query(limit=limit, cursor=cursor, sort=sort or "id", search=search)
        return listing(await list_skus(actor=actor, query=query), SkuSeen.priced)

    @get("/{sku_id:str}", operation_id="getSku")
    async def show(
        self,
        sku_id: FromPath[str],
        actor: NamedDependency[Actor],
        read_sku: FromDishka[ReadSoldSku],
    ) -> SoldSkuBody:
        """Read a SKU with what runs on it, at which rates, and what is free."""
        return SoldSkuBody.seen(await read_sku(actor=actor, sku_id=SkuId(sku_id)))

    @post(operation_id="addSku", status_code=201)
    async def add(
        self,
        data: JSONBody[SkuBody],
        actor: NamedDependency[Actor],
        add_sku: FromDishka[AddSku],
    ) -> SkuSeen:
        """Put something new into the catalog."""
        return SkuSeen.of(await add_sku(actor=actor, asked=data.asked()))

    @patch("/{sku_id:str}", operation_id="changeSku")
    async def change(
        self,
        sku_id: FromPath[str],
        data: JSONBody[SkuChangesBody],
        actor: NamedDependency[Actor],
        change_sku: FromDishka[ChangeSku],
    ) -> SkuSeen:
        """Change what a SKU offers from now on; what was launched keeps what it has."""
        sku = await change_sku(actor=actor, sku_id=SkuId(sku_id), changes=data.changes())
        return SkuSeen.of(sku)

    @post("/{sku_id:str}/prices", operation_id="setPrice", status_code=201)
    async def price(
        self,
        sku_id: FromPath[str],
        data: JSONBody[PriceBody],
        actor: NamedDependency[Actor],
        set_price: FromDishka[SetPrice],
    ) -> PriceSeen:
        """Give a SKU a price from now or a later instant on; what runs keeps its rate."""
        price = await set_price(
            actor=actor,
            sku_id=SkuId(sku_id),
            micros_per_gpu_hour=data.price_micros_per_gpu_hour,
            currency=data.currency,
            starts_at=data.starts_at,
        )
        return PriceSeen.of(price)

    @delete("/{sku_id:str}/prices/{starts_at:str}", operation_id="withdrawPrice", status_code=200)
    async def withdraw(
        self,
        sku_id: FromPath[str],
        starts_at: FromPath[str],
        actor: NamedDependency[Actor],
        withdraw_price: FromDishka[WithdrawPrice],
    ) -> PriceSeen:
        """Take back a price that has not begun; it is named by its first instant."""
        begins = _instant(starts_at)
        return PriceSeen.of(
            await withdraw_price(actor=actor, sku_id=SkuId(sku_id), starts_at=begins)
        )


def _instant(text: str) -> datetime:
    """Return the instant that ``text`` names; a text that is none names no price."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise NotFound("No price of this SKU begins at this instant.")
    return instant
