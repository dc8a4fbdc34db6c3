"""Credit in lots, and in which order a tenant's money is spent.

Credit we gave is spent before what was paid, the soonest expiring first; goodwill never expires
and comes last among it. A hold takes its money from the other end, so that what expires stays
free to be spent. All functions are pure and keep the sums.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from gpucloud_core.billing.model import CreditLot

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Where an amount comes from."""

    prepaid_micros: int = 0
    credits: tuple[CreditLot, ...] = ()
    held_micros: int = 0

    @property
    def micros(self) -> int:
        return self.prepaid_micros + total(self.credits) + self.held_micros


def total(lots: Iterable[CreditLot]) -> int:
    return sum(lot.remaining_micros for lot in lots)


def in_spending_order(lots: Iterable[CreditLot]) -> tuple[CreditLot, ...]:
    """Return the lots that hold anything, soonest expiring first, goodwill last; one per id."""
    merged: dict[str, CreditLot] = {}
    for lot in lots:
        known = merged.get(lot.id)
        micros = lot.remaining_micros + (known.remaining_micros if known else 0)
        merged[lot.id] = replace(lot, remaining_micros=micros)
    kept = [lot for lot in merged.values() if lot.remaining_micros]
    return tuple(sorted(kept, key=lambda lot: (lot.expires_at or _NEVER, lot.id)))


def spend(
    lots: Sequence[CreditLot], prepaid_micros: int, micros: int
) -> tuple[Parts, tuple[CreditLot, ...]]:
    """Take ``micros`` for usage: return its parts and the credit that is left.

    Raises:
        ValueError: there is not so much.
    """
    taken, left = _split(in_spending_order(lots), micros)
    return _with_prepaid(taken, prepaid_micros, micros - total(taken)), left


def set_aside(
    lots: Sequence[CreditLot], prepaid_micros: int, micros: int
) -> tuple[Parts, tuple[CreditLot, ...]]:
    """Take ``micros`` for a hold, paid money first: return its parts and the credit left.

    Raises:
        ValueError: there is not so much.
    """
    paid = min(micros, prepaid_micros)
    taken, left = _split(in_spending_order(lots)[::-1], micros - paid)
    return _with_prepaid(taken, prepaid_micros, micros - total(taken)), left


def _with_prepaid(taken: tuple[CreditLot, ...], prepaid_micros: int, micros: int) -> Parts:
    if micros > prepaid_micros:
        raise ValueError(f"{micros - prepaid_micros} micro-units are missing")
    return Parts(prepaid_micros=micros, credits=taken)


def _split(
    lots: Sequence[CreditLot], micros: int
) -> tuple[tuple[CreditLot, ...], tuple[CreditLot, ...]]:
    """Take up to ``micros`` in the order given: return what was taken and what is left."""
    taken, left = [], []
    for lot in lots:
        part = min(lot.remaining_micros, micros)
        micros -= part
        taken.append(replace(lot, remaining_micros=part))
        left.append(replace(lot, remaining_micros=lot.remaining_micros - part))
    return in_spending_order(taken), in_spending_order(left)
