"""Rows of one kind in memory, as one unit may see them, and the kinds that can do more."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, TypeVar

from gpucloud_adapters.memory.database import MemoryDatabase, Table
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_adapters.stored.kinds import (
    ALLOCATIONS,
    AUDIT_ROWS,
    BILLING_ACCOUNTS,
    CLAIMS,
    NODES,
    ONE_TIME_TOKENS,
    STORED_RESPONSES,
    TASK_EVENTS,
    TASKS,
    USAGE_SEGMENTS,
    WAITLIST,
    WEBHOOK_EVENTS,
    Kind,
    Tenancy,
)
from gpucloud_adapters.stored.lists import ListPlan, Span, plan_list
from gpucloud_adapters.stored.steps import completed_seconds, usual
from gpucloud_core.access.model import OneTimeToken
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.ports import MAY_EXPIRE
from gpucloud_core.audit.chain import Seal, Unsealed
from gpucloud_core.billing.model import BillingAccount, WebhookEvent
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.errors import Conflict, NotFound
from gpucloud_core.kernel.idempotency import StoredResponse
from gpucloud_core.kernel.ids import AllocationId, NodeId, TaskId, TenantId
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.time import EPOCH
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.metering.charge import cost_of
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.nodes.model import Node
from gpucloud_core.nodes.ports import LOOK_EVERY, LOOKED_AT
from gpucloud_core.placement.model import Claim
from gpucloud_core.waitlist.model import WaitEntry
from gpucloud_core.work.model import Task, TaskEvent

T = TypeVar("T")


class MemoryRows(Generic[T]):
    """The rows of one kind that a unit of ``scope`` may see."""

    def __init__(self, database: MemoryDatabase, scope: Scope, kind: Kind[T]) -> None:
        self.database = database
        self.scope = scope
        self.kind = kind
        if kind.tenancy is Tenancy.PLATFORM and scope.tenant_id is not None:
            raise InvariantError(f"{kind.table} are the platform's alone")

    @cached_property
    def table(self) -> Table[T]:
        return self.database.table(self.kind)

    async def get(self, key: str) -> T | None:
        row = self.table.rows.get(key)
        return row if row is not None and self._is_visible(row) else None

    async def lock(self, key: str) -> T | None:
        self._require_writable()
        return await self.get(key)

    async def add(self, row: T) -> None:
        self._require_writable()
        self._require_own(row)
        self.table.insert(row)

    async def put(self, row: T) -> None:
        self._require_writable()
        if await self.get(self.kind.key_of(row)) is None:
            raise NotFound
        self._require_own(row)
        self.table.replace(row)

    async def delete(self, key: str) -> None:
        self._require_writable()
        if await self.get(key) is not None:
            self.table.remove(key)

    async def find(self, **equals: object) -> tuple[T, ...]:
        for name in equals:
            self.kind.scalar(name)
        found = [
            row
            for row in self.table.candidates(equals)
            if self._is_visible(row)
            and all(getattr(row, name) == value for name, value in equals.items())
        ]
        return tuple(sorted(found, key=self.kind.key_of))

    async def find_any(self, field: str, values: Sequence[object]) -> tuple[T, ...]:
        self.kind.scalar(field)
        found = {
            self.kind.key_of(row): row
            for value in values
            for row in self.table.candidates({field: value})
            if self._is_visible(row) and getattr(row, field) == value
        }
        return tuple(found[key] for key in sorted(found))

    async def count_by(self, field: str, **equals: object) -> dict[object, int]:
        self.kind.scalar(field)
        return dict(Counter(getattr(row, field) for row in await self.find(**equals)))

    async def count(self, **equals: object) -> int:
        return len(await self.find(**equals))

    async def page(self, query: ListQuery) -> Page[T]:
        plan = plan_list(self.kind, query)
        found = sorted(
            self.having(lambda row: _matches(plan, row)),
            key=lambda row: _place(plan, row),
            reverse=plan.reads_down,
        )
        return plan.page([row for row in found if _is_after(plan, row)][: plan.limit + 1])

    def having(
        self, condition: Callable[[T], bool], *, among: Sequence[Mapping[str, object]] = ({},)
    ) -> list[T]:
        """Return the visible rows that meet ``condition``.

        ``among`` says which fields all of them have, one way or another, so that an index helps.
        """
        return [
            row
            for equals in among
            for row in self.table.candidates(equals)
            if self._is_visible(row) and condition(row)
        ]

    def _is_visible(self, row: T) -> bool:
        if self.scope.tenant_id is None or self.kind.tenancy is Tenancy.SHARED:
            return True
        return self.kind.tenant_of(row) == self.scope.tenant_id

    def _require_writable(self) -> None:
        if self.scope.tenant_id is not None and self.kind.tenancy is not Tenancy.OWNED:
            raise InvariantError(f"a tenant's unit may only read {self.kind.table}")

    def _require_own(self, row: T) -> None:
        if not self._is_visible(row):
            raise InvariantError(f"this row of {self.kind.table} is another tenant's")


def _is_in(instant: datetime | None, span: Span) -> bool:
    since, until = span
    if instant is None:
        return span == (None, None)
    return (since is None or since <= instant) and (until is None or instant < until)


def _matches(plan: ListPlan[T], row: T) -> bool:
    if not all(getattr(row, name) in values for name, values in plan.where.items()):
        return False
    if not all(_is_in(getattr(row, name), span) for name, span in plan.spans.items()):
        return False
    wanted = plan.search.lower()
    return not wanted or any(
        wanted in (getattr(row, name) or "").lower() for name in plan.kind.searchable
    )


def _place(plan: ListPlan[T], row: T) -> tuple[Any, ...]:
    return _ordered(getattr(row, plan.sort.name), plan.kind.key_of(row))


def _ordered(value: object, key: str) -> tuple[Any, ...]:
    """Return what sorts like the value, null last, and then like the key."""
    return (value is None, 0 if value is None else value, key)


def _is_after(plan: ListPlan[T], row: T) -> bool:
    if plan.after is None:
        return True
    here, start = _place(plan, row), _ordered(plan.after.value, plan.after.key)
    return here < start if plan.reads_down else here > start


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
    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, ALLOCATIONS)

    async def expired(self, now: datetime, *, limit: int) -> Sequence[AllocationId]:
        found = self.having(
            lambda row: row.state in MAY_EXPIRE and _has_come(row.releases_at, now),
            among=[{"state": state} for state in sorted(MAY_EXPIRE)],
        )
        return [row.id for row in _oldest(found, lambda row: row.releases_at, limit)]


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

    async def names(self, node_ids: Collection[NodeId]) -> Mapping[NodeId, str]:
        return {row.id: row.name for row in await self.find_any("id", list(node_ids))}


class MemoryBillingAccounts(MemoryRows[BillingAccount]):
    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, BILLING_ACCOUNTS)

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
