"""Units of work in PostgreSQL, and how they begin.

Leaving the block commits; anything else rolls back. One class satisfies every concept's narrow
unit; what it may see and write is the scope's, held by the database.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Final

from sqlalchemy import text

from gpucloud_adapters.postgres import due
from gpucloud_adapters.postgres.audit import AUDIT_ROWS, PostgresAuditRows
from gpucloud_adapters.postgres.engine import Engine
from gpucloud_adapters.postgres.fleet import CLAIMS, PostgresFleet
from gpucloud_adapters.postgres.ledger import PostgresLedger
from gpucloud_adapters.postgres.look import Look
from gpucloud_adapters.postgres.rows import PostgresRows
from gpucloud_adapters.postgres.session import Session
from gpucloud_adapters.postgres.sign_ins import PostgresSessions
from gpucloud_adapters.postgres.statements import Statements
from gpucloud_adapters.postgres.tasks import TASKS, PostgresTasks
from gpucloud_adapters.postgres.terminal_leases import PostgresTerminalLeases
from gpucloud_adapters.postgres.writes import EVENTS, FACTS
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
from gpucloud_core.kernel.once import is_keyed, joined
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.secret_box import SealedSecret
from gpucloud_core.kernel.time import EPOCH, microseconds_between
from gpucloud_core.kernel.unit import AuditFact, Event, Scope
from gpucloud_core.nodes.model import Slot
from gpucloud_core.notices.model import AttentionRow, InboxNotice
from gpucloud_core.placement.model import Claim
from gpucloud_core.placement.promises import Promise
from gpucloud_core.work.model import TaskEvent

_TENANTS: Final = Statements(kinds.TENANTS)
_USERS: Final = Statements(kinds.USERS)
_PROJECTS: Final = Statements(kinds.PROJECTS)
_TENANT_MEMBERS: Final = Statements(kinds.TENANT_MEMBERS)
_PROJECT_MEMBERS: Final = Statements(kinds.PROJECT_MEMBERS)
_SSH_KEYS: Final = Statements(kinds.SSH_KEYS)
_SAVED_VIEWS: Final = Statements(kinds.SAVED_VIEWS)
_SKUS: Final = Statements(kinds.SKUS)
_PRICES: Final = Statements(kinds.PRICES)
_OS_IMAGES: Final = Statements(kinds.OS_IMAGES)
_PROMISES: Final = Statements(kinds.PROMISES)
_SLOTS: Final = Statements(kinds.SLOTS)
_HOLDS: Final = Statements(kinds.HOLDS)
_PAYMENTS: Final = Statements(kinds.PAYMENTS)
_TASK_EVENTS: Final = Statements(kinds.TASK_EVENTS)
_SECRETS: Final = Statements(kinds.SECRETS)
_INBOX_NOTICES: Final = Statements(kinds.INBOX_NOTICES)
_ATTENTION_ROWS: Final = Statements(kinds.ATTENTION_ROWS)
_AUDIT_CHAIN: Final = Statements(kinds.AUDIT_CHAIN)
_STATE_CHANGES: Final = Statements(kinds.STATE_CHANGES)

_RELAY_TURN: Final = text("SELECT pg_try_advisory_xact_lock(hashtextextended('outbox', 0))")
_PENDING: Final = text("""
    SELECT id, kind, subject, tenant_id, payload, created_at FROM outbox
    WHERE published_at IS NULL ORDER BY id LIMIT :row_limit
""")
_PUBLISHED: Final = text("""
    UPDATE outbox SET published_at = clock_timestamp() WHERE id = ANY (CAST(:ids AS bigint[]))
