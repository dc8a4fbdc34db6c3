"""Stripe counts in a currency's smallest unit, we in millionths of its whole one.

Source: https://docs.stripe.com/currencies (zero- and three-decimal currencies), read 2026-11-22.
"""

from typing import Final

from gpucloud_core.billing.ports import ProcessorRefused

_WHOLE_MICROS: Final = 1_000_000
_ZERO_DECIMAL_CODES: Final = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
_ZERO_DECIMAL: Final = frozenset(_ZERO_DECIMAL_CODES.split())
_THREE_DECIMAL: Final = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


def unit_micros(currency: str) -> int:
    """Return what Stripe's smallest unit of ``currency`` is in micro-units."""
    code = currency.lower()
    if code in _ZERO_DECIMAL:
        return _WHOLE_MICROS
    return _WHOLE_MICROS // (1000 if code in _THREE_DECIMAL else 100)


def to_stripe(amount_micros: int, currency: str) -> int:
    """Return the amount in Stripe's units.

    Raises:
        ProcessorRefused: it is finer than Stripe can take, or not positive.
    """
    units, rest = divmod(amount_micros, unit_micros(currency))
    if rest or units <= 0:
        raise ProcessorRefused(f"An amount in {currency.upper()} is a whole number of its cents.")
    return units


def from_stripe(units: int, currency: str) -> int:
    """Return an amount of Stripe's in micro-units."""
    return units * unit_micros(currency)
