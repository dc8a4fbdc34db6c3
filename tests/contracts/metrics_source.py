"""What every source of metrics promises: these GPUs, at these instants, and nothing else."""

from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gpucloud_core.allocations.metrics import Measure, Measured, MetricsSource, Span
from gpucloud_core.kernel.ids import ClaimId
from node_builders import HGX_H200

SINCE = datetime(2026, 11, 22, 12, tzinfo=UTC)
GPUS = HGX_H200.gpus[2:4]
MEASURED = Measured(claim_id=ClaimId("clm_1"), since=SINCE, gpus=GPUS)
SPAN = Span(since=SINCE, until=SINCE + timedelta(minutes=10), step=timedelta(seconds=60))


class MetricsSourceContract(ABC):
    @pytest.fixture
    @abstractmethod
    def source(self) -> MetricsSource: ...

    async def test_reads_every_measure_of_each_gpu_at_each_instant(
        self, source: MetricsSource
    ) -> None:
        readings = await source.read(MEASURED, SPAN)

        assert set(readings) == set(Measure)
        for by_gpu in readings.values():
            assert set(by_gpu) == {gpu.uuid for gpu in GPUS}
            assert all(len(values) == len(SPAN.instants) for values in by_gpu.values())

    async def test_says_the_same_when_asked_again(self, source: MetricsSource) -> None:
        assert await source.read(MEASURED, SPAN) == await source.read(MEASURED, SPAN)

    async def test_reads_one_instant(self, source: MetricsSource) -> None:
        readings = await source.read(MEASURED, replace(SPAN, until=SPAN.since))

        assert all(len(v) == 1 for by_gpu in readings.values() for v in by_gpu.values())
