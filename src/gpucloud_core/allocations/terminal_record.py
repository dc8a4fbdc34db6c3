"""What the audit tells of a terminal: who opened a shell where, from where, and how it ended.

Opening is written before a byte is shown, and nothing is shown if it cannot be written. The end is
written when the shell is let go; of a process that was killed, only the openings stand there.
"""

from dataclasses import dataclass, replace

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.model import Actor
from gpucloud_core.access.session_life import Client
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.terminal import Admission
from gpucloud_core.allocations.terminal_life import SHELL_ENDED, Ended
from gpucloud_core.kernel.ids import AllocationId, ProjectId
from gpucloud_core.kernel.unit import Scope, Transactions

OPENED, CLOSED = "terminal.open", "terminal.close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A terminal that was opened: its name, by whom, and at what."""

    name: str
    actor: Actor
    allocation_id: AllocationId
    project_id: ProjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTerminal:
    """Write the opening and the end of a terminal into the audit."""

    transactions: Transactions[AllocationUnit]

    async def opened(self, admission: Admission, *, name: str, client: Client) -> Visit:
        """Record that a shell was opened; ``name`` is the terminal's own."""
        actor = replace(
            admission.actor,
            via=client.via,
            ip=client.ip,
            user_agent=client.user_agent,
            correlation_id=client.correlation_id,
        )
        visit = Visit(
            name=name,
            actor=actor,
            allocation_id=admission.holder.allocation_id,
            project_id=admission.project_id,
        )
        await self._write(visit, OPENED, "")
        return visit

    async def closed(self, visit: Visit, ended: Ended | None) -> None:
        """Record why it ended; None, if its person left it and it was let go."""
        await self._write(visit, CLOSED, (ended or SHELL_ENDED).code)

    async def _write(self, visit: Visit, action: str, reason: str) -> None:
        async with self.transactions.begin(Scope.tenant(visit.actor.tenant_id)) as unit:
            await unit.audit(
                fact_by(
                    visit.actor,
                    action=action,
                    target=visit.allocation_id,
                    project_id=visit.project_id,
                    changes={
                        "terminal": [None, visit.name] if action == OPENED else [visit.name, None],
                        **({"reason": [None, reason]} if reason else {}),
                    },
                )
            )
