"""Leases of open terminals in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from gpucloud_adapters.memory.database import MemoryDatabase
from gpucloud_adapters.memory.rows import MemoryRows
from gpucloud_adapters.stored.kinds import TERMINAL_LEASES
from gpucloud_core.allocations.model import TerminalLease
from gpucloud_core.kernel.unit import Scope


class MemoryTerminalLeases(MemoryRows[TerminalLease]):
    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, TERMINAL_LEASES)

    async def keep(self, names: Sequence[str], until: datetime) -> frozenset[str]:
        found = await self.find_any("id", names)
        for lease in found:
            await self.put(replace(lease, until=until))
        return frozenset(lease.id for lease in found)

    async def lost(self, now: datetime, *, limit: int) -> Sequence[TerminalLease]:
        return sorted(self.having(lambda row: row.until <= now), key=lambda row: row.until)[:limit]
