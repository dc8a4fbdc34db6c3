"""View rows of the SKUs as operators see them: the list, and one with its prices over time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.catalog.model import Price, Runtime, Sku
from gpucloud_core.catalog.prices import next_change, price_at
from gpucloud_core.catalog.queries import PricedSku
from gpucloud_core.fleet.sold import RunningAt, SoldSku
from gpucloud_web import formats
from gpucloud_web.components import Fact, MenuEntry
from gpucloud_web.formats import Moment
from gpucloud_web.pages.addresses import ListState, address
from gpucloud_web.pages.catalog_rows import BESIDE
from gpucloud_web.tables import Cell, Column, Empty, FilterField, ListSpec, Row

PATH: Final = "/admin/skus"
RUNTIMES: Final[Mapping[Runtime, str]] = {
    Runtime.CONTAINER: "Container",
    Runtime.VM: "Virtual machine",
    Runtime.BARE_METAL: "Bare metal",
}
SKUS: Final = ListSpec(
    name="skus",
    noun="SKUs",
    views={"all": "All", "on": "On sale", "off": "Off sale"},
    sorts={
        "display_name": "Name, A to Z",
        "-display_name": "Name, Z to A",
        "gpu_model": "GPU model",
        "region": "Region",
        "-created_at": "Newest first",
    },
    columns=(
        Column(key="name", title="SKU", sort="display_name"),
        Column(key="status", title="Status"),
        Column(key="price", title="Price / GPU-h", number=True),
        Column(key="sizes", title="Sizes"),
        Column(key="gpu", title="GPU", sort="gpu_model"),
        Column(key="runtime", title="Runtime"),
        Column(key="region", title="Region", sort="region"),
        Column(key="share", title="With each GPU", optional=True),
        Column(key="created", title="Added", sort="created_at", number=True, optional=True),
    ),
    search="Id, name or GPU model",
    filters=(
        FilterField(
            name="runtime",
            title="Runtime",
            options={runtime.value: words for runtime, words in RUNTIMES.items()},
        ),
    ),
)
NO_SKUS: Final = Empty(
    heading="Nothing is sold yet",
    sentence="A SKU names what can be launched: a GPU model in a region, in which sizes, with "
    "which share of a node and which images. It is sold once it has a price.",
    action="Add SKU",
    href=f"{PATH}/new",
)


def where_of(state: ListState) -> dict[str, tuple[object, ...]]:
    """Return what a view of the list is narrowed to."""
    where: dict[str, tuple[object, ...]] = {}
    if state.view != "all":
        where["active"] = (state.view == "on",)
    if runtime := state.filters.get("runtime"):
        where["runtime"] = (Runtime(runtime),)
    return where


def status_of(sku: Sku, price: Price | None) -> str:
    """Return the row of the status table that a SKU is in."""
    if not sku.active:
        return "off_sale"
    return "on_sale" if price else "unpriced"


def sizes_words(sku: Sku) -> str:
    return ", ".join(str(count) for count in sorted(sku.allowed_gpu_counts))


def share_words(sku: Sku) -> str:
    beside = BESIDE[sku.beside]
    share = f"{sku.vcpus_per_gpu} vCPU, {formats.gibibytes(sku.memory_mib_per_gpu)}"
    return f"{share}, {beside}" if beside else share


def sku_row(line: PricedSku, zone: tzinfo) -> Row:
    """Return a line of the list."""
    sku, now = line.sku, line.as_of
    href = f"{PATH}/{sku.id}"
    return Row(
        id=sku.id,
        label=sku.display_name,
        menu=(
            MenuEntry(text="Open", icon="arrow-right", href=href, operation="getSku"),
            MenuEntry(
                text="Set price…",
                icon="tag",
                href=f"{href}/price",
                dialog=True,
                operation="setPrice",
            ),
            MenuEntry(text="Edit", icon="adjustments", href=f"{href}/edit", operation="changeSku"),
        ),
        cells={
            "name": Cell(
                text=sku.display_name,
                href=href,
                second=sku.id,
                copy=sku.id,
                copy_label=f"id of {sku.display_name}",
            ),
            "status": Cell(kind="sku", state=status_of(sku, price_at(line.prices, now))),
            "price": _price_cell(line, zone),
            "sizes": Cell(text=sizes_words(sku)),
            "gpu": Cell(text=sku.gpu_model, second=formats.gibibytes(sku.gpu_memory_mib)),
            "runtime": Cell(text=RUNTIMES[sku.runtime]),
            "region": Cell(text=sku.region),
            "share": Cell(text=share_words(sku)),
            "created": Cell(when=formats.moment(sku.created_at, now, zone)),
        },
    )


def _price_cell(line: PricedSku, zone: tzinfo) -> Cell:
    now = line.as_of
    current, change = price_at(line.prices, now), next_change(line.prices, now)
    coming = price_at(line.prices, change) if change else None
    told = ""
    if coming and change:
        amount = formats.amount(coming.micros_per_gpu_hour, coming.currency, places=4)
        told = f"{amount} from {formats.short_time(change, now, zone)}"
    if current is None:
        return Cell(unknown="it has no price yet") if not told else Cell(text="—", second=told)
    text = formats.amount(current.micros_per_gpu_hour, current.currency, places=4)
    return Cell(text=text, second=told)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """A price and the interval it holds for."""

    state: str
    price: str
    change: str  # against the one before
    begins: Moment
    until: Moment | None  # None: until it is changed
    withdraw_href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningRow:
    """What runs at one price."""

    price: str
    note: str
    allocations: str
    gpus: str
    rate: str
    since: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLine:
    name: str
    version: str
    href: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkuPage:
    """All that ``skus/detail.html`` may know."""

    id: str
    name: str
    href: str
    status: str
    about: str
    trouble: str
    band: tuple[Fact, ...]
    prices: tuple[PriceRow, ...]
    running: tuple[RunningRow, ...]
    running_words: str
    facts: tuple[Fact, ...]
    supply: tuple[Fact, ...]
    images: tuple[ImageLine, ...]
    on_sale: bool
    plan_href: str

    @classmethod
    def of(cls, sold: SoldSku, zone: tzinfo) -> "SkuPage":
        sku, now = sold.sku, sold.as_of
        current = price_at(sold.prices, now)
        offered = [image for image in sold.images if image.active]
        gpus = sum(one.gpus for one in sold.running)
        return cls(
            id=sku.id,
            name=sku.display_name,
            href=f"{PATH}/{sku.id}",
            status=status_of(sku, current),
            about=f"{RUNTIMES[sku.runtime]} in {sku.region}",
            trouble="" if offered else "It offers no image, so nothing can be launched on it.",
            band=(
                Fact(
                    label="Price now",
                    value=formats.unit_price(current.micros_per_gpu_hour, current.currency)
                    if current
                    else "none yet",
                    big=True,
                ),
                Fact(
                    label="Runs now",
                    value=formats.counted(gpus, "GPU"),
                    note=f"in {formats.counted(_allocations(sold), 'allocation')}",
                ),
                Fact(
                    label="Free in its pool",
                    value=formats.counted(sold.pool.free_gpus, "GPU"),
                    note=f"of {sold.pool.gpus:,} on {formats.counted(sold.pool.nodes, 'node')}",
                ),
                Fact(label="Sizes", value=sizes_words(sku), note="GPUs"),
            ),
            prices=_price_rows(sold, zone),
            running=tuple(_running(one, current, now, zone) for one in sold.running),
            running_words=_running_words(sold, current),
            facts=_facts(sold, zone),
            supply=tuple(
                Fact(
                    label=formats.counted(count, "GPU"),
                    value=formats.counted(number, "launch", "launches"),
                )
                for count, number in sold.pool.launches.items()
            ),
            images=tuple(
                ImageLine(
                    name=image.name,
                    version=image.version,
                    href=f"/admin/os-images/{image.id}",
                    state="offered" if image.active else "withheld",
                )
                for image in sold.images
            ),
            on_sale=sku.active,
            plan_href=address("/admin/nodes/plans/new", pool=sold.pool.name),
        )


def _allocations(sold: SoldSku) -> int:
    return sum(one.allocations for one in sold.running)


def _facts(sold: SoldSku, zone: tzinfo) -> tuple[Fact, ...]:
    sku = sold.sku
    return (
        Fact(label="GPU", value=f"{sku.vendor} {formats.gibibytes(sku.gpu_memory_mib)}"),
        Fact(label="Reported as", value=sku.gpu_model),
        Fact(label="With each GPU", value=share_words(sku)),
        Fact(label="Pool", value=sold.pool.name),
        Fact(label="Expected mix", value=_mix_words(sku)),
        Fact(label="Shown as", value=sku.summary or "no words"),
        Fact(label="Added", value=formats.short_time(sku.created_at, sold.as_of, zone)),
    )


def _mix_words(sku: Sku) -> str:
    whole = sum(weight for _, weight in sku.demand_mix) or 1
    parts = [
        f"{formats.counted(size, 'GPU')} {round(100 * weight / whole)} %"
        for size, weight in sku.demand_mix
    ]
    return ", ".join(parts)


def _price_rows(sold: SoldSku, zone: tzinfo) -> tuple[PriceRow, ...]:
    now, rows = sold.as_of, []
    current = price_at(sold.prices, now)
    following: datetime | None = None
    for place in range(len(sold.prices) - 1, -1, -1):
        price = sold.prices[place]
        before = sold.prices[place - 1] if place else None
        planned = price.starts_at > now
        rows.append(
            PriceRow(
                state="planned" if planned else "now" if price is current else "past",
                price=formats.amount(price.micros_per_gpu_hour, price.currency, places=4),
                change=change_words(before, price),
                begins=formats.moment(price.starts_at, now, zone),
                until=formats.moment(following, now, zone) if following else None,
                withdraw_href=f"{PATH}/{price.sku_id}/price/withdraw?at={_at(price)}"
                if planned
                else "",
            )
        )
        following = price.starts_at
    return tuple(rows)


def _at(price: Price) -> str:
    return formats.moment(price.starts_at, price.starts_at).iso


def change_words(before: Price | None, after: Price) -> str:
    """Return how a price differs from the one before it, such as ``+3.2 %``."""
    if before is None:
        return "first"
    if before.currency != after.currency:
        return f"from {before.currency}"
    tenths = round(1000 * (after.micros_per_gpu_hour / before.micros_per_gpu_hour - 1))
    if not tenths:
        return "±0 %"
    sign = "+" if tenths > 0 else formats.MINUS
    return f"{sign}{abs(tenths) / 10:,.1f} %"


def _running(one: RunningAt, current: Price | None, now: datetime, zone: tzinfo) -> RunningRow:
    same = current is not None and current.micros_per_gpu_hour == one.micros_per_gpu_hour
    return RunningRow(
        price=formats.amount(one.micros_per_gpu_hour, one.currency, places=4),
        note="the price now" if same else "an earlier price, kept",
        allocations=f"{one.allocations:,}",
        gpus=f"{one.gpus:,}",
        rate=formats.hourly(one.micros_per_gpu_hour * one.gpus, one.currency),
        since=formats.moment(one.since, now, zone),
    )


def _running_words(sold: SoldSku, current: Price | None) -> str:
    if not sold.running:
        return (
            "Nothing runs on it now. Whatever is launched pays the price of that moment for good."
        )
    kept = [
        one
        for one in sold.running
        if not current or one.micros_per_gpu_hour != current.micros_per_gpu_hour
    ]
    if not kept:
        return "All of it pays the price now, and keeps it when the price changes."
    number = sum(one.allocations for one in kept)
    return (
        f"{formats.counted(number, 'allocation')} launched at an earlier price, and keep it."
        if number != 1
        else "1 allocation was launched at an earlier price, and keeps it."
    )
