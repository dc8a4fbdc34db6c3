"""GPU metrics by Prometheus' range queries, in the names that NVIDIA's DCGM exporter gives them.

Sources: Prometheus HTTP API, "Range queries"; dcgm-exporter, etc/default-counters.csv. Read
2026-11-28. The queries are made here of GPU UUIDs and nothing else.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx

from gpucloud_core.allocations.metrics import (
    Measure,
    Measured,
    MetricsUnavailable,
    Readings,
    Span,
)

NAMES: Final[Mapping[Measure, str]] = {
    Measure.UTILIZATION: "DCGM_FI_DEV_GPU_UTIL",
    Measure.MEMORY: "DCGM_FI_DEV_FB_USED",
    Measure.POWER: "DCGM_FI_DEV_POWER_USAGE",
    Measure.TEMPERATURE: "DCGM_FI_DEV_GPU_TEMP",
}
_SECONDS: Final = 5.0
_UUID: Final = re.compile(r"GPU-[0-9a-f-]{1,64}")


class PrometheusMetrics:
    """A ``MetricsSource`` behind one base URL.

    Args:
        base_url: of the API, such as ``http://127.0.0.1:9090``.
        transport: for tests; by default HTTP.
    """

    def __init__(self, base_url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url, timeout=_SECONDS, transport=transport, follow_redirects=False
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def read(self, measured: Measured, span: Span) -> Readings:
        uuids = [gpu.uuid for gpu in measured.gpus if _UUID.fullmatch(gpu.uuid)]
        return {
            measure: await self._series(f'{name}{{UUID=~"{"|".join(uuids)}"}}', uuids, span)
            for measure, name in NAMES.items()
        }

    async def _series(
        self, query: str, uuids: Sequence[str], span: Span
    ) -> Mapping[str, Sequence[float | None]]:
        params = {
            "query": query,
            "start": f"{span.since.timestamp():.3f}",
            "end": f"{span.until.timestamp():.3f}",
            "step": f"{span.step.total_seconds():.0f}",
        }
        try:
            answer = await self._client.get("/api/v1/query_range", params=params)
            answer.raise_for_status()
            found = {
                str(row["metric"]["UUID"]): _points(row["values"], span)
                for row in answer.json()["data"]["result"]
            }
        except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
            raise MetricsUnavailable from error
        silent: Sequence[float | None] = (None,) * len(span.instants)
        return {uuid: found.get(uuid, silent) for uuid in uuids}


def _points(values: Sequence[Any], span: Span) -> tuple[float | None, ...]:
    """Return one reading an instant; an instant without one is a gap, not a line across."""
    step = span.step.total_seconds()
    start = span.since.timestamp()
    by_place = {round((float(at) - start) / step): float(value) for at, value in values}
    return tuple(by_place.get(place) for place in range(len(span.instants)))
