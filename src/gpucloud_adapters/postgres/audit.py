"""Audit rows in PostgreSQL: recorded by anyone, sealed in an order no later commit can disturb.

A row carries the number of the transaction that wrote it. Every transaction below the snapshot's
lowest running one has ended, so rows below that mark are all there will ever be: sealing them in
the order of these numbers never passes a transaction that is still open.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text

from gpucloud_adapters.postgres.rows import PostgresRows
from gpucloud_adapters.postgres.statements import Statements
from gpucloud_adapters.stored import kinds
from gpucloud_core.audit.chain import Seal, Unsealed
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.errors import Conflict

AUDIT_ROWS: Final = Statements(kinds.AUDIT_ROWS)

# A number at or above the snapshot's end belongs to no transaction of this server that we could
# see: the row was restored from another one, where its transaction ended long ago.
_UNSEALED: Final = text("""
    SELECT id, content_hash FROM audit_rows
    WHERE seq IS NULL AND (
        written_xid < pg_snapshot_xmin(pg_current_snapshot())
        OR written_xid >= pg_snapshot_xmax(pg_current_snapshot())
    )
    ORDER BY written_xid, written
    LIMIT :row_limit
""")
_SEAL: Final = text("""
    UPDATE audit_rows AS row SET seq = place.seq, chain_hash = place.chain_hash
    FROM unnest(CAST(:ids AS text[]), CAST(:seqs AS bigint[]), CAST(:hashes AS text[]))
        AS place (id, seq, chain_hash)
    WHERE row.id = place.id AND row.seq IS NULL
""")


class PostgresAuditRows(PostgresRows[AuditRow]):
    async def unsealed(self, *, limit: int) -> Sequence[Unsealed]:
        found = await self.session.rows(_UNSEALED, {"row_limit": limit}, of=self.kind.table)
        return [Unsealed(row[0], row[1]) for row in found]

    async def seal(self, seals: Sequence[Seal]) -> None:
        ids, seqs, hashes = map(list, zip(*seals, strict=True))
        values = {"ids": ids, "seqs": seqs, "hashes": hashes}
        sealed = await self.session.change(_SEAL, values, of=self.kind.table)
        if sealed != len(seals):
            raise Conflict("An audit row has its place already.")
