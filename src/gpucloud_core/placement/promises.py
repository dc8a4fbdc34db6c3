"""Room that is promised to somebody for a while: nobody else is placed so that it would be gone.

A promise names a size, not a place: wherever it fits, it is kept. So whoever decides first plays
every promise of others forward on the image, and then looks at what is left. Two launches that
decide at once on the same image keep the same room.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.ids import ProjectId, SkuId, UserId
from gpucloud_core.placement.choose import choose
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import Placement, PlacementRequest, Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Room for one launch. ``id`` is of whatever it was promised to; it ends by itself."""

    id: str
    user_id: UserId
    project_id: ProjectId
    sku_id: SkuId
    pool: str
    gpu_count: int
    vcpus: int  # per slice
    memory_mib: int  # per slice
    count: int
    spread: Spread
    together: bool
    beside: Beside = Beside.NOTHING
    until: datetime

    @classmethod
    def of(
        cls,
        request: PlacementRequest,
        *,
        promise_id: str,
        user_id: UserId,
        project_id: ProjectId,
        until: datetime,
    ) -> "Promise":
        """Return the promise to place ``request`` as long as ``until`` has not come."""
        return cls(
            id=promise_id,
            user_id=user_id,
            project_id=project_id,
            sku_id=request.sku_id,
            pool=request.pool,
            gpu_count=request.gpu_count,
            vcpus=request.vcpus,
            memory_mib=request.memory_mib,
            count=request.count,
            spread=request.spread,
            together=request.together,
            beside=request.beside,
            until=until,
        )

    @property
    def request(self) -> PlacementRequest:
        return PlacementRequest(
            sku_id=self.sku_id,
            pool=self.pool,
            gpu_count=self.gpu_count,
            vcpus=self.vcpus,
            memory_mib=self.memory_mib,
            count=self.count,
            spread=self.spread,
            together=self.together,
            beside=self.beside,
        )


def in_force(promises: Iterable[Promise], now: datetime) -> list[Promise]:
    """Return those whose time is not over, in the order in which they were made."""
    return sorted((each for each in promises if each.until > now), key=lambda each: each.id)


def keep(promises: Iterable[Promise], image: FleetImage) -> None:
    """Take the promised room out of the image; one that does not fit any more takes none."""
    for promise in promises:
        request = promise.request
        decision = choose(request, image)
        if isinstance(decision, Placement):
            for place in decision.places:
                image.take(place, request)
