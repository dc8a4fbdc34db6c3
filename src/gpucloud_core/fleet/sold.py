"""What stands on a SKU and on an image now: what runs at which rate, and what is free."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.drift import HOLDING
from gpucloud_core.allocations.quote import placement_request
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.catalog.model import OsImage, Price, Sku
from gpucloud_core.catalog.pools import pool_of
from gpucloud_core.catalog.queries import prices_of
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import ImageId, SkuId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.placement.choose import how_many
from gpucloud_core.placement.fleet_view import FleetView


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAt:
    """What runs at one price. It keeps that price for as long as it runs."""

    micros_per_gpu_hour: int
    currency: str
    allocations: int
    gpus: int
    since: datetime  # the oldest of them


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolNow:
    """The supply a SKU draws from.

    Attributes:
        launches: by GPU count, how many such launches would succeed now, one after another.
    """

    name: str
    nodes: int
    gpus: int
    free_gpus: int
    launches: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoldSku:
    """One SKU with everything an operator decides by. ``prices`` oldest first."""

    sku: Sku
    prices: tuple[Price, ...]
    images: tuple[OsImage, ...]
    running: tuple[RunningAt, ...]  # dearest first
    pool: PoolNow
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSoldSku:
    """One SKU."""

    transactions: Transactions[FleetUnit]
    fleet: FleetView

    async def __call__(self, *, actor: Actor, sku_id: SkuId) -> SoldSku:
        """Read it.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such SKU.
        """
        require(actor, Action.CATALOG_MANAGE)
        async with self.transactions.look(Scope.platform()) as unit:
            sku = await unit.skus.get(sku_id)
            if sku is None:
                raise NotFound("There is no SKU with this id.")
            prices = await unit.prices.find(sku_id=sku_id)
            images = await unit.os_images.find_any("id", sku.image_ids)
            meters = await unit.usage_segments.find(sku_id=sku_id, ended_at=None)
            await self.fleet.refresh(unit)
            pool = self._pool(sku)
            now = await unit.now()
        return SoldSku(
            sku=sku,
            prices=prices_of(sku, prices),
            images=images,
            running=running_at(meters),
            pool=pool,
            as_of=now,
        )

    def _pool(self, sku: Sku) -> PoolNow:
        name, image = pool_of(sku), self.fleet.image
        rows = [row for row in map(image.row, image.node_ids()) if row.pool == name]
        return PoolNow(
            name=name,
            nodes=len(rows),
            gpus=sum(row.approved_mask.bit_count() for row in rows),
            free_gpus=sum(row.free_mask.bit_count() for row in rows if row.sellable),
            launches={
                count: how_many(
                    placement_request(sku, LaunchRequest(sku_id=sku.id, gpu_count=count)), image
                )
                for count in sorted(sku.allowed_gpu_counts)
            },
        )


def running_at(meters: Iterable[UsageSegment]) -> tuple[RunningAt, ...]:
    """Return what runs, by what each of its GPUs costs an hour, dearest first."""
    found: dict[tuple[int, str], RunningAt] = {}
    for meter in meters:
        rate = (meter.rate_micros_per_hour // meter.gpu_count, meter.currency)
        before = found.get(rate)
        found[rate] = RunningAt(
            micros_per_gpu_hour=rate[0],
            currency=rate[1],
            allocations=(before.allocations if before else 0) + 1,
            gpus=(before.gpus if before else 0) + meter.gpu_count,
            since=min(before.since, meter.started_at) if before else meter.started_at,
        )
    return tuple(found[rate] for rate in sorted(found, reverse=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInUse:
    """An image, the SKUs that name it, and how many allocations stand on it now.

    ``only_here`` are SKUs on sale that offer no other image.
    """

    image: OsImage
    skus: tuple[Sku, ...]
    only_here: tuple[Sku, ...]
    allocations: int
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadImageInUse:
    """One image."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor, image_id: ImageId) -> ImageInUse:
        """Read it.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such image.
        """
        require(actor, Action.CATALOG_MANAGE)
        async with self.transactions.look(Scope.platform()) as unit:
            image = await unit.os_images.get(image_id)
            if image is None:
                raise NotFound("There is no image with this id.")
            skus = [sku for sku in await unit.skus.find() if image_id in sku.image_ids]
            offered = {one.id for one in await unit.os_images.find(active=True)}
            standing = [
                await unit.allocations.count(image_id=image_id, state=state)
                for state in sorted(HOLDING)
            ]
            now = await unit.now()
        others = offered - {image_id}
        return ImageInUse(
            image=image,
            skus=tuple(skus),
            only_here=tuple(
                sku for sku in skus if sku.active and not others.intersection(sku.image_ids)
            ),
            allocations=sum(standing),
            as_of=now,
        )
