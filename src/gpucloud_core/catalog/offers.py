"""What the catalog shows: each SKU on sale with its price now and how much of it is free.

Pure composition. How often a count would succeed now is placement's to say, one rung above; it
comes in as numbers. A SKU that is not active, or has no price yet, is not offered.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gpucloud_core.catalog.model import Beside, Price, Shape, Sku
from gpucloud_core.catalog.prices import price_at
from gpucloud_core.kernel.ids import SkuId

AVAILABLE_MAX: Final = 64
"""The most that a tenant is told of; the fleet's size is nobody's business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One line of the catalog.

    ``available`` says, for each count, how many such launches would succeed now, one after
    another, up to ``AVAILABLE_MAX``. ``as_of`` is when that was read.
    """

    sku: SkuId
    display_name: str
    vendor: str
    gpu_model: str
    gpu_memory_mib: int
    shape: Shape
    allowed_gpu_counts: tuple[int, ...]
    beside: Beside = Beside.NOTHING  # with each GPU
    price_micros_per_gpu_hour: int
    currency: str
    region: str
    available: Mapping[str, int]
    as_of: datetime


def offers(
    skus: Iterable[Sku],
    prices: Iterable[Price],
    available: Mapping[SkuId, Mapping[int, int]],
    as_of: datetime,
) -> tuple[Offer, ...]:
    """Return the catalog at ``as_of``, cheapest GPU first, then by name.

    ``available`` says per SKU how many launches of each count fit; nothing said means none.
    """
    by_sku: dict[SkuId, list[Price]] = {}
    for price in prices:
        by_sku.setdefault(price.sku_id, []).append(price)
    found = []
    for sku in skus:
        price_now = price_at(by_sku.get(sku.id, ()), as_of)
        if sku.active and price_now is not None:
            found.append(_offer(sku, price_now, available.get(sku.id, {}), as_of))
    found.sort(key=lambda offer: (offer.price_micros_per_gpu_hour, offer.sku))
    return tuple(found)


def _offer(sku: Sku, price: Price, free: Mapping[int, int], as_of: datetime) -> Offer:
    counts = tuple(sorted(sku.allowed_gpu_counts))
    return Offer(
        sku=sku.id,
        display_name=sku.display_name,
        vendor=sku.vendor,
        gpu_model=sku.gpu_model,
        gpu_memory_mib=sku.gpu_memory_mib,
        shape=sku.shape,
        allowed_gpu_counts=counts,
        beside=sku.beside,
        price_micros_per_gpu_hour=price.micros_per_gpu_hour,
        currency=price.currency,
        region=sku.region,
        available={str(n): max(0, min(free.get(n, 0), AVAILABLE_MAX)) for n in counts},
        as_of=as_of,
    )
