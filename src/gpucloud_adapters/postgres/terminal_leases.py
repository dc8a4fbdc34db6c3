"""Leases of open terminals: renewed all at once, found when they have run out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, DateTime, bindparam, text

from gpucloud_adapters.postgres.rows import PostgresRows
from gpucloud_adapters.postgres.session import Session
from gpucloud_adapters.postgres.statements import Statements
from gpucloud_adapters.stored import kinds
from gpucloud_core.allocations.model import TerminalLease

TERMINAL_LEASES: Final = Statements(kinds.TERMINAL_LEASES)
_KEEP: Final = text("""
    UPDATE terminal_leases SET until = :until
    WHERE id = ANY(CAST(:names AS text[])) RETURNING id
""")
_until = TERMINAL_LEASES.columns.until
_LOST: Final = (
    TERMINAL_LEASES.select.where(_until <= bindparam("now", type_=DateTime(timezone=True)))
    .order_by(_until)
    .limit(bindparam("row_limit", type_=BigInteger))
    .with_for_update(skip_locked=True, key_share=True)
)


class PostgresTerminalLeases(PostgresRows[TerminalLease]):
    def __init__(self, session: Session) -> None:
        super().__init__(session, TERMINAL_LEASES)

    async def keep(self, names: Sequence[str], until: datetime) -> frozenset[str]:
        found = await self.session.rows(_KEEP, {"names": list(names), "until": until})
        return frozenset(str(row[0]) for row in found)

    async def lost(self, now: datetime, *, limit: int) -> Sequence[TerminalLease]:
        return await self.read(_LOST, {"now": now, "row_limit": limit})
