"""What operators read of the catalog: SKUs with every price they ever had, and images."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.catalog.model import OsImage, Price, Sku
from gpucloud_core.catalog.ports import CatalogUnit
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.unit import Scope, Transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedSku:
    """A SKU with every price it ever had, oldest first, also those that begin later."""

    sku: Sku
    prices: tuple[Price, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAllSkus:
    """A page of SKUs, on sale or not, with their prices."""

    transactions: Transactions[CatalogUnit]

    async def __call__(self, *, actor: Actor, query: ListQuery) -> Page[PricedSku]:
        require(actor, Action.CATALOG_MANAGE)
        async with self.transactions.look(Scope.platform()) as unit:
            page = await unit.skus.page(query)
            prices = await unit.prices.find_any("sku_id", [sku.id for sku in page.items])
            now = await unit.now()
        lines = tuple(
            PricedSku(sku=sku, prices=prices_of(sku, prices), as_of=now) for sku in page.items
        )
        return Page(lines, page.next_cursor, page.prev_cursor)


def prices_of(sku: Sku, prices: Sequence[Price]) -> tuple[Price, ...]:
    """Return the prices of ``sku`` among ``prices``, oldest first."""
    own = (price for price in prices if price.sku_id == sku.id)
    return tuple(sorted(own, key=lambda price: price.starts_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAllImages:
    """A page of images, offered or not."""

    transactions: Transactions[CatalogUnit]

    async def __call__(self, *, actor: Actor, query: ListQuery) -> Page[OsImage]:
        require(actor, Action.CATALOG_MANAGE)
        async with self.transactions.look(Scope.platform()) as unit:
            return await unit.os_images.page(query)
