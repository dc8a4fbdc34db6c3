"""Verifying the whole audit trail from inside, as a task that operators follow.

The rules are those of ``gpucloud audit verify``. That command is what an auditor runs, on a copy
and with the anchors' own file; this is the quick look of whoever works here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.audit.chain import HEAD, ChainHead
from gpucloud_core.audit.ports import AnchorStore, AuditUnit
from gpucloud_core.audit.verify import ChainCheck, Verdict, link_of
from gpucloud_core.fleet.actions import LeavesNothing
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.fleet.tasks import VERIFY_AUDIT, queue_about
from gpucloud_core.kernel.errors import DomainError, ErrorKind
from gpucloud_core.kernel.ids import Ids, TaskId
from gpucloud_core.kernel.unit import Json, Scope, Transactions
from gpucloud_core.work.model import Step, Task, TaskStatus
from gpucloud_core.work.plan import Finish, Saga

AT_ONCE: Final = 500


class AuditTampered(DomainError):
    """The audit trail is not what was recorded."""

    code = "audit_tampered"
    kind = ErrorKind.CONFLICT
    next_step = (
        "Keep the database as it is, and run `gpucloud audit verify` with the anchors' file."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyAudit:
    """Queue a look at every row."""

    transactions: Transactions[FleetUnit]
    ids: Ids

    async def __call__(self, *, actor: Actor) -> TaskId:
        """Return the task to follow; one under way is joined.

        Raises:
            Forbidden: the actor is no administrator of the platform.
        """
        require(actor, Action.AUDIT_READ)
        async with self.transactions.begin(Scope.platform()) as unit:
            task = await queue_about(unit, self.ids, actor, HEAD, VERIFY_AUDIT)
            await unit.audit(fact_by(actor, action="audit.verify", target=HEAD))
        return task.id


@dataclass(frozen=True, slots=True, kw_only=True)
class LastVerified:
    """What the last look at every row came to; ``task_id`` tells it in full."""

    task_id: TaskId
    status: TaskStatus
    detail: str
    sealed: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLastVerified:
    """The last look at every row, if there was one."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor) -> LastVerified | None:
        """Read it.

        Raises:
            Forbidden: the actor is no administrator of the platform.
        """
        require(actor, Action.AUDIT_READ)
        async with self.transactions.begin(Scope.platform()) as unit:
            tasks = await unit.tasks.find(subject=HEAD, kind=VERIFY_AUDIT.kind)
        if not tasks:
            return None
        last = max(tasks, key=lambda task: task.id)
        sealed = last.steps[0].result.get("sealed")
        return LastVerified(
            task_id=last.id,
            status=last.status,
            detail=last.error_detail,
            sealed=sealed if isinstance(sealed, int) else 0,
            at=last.finished_at or last.created_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAudit(LeavesNothing):
    """What the step of a verification does."""

    transactions: Transactions[AuditUnit]
    anchors: AnchorStore
    saga: Saga = VERIFY_AUDIT

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        if step.key == "rows":
            verdict = await self.verdict()
            return {
                "sealed": verdict.sealed,
                "unsealed": verdict.unsealed,
                "anchored": verdict.anchored,
                "fault": fault_words(verdict),
            }
        if fault := task.steps[0].result.get("fault"):
            raise AuditTampered(str(fault))
        return {"outcome": "as recorded"}

    async def verdict(self) -> Verdict:
        """Look at every row up to where the chain stands now, some hundred in memory at a time."""
        last = await self.anchors.last()
        check = ChainCheck([last] if last else [])
        async with self.transactions.begin(Scope.platform()) as unit:
            head = await unit.audit_chain.get(HEAD) or ChainHead()
        for first in range(1, head.seq + 1, AT_ONCE):
            places = range(first, min(first + AT_ONCE, head.seq + 1))
            async with self.transactions.begin(Scope.platform()) as unit:
                rows = await unit.audit_rows.find_any("seq", list(places))
            for row in sorted(rows, key=lambda row: row.seq or 0):
                check.take(link_of(row))
        async with self.transactions.begin(Scope.platform()) as unit:
            for row in await unit.audit_rows.find(seq=None):
                check.take(link_of(row))
        return check.finish(head)

    async def finished(self, unit: AllocationUnit, task: Task, finish: Finish) -> None:
        """The task itself says what was found."""


def fault_words(verdict: Verdict) -> str:
    """Return what the first fault is, in a sentence, or nothing."""
    fault = verdict.fault
    if fault is None:
        return ""
    place = "a row without a place" if fault.seq is None else f"row {fault.seq:,}"
    return f"{fault.what.capitalize()}: {place}: {fault.words}."
