"""View rows of the catalog: what can be launched now, in which sizes, at which price."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.catalog.model import Beside, OsImage, Shape
from gpucloud_core.catalog.offers import AVAILABLE_MAX, Offer
from gpucloud_web import formats
from gpucloud_web.pages.addresses import address

BESIDE: Final = {
    Beside.NOTHING: "",
    Beside.DISK: "a local NVMe disk",
    Beside.NIC: "a network port",
    Beside.BOTH: "a local NVMe disk and a network port",
}
"""What comes with each GPU, besides CPUs and memory."""
SHAPES: Final = {Shape.GPU_SLICE: "GPU slice", Shape.BARE_METAL: "Bare metal"}


def free_words(count: int, gpus: int) -> str:
    """Return how many launches of a size would succeed now."""
    if not count:
        return "none free"
    many = f"{AVAILABLE_MAX} or more" if count >= AVAILABLE_MAX else f"{count:,}"
    return f"{many} free" if gpus == 1 else f"{many} {'set' if count == 1 else 'sets'} free"


def with_each(beside: Beside) -> str:
    """Return the line that says what comes with each GPU; empty where nothing does."""
    at = " at /data" if beside.has_disk else ""
    return f"With each GPU {BESIDE[beside]}{at}" if BESIDE[beside] else ""


def is_sold_out(offer: Offer) -> bool:
    return not any(offer.available.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRow:
    """One size of a SKU."""

    gpus: str
    price: str
    free: str
    available: bool
    href: str
    wait_href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferCard:
    """One SKU as the catalog shows it. Sold out: the action is disabled and says so."""

    sku: str
    title: str
    about: str
    price: str
    beside: str  # what comes with each GPU; empty: CPUs and memory only
    capacity: str  # a state of the kind "capacity"
    free: str
    sizes: tuple[SizeRow, ...]
    sold_out: bool
    launch_href: str
    notify_href: str

    @classmethod
    def of(cls, offer: Offer) -> "OfferCard":
        free = offer.available.get("1", max(offer.available.values(), default=0))
        return cls(
            sku=offer.sku,
            title=offer.display_name,
            about=f"{offer.vendor} · {SHAPES[offer.shape]} · {offer.region}",
            price=formats.amount(offer.price_micros_per_gpu_hour, offer.currency, places=4),
            beside=with_each(offer.beside),
            capacity="sold_out" if is_sold_out(offer) else "free",
            free=free_words(free, 1),
            sizes=tuple(
                SizeRow(
                    gpus=formats.counted(count, "GPU"),
                    price=formats.hourly(offer.price_micros_per_gpu_hour * count, offer.currency),
                    free=free_words(offer.available[str(count)], count),
                    available=offer.available[str(count)] > 0,
                    href=address("/launch", sku=offer.sku, gpu_count=count, step="capacity"),
                    wait_href=address(
                        "/infra/waitlist/join", sku=offer.sku, gpu_count=count, kind="launch"
                    ),
                )
                for count in offer.allowed_gpu_counts
            ),
            sold_out=is_sold_out(offer),
            launch_href=address("/launch", sku=offer.sku, step="capacity"),
            notify_href=_wait(offer, "notify"),
        )


def _wait(offer: Offer, kind: str) -> str:
    """Return where one joins the waitlist for the smallest size."""
    size = min(offer.allowed_gpu_counts)
    return address("/infra/waitlist/join", sku=offer.sku, gpu_count=size, kind=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    name: str
    version: str
    runtime: str
    username: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogPage:
    """All that ``catalog/index.html`` may know."""

    as_of: str
    offers: tuple[OfferCard, ...]
    images: tuple[ImageRow, ...]

    @classmethod
    def of(
        cls, offers: Sequence[Offer], images: Sequence[OsImage], *, now: datetime, zone: tzinfo
    ) -> "CatalogPage":
        return cls(
            as_of=formats.clock_time(offers[0].as_of if offers else now, zone),
            offers=tuple(OfferCard.of(offer) for offer in offers),
            images=tuple(
                ImageRow(
                    name=image.name,
                    version=image.version,
                    runtime=image.runtime.replace("_", " "),
                    username=image.username,
                    summary=image.summary,
                )
                for image in images
            ),
        )
