"""The catalog as a launch sees it: what is sold, and how often each size would succeed now."""

from collections import defaultdict
from dataclasses import dataclass

from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.quote import placement_request
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.catalog.model import OsImage, Sku
from gpucloud_core.catalog.offers import AVAILABLE_MAX, Offer, offers
from gpucloud_core.kernel.ids import SkuId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.placement.choose import how_many
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.promises import in_force, keep


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCatalog:
    """Every SKU on sale with its price and its free capacity per GPU count."""

    transactions: Transactions[AllocationUnit]
    fleet: FleetView

    async def __call__(self, *, actor: Actor) -> tuple[Offer, ...]:
        require(actor, Action.CATALOG_READ, tenant_id=actor.tenant_id)
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            await self.fleet.refresh(unit)
            skus = await unit.skus.find(active=True)
            prices = await unit.prices.find()
            available: dict[SkuId, dict[int, int]] = defaultdict(dict)
            now, image = await unit.now(), self.fleet.image
            promised = in_force(await unit.promises.find(), now)
            with image.scratch():
                keep((one for one in promised if one.user_id != actor.user_id), image)
                for sku in skus:
                    for count in sku.allowed_gpu_counts:
                        wanted = placement_request(sku, _one(sku, count))
                        available[sku.id][count] = how_many(wanted, image, cap=AVAILABLE_MAX)
        return offers(skus, prices, available, now)


def _one(sku: Sku, count: int) -> LaunchRequest:
    return LaunchRequest(sku_id=sku.id, gpu_count=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListImages:
    """The images one can choose."""

    transactions: Transactions[AllocationUnit]

    async def __call__(self, *, actor: Actor) -> tuple[OsImage, ...]:
        require(actor, Action.CATALOG_READ, tenant_id=actor.tenant_id)
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            return await unit.os_images.find(active=True)
