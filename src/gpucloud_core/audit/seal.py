"""Seals what was recorded, and carries the chain's head out of the database.

Writers of audit rows never wait for each other: they only add rows. The chain is made behind them,
by whichever worker holds the head's row, so that two workers still make one chain.
"""

from dataclasses import dataclass
from typing import Final

from gpucloud_core.audit.chain import HEAD, Anchor, ChainHead, has_lost, seal_rows
from gpucloud_core.audit.ports import AnchorStore, AuditUnit
from gpucloud_core.kernel.unit import Event, Scope, Transactions

BATCH: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SealAudit:
    """Give committed audit rows their places in the chain."""

    transactions: Transactions[AuditUnit]

    async def __call__(self, *, limit: int = BATCH) -> int:
        """Seal up to ``limit`` rows; return how many it were."""
        async with self.transactions.begin(Scope.platform()) as unit:
            head = await unit.audit_chain.lock(HEAD)
            if head is None:
                # The first seal ever. Of two at once the other is refused, and comes again.
                head = ChainHead()
                await unit.audit_chain.add(head)
            # Read after the lock: what the last holder sealed is sealed.
            rows = await unit.audit_rows.unsealed(limit=limit)
            moved, seals = seal_rows(head, rows, await unit.now())
            if seals:
                await unit.audit_rows.seal(seals)
                await unit.audit_chain.put(moved)
        return len(seals)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorAudit:
    """Keep the chain's head where nobody who holds the database can change it."""

    transactions: Transactions[AuditUnit]
    anchors: AnchorStore

    async def __call__(self) -> int:
        """Keep the head unless it is the one kept last; say so if the chain lost what it had."""
        last = await self.anchors.last()
        async with self.transactions.begin(Scope.platform()) as unit:
            head = await unit.audit_chain.get(HEAD) or ChainHead()
            now = await unit.now()
            lost = has_lost(head, last)
            if lost and last is not None:
                await unit.emit(
                    Event(
                        kind="audit.chain_lost",
                        subject=HEAD,
                        payload={"anchored": last.seq, "found": head.seq},
                    )
                )
        if lost or head.seq > (last.seq if last else 0):
            await self.anchors.keep(Anchor(seq=head.seq, chain_hash=head.chain_hash, at=now))
        return 0
