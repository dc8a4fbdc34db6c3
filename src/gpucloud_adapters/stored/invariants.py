"""What a store refuses because no right program asks for it."""

from collections.abc import Mapping
from typing import Final

from gpucloud_core.billing.model import AccountKind


class InvariantError(Exception):
    """The program is wrong: it would break a rule that the store itself guards.

    A row of another tenant, an unbalanced transfer, money below zero, a slot claimed twice. Not a
    domain error: nobody who uses the product can cause it or do anything about it.
    """


NEVER_NEGATIVE: Final = frozenset(
    {AccountKind.PREPAID, AccountKind.HELD, AccountKind.PROMOTIONAL, AccountKind.RECEIVABLE}
)
"""The tenant's own accounts; the others are our side of the same money and run both ways."""


def require_balanced(transfer_id: str, entries: Mapping[AccountKind, int]) -> None:
    """Raise unless the entries sum to zero."""
    if total := sum(entries.values()):
        raise InvariantError(f"the entries of {transfer_id} sum to {total}, not to zero")


def require_covered(account: AccountKind, balance: int) -> None:
    """Raise if ``balance`` is one that ``account`` can never have."""
    if balance < 0 and account in NEVER_NEGATIVE:
        raise InvariantError(f"{account} would fall to {balance}")
