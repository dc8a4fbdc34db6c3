"""When an allocation ends by itself."""

from datetime import datetime

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.timer import SetTimer, TimerAsked, timer_of
from gpucloud_core.kernel.ids import AllocationId, parse_id


class TimerAskedBody(msgspec.Struct, forbid_unknown_fields=True):
    """Seconds since it became active, or an instant; with neither, there is no timer."""

    ttl_seconds: int | None = None
    releases_at: datetime | None = None


class TimerBody(msgspec.Struct):
    """What ends an allocation by itself; ``kind`` is ``ttl``, ``schedule`` or ``none``.

    ``measures`` says in words what is measured; ``releases_at`` of a ``ttl`` is null until it is
    active.
    """

    kind: str
    measures: str
    ttl_seconds: int | None
    releases_at: datetime | None

    @classmethod
    def of(cls, allocation: Allocation) -> "TimerBody":
        timer = timer_of(allocation)
        if timer is None:
            return cls("none", "Nothing: it runs until somebody releases it.", None, None)
        return cls(timer.kind, timer.measures, timer.ttl_seconds, timer.releases_at)


@put(
    "/allocations/{allocation_id:str}/timer",
    operation_id="setTimer",
    status_code=200,
    tags=["allocations"],
)
async def set_timer(
    allocation_id: FromPath[str],
    data: JSONBody[TimerAskedBody],
    actor: NamedDependency[Actor],
    set_timer: FromDishka[SetTimer],
) -> TimerBody:
    """Set, move or take away the timer of an allocation that may still run."""
    timed = await set_timer(
        actor=actor,
        allocation_id=AllocationId(parse_id("alc", allocation_id)),
        asked=TimerAsked(ttl_seconds=data.ttl_seconds, releases_at=data.releases_at),
    )
    return TimerBody.of(timed)
