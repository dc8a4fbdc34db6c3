"""SKUs and prices for tests."""

from datetime import UTC, datetime
from typing import Any, Final

from gpucloud_core.catalog.model import Price, Runtime, Shape, Sku
from gpucloud_core.kernel.ids import SkuId

NEW_YEAR: Final = datetime(2026, 1, 1, tzinfo=UTC)


def a_sku(name: str = "h200-sxm", **given: Any) -> Sku:
    facts: dict[str, Any] = {
        "id": SkuId(name),
        "display_name": "NVIDIA H200 SXM",
        "vendor": "NVIDIA",
        "gpu_model": "NVIDIA H200",
        "gpu_memory_mib": 143_771,
        "shape": Shape.GPU_SLICE,
        "runtime": Runtime.CONTAINER,
        "region": "eu-1",
        "allowed_gpu_counts": (1, 2, 4, 8),
        "vcpus_per_gpu": 22,
        "memory_mib_per_gpu": 224 * 1024,
        "image_ids": (),
        "created_at": NEW_YEAR,
    }
    return Sku(**{**facts, **given})


def a_price(micros: int = 3_290_000, *, sku: str = "h200-sxm", **given: Any) -> Price:
    starts_at = given.pop("starts_at", NEW_YEAR)
    facts: dict[str, Any] = {
        "id": f"{sku}/{starts_at.isoformat()}",
        "sku_id": SkuId(sku),
        "micros_per_gpu_hour": micros,
        "currency": "USD",
        "starts_at": starts_at,
    }
    return Price(**{**facts, **given})