""")


class PostgresTransactions:
    """Begins units on the connections of one engine.

    Args:
        engine: where they come from.
        committed: is called when a unit that emitted events has committed; may not raise.
    """

    def __init__(self, engine: Engine, committed: Callable[[], None] | None = None) -> None:
        self._engine = engine
        self._committed = committed

    def begin(self, scope: Scope) -> AbstractAsyncContextManager["PostgresUnit"]:
        return joined(self._begin, scope)

    @asynccontextmanager
    async def _begin(self, scope: Scope) -> AsyncIterator["PostgresUnit"]:
        session = await Session.open(self._engine, scope)
        unit = PostgresUnit(session)
        try:
            yield unit
            await session.commit()
            if unit.has_emitted and self._committed is not None:
                self._committed()
        finally:
            # Also when the task is being cancelled, the connection goes back rolled back.
            await asyncio.shield(session.close())

    def look(self, scope: Scope) -> AbstractAsyncContextManager["PostgresUnit"]:
        return self.begin(scope) if is_keyed() else self._look(scope)

    @asynccontextmanager
    async def _look(self, scope: Scope) -> AsyncIterator["PostgresUnit"]:
        session = Look(self._engine, scope)
        unit = PostgresUnit(session)
        try:
            yield unit
            await unit.write_ahead()  # refuses if there is something to write
        finally:
            await asyncio.shield(session.close())


class PostgresOutbox:
    """Events in order. One relay at a time reads them, so that none overtakes another."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def pending(self, *, limit: int) -> Sequence[StoredEvent]:
        if not await self._session.value(_RELAY_TURN):
            return ()
        found = await self._session.rows(_PENDING, {"row_limit": limit})
        return [
            StoredEvent(
                id=number,
                event=Event(kind=kind, subject=subject, tenant_id=tenant_id, payload=payload),
                created_at=created_at,
            )
            for number, kind, subject, tenant_id, payload, created_at in found
        ]

    async def mark_published(self, ids: Sequence[int]) -> None:
        await self._session.change(_PUBLISHED, {"ids": list(ids)})


