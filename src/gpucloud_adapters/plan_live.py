"""The platform's own fleet, as a plan starts from it: read once, changed never."""

from gpucloud_adapters.plan import Ground
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_core.kernel.ids import SkuId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.model import Claim, Place, PlacementRequest
from gpucloud_core.placement.what_if import Held


async def read(url: str, pool: str) -> Ground | None:
    """Return the nodes of a pool and the open claims on them; None if there is no such node."""
    engine, view = create_engine(url), FleetView()
    try:
        async with PostgresTransactions(engine).begin(Scope.platform()) as unit:
            await view.refresh(unit)
            claims = await unit.claims.find(released_at=None)
    finally:
        await engine.dispose()
    image = _only(view.image, pool)
    if not len(image):
        return None
    held = [_held(claim, pool) for claim in claims if image.get(claim.node_id) is not None]
    return Ground(image=image, pool=pool, held=tuple(held))


def _only(image: FleetImage, pool: str) -> FleetImage:
    rows = [image.row(node_id) for node_id in image.node_ids()]
    return image.of_rows(row for row in rows if row.pool == pool)


def _held(claim: Claim, pool: str) -> Held:
    request = PlacementRequest(
        sku_id=SkuId("held"),
        pool=pool,
        gpu_count=claim.mask.bit_count(),
        vcpus=claim.vcpus,
        memory_mib=claim.memory_mib,
        whole_node=claim.whole_node,
    )
    place = Place(node_id=claim.node_id, mask=claim.mask, node_version=0)
    return Held(place=place, request=request)
