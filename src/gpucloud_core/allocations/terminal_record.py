"""What the audit tells of a terminal: who opened a shell where, from where, and how it ended.

Opening is written before a byte is shown, and nothing is shown if it cannot be written. The end is
written when the shell is let go. A process that was killed writes nothing any more: each open
terminal has a lease that its process renews, and whoever finds one that ran out writes the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gpucloud_core.access.session_life import Client
from gpucloud_core.allocations.model import TerminalLease
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.terminal import Admission
from gpucloud_core.allocations.terminal_life import PROCESS_LOST, SHELL_ENDED, Ended
from gpucloud_core.kernel.unit import AuditFact, Json, Scope, Transactions

OPENED, CLOSED = "terminal.open", "terminal.close"
LEASE: Final = timedelta(seconds=90)
"""How long a terminal may go without a word of its process. Longer than a database may be away
before terminals end by themselves (``unchecked``), so that none outlives its record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTerminal:
    """Write the opening and the end of a terminal into the audit, and that it is still held."""

    transactions: Transactions[AllocationUnit]

    async def opened(self, admission: Admission, *, name: str, client: Client) -> TerminalLease:
        """Record that a shell was opened; ``name`` is the terminal's own."""
        holder = admission.holder
        async with self.transactions.begin(Scope.tenant(holder.tenant_id)) as unit:
            now = await unit.now()
            lease = TerminalLease(
                id=name,
                tenant_id=holder.tenant_id,
                allocation_id=holder.allocation_id,
                project_id=admission.project_id,
                user_id=admission.actor.user_id,
                actor=admission.actor.username,
                via=client.via,
                ip=client.ip,
                user_agent=client.user_agent,
                correlation_id=client.correlation_id,
                opened_at=now,
                until=now + LEASE,
            )
            await unit.terminal_leases.add(lease)
            await unit.audit(_fact(lease, OPENED, {"terminal": [None, name]}))
        return lease

    async def held(self, names: Sequence[str]) -> frozenset[str]:
        """Say that these are held; return those whose end nobody has recorded meanwhile."""
        async with self.transactions.begin(Scope.platform()) as unit:
            return await unit.terminal_leases.keep(names, await unit.now() + LEASE)

    async def closed(self, lease: TerminalLease, ended: Ended | None) -> None:
        """Record why it ended, once; None, if its person left it and it was let go."""
        async with self.transactions.begin(Scope.tenant(lease.tenant_id)) as unit:
            if await unit.terminal_leases.lock(lease.id) is not None:
                await _close(unit, lease, ended or SHELL_ENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseLostTerminals:
    """Record the end of terminals whose process has not been heard of: it was killed, or cut off.

    One that was only cut off learns from ``RecordTerminal.held`` that its terminals are over.
    """

    transactions: Transactions[AllocationUnit]

    async def __call__(self, *, limit: int = 200) -> int:
        """Return how many there were."""
        async with self.transactions.begin(Scope.platform()) as unit:
            lost = await unit.terminal_leases.lost(await unit.now(), limit=limit)
            for lease in lost:
                await _close(unit, lease, PROCESS_LOST)
        return len(lost)


async def _close(unit: AllocationUnit, lease: TerminalLease, ended: Ended) -> None:
    await unit.terminal_leases.delete(lease.id)
    changes: dict[str, Json] = {"terminal": [lease.id, None], "reason": [None, ended.code]}
    await unit.audit(_fact(lease, CLOSED, changes))


def _fact(lease: TerminalLease, action: str, changes: dict[str, Json]) -> AuditFact:
    return AuditFact(
        action=action,
        target=lease.allocation_id,
        tenant_id=lease.tenant_id,
        project_id=lease.project_id,
        user_id=lease.user_id,
        actor=lease.actor,
        via=lease.via,
        correlation_id=lease.correlation_id,
        ip=lease.ip,
        user_agent=lease.user_agent,
        changes=changes,
    )
