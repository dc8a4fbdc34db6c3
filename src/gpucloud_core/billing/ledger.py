"""Transfers: the only place where ledger entries are made.

Each builder returns a value whose entries sum to zero; posting it is the shell's work. What is
the tenant's is positive in ``prepaid``, ``held`` and ``promotional``; what they owe is negative
in ``receivable``. Of our counter-accounts, income (``revenue``, ``tax``) and money on its way back
(``refunds``) are positive, money received (``cash``) and given away (``goodwill``, ``fees``)
negative. The id of a transfer is made from its instant and its key, so that building it twice
gives the same value and a list by id is a list by time.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from gpucloud_core.billing.credit import Parts, total
from gpucloud_core.billing.model import AccountKind, CreditLot, Hold, Transfer, TransferKind
from gpucloud_core.kernel.ids import AllocationId, ProjectId, TenantId, entity_id, uuid7
from gpucloud_core.kernel.time import EPOCH, microseconds_between, rfc3339
from gpucloud_core.metering.model import UsageSegment

A, K = AccountKind, TransferKind

_POSTING_ORDER: Final = (
    K.PAYMENT,
    K.PROMOTION,
    K.GOODWILL,
    K.USAGE,
    K.CORRECTION,
    K.VOID,
    K.EXPIRY,
    K.HOLD,
    K.REFUND,
    K.DISPUTE,
)
"""How transfers of one instant follow each other in a list."""


def transfer_id(tenant_id: TenantId, kind: TransferKind, key: str, at: datetime) -> str:
    """Return the id of the transfer: a UUIDv7 of its instant, its place, and its key.

    Source: RFC 9562 section 6.2, method 3 (more precise clocks), read 2026-11-22.
    """
    name = int.from_bytes(hashlib.sha256(f"{tenant_id}\0{key}".encode()).digest()) >> 198
    return _id(kind, at, name)


def first_id(kind: TransferKind, at: datetime, noise: bytes) -> str:
    """Return the first of 2**20 ids for transfers of one instant; the others count up from it.

    For those that a store builds by itself; ``noise`` are eight random bytes.
    """
    return _id(kind, at, int.from_bytes(noise) >> 26 << 20)


def _id(kind: TransferKind, at: datetime, name: int) -> str:
    milliseconds, rest = divmod(microseconds_between(EPOCH, at), 1000)
    fraction = rest * 4096 // 1000  # the twelve bits after the version
    place = _POSTING_ORDER.index(kind)
    noise = fraction << 62 | place << 58 | name
    return entity_id("trf", uuid7(milliseconds, noise.to_bytes(10)))


def payment(
    *,
    tenant_id: TenantId,
    provider_id: str,
    amount_micros: int,
    tax_micros: int,
    owed_micros: int,
    at: datetime,
) -> Transfer:
    """Credit what the provider's object ``provider_id`` says was paid, once per object.

    ``amount_micros`` is without tax. What the tenant owes is paid first.
    """
    _positive(amount_micros)
    debt = min(owed_micros, amount_micros)
    return _transfer(
        K.PAYMENT,
        tenant_id,
        f"payment:{provider_id}",
        {
            A.PREPAID: amount_micros - debt,
            A.RECEIVABLE: debt,
            A.TAX: tax_micros,
            A.CASH: -amount_micros - tax_micros,
        },
        at,
        memo="Payment",
    )


def usage(
    *, segment: UsageSegment, since: datetime, until: datetime, parts: Parts, at: datetime
) -> Transfer:
    """Charge ``parts`` for [since, until) of ``segment``."""
    source = "reserve" if parts.held_micros else "balance"
    return _transfer(
        K.USAGE,
        segment.tenant_id,
        f"usage:{segment.id}:{microseconds_between(EPOCH, until)}:{source}",
        {
            A.PROMOTIONAL: -total(parts.credits),
            A.PREPAID: -parts.prepaid_micros,
            A.HELD: -parts.held_micros,
            A.REVENUE: parts.micros,
        },
        at,
        memo=f"Usage from {rfc3339(since)} to {rfc3339(until)}, from the {source}",
        project_id=segment.project_id,
        allocation_id=segment.allocation_id,
    )


def hold(*, hold: Hold, at: datetime) -> Transfer:
    """Set money aside while an allocation lives."""
    _positive(hold.amount_micros)
    return _moved(K.HOLD, hold, sign=-1, at=at, memo="Set aside for the allocation's reserve")


def void(*, hold: Hold, at: datetime) -> Transfer:
    """Give back what is left of a hold, to where it came from."""
    return _moved(K.VOID, hold, sign=1, at=at, memo="Reserve returned")


def promotion(
    *, tenant_id: TenantId, key: str, micros: int, expires_at: datetime, memo: str, at: datetime
) -> tuple[Transfer, CreditLot]:
    """Give credit that expires."""
    given = _given(K.PROMOTION, tenant_id, key, micros, memo, at)
    return given, CreditLot(id=given.id, remaining_micros=micros, expires_at=expires_at)


def goodwill(
    *, tenant_id: TenantId, key: str, micros: int, memo: str, at: datetime
) -> tuple[Transfer, CreditLot]:
    """Give credit that stays; ``memo`` is the operator's reason. It cannot be refunded."""
    given = _given(K.GOODWILL, tenant_id, key, micros, memo, at)
    return given, CreditLot(id=given.id, remaining_micros=micros)


