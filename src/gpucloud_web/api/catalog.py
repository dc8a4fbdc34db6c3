"""What can be launched now, for how much, and on which images."""

from datetime import datetime

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import get
from litestar.di import NamedDependency

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.catalog import ListImages, ReadCatalog
from gpucloud_core.catalog.model import OsImage
from gpucloud_core.catalog.offers import Offer
from gpucloud_web.api.lists import Listing


class OfferBody(msgspec.Struct, kw_only=True):
    """A SKU; ``available`` says per GPU count how many launches would succeed now, up to 64.

    ``disk_per_gpu`` and ``nic_per_gpu`` say whether a local disk and a network port come with
    each GPU.
    """

    sku: str
    display_name: str
    vendor: str
    gpu_model: str
    gpu_memory_mib: int
    shape: str
    allowed_gpu_counts: list[int]
    disk_per_gpu: bool
    nic_per_gpu: bool
    price_micros_per_gpu_hour: int
    currency: str
    region: str
    available: dict[str, int]
    as_of: datetime

    @classmethod
    def of(cls, offer: Offer) -> "OfferBody":
        return cls(
            sku=offer.sku,
            display_name=offer.display_name,
            vendor=offer.vendor,
            gpu_model=offer.gpu_model,
            gpu_memory_mib=offer.gpu_memory_mib,
            shape=offer.shape,
            allowed_gpu_counts=list(offer.allowed_gpu_counts),
            disk_per_gpu=offer.beside.has_disk,
            nic_per_gpu=offer.beside.has_nic,
            price_micros_per_gpu_hour=offer.price_micros_per_gpu_hour,
            currency=offer.currency,
            region=offer.region,
            available=dict(offer.available),
            as_of=offer.as_of,
        )


class ImageBody(msgspec.Struct):
    id: str
    name: str
    version: str
    runtime: str
    username: str
    summary: str

    @classmethod
    def of(cls, image: OsImage) -> "ImageBody":
        return cls(
            image.id, image.name, image.version, image.runtime, image.username, image.summary
        )


@get("/catalog", operation_id="listCatalog", tags=["catalog"])
async def list_catalog(
    actor: NamedDependency[Actor], read_catalog: FromDishka[ReadCatalog]
) -> Listing[OfferBody]:
    """List SKUs with price and live free capacity, cheapest first."""
    return Listing([OfferBody.of(offer) for offer in await read_catalog(actor=actor)])


@get("/os-images", operation_id="listOsImages", tags=["catalog"])
async def list_os_images(
    actor: NamedDependency[Actor], list_images: FromDishka[ListImages]
) -> Listing[ImageBody]:
    """List the images that can be chosen at launch."""
    return Listing([ImageBody.of(image) for image in await list_images(actor=actor)])
