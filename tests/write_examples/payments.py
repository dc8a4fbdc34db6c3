"""Money in."""

from collections.abc import Mapping
from typing import Final

from write_examples.world import Call, Example, World


async def _checkout(_: World) -> Call:
    return Call("/payments/checkout-session", {"amount_micros": 25_000_000, "currency": "USD"})


async def _portal(_: World) -> Call:
    return Call("/payments/customer-portal-session", {})


EXAMPLES: Final[Mapping[str, Example]] = {
    "startCheckout": _checkout,
    "openPortal": _portal,
}