def expiry(
    *, tenant_id: TenantId, lot: CreditLot, at: datetime, hold_id: str | None = None
) -> Transfer:
    """Take back what is left of a lot that has expired.

    A part that sat in a hold at the expiry follows when the hold ``hold_id`` is voided.
    """
    _positive(lot.remaining_micros)
    return _transfer(
        K.EXPIRY,
        tenant_id,
        f"expiry:{lot.id}:{hold_id}" if hold_id else f"expiry:{lot.id}",
        {A.PROMOTIONAL: -lot.remaining_micros, A.GOODWILL: lot.remaining_micros},
        at,
        memo="Promotional credit expired",
    )


def correction(*, of: Transfer, micros: int, at: datetime, memo: str) -> tuple[Transfer, CreditLot]:
    """Give back ``micros`` of the usage entry ``of``: what was paid first, credit as goodwill.

    Returns the transfer and the credit in it, which may be empty.
    """
    if not 0 < micros <= of.entries.get(A.REVENUE, 0):
        raise ValueError("a correction gives back some of what the entry took, never more")
    paid = min(micros, -of.entries.get(A.PREPAID, 0) - of.entries.get(A.HELD, 0))
    credit = micros - paid
    given = _transfer(
        K.CORRECTION,
        of.tenant_id,
        f"correction:{of.id}",
        {A.PREPAID: paid, A.PROMOTIONAL: credit, A.REVENUE: -micros},
        at,
        memo=memo,
        project_id=of.project_id,
        allocation_id=of.allocation_id,
        corrects=of.id,
    )
    return given, CreditLot(id=given.id, remaining_micros=credit)


def corrections(
    *, newest_first: Iterable[Transfer], micros: int, at: datetime, memo: str
) -> tuple[tuple[Transfer, CreditLot], ...]:
    """Give ``micros`` back out of these usage entries, the newest first, each named."""
    given = []
    for entry in newest_first:
        part = min(micros, entry.entries.get(A.REVENUE, 0))
        if part > 0:
            given.append(correction(of=entry, micros=part, at=at, memo=memo))
            micros -= part
    if micros:
        raise ValueError(f"{micros} micro-units more to give back than the entries took")
    return tuple(given)


def refund_begun(*, tenant_id: TenantId, refund_id: str, micros: int, at: datetime) -> Transfer:
    """Take unspent paid money out of the balance, on its way back to the card."""
    _positive(micros)
    entries = {A.PREPAID: -micros, A.REFUNDS: micros}
    key = f"refund:{refund_id}:begun"
    return _transfer(K.REFUND, tenant_id, key, entries, at, memo="Refund begun")


