"""What the catalog may promise: a launch of each count, and how many would succeed now."""

from gpucloud_core.catalog.model import Shape, Sku
from gpucloud_core.catalog.pools import pool_of
from gpucloud_core.placement.choose import HOW_MANY_MAX, how_many
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import PlacementRequest, Spread


def request_for(
    sku: Sku,
    gpu_count: int,
    *,
    count: int = 1,
    spread: Spread = Spread.ANY,
    together: bool = False,
) -> PlacementRequest:
    """Return what placement is asked for by ``count`` launches of ``gpu_count`` GPUs of a SKU."""
    return PlacementRequest(
        sku_id=sku.id,
        pool=pool_of(sku),
        gpu_count=gpu_count,
        vcpus=sku.vcpus_per_gpu * gpu_count,
        memory_mib=sku.memory_mib_per_gpu * gpu_count,
        whole_node=sku.shape is Shape.BARE_METAL,
        count=count,
        spread=spread,
        together=together,
        demand_mix=sku.demand_mix,
    )


def available(sku: Sku, image: FleetImage, cap: int = HOW_MANY_MAX) -> dict[int, int]:
    """Return, for each count the SKU is sold in, how many launches of it would succeed now.

    Each figure stands for itself: they are not to be had all at once.
    """
    return {
        gpu_count: how_many(request_for(sku, gpu_count), image, cap)
        for gpu_count in sku.allowed_gpu_counts
    }
