"""What a launch costs: the price in force at an instant, and the rate that follows from it.

Prices of a SKU form half-open intervals: each holds from its own start up to, not including, the
start of the next. There is no price before the first.
"""

from collections.abc import Iterable
from datetime import datetime

from gpucloud_core.catalog.model import Price, Sku


def price_at(prices: Iterable[Price], at: datetime) -> Price | None:
    """Return the price in force at ``at`` among the prices of one SKU, or None before the first.

    Two prices with the same start are a correction: the one with the greater id holds.
    """
    begun = (price for price in prices if price.starts_at <= at)
    return max(begun, key=lambda price: (price.starts_at, price.id), default=None)


def next_change(prices: Iterable[Price], at: datetime) -> datetime | None:
    """Return when the price in force at ``at`` ends, or None while no other is planned."""
    return min((price.starts_at for price in prices if price.starts_at > at), default=None)


def rate_micros_per_hour(price: Price, gpu_count: int) -> int:
    """Return what one launch of ``gpu_count`` GPUs costs per hour, exactly."""
    return price.micros_per_gpu_hour * gpu_count


def is_sold(sku: Sku, gpu_count: int) -> bool:
    """Return whether one launch may ask for that many GPUs of ``sku`` now."""
    return sku.active and gpu_count in sku.allowed_gpu_counts
