"""What an allocation's GPUs did: our own proxy to wherever metrics are kept."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.metrics import Measure, Metrics, ReadMetrics
from gpucloud_core.kernel.ids import AllocationId, parse_id


class Back(StrEnum):
    """How far back to look, within the allocation's own time."""

    HOUR = "1h"
    QUARTER = "6h"
    DAY = "24h"
    WEEK = "7d"
    ALL = "all"


BACK: Final = {
    Back.HOUR: timedelta(hours=1),
    Back.QUARTER: timedelta(hours=6),
    Back.DAY: timedelta(days=1),
    Back.WEEK: timedelta(days=7),
    Back.ALL: None,
}
UNITS: Final = {
    Measure.UTILIZATION: "percent",
    Measure.MEMORY: "MiB",
    Measure.POWER: "watts",
    Measure.TEMPERATURE: "celsius",
}


class MetricSeriesBody(msgspec.Struct, kw_only=True):
    """One measure of one GPU: a value a step from ``since`` on; null where there is none."""

    measure: str
    unit: str
    gpu_index: int
    gpu_uuid: str
    values: list[float | None]


class MetricsBody(msgspec.Struct, kw_only=True):
    """Readings of an allocation's own GPUs, within its own time."""

    allocation_id: str
    since: datetime
    until: datetime
    step_seconds: int
    series: list[MetricSeriesBody]

    @classmethod
    def of(cls, allocation_id: str, metrics: Metrics) -> "MetricsBody":
        span = metrics.span
        return cls(
            allocation_id=allocation_id,
            since=span.since,
            until=span.until,
            step_seconds=int(span.step.total_seconds()),
            series=[
                MetricSeriesBody(
                    measure=measure,
                    unit=UNITS[measure],
                    gpu_index=gpu.index,
                    gpu_uuid=gpu.uuid,
                    values=list(metrics.readings[measure][gpu.uuid]),
                )
                for measure in Measure
                for gpu in metrics.gpus
            ],
        )


@get(
    "/allocations/{allocation_id:str}/metrics",
    operation_id="getAllocationMetrics",
    tags=["allocations"],
)
async def allocation_metrics(
    allocation_id: FromPath[str],
    actor: NamedDependency[Actor],
    read_metrics: FromDishka[ReadMetrics],
    back: Annotated[Back, QueryParameter(description="How far back to look.")] = Back.HOUR,
) -> MetricsBody:
    """Read what an allocation's GPUs did; never another's, never outside its own time."""
    found = AllocationId(parse_id("alc", allocation_id))
    metrics = await read_metrics(actor=actor, allocation_id=found, back=BACK[back])
    return MetricsBody.of(found, metrics)
