"""What an allocation's GPUs did, within its own time and of its own GPUs alone.

The caller names an allocation and how far back; everything else is decided here. A source never
sees a question that a client wrote.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.place import slots_in
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.queries import readable
from gpucloud_core.kernel.errors import DomainError, ErrorKind, NotFound
from gpucloud_core.kernel.ids import AllocationId, ClaimId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.model import Gpu

POINTS_MAX: Final = 240
STEP_SECONDS_MIN: Final = 10


class Measure(StrEnum):
    """What is measured of each GPU, in the unit that stands beside it."""

    UTILIZATION = "utilization"  # percent
    MEMORY = "memory"  # MiB
    POWER = "power"  # watts
    TEMPERATURE = "temperature"  # degrees Celsius


class NotMeasured(DomainError):
    """This allocation was never active, so nothing was measured."""

    code = "not_measured"
    kind = ErrorKind.CONFLICT
    next_step = "Look again once it is active."


class MetricsUnavailable(DomainError):
    """The source of the metrics gives no answer."""

    code = "metrics_unavailable"
    kind = ErrorKind.UNAVAILABLE
    next_step = "Try again in a minute; the workload itself is not affected."


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From ``since``, every ``step`` up to and with ``until``."""

    since: datetime
    until: datetime
    step: timedelta

    @classmethod
    def within(cls, allocation: Allocation, back: timedelta | None, now: datetime) -> "Span":
        """Return the last ``back`` of an allocation's own time, or all of it.

        Raises:
            NotMeasured: it has no such time.
        """
        if allocation.active_at is None:
            raise NotMeasured
        until = min(allocation.billing_stopped_at or now, now)
        since = allocation.active_at if back is None else max(allocation.active_at, until - back)
        seconds = (until - since).total_seconds()
        step = max(STEP_SECONDS_MIN, math.ceil(seconds / POINTS_MAX))
        return cls(since=since, until=until, step=timedelta(seconds=step))

    @property
    def instants(self) -> tuple[datetime, ...]:
        """Every instant asked about, the first and no later than the last included."""
        count = int((self.until - self.since) / self.step) + 1
        return tuple(self.since + number * self.step for number in range(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Whose GPUs are asked about, and since when they are this claim's."""

    claim_id: ClaimId
    since: datetime
    gpus: tuple[Gpu, ...]


Readings = Mapping[Measure, Mapping[str, Sequence[float | None]]]
"""By measure and GPU (its UUID), one reading an instant; None where there is none."""


class MetricsSource(Protocol):
    """Remembers what GPUs did."""

    async def read(self, measured: Measured, span: Span) -> Readings:
        """Return readings of these GPUs at ``span.instants``, and of no other GPU.

        Raises:
            MetricsUnavailable: it gives no answer, or none that can be read.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Readings of an allocation's GPUs over (a part of) its own time."""

    span: Span
    gpus: tuple[Gpu, ...]
    readings: Readings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMetrics:
    """What an allocation's GPUs did."""

    transactions: Transactions[AllocationUnit]
    source: MetricsSource

    async def __call__(
        self, *, actor: Actor, allocation_id: AllocationId, back: timedelta | None = None
    ) -> Metrics:
        """Return the last ``back`` of its own time, or all of it.

        Raises:
            NotFound, Forbidden: it is not theirs.
            NotMeasured: it was never active.
            MetricsUnavailable: the source gives no answer.
        """
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            allocation = await readable(unit, actor, allocation_id)
            node = await unit.nodes.get(allocation.node_id)
            if node is None:
                raise NotFound("The allocation's node is gone.")
            slots = await unit.slots.find(node_id=node.id)
            now = await unit.now()
        span = Span.within(allocation, back, now)
        own = {slot.gpu_uuid for slot in slots_in(allocation.mask, slots)}
        gpus = tuple(gpu for gpu in node.topology.gpus if gpu.uuid in own)
        measured = Measured(
            claim_id=allocation.claim_id, since=allocation.active_at or span.since, gpus=gpus
        )
        return Metrics(span=span, gpus=gpus, readings=await self.source.read(measured, span))
