"""View rows that ask before something in the catalog is done: what it means, and what stays."""

from dataclasses import dataclass
from datetime import tzinfo

from gpucloud_core.catalog.model import Price, Sku
from gpucloud_core.fleet.sold import SoldSku
from gpucloud_web import formats
from gpucloud_web.components import Consequence
from gpucloud_web.pages.sku_rows import PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogAct:
    """All that ``skus/confirm.html`` may know: an act on a SKU or an image, before it is done."""

    title: str
    name: str
    list_title: str
    list_href: str
    back: str
    action: str
    verb: str
    points: tuple[Consequence, ...]
    danger: bool
    operation: str
    key: str
    error: str


def sale_act(sold: SoldSku, act: str, *, key: str, error: str = "") -> CatalogAct:
    """Return what taking a SKU off sale means, or putting it back."""
    off = act == "archive"
    running = sum(each.allocations for each in sold.running)
    gone = (
        Consequence(icon="ban", text="It leaves the catalog; nobody can launch it."),
        Consequence(
            icon="server-2",
            text=_going_on(running),
        ),
        Consequence(icon="arrow-back-up", text="It can be put back on sale at any time."),
    )
    back_again = (
        Consequence(icon="tag", text="It is in the catalog again, at the price in force."),
        Consequence(
            icon="stack-2",
            text=f"{formats.counted(sold.pool.free_gpus, 'GPU')} of its pool are free now.",
        ),
    )
    return CatalogAct(
        **_on(sold.sku),
        title=f"Take {sold.sku.display_name} off sale?"
        if off
        else f"Put {sold.sku.display_name} back on sale?",
        action=f"{PATH}/{sold.sku.id}/{act}",
        verb="Take off sale" if off else "Put on sale",
        points=gone if off else back_again,
        danger=off,
        operation="changeSku",
        key=key,
        error=error,
    )


def _going_on(running: int) -> str:
    if running == 1:
        return "1 allocation on it goes on and keeps its price."
    return (
        f"{running:,} allocations on it go on and keep their price."
        if running
        else "Nothing runs on it now."
    )


def withdrawal_act(
    sold: SoldSku, price: Price, *, zone: tzinfo, key: str, error: str = ""
) -> CatalogAct:
    """Return what taking back a price means that has not begun."""
    at = formats.moment(price.starts_at, price.starts_at).iso
    when = formats.short_time(price.starts_at, sold.as_of, zone)
    amount = formats.unit_price(price.micros_per_gpu_hour, price.currency)
    return CatalogAct(
        **_on(sold.sku),
        title=f"Take back the price from {when}?",
        action=f"{PATH}/{sold.sku.id}/price/withdraw?at={at}",
        verb="Take price back",
        points=(
            Consequence(icon="tag", text=f"{amount} will not come into force."),
            Consequence(icon="clock", text="The price before it goes on."),
        ),
        danger=True,
        operation="withdrawPrice",
        key=key,
        error=error,
    )


def _on(sku: Sku) -> dict[str, str]:
    return {
        "name": sku.display_name,
        "list_title": "SKUs",
        "list_href": PATH,
        "back": f"{PATH}/{sku.id}",
    }
