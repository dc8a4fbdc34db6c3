"""Rows in memory of the kinds that can do more than be found, kept and listed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from gpucloud_adapters.memory.database import MemoryDatabase
from gpucloud_adapters.memory.rows import MemoryRows
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_adapters.stored.kinds import (
    ALLOCATIONS,
    AUDIT_ROWS,
    BILLING_ACCOUNTS,
    CLAIMS,
    NODES,
    ONE_TIME_TOKENS,
    OS_IMAGES,
    PRICES,
    SKUS,
    SLOTS,
    SSH_KEYS,
    STORED_RESPONSES,
    TASK_EVENTS,
    TASKS,
    USAGE_SEGMENTS,
    WAITLIST,
    WEBHOOK_EVENTS,
)
from gpucloud_adapters.stored.steps import completed_seconds, usual
from gpucloud_core.access.model import OneTimeToken
from gpucloud_core.allocations.briefs import AllocationBrief
from gpucloud_core.allocations.launch_rows import LaunchNames, LaunchRows
from gpucloud_core.allocations.lists import read_briefs
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.ports import MAY_EXPIRE, AllocationUnit
from gpucloud_core.audit.chain import Seal, Unsealed
from gpucloud_core.billing.due import settle_plain
from gpucloud_core.billing.model import BillingAccount, WebhookEvent
from gpucloud_core.billing.ports import BillingUnit
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.errors import Conflict
from gpucloud_core.kernel.idempotency import StoredResponse
from gpucloud_core.kernel.ids import AllocationId, NodeId, TaskId, TenantId
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.time import EPOCH
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.metering.charge import cost_of
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.nodes.marks import marks_of
from gpucloud_core.nodes.model import Node, NodeStatus
from gpucloud_core.nodes.ports import LOOK_EVERY, LOOKED_AT, NodeGpus
from gpucloud_core.placement.model import Claim
from gpucloud_core.waitlist.model import WaitEntry
from gpucloud_core.work.model import Task, TaskEvent

T = TypeVar("T")


def _oldest(rows: list[T], at: Callable[[T], datetime | None], limit: int) -> list[T]:
    return sorted(rows, key=lambda row: at(row) or EPOCH)[:limit]


def _has_come(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now


class MemoryClaims(MemoryRows[Claim]):
    """Claims; no two open ones overlap, whoever stores them and however."""

    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, CLAIMS)

    async def add(self, row: Claim) -> None:
        for other in self.table.candidates({"node_id": row.node_id}):
            if other.released_at is None and (
                other.mask & row.mask or other.whole_node or row.whole_node
            ):
                raise InvariantError(f"{row.id} overlaps {other.id}")
        await super().add(row)


class MemoryOneTimeTokens(MemoryRows[OneTimeToken]):
    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, ONE_TIME_TOKENS)

    async def use(self, key: str, now: datetime) -> OneTimeToken | None:
        token = await self.get(key)
        if token is None or token.used_at is not None or token.expires_at <= now:
            return None
        used = replace(token, used_at=now)
        await self.put(used)
        return used


class MemoryStoredResponses(MemoryRows[StoredResponse]):
    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, STORED_RESPONSES)

    async def begin(self, row: StoredResponse) -> bool:
        if await self.get(row.id) is not None:
            return False
        await self.add(row)
        return True

    async def try_lock(self, key: str) -> bool:
        return True  # units are serial: no twin is in flight


def _look_due(row: Node) -> datetime | None:
    return row.look_due_at or row.created_at + LOOK_EVERY


class MemoryAllocations(MemoryRows[Allocation]):
    def __init__(self, database: MemoryDatabase, scope: Scope, unit: AllocationUnit) -> None:
        super().__init__(database, scope, ALLOCATIONS)
        self._unit = unit

    async def briefs(self, query: ListQuery) -> Page[AllocationBrief]:
        return await read_briefs(self._unit, query)

    async def expired(self, now: datetime, *, limit: int) -> Sequence[AllocationId]:
        found = self.having(
            lambda row: row.state in MAY_EXPIRE and _has_come(row.releases_at, now),
            among=[{"state": state} for state in sorted(MAY_EXPIRE)],
        )
        return [row.id for row in _oldest(found, lambda row: row.releases_at, limit)]

    async def of_launch(self, names: LaunchNames) -> LaunchRows:
        skus = MemoryRows(self.database, self.scope, SKUS)
        images = MemoryRows(self.database, self.scope, OS_IMAGES)
        prices = MemoryRows(self.database, self.scope, PRICES)
        keys = MemoryRows(self.database, self.scope, SSH_KEYS)
        sku = await skus.get(names.sku_id)
        may_boot = await images.find_any("id", sku.image_ids if sku else ())
        live = await self.find_any("state", names.live)
        kind, steps = names.saga
        return LaunchRows(
            sku=sku,
            images={image.id: image for image in may_boot},
            prices=await prices.find(sku_id=names.sku_id),
            keys=await keys.find_any("id", names.ssh_key_ids),
            gpus_held=sum(row.gpu_count for row in live if row.tenant_id == names.tenant_id),
            usual_seconds=await MemoryTasks(self.database, self.scope).usual_seconds(kind, steps),
        )


def _last_to_end(row: UsageSegment) -> tuple[bool, datetime]:
    return row.ended_at is None, row.ended_at or row.started_at


class MemoryWaitlist(MemoryRows[WaitEntry]):
    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, WAITLIST)

    async def pools_due(self, now: datetime, *, limit: int) -> Sequence[str]:
        found = self.having(lambda row: _has_come(row.due_at, now))
        oldest = _oldest(found, lambda row: row.due_at, len(found))
        return list(dict.fromkeys(row.pool for row in oldest))[:limit]


class MemoryUsageSegments(MemoryRows[UsageSegment]):
    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, USAGE_SEGMENTS)

    async def tenants_due(self, now: datetime, *, limit: int) -> Sequence[TenantId]:
        found = self.having(
            lambda row: _has_come(row.next_settlement_at, now), among=[{"ended_at": None}]
        )
        oldest = _oldest(found, lambda row: row.next_settlement_at, len(found))
        return list(dict.fromkeys(row.tenant_id for row in oldest))[:limit]

    async def running_after(
        self, tenant_id: TenantId, since: datetime, *, limit: int
    ) -> Sequence[UsageSegment]:
        found = self.having(
            lambda row: (
                row.tenant_id == tenant_id and (row.ended_at is None or row.ended_at > since)
            )
        )
        return sorted(found, key=_last_to_end, reverse=True)[:limit]

    async def costs(
        self, allocation_ids: Sequence[AllocationId], until: datetime
    ) -> Mapping[AllocationId, int]:
        found: dict[AllocationId, list[UsageSegment]] = {}
        for row in await self.find_any("allocation_id", allocation_ids):
            found.setdefault(row.allocation_id, []).append(row)
        return {subject: cost_of(rows, until) for subject, rows in found.items()}


class MemoryNodes(MemoryRows[Node]):
    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, NODES)

    async def due(self, now: datetime, *, limit: int) -> Sequence[Node]:
        found = self.having(lambda row: row.status in LOOKED_AT and _has_come(_look_due(row), now))
        return _oldest(found, _look_due, limit)

    async def with_mark(self, mark: str, *, limit: int) -> tuple[Node, ...]:
        slots = self.database.table(SLOTS).rows.values()
        answer = {slot.node_id for slot in slots if slot.ssh_host == mark}
        found = self.having(lambda row: row.id in answer or mark in marks_of(row))
        return tuple(sorted(found, key=lambda row: row.id)[:limit])

    async def names(self, node_ids: Collection[NodeId]) -> Mapping[NodeId, str]:
        return {row.id: row.name for row in await self.find_any("id", list(node_ids))}

    async def first_names(self, limit: int) -> Mapping[NodeId, str]:
        known = self.having(lambda row: row.status is not NodeStatus.DELETED)
        return {row.id: row.name for row in sorted(known, key=lambda row: row.name)[:limit]}

    async def gpus(self, statuses: Collection[NodeStatus]) -> Sequence[NodeGpus]:
        found = self.having(lambda row: row.status in statuses)
        gpus = [(row.id, row.topology.gpus) for row in found]
        return [NodeGpus(node, own[0].model if own else "", len(own)) for node, own in gpus]


class MemoryBillingAccounts(MemoryRows[BillingAccount]):
    def __init__(self, database: MemoryDatabase, scope: Scope, unit: BillingUnit) -> None:
        super().__init__(database, scope, BILLING_ACCOUNTS)
        self._unit = unit

    async def settle_plain(self, tenant_ids: Sequence[TenantId]) -> Sequence[TenantId]:
        return await settle_plain(self._unit, tenant_ids)

    async def due(self, now: datetime, *, limit: int) -> Sequence[TenantId]:
        found = self.having(lambda row: _has_come(row.next_deadline_at, now))
        oldest = _oldest(found, lambda row: row.next_deadline_at, limit)
        return [row.tenant_id for row in oldest]


class MemoryWebhookEvents(MemoryRows[WebhookEvent]):
    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, WEBHOOK_EVENTS)

    async def due(self, now: datetime, *, limit: int) -> Sequence[WebhookEvent]:
        found = self.having(
            lambda row: (
                row.handled_at is None and _has_come(row.next_try_at or row.received_at, now)
            )
        )
        return _oldest(found, lambda row: row.next_try_at or row.received_at, limit)


class MemoryTasks(MemoryRows[Task]):
    """Tasks, and how long their steps took, which is known across tenants."""

    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, TASKS)

    async def add(self, row: Task) -> None:
        await super().add(row)
        self._note_seconds(row)

    async def put(self, row: Task) -> None:
        await super().put(row)
        self._note_seconds(row)

    async def keep(self, task: Task, story: Sequence[TaskEvent]) -> None:
        events = MemoryRows(self.database, self.scope, TASK_EVENTS)
        for event in story:
            await events.add(event)
        await self.put(task)

    async def keep_all(self, kept: Sequence[tuple[Task, Sequence[TaskEvent]]]) -> None:
        for task, story in kept:
            await self.keep(task, story)

    async def lock_free(self, task_ids: Sequence[TaskId]) -> Sequence[Task]:
        return await self.find_any("id", task_ids)  # units are serial: nobody else has a lock

    async def due(self, now: datetime, *, limit: int) -> Sequence[TaskId]:
        found = self.having(
            lambda row: (
                _has_come(row.due_at, now)
                and row.finished_at is None
                and (row.lease_token is None or row.lease_until is None or row.lease_until <= now)
            ),
            among=[{"finished_at": None}],
        )
        return [row.id for row in _oldest(found, lambda row: row.due_at, limit)]

    async def usual_seconds(self, kind: str, steps: Sequence[str]) -> Mapping[str, int]:
        known = self.database.step_seconds
        return {
            step: seconds
            for step in steps
            if (seconds := usual(list(known.get((kind, step), {}).values()))) is not None
        }

    def _note_seconds(self, task: Task) -> None:
        """Keep the seconds of each completed step of a finished task, once, in their order."""
        if task.finished_at is None:
            return
        for step, _, seconds in completed_seconds(task):
            known = self.database.step_seconds.setdefault((task.kind, step), {})
            if task.id not in known:
                self.database.journal.assign(known, task.id, seconds)


class MemoryAuditRows(MemoryRows[AuditRow]):
    """Audit rows: what was recorded stays as it is, and a place in the chain is taken once."""

    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, AUDIT_ROWS)

    async def unsealed(self, *, limit: int) -> Sequence[Unsealed]:
        # Rows are kept in the order of their transactions, as units are serial.
        waiting = self.having(lambda row: row.seq is None)
        return [Unsealed(row.id, row.content_hash) for row in waiting[:limit]]

    async def seal(self, seals: Sequence[Seal]) -> None:
        for seal in seals:
            row = await self.get(seal.id)
            if row is None or row.seq is not None:
                raise Conflict("This audit row has its place already.")
            sealed = replace(row, seq=seal.seq, chain_hash=seal.chain_hash)
            self.table.replace(sealed)

    async def put(self, row: AuditRow) -> None:
        raise InvariantError("audit_rows is append-only")

    async def delete(self, key: str) -> None:
        raise InvariantError("audit_rows is append-only")
