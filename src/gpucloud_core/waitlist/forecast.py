"""When capacity can be free at the earliest, as far as timers tell: "not before", never "at".

Only allocations with a time to live tell when they end; the share of held GPUs that have one is
said beside the forecast, so that nobody takes it for more than it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.placement.choose import choose
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import Placement, PlacementRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What holds a part of a node; ``ends_at`` is None where nobody knows."""

    node_id: NodeId
    mask: int
    vcpus: int
    memory_mib: int
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When a request can fit at the earliest.

    Attributes:
        not_before: None if the timers alone never make room for it.
        fits_now: it fits at this moment.
        gpus_held, gpus_timed: GPUs of the pool that are held, and those of them with a timer.
    """

    not_before: datetime | None
    fits_now: bool
    gpus_held: int
    gpus_timed: int


def forecast(
    request: PlacementRequest, image: FleetImage, holders: Sequence[Holder], now: datetime
) -> Forecast:
    """Let the timers run out one after another until ``request`` fits. The image is left as is."""
    held = sum(holder.mask.bit_count() for holder in holders)
    timed = [holder for holder in holders if holder.ends_at is not None]
    found = Forecast(
        not_before=None,
        fits_now=False,
        gpus_held=held,
        gpus_timed=sum(holder.mask.bit_count() for holder in timed),
    )
    with image.scratch():
        if isinstance(choose(request, image), Placement):
            return replace(found, not_before=now, fits_now=True)
        for holder in sorted(timed, key=lambda each: (each.ends_at or now, each.node_id)):
            row = image.get(holder.node_id)
            if row is None:
                continue
            image.put(
                replace(
                    row,
                    free_mask=row.free_mask | holder.mask & row.approved_mask,
                    free_vcpus=row.free_vcpus + holder.vcpus,
                    free_memory_mib=row.free_memory_mib + holder.memory_mib,
                )
            )
            if isinstance(choose(request, image), Placement):
                return replace(found, not_before=max(holder.ends_at or now, now))
    return found