class PostgresUnit:
    """Satisfies every concept's narrow unit."""

    def __init__(self, session: Session) -> None:
        self.has_emitted = False
        self._session = session
        self._fleet = PostgresFleet(session)

    async def write_ahead(self) -> None:
        """Write what waits for the end of the unit."""
        await self._session.write()

    @asynccontextmanager
    async def within(self, scope: Scope, *, apart: bool = True) -> AsyncIterator["PostgresUnit"]:
        async with self._session.within(scope, apart=apart):
            unit = PostgresUnit(self._session)
            yield unit
        self.has_emitted |= unit.has_emitted

    async def now(self, *, not_before: datetime | None = None) -> datetime:
        now = await self._session.clock()
        return now if not_before is None else max(now, not_before)

    async def emit(self, event: Event) -> None:
        self.has_emitted = True
        self._session.writes.tell(EVENTS, event)

    async def audit(self, fact: AuditFact) -> None:
        now = self._session.now()
        number = uuid7(microseconds_between(EPOCH, now) // 1000, os.urandom(10))
        row = audit_row(entity_id("aud", number), now, fact)
        self._session.writes.add(FACTS, row.id, row)

    @property
    def outbox(self) -> PostgresOutbox:
        if self._session.scope.tenant_id is not None:
            raise InvariantError("the outbox is the platform's alone")
        return PostgresOutbox(self._session)

    @property
    def audit_rows(self) -> PostgresAuditRows:
        return PostgresAuditRows(self._session, AUDIT_ROWS)

    @property
    def audit_chain(self) -> PostgresRows[ChainHead]:
        return PostgresRows(self._session, _AUDIT_CHAIN)

    @property
    def tenants(self) -> PostgresRows[Tenant]:
        return PostgresRows(self._session, _TENANTS)

    @property
    def users(self) -> PostgresRows[User]:
        return PostgresRows(self._session, _USERS)

    @property
    def projects(self) -> PostgresRows[Project]:
        return PostgresRows(self._session, _PROJECTS)

    @property
    def tenant_members(self) -> PostgresRows[TenantMember]:
        return PostgresRows(self._session, _TENANT_MEMBERS)

    @property
    def project_members(self) -> PostgresRows[ProjectMember]:
        return PostgresRows(self._session, _PROJECT_MEMBERS)

    @property
    def sessions(self) -> PostgresSessions:
        return PostgresSessions(self._session)

    @property
    def ssh_keys(self) -> PostgresRows[SshKey]:
        return PostgresRows(self._session, _SSH_KEYS)

    @property
    def saved_views(self) -> PostgresRows[SavedView]:
        return PostgresRows(self._session, _SAVED_VIEWS)

    @property
    def one_time_tokens(self) -> due.PostgresOneTimeTokens:
        return due.PostgresOneTimeTokens(self._session, due.ONE_TIME_TOKENS)

    @property
    def skus(self) -> PostgresRows[Sku]:
        return PostgresRows(self._session, _SKUS)

    @property
    def prices(self) -> PostgresRows[Price]:
        return PostgresRows(self._session, _PRICES)

    @property
    def promises(self) -> PostgresRows[Promise]:
        return PostgresRows(self._session, _PROMISES)

    @property
    def os_images(self) -> PostgresRows[OsImage]:
        return PostgresRows(self._session, _OS_IMAGES)

    @property
    def nodes(self) -> due.PostgresNodes:
        return due.PostgresNodes(self._session, due.NODES)

    @property
    def slots(self) -> PostgresRows[Slot]:
        return PostgresRows(self._session, _SLOTS)

    @property
    def fleet(self) -> PostgresFleet:
        return self._fleet

    @property
    def claims(self) -> PostgresRows[Claim]:
        return PostgresRows(self._session, CLAIMS)

    @property
    def usage_segments(self) -> due.PostgresUsageSegments:
        return due.PostgresUsageSegments(self._session, due.USAGE_SEGMENTS)

    @property
    def billing_accounts(self) -> due.PostgresBillingAccounts:
        return due.PostgresBillingAccounts(self._session, due.BILLING_ACCOUNTS)

    @property
    def ledger(self) -> PostgresLedger:
        return PostgresLedger(self._session)

    @property
    def holds(self) -> PostgresRows[Hold]:
        return PostgresRows(self._session, _HOLDS)

    @property
    def payments(self) -> PostgresRows[PaymentSession]:
        return PostgresRows(self._session, _PAYMENTS)

    @property
    def webhook_events(self) -> due.PostgresWebhookEvents:
        return due.PostgresWebhookEvents(self._session, due.WEBHOOK_EVENTS)

    @property
    def tasks(self) -> PostgresTasks:
        return PostgresTasks(self._session, TASKS)

    @property
    def task_events(self) -> PostgresRows[TaskEvent]:
        return PostgresRows(self._session, _TASK_EVENTS)

    @property
    def waitlist(self) -> due.PostgresWaitlist:
        return due.PostgresWaitlist(self._session, due.WAITLIST)

    @property
    def allocations(self) -> due.PostgresAllocations:
        return due.PostgresAllocations(self._session, due.ALLOCATIONS)

    @property
    def terminal_leases(self) -> PostgresTerminalLeases:
        return PostgresTerminalLeases(self._session)

    @property
    def state_changes(self) -> PostgresRows[StateChange]:
        return PostgresRows(self._session, _STATE_CHANGES)

    @property
    def secrets(self) -> PostgresRows[SealedSecret]:
        return PostgresRows(self._session, _SECRETS)

    @property
    def inbox_notices(self) -> PostgresRows[InboxNotice]:
        return PostgresRows(self._session, _INBOX_NOTICES)

    @property
    def mails(self) -> due.PostgresMails:
        return due.PostgresMails(self._session, due.MAILS)

    @property
    def attention_rows(self) -> PostgresRows[AttentionRow]:
        return PostgresRows(self._session, _ATTENTION_ROWS)

    @property
    def stored_responses(self) -> due.PostgresStoredResponses:
        return due.PostgresStoredResponses(self._session, due.STORED_RESPONSES)