def refund_completed(*, of: Transfer, at: datetime) -> Transfer:
    """The provider has paid the refund ``of``."""
    micros = of.entries[A.REFUNDS]
    return _refund_end(of, "completed", {A.REFUNDS: -micros, A.CASH: micros}, at)


def refund_failed(*, of: Transfer, at: datetime) -> Transfer:
    """The provider could not pay the refund ``of``: the money is the tenant's again."""
    micros = of.entries[A.REFUNDS]
    return _refund_end(of, "failed", {A.REFUNDS: -micros, A.PREPAID: micros}, at)


def usage_refunded(
    *, tenant_id: TenantId, refund_id: str, allocation_id: AllocationId, micros: int, at: datetime
) -> Transfer:
    """Give charged usage of an allocation back to the balance."""
    _positive(micros)
    return _transfer(
        K.REFUND,
        tenant_id,
        f"refund:{refund_id}:credited",
        {A.PREPAID: micros, A.REVENUE: -micros},
        at,
        memo="Usage refunded to the balance",
        allocation_id=allocation_id,
    )


def dispute_lost(
    *,
    tenant_id: TenantId,
    dispute_id: str,
    micros: int,
    prepaid_micros: int,
    fee_micros: int,
    at: datetime,
) -> Transfer:
    """Take back a payment the bank reversed: what is there, the rest is owed; the fee is ours."""
    _positive(micros)
    there = min(micros, prepaid_micros)
    return _transfer(
        K.DISPUTE,
        tenant_id,
        f"dispute:{dispute_id}:lost",
        {
            A.PREPAID: -there,
            A.RECEIVABLE: there - micros,
            A.FEES: -fee_micros,
            A.CASH: micros + fee_micros,
        },
        at,
        memo="Payment reversed by the bank",
    )


def _given(
    kind: TransferKind, tenant_id: TenantId, key: str, micros: int, memo: str, at: datetime
) -> Transfer:
    _positive(micros)
    entries = {A.PROMOTIONAL: micros, A.GOODWILL: -micros}
    return _transfer(kind, tenant_id, f"{kind}:{key}", entries, at, memo=memo)


def _moved(kind: TransferKind, hold: Hold, *, sign: int, at: datetime, memo: str) -> Transfer:
    return _transfer(
        kind,
        hold.tenant_id,
        f"{kind}:{hold.id}",
        {
            A.PREPAID: sign * hold.from_prepaid_micros,
            A.PROMOTIONAL: sign * hold.from_promotional_micros,
            A.HELD: -sign * hold.amount_micros,
        },
        at,
        memo=memo,
        allocation_id=hold.allocation_id,
    )


def _refund_end(
    of: Transfer, end: str, entries: Mapping[AccountKind, int], at: datetime
) -> Transfer:
    key = of.idempotency_key.removesuffix("begun") + end
    return _transfer(K.REFUND, of.tenant_id, key, entries, at, memo=f"Refund {end}", corrects=of.id)


def _positive(micros: int) -> None:
    if micros <= 0:
        raise ValueError("money moves in positive amounts; the entries carry the signs")


def _transfer(
    kind: TransferKind,
    tenant_id: TenantId,
    key: str,
    entries: Mapping[AccountKind, int],
    at: datetime,
    *,
    memo: str,
    project_id: ProjectId | None = None,
    allocation_id: AllocationId | None = None,
    corrects: str | None = None,
) -> Transfer:
    if sum(entries.values()):
        raise ValueError(f"the entries of {key} do not sum to zero")
    return Transfer(
        id=transfer_id(tenant_id, kind, key, at),
        tenant_id=tenant_id,
        kind=kind,
        idempotency_key=key,
        entries={account: micros for account, micros in entries.items() if micros},
        at=at,
        memo=memo,
        project_id=project_id,
        allocation_id=allocation_id,
        corrects=corrects,
    )
