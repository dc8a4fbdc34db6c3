"""What a launch costs: the price in force at an instant, and the rate that follows from it.

Prices of a SKU form half-open intervals: each holds from its own start up to, not including, the
start of the next. There is no price before the first.
"""

from collections.abc import Iterable
from datetime import datetime

from gpucloud_core.catalog.model import Price, Sku
from gpucloud_core.kernel.errors import DomainError, ErrorKind


class GpuCountNotSold(DomainError):
    """This SKU is not sold with that number of GPUs."""

    code = "gpu_count_not_sold"
    kind = ErrorKind.INVALID
    next_step = "Choose one of the counts that the catalog lists for this SKU."


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


def check_count(sku: Sku, gpu_count: int) -> None:
    """Accept a count that the SKU is sold in.

    Raises:
        GpuCountNotSold: it is not; the detail names the counts that are.
    """
    if gpu_count not in sku.allowed_gpu_counts:
        allowed = ", ".join(str(count) for count in sorted(sku.allowed_gpu_counts))
        asked = f"{gpu_count} GPU" if gpu_count == 1 else f"{gpu_count} GPUs"
        raise GpuCountNotSold(f"{sku.display_name} is sold with {allowed} GPUs, not {asked}.")
