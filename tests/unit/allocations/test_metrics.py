"""Metrics stay within an allocation's own time and its own GPUs, wherever they are kept."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.metrics_source import GPUS, MEASURED, SINCE, SPAN, MetricsSourceContract
from gpucloud_adapters.prometheus.metrics import PrometheusMetrics
from gpucloud_adapters.simulated.metrics import SeededMetrics, SimulatedMetrics
from gpucloud_core.allocations.metrics import (
    POINTS_MAX,
    Measure,
    MetricsSource,
    MetricsUnavailable,
    NotMeasured,
    Span,
)
from gpucloud_core.kernel.ids import NodeId, ProjectId, TenantId, UserId
from row_builders import a_claim, a_task, an_allocation

TENANT = TenantId("ten_1")
ALLOCATION = an_allocation(
    a_claim(TENANT, NodeId("nod_1"), 0b11), a_task(TENANT, ProjectId("prj_1")), UserId("usr_1")
)
minutes = st.integers(0, 100_000).map(lambda count: timedelta(minutes=count))


class TestSpan:
    @given(ran=minutes, since_end=minutes, back=st.none() | minutes)
    def test_never_leaves_the_allocations_own_time(
        self, ran: timedelta, since_end: timedelta, back: timedelta | None
    ) -> None:
        end = SINCE + ran
        allocation = replace(ALLOCATION, active_at=SINCE, billing_stopped_at=end)

        span = Span.within(allocation, back, end + since_end)

        assert SINCE <= span.since <= span.until <= end
        assert all(span.since <= at <= span.until for at in span.instants)
        assert 1 <= len(span.instants) <= POINTS_MAX + 1

    def test_is_none_of_what_was_never_active(self) -> None:
        with pytest.raises(NotMeasured):
            Span.within(replace(ALLOCATION, active_at=None), None, SINCE)


class TestSeededMetrics(MetricsSourceContract):
    @pytest.fixture
    def source(self) -> MetricsSource:
        return SeededMetrics("1")


class TestSimulatedMetrics:
    async def test_says_so_where_the_fleet_is_not_ours(self, tmp_path: Any) -> None:
        with pytest.raises(MetricsUnavailable):
            await SimulatedMetrics(tmp_path / "none").read(MEASURED, SPAN)


def prometheus(answer: Callable[[httpx.Request], httpx.Response]) -> PrometheusMetrics:
    return PrometheusMetrics("http://prometheus.invalid", httpx.MockTransport(answer))


def _rising(request: httpx.Request) -> httpx.Response:
    """Answer as Prometheus does, with a gap at the third instant of the first GPU."""
    asked = request.url.params
    start, end, step = (float(asked[name]) for name in ("start", "end", "step"))
    count = int((end - start) // step) + 1
    series = [
        {
            "metric": {"UUID": gpu.uuid},
            "values": [
                [start + place * step, str(place)]
                for place in range(count)
                if (gpu, place) != (GPUS[0], 2)
            ],
        }
        for gpu in GPUS
    ]
    return httpx.Response(200, json={"status": "success", "data": {"result": series}})


class TestPrometheusMetrics(MetricsSourceContract):
    @pytest.fixture
    def source(self) -> MetricsSource:
        return prometheus(_rising)

    async def test_asks_for_its_own_gpus_alone(self) -> None:
        asked: list[str] = []

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request.url.params["query"])
            return _rising(request)

        await prometheus(answer).read(MEASURED, SPAN)

        uuids = "|".join(gpu.uuid for gpu in GPUS)
        assert f'DCGM_FI_DEV_GPU_UTIL{{UUID=~"{uuids}"}}' in asked
        assert len(asked) == len(Measure)

    async def test_leaves_a_gap_where_nothing_is_known(self) -> None:
        readings = await prometheus(_rising).read(MEASURED, SPAN)

        assert readings[Measure.POWER][GPUS[0].uuid][:4] == (0.0, 1.0, None, 3.0)

    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(503),
            httpx.Response(200, text="no JSON"),
            httpx.Response(200, json={"status": "error"}),
            httpx.Response(302, headers={"location": "http://elsewhere.invalid"}),
        ],
    )
    async def test_says_when_it_gives_no_answer(self, answer: httpx.Response) -> None:
        with pytest.raises(MetricsUnavailable):
            await prometheus(lambda _: answer).read(MEASURED, SPAN)
