"""What administrators read of the trail: rows with how they stand in the chain, and the chain.

A row is looked at whenever it is shown: what it holds is hashed again, and its place is computed
again from the row before it. That finds a change of the rows shown; ``verify`` looks at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.audit.chain import HEAD, NOTHING, Anchor, ChainHead, chain_hash
from gpucloud_core.audit.ports import AnchorStore, AuditUnit
from gpucloud_core.audit.verify import link_of
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.unit import Scope, Transactions


class Standing(StrEnum):
    """How a row stands in the chain."""

    SEALED = "sealed"  # it holds what it held, and follows from the row before it
    UNSEALED = "unsealed"  # it is committed and has no place yet; a moment's worth is normal
    BAD = "bad"  # it does not hold what it held, or does not follow


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRow:
    row: AuditRow
    standing: Standing


def standing_of(row: AuditRow, before: AuditRow | None) -> Standing:
    """Return how ``row`` stands, given the row at the place before it, if there is one. Pure."""
    link = link_of(row)
    if link.true_hash != link.content_hash:
        return Standing.BAD
    if row.seq is None:
        return Standing.UNSEALED
    if before is None and row.seq > 1:
        return Standing.BAD
    previous = NOTHING if before is None else before.chain_hash or ""
    follows = chain_hash(previous, row.content_hash, row.seq) == row.chain_hash
    return Standing.SEALED if follows else Standing.BAD


async def _seen(unit: AuditUnit, rows: Sequence[AuditRow]) -> tuple[SeenRow, ...]:
    places = [row.seq - 1 for row in rows if row.seq is not None and row.seq > 1]
    before: Mapping[int | None, AuditRow] = {
        row.seq: row for row in await unit.audit_rows.find_any("seq", places)
    }
    return tuple(
        SeenRow(
            row=row,
            standing=standing_of(row, None if row.seq is None else before.get(row.seq - 1)),
        )
        for row in rows
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAudit:
    """A page of what was done, by whom, in every tenant."""

    transactions: Transactions[AuditUnit]

    async def __call__(self, *, actor: Actor, query: ListQuery) -> Page[SeenRow]:
        """Read it.

        Raises:
            Forbidden: the actor is no administrator of the platform.
        """
        require(actor, Action.AUDIT_READ)
        async with self.transactions.look(Scope.platform()) as unit:
            page = await unit.audit_rows.page(query)
            return Page(await _seen(unit, page.items), page.next_cursor, page.prev_cursor)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditView:
    """One row, and the rows of the same request."""

    seen: SeenRow
    beside: tuple[AuditRow, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAudit:
    """One row."""

    transactions: Transactions[AuditUnit]

    async def __call__(self, *, actor: Actor, row_id: str) -> AuditView:
        """Read it.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such row.
        """
        require(actor, Action.AUDIT_READ)
        async with self.transactions.look(Scope.platform()) as unit:
            row = await unit.audit_rows.get(row_id)
            if row is None:
                raise NotFound("There is no audit row with this id.")
            (seen,) = await _seen(unit, [row])
            about = await unit.audit_rows.page(ListQuery(where={"target": (row.target,)}, limit=10))
            now = await unit.now()
        beside = tuple(other for other in about.items if other.id != row.id)
        return AuditView(seen=seen, beside=beside, as_of=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainNow:
    """How the chain stands: its head, what waits for a place, and what is anchored outside."""

    head: ChainHead
    unsealed: int
    anchor: Anchor | None
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadChain:
    """The chain at one instant."""

    transactions: Transactions[AuditUnit]
    anchors: AnchorStore

    async def __call__(self, *, actor: Actor) -> ChainNow:
        """Read it.

        Raises:
            Forbidden: the actor is no administrator of the platform.
        """
        require(actor, Action.AUDIT_READ)
        anchor = await self.anchors.last()
        async with self.transactions.look(Scope.platform()) as unit:
            head = await unit.audit_chain.get(HEAD) or ChainHead()
            unsealed = await unit.audit_rows.count(seq=None)
            now = await unit.now()
        return ChainNow(head=head, unsealed=unsealed, anchor=anchor, as_of=now)
