"""Units of work in memory, and how they begin.

One unit at a time has the database; an exception undoes all it did. The clock is passed in, so
that a test or a simulation owns the time.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import datetime

from gpucloud_adapters.memory.database import MemoryDatabase
from gpucloud_adapters.memory.fleet import MemoryFleet
from gpucloud_adapters.memory.kind_rows import (
    MemoryAllocations,
    MemoryAuditRows,
    MemoryBillingAccounts,
    MemoryClaims,
    MemoryNodes,
    MemoryOneTimeTokens,
    MemoryStoredResponses,
    MemoryTasks,
    MemoryUsageSegments,
    MemoryWaitlist,
    MemoryWebhookEvents,
)
from gpucloud_adapters.memory.ledger import MemoryLedger
from gpucloud_adapters.memory.mails import MemoryMails
from gpucloud_adapters.memory.rows import MemoryRows
from gpucloud_adapters.memory.sign_ins import MemorySessions
from gpucloud_adapters.memory.terminal_leases import MemoryTerminalLeases
from gpucloud_adapters.stored import kinds
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_core.access.model import (
    Project,
    ProjectMember,
    SavedView,
    SshKey,
    Tenant,
    TenantMember,
    User,
)
from gpucloud_core.allocations.model import StateChange
from gpucloud_core.audit.chain import ChainHead
from gpucloud_core.billing.model import Hold, PaymentSession
from gpucloud_core.catalog.model import OsImage, Price, Sku
from gpucloud_core.kernel.audit import audit_row
from gpucloud_core.kernel.ids import entity_id, uuid7
from gpucloud_core.kernel.once import joined
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.secret_box import SealedSecret
from gpucloud_core.kernel.time import EPOCH, Clock, microseconds_between
from gpucloud_core.kernel.unit import AuditFact, Event, Scope
from gpucloud_core.nodes.model import Slot
from gpucloud_core.notices.model import AttentionRow, InboxNotice
from gpucloud_core.placement.promises import Promise
from gpucloud_core.work.model import TaskEvent


class MemoryTransactions:
    """Begins units over one database in memory; ``database`` is for looking behind the ports."""

    def __init__(self, clock: Clock, database: MemoryDatabase | None = None) -> None:
        self.clock = clock
        self.database = database or MemoryDatabase()

    def begin(self, scope: Scope) -> AbstractAsyncContextManager["MemoryUnit"]:
        return joined(self._begin, scope)

    @asynccontextmanager
    async def look(self, scope: Scope) -> AsyncIterator["MemoryUnit"]:
        async with self.begin(scope) as unit:
            before = self.database.journal.mark
            yield unit
            if self.database.journal.mark != before:
                raise InvariantError("a look changes nothing")

    @asynccontextmanager
    async def _begin(self, scope: Scope) -> AsyncIterator["MemoryUnit"]:
        await self.database.acquire()
        try:
            with self.database.change():
                yield MemoryUnit(self.database, scope, self.clock)
        finally:
            self.database.release()


class MemoryOutbox:
    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def pending(self, *, limit: int) -> Sequence[StoredEvent]:
        published = self._database.published
        waiting = (event for event in self._database.events.values() if event.id not in published)
        return [event for event, _ in zip(waiting, range(limit), strict=False)]

    async def mark_published(self, ids: Sequence[int]) -> None:
        for number in ids:
            self._database.journal.assign(self._database.published, number, True)


class MemoryUnit:
    """Satisfies every concept's narrow unit."""

    def __init__(self, database: MemoryDatabase, scope: Scope, clock: Clock) -> None:
        self._database = database
        self._scope = scope
        self._clock = clock

    @asynccontextmanager
    async def within(self, scope: Scope, *, apart: bool = True) -> AsyncIterator["MemoryUnit"]:
        with self._database.part() if apart else nullcontext():
            yield MemoryUnit(self._database, scope, self._clock)

    async def now(self, *, not_before: datetime | None = None) -> datetime:
        now = self._clock.now()
        return now if not_before is None else max(now, not_before)

    async def emit(self, event: Event) -> None:
        self._require_own(event.tenant_id)
        stored = StoredEvent(
            id=next(self._database.numbers), event=event, created_at=self._clock.now()
        )
        self._database.journal.assign(self._database.events, stored.id, stored)

    async def audit(self, fact: AuditFact) -> None:
        self._require_own(fact.tenant_id)
        now = self._clock.now()
        noise = next(self._database.numbers).to_bytes(10)
        number = uuid7(microseconds_between(EPOCH, now) // 1000, noise)
        row = audit_row(entity_id("aud", number), now, fact)
        self._database.table(kinds.AUDIT_ROWS).insert(row)

    def _require_own(self, tenant_id: str | None) -> None:
        if self._scope.tenant_id is not None and tenant_id not in {None, self._scope.tenant_id}:
            raise InvariantError("a tenant's unit may not write about another tenant")

    @property
    def outbox(self) -> MemoryOutbox:
        if self._scope.tenant_id is not None:
            raise InvariantError("the outbox is the platform's alone")
        return MemoryOutbox(self._database)

    @property
    def audit_rows(self) -> MemoryAuditRows:
        return MemoryAuditRows(self._database, self._scope)

    @property
    def audit_chain(self) -> MemoryRows[ChainHead]:
        return MemoryRows(self._database, self._scope, kinds.AUDIT_CHAIN)

    @property
    def tenants(self) -> MemoryRows[Tenant]:
        return MemoryRows(self._database, self._scope, kinds.TENANTS)

    @property
    def users(self) -> MemoryRows[User]:
        return MemoryRows(self._database, self._scope, kinds.USERS)

    @property
    def projects(self) -> MemoryRows[Project]:
        return MemoryRows(self._database, self._scope, kinds.PROJECTS)

    @property
    def tenant_members(self) -> MemoryRows[TenantMember]:
        return MemoryRows(self._database, self._scope, kinds.TENANT_MEMBERS)

    @property
    def project_members(self) -> MemoryRows[ProjectMember]:
        return MemoryRows(self._database, self._scope, kinds.PROJECT_MEMBERS)

    @property
    def sessions(self) -> MemorySessions:
        return MemorySessions(self._database, self._scope, self._clock)

    @property
    def ssh_keys(self) -> MemoryRows[SshKey]:
        return MemoryRows(self._database, self._scope, kinds.SSH_KEYS)

    @property
    def saved_views(self) -> MemoryRows[SavedView]:
        return MemoryRows(self._database, self._scope, kinds.SAVED_VIEWS)

    @property
    def one_time_tokens(self) -> MemoryOneTimeTokens:
        return MemoryOneTimeTokens(self._database, self._scope)

    @property
    def skus(self) -> MemoryRows[Sku]:
        return MemoryRows(self._database, self._scope, kinds.SKUS)

    @property
    def prices(self) -> MemoryRows[Price]:
        return MemoryRows(self._database, self._scope, kinds.PRICES)

    @property
    def os_images(self) -> MemoryRows[OsImage]:
        return MemoryRows(self._database, self._scope, kinds.OS_IMAGES)

    @property
    def nodes(self) -> MemoryNodes:
        return MemoryNodes(self._database, self._scope)

    @property
    def slots(self) -> MemoryRows[Slot]:
        return MemoryRows(self._database, self._scope, kinds.SLOTS)

    @property
    def fleet(self) -> MemoryFleet:
        return MemoryFleet(self._database, self._scope, self._clock)

    @property
    def claims(self) -> MemoryClaims:
        return MemoryClaims(self._database, self._scope)

    @property
    def promises(self) -> MemoryRows[Promise]:
        return MemoryRows(self._database, self._scope, kinds.PROMISES)

    @property
    def usage_segments(self) -> MemoryUsageSegments:
        return MemoryUsageSegments(self._database, self._scope)

    @property
    def billing_accounts(self) -> MemoryBillingAccounts:
        return MemoryBillingAccounts(self._database, self._scope, self)

    @property
    def ledger(self) -> MemoryLedger:
        return MemoryLedger(self._database, self._scope)

    @property
    def holds(self) -> MemoryRows[Hold]:
        return MemoryRows(self._database, self._scope, kinds.HOLDS)

    @property
    def payments(self) -> MemoryRows[PaymentSession]:
        return MemoryRows(self._database, self._scope, kinds.PAYMENTS)

    @property
    def webhook_events(self) -> MemoryWebhookEvents:
        return MemoryWebhookEvents(self._database, self._scope)

    @property
    def tasks(self) -> MemoryTasks:
        return MemoryTasks(self._database, self._scope)

    @property
    def task_events(self) -> MemoryRows[TaskEvent]:
        return MemoryRows(self._database, self._scope, kinds.TASK_EVENTS)

    @property
    def allocations(self) -> MemoryAllocations:
        return MemoryAllocations(self._database, self._scope, self)

    @property
    def waitlist(self) -> MemoryWaitlist:
        return MemoryWaitlist(self._database, self._scope)

    @property
    def terminal_leases(self) -> MemoryTerminalLeases:
        return MemoryTerminalLeases(self._database, self._scope)

    @property
    def state_changes(self) -> MemoryRows[StateChange]:
        return MemoryRows(self._database, self._scope, kinds.STATE_CHANGES)

    @property
    def secrets(self) -> MemoryRows[SealedSecret]:
        return MemoryRows(self._database, self._scope, kinds.SECRETS)

    @property
    def inbox_notices(self) -> MemoryRows[InboxNotice]:
        return MemoryRows(self._database, self._scope, kinds.INBOX_NOTICES)

    @property
    def mails(self) -> MemoryMails:
        return MemoryMails(self._database, self._scope)

    @property
    def attention_rows(self) -> MemoryRows[AttentionRow]:
        return MemoryRows(self._database, self._scope, kinds.ATTENTION_ROWS)

    @property
    def stored_responses(self) -> MemoryStoredResponses:
        return MemoryStoredResponses(self._database, self._scope)
