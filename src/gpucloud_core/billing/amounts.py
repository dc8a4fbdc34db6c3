"""Amounts for people, and the amounts a payment may have."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

CENT_MICROS: Final = 10_000
"""A provider's cent. Anything finer than a cent is refused on the way in."""

SYMBOLS: Final[Mapping[str, str]] = MappingProxyType({"USD": "$", "EUR": "€", "GBP": "£"})
"""Signs that stand before an amount; other currencies are named by their letters behind it."""

_UNIT_CENTS: Final = 100
PAYMENT_LIMITS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"USD": (5_000_000, 10_000_000_000)}
)
"""Least and most that one payment may be, in micro-units, for each currency we take."""


def in_words(micros: int, currency: str, *, round_up: bool = False) -> str:
    """Return an amount as people read it, in whole cents: down unless asked otherwise."""
    cents = -(-micros // CENT_MICROS) if round_up else micros // CENT_MICROS
    sign, cents = ("-", -cents) if cents < 0 else ("", cents)
    digits = f"{cents // _UNIT_CENTS:,}.{cents % _UNIT_CENTS:02d}"
    symbol = SYMBOLS.get(currency)
    return f"{sign}{symbol}{digits}" if symbol else f"{sign}{digits} {currency}"
