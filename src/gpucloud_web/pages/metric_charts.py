"""Charts of what an allocation's GPUs did: one chart a measure, one line a GPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from gpucloud_core.allocations.metrics import Measure, Metrics
from gpucloud_web import formats
from gpucloud_web.api.metrics import Back
from gpucloud_web.charts import SERIES_MAX, Chart, Line, RangeChoice
from gpucloud_web.pages.addresses import address
from gpucloud_web.sparks import Sparks

TITLES: Final = {
    Measure.UTILIZATION: ("GPU use", " %"),
    Measure.MEMORY: ("Memory used", " GiB"),
    Measure.POWER: ("Power", " W"),
    Measure.TEMPERATURE: ("Temperature", " °C"),
}
WORDS: Final = {
    Back.HOUR: "1 h",
    Back.QUARTER: "6 h",
    Back.DAY: "24 h",
    Back.WEEK: "7 d",
    Back.ALL: "All of it",
}
_MIB: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricCharts:
    """All that the Metrics tab may know; ``trouble`` stands instead of charts."""

    charts: tuple[Chart, ...]
    use: Sparks | None
    ranges: tuple[RangeChoice, ...]
    about: str
    trouble: str

    @classmethod
    def of(cls, metrics: Metrics, *, href: str, back: Back, zone: tzinfo) -> "MetricCharts":
        span = metrics.span
        about = (
            f"{formats.day_time(span.since, zone)} to {formats.day_time(span.until, zone)}, "
            f"a reading every {formats.duration(span.step.total_seconds())}"
        )
        if len(metrics.gpus) > SERIES_MAX:
            about += f"; lowest, mean and highest of {len(metrics.gpus)} GPUs"
        return cls(
            charts=tuple(_chart(metrics, measure, zone) for measure in Measure),
            use=_use(metrics, zone),
            ranges=metric_ranges(href, back),
            about=about,
            trouble="",
        )

    @classmethod
    def without(cls, trouble: str, *, href: str, back: Back) -> "MetricCharts":
        """Return the tab that says why there are no charts."""
        return cls(charts=(), use=None, ranges=metric_ranges(href, back), about="", trouble=trouble)


def metric_ranges(href: str, back: Back) -> tuple[RangeChoice, ...]:
    """Return how far back to look, as links."""
    return tuple(
        RangeChoice(
            title=WORDS[each],
            href=address(href, tab="metrics", range="" if each is Back.HOUR else each),
            current=each is back,
        )
        for each in Back
    )


def _use(metrics: Metrics, zone: tzinfo) -> Sparks:
    """Return how busy each GPU was, each by itself."""
    readings = metrics.readings[Measure.UTILIZATION]
    title, suffix = TITLES[Measure.UTILIZATION]
    return Sparks.of(
        id="gpu-use",
        title=title,
        about="each from 0 to 100 %",
        times=metrics.span.instants,
        lines=[Line(label=f"GPU {gpu.index}", values=readings[gpu.uuid]) for gpu in metrics.gpus],
        zone=zone,
        suffix=suffix,
        ceiling=100.0,
    )


def _chart(metrics: Metrics, measure: Measure, zone: tzinfo) -> Chart:
    title, suffix = TITLES[measure]
    if measure is Measure.UTILIZATION:
        title = f"{title}, together"
    scale = _MIB if measure is Measure.MEMORY else 1
    by_gpu = [
        [
            None if value is None else round(value / scale, 1)
            for value in metrics.readings[measure][gpu.uuid]
        ]
        for gpu in metrics.gpus
    ]
    known = [value for line in by_gpu for value in line if value is not None]
    summary = "No readings in this range."
    if known:
        mean = sum(known) / len(known)
        summary = f"{min(known):.0f} to {max(known):.0f}{suffix}, {mean:.0f}{suffix} on average."
    lines = [
        Line(label=f"GPU {gpu.index}", values=line)
        for gpu, line in zip(metrics.gpus, by_gpu, strict=True)
    ]
    return Chart.of(
        id=f"metric-{measure}",
        title=title,
        summary=summary,
        times=metrics.span.instants,
        lines=lines if len(lines) <= SERIES_MAX else _of_many(by_gpu),
        zone=zone,
        suffix=suffix,
        ceiling=100.0 if measure is Measure.UTILIZATION else None,
    )


def _of_many(by_gpu: Sequence[Sequence[float | None]]) -> list[Line]:
    """Return the lowest, the mean and the highest, as more lines than four say nothing."""
    rows = [[value for value in at if value is not None] for at in zip(*by_gpu, strict=True)]
    return [
        Line(label="Mean", values=[round(sum(at) / len(at), 1) if at else None for at in rows]),
        Line(label="Lowest", values=[min(at, default=None) for at in rows]),
        Line(label="Highest", values=[max(at, default=None) for at in rows]),
    ]
