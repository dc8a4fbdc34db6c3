"""Operators on the catalog: SKUs, their prices over time, and the images they run."""

from datetime import datetime

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gpucloud_core.access.model import Actor
from gpucloud_core.catalog.manage import (
    AddImage,
    AddSku,
    ChangeSku,
    ImageAsked,
    ListAllImages,
    ListAllSkus,
    OfferImage,
    PricedSku,
    SetPrice,
    SkuAsked,
    SkuChanges,
)
from gpucloud_core.catalog.model import OsImage, Price, Runtime, Sku
from gpucloud_core.kernel.ids import ImageId, SkuId, parse_id
from gpucloud_web.api.lists import Listing


class SkuBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A SKU to add; its shape follows from its runtime. It is sold once it has a price."""

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
    image_ids: list[str] = []
    summary: str = ""

    def asked(self) -> SkuAsked:
        said = msgspec.structs.asdict(self)
        counts, images = tuple(self.allowed_gpu_counts), tuple(self.image_ids)
        return SkuAsked(**{**said, "allowed_gpu_counts": counts, "image_ids": images})


class SkuChangesBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What of a SKU changes; left out, it stays."""

    display_name: str | None = None
    allowed_gpu_counts: list[int] | None = None
    vcpus_per_gpu: int | None = None
    memory_mib_per_gpu: int | None = None
    image_ids: list[str] | None = None
    summary: str | None = None
    active: bool | None = None

    def changes(self) -> SkuChanges:
        counts, images = self.allowed_gpu_counts, self.image_ids
        return SkuChanges(
            display_name=self.display_name,
            allowed_gpu_counts=None if counts is None else tuple(counts),
            vcpus_per_gpu=self.vcpus_per_gpu,
            memory_mib_per_gpu=self.memory_mib_per_gpu,
            image_ids=None if images is None else tuple(images),
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
    image_ids: list[str]
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
            image_ids=list(sku.image_ids),
            summary=sku.summary,
            active=sku.active,
            created_at=sku.created_at,
            prices=[PriceSeen.of(price) for price in prices],
        )

    @classmethod
    def priced(cls, row: PricedSku) -> "SkuSeen":
        return cls.of(row.sku, row.prices)


class ImageToAdd(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An image; ``digest`` names its content, so that it can never be another one.

    For containers an OCI reference by digest, for virtual machines a qcow2 address with its
    SHA-256, for bare metal the name of a MAAS series.
    """

    name: str
    version: str
    runtime: Runtime
    username: str
    digest: str
    summary: str = ""

    def asked(self) -> ImageAsked:
        return ImageAsked(**msgspec.structs.asdict(self))


class ImageOffer(msgspec.Struct, forbid_unknown_fields=True):
    """Whether it is offered from now on."""

    active: bool


class ImageSeen(msgspec.Struct, kw_only=True):
    id: str
    name: str
    version: str
    runtime: str
    username: str
    digest: str
    summary: str
    active: bool
    created_at: datetime

    @classmethod
    def of(cls, image: OsImage) -> "ImageSeen":
        return cls(
            id=image.id,
            name=image.name,
            version=image.version,
            runtime=image.runtime,
            username=image.username,
            digest=image.digest,
            summary=image.summary,
            active=image.active,
            created_at=image.created_at,
        )


class AdminSkus(Controller):
    path = "/admin/skus"
    tags = ["admin"]

    @get(operation_id="listAllSkus")
    async def index(
        self, actor: NamedDependency[Actor], list_skus: FromDishka[ListAllSkus]
    ) -> Listing[SkuSeen]:
        """List every SKU, on sale or not, with its prices over time."""
        return Listing([SkuSeen.priced(row) for row in await list_skus(actor=actor)])

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


class AdminImages(Controller):
    path = "/admin/os-images"
    tags = ["admin"]

    @get(operation_id="listAllImages")
    async def index(
        self, actor: NamedDependency[Actor], list_images: FromDishka[ListAllImages]
    ) -> Listing[ImageSeen]:
        """List every image, offered or not."""
        return Listing([ImageSeen.of(image) for image in await list_images(actor=actor)])

    @post(operation_id="addImage", status_code=201)
    async def add(
        self,
        data: JSONBody[ImageToAdd],
        actor: NamedDependency[Actor],
        add_image: FromDishka[AddImage],
    ) -> ImageSeen:
        """Make an image known; SKUs offer it by naming it."""
        return ImageSeen.of(await add_image(actor=actor, asked=data.asked()))

    @patch("/{image_id:str}", operation_id="offerImage")
    async def offer(
        self,
        image_id: FromPath[str],
        data: JSONBody[ImageOffer],
        actor: NamedDependency[Actor],
        offer_image: FromDishka[OfferImage],
    ) -> ImageSeen:
        """Offer an image, or offer it no longer."""
        found = ImageId(parse_id("img", image_id))
        return ImageSeen.of(await offer_image(actor=actor, image_id=found, active=data.active))
