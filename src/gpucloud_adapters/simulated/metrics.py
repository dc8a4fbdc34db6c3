"""The simulated fleet's own sampler as a source of metrics: what the terminal's tools show too."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from gpucloud_adapters.simulated.host.boards import board_of
from gpucloud_adapters.simulated.host.sampler import GpuSample, Use, sample
from gpucloud_core.allocations.metrics import (
    Measure,
    Measured,
    MetricsUnavailable,
    Readings,
    Span,
)

_VALUES: Final[Mapping[Measure, Callable[[GpuSample], float]]] = {
    Measure.UTILIZATION: lambda one: float(one.utilization_percent),
    Measure.MEMORY: lambda one: float(one.memory_used_mib),
    Measure.POWER: lambda one: one.power_milliwatts / 1000,
    Measure.TEMPERATURE: lambda one: float(one.temperature_c),
}


class SimulatedMetrics:
    """A ``MetricsSource`` that computes the past from the fleet's seed.

    Args:
        seed_file: where the fleet server keeps its seed; another machine's fleet has none here.
    """

    def __init__(self, seed_file: Path) -> None:
        self._seed_file = seed_file

    async def read(self, measured: Measured, span: Span) -> Readings:
        try:
            seed = self._seed_file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise MetricsUnavailable from error
        return readings(seed, measured, span)


class SeededMetrics:
    """A ``MetricsSource`` over a seed that is known."""

    def __init__(self, seed: str) -> None:
        self._seed = seed

    async def read(self, measured: Measured, span: Span) -> Readings:
        return readings(self._seed, measured, span)


def readings(seed: str, measured: Measured, span: Span) -> Readings:
    """Return what the sampler says of these GPUs at every instant of the span."""
    use = Use(seed=f"{seed}/{measured.claim_id}", since=measured.since)
    samples: dict[str, list[GpuSample]] = {}
    for gpu in measured.gpus:
        limits = board_of(gpu.model).limits(gpu.memory_mib)
        samples[gpu.uuid] = [sample(use, gpu.uuid, at, limits) for at in span.instants]
    return {
        measure: {uuid: [value(one) for one in found] for uuid, found in samples.items()}
        for measure, value in _VALUES.items()
    }
