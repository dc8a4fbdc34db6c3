"""Kinds that can tell what has come due, and kinds with one verb more than the others.

Rows that have come due are found by an index made for it. Where a worker acts on the very rows it
is given, they come locked, and rows that another worker holds are skipped.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    Text,
    and_,
    any_,
    bindparam,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as pg_insert

from gpucloud_adapters.postgres.briefs import briefs
from gpucloud_adapters.postgres.costs import COST
from gpucloud_adapters.postgres.launches import launch_rows
from gpucloud_adapters.postgres.rows import PostgresRows
from gpucloud_adapters.postgres.statements import Statements
from gpucloud_adapters.stored import kinds
from gpucloud_core.access.model import OneTimeToken
from gpucloud_core.allocations.briefs import AllocationBrief
from gpucloud_core.allocations.launch_rows import LaunchNames, LaunchRows
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.ports import MAY_EXPIRE
from gpucloud_core.billing.ledger import first_id
from gpucloud_core.billing.model import BillingAccount, TransferKind, WebhookEvent
from gpucloud_core.kernel.idempotency import StoredResponse
from gpucloud_core.kernel.ids import AllocationId, NodeId, TenantId
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.nodes.model import Node, NodeStatus
from gpucloud_core.nodes.ports import LOOK_EVERY, LOOKED_AT, NodeGpus
from gpucloud_core.notices.model import Mail
from gpucloud_core.waitlist.model import WaitEntry

ONE_TIME_TOKENS: Final = Statements(kinds.ONE_TIME_TOKENS)
STORED_RESPONSES: Final = Statements(kinds.STORED_RESPONSES)
ALLOCATIONS: Final = Statements(kinds.ALLOCATIONS)
WAITLIST: Final = Statements(kinds.WAITLIST)
USAGE_SEGMENTS: Final = Statements(kinds.USAGE_SEGMENTS)
NODES: Final = Statements(kinds.NODES)
BILLING_ACCOUNTS: Final = Statements(kinds.BILLING_ACCOUNTS)
WEBHOOK_EVENTS: Final = Statements(kinds.WEBHOOK_EVENTS)
MAILS: Final = Statements(kinds.MAILS)

_NOW: Final = bindparam("now", type_=DateTime(timezone=True))
_LIMIT: Final = bindparam("row_limit", type_=BigInteger)

_token = ONE_TIME_TOKENS.columns
_USE_TOKEN: Final = (
    update(ONE_TIME_TOKENS.mapping.table)
    .where(
        _token.id == bindparam("row_key", type_=Text),
        _token.used_at.is_(None),
        _token.expires_at > _NOW,
    )
    .values(used_at=_NOW)
    .returning(*_token)
)


class PostgresOneTimeTokens(PostgresRows[OneTimeToken]):
    async def use(self, key: str, now: datetime) -> OneTimeToken | None:
        used = await self.session.first(_USE_TOKEN, {"row_key": key, "now": now})
        return None if used is None else self.statements.mapping.decode(used)


_TRY_LOCK: Final = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:row_key, 0))")
_response = STORED_RESPONSES.columns
# A twin in flight holds the lock, so that this never waits for its row.
_BEGIN: Final = (
    pg_insert(STORED_RESPONSES.mapping.table)
    .from_select(
        list(kinds.STORED_RESPONSES.fields),
        select(
            *(
                bindparam(name, type_=_response[name].type).label(name)
                for name in kinds.STORED_RESPONSES.fields
            )
        ).where(
            func.pg_try_advisory_xact_lock(
                func.hashtextextended(bindparam("id", type_=Text), literal_column("0"))
            )
        ),
    )
    .on_conflict_do_nothing()
    .returning(_response.id)
)


class PostgresStoredResponses(PostgresRows[StoredResponse]):
    async def begin(self, row: StoredResponse) -> bool:
        values = self.statements.mapping.encode(row)
        return await self.session.value(_BEGIN, values, of=self.kind.table) is not None

    async def try_lock(self, key: str) -> bool:
        return bool(await self.session.value(_TRY_LOCK, {"row_key": key}))


_allocation = ALLOCATIONS.columns
_MAY_EXPIRE: Final = [state.value for state in sorted(MAY_EXPIRE)]
_EXPIRED: Final = (
    select(_allocation.id)
    .where(
        _allocation.state == any_(bindparam("states", type_=ARRAY(Text))),
        _allocation.releases_at <= _NOW,
    )
    .order_by(_allocation.releases_at)
    .limit(_LIMIT)
)


class PostgresAllocations(PostgresRows[Allocation]):
    async def expired(self, now: datetime, *, limit: int) -> Sequence[AllocationId]:
        given = {"now": now, "row_limit": limit, "states": _MAY_EXPIRE}
        found = await self.session.rows(_EXPIRED, given)
        return [AllocationId(row[0]) for row in found]

    async def of_launch(self, names: LaunchNames) -> LaunchRows:
        return await launch_rows(self.session, names)

    async def briefs(self, query: ListQuery) -> Page[AllocationBrief]:
        return await briefs(self.session, query)


_node = NODES.columns
_LOOKS_DUE: Final = (
    NODES.select.where(
        _node.status == any_(literal([s.value for s in sorted(LOOKED_AT)], ARRAY(Text))),
        or_(
            _node.look_due_at <= _NOW,
            and_(
                _node.look_due_at.is_(None),
                _node.created_at <= bindparam("known_before", type_=DateTime(timezone=True)),
            ),
        ),
    )
    .order_by(func.coalesce(_node.look_due_at, _node.created_at))
    .limit(_LIMIT)
    .with_for_update(skip_locked=True, key_share=True)
)


_waiting = WAITLIST.columns
_POOLS_DUE: Final = (
    select(_waiting.pool)
    .where(_waiting.due_at <= _NOW)
    .group_by(_waiting.pool)
    .order_by(func.min(_waiting.due_at), _waiting.pool)
    .limit(_LIMIT)
)


class PostgresWaitlist(PostgresRows[WaitEntry]):
    async def pools_due(self, now: datetime, *, limit: int) -> Sequence[str]:
        found = await self.session.rows(_POOLS_DUE, {"now": now, "row_limit": limit})
        return [str(row[0]) for row in found]


_segment = USAGE_SEGMENTS.columns
_TENANTS_DUE: Final = (
    select(_segment.tenant_id)
    .where(_segment.next_settlement_at <= _NOW)
    .group_by(_segment.tenant_id)
    .order_by(func.min(_segment.next_settlement_at), _segment.tenant_id)
    .limit(_LIMIT)
)


_RUNNING_AFTER: Final = (
    USAGE_SEGMENTS.select.where(
        _segment.tenant_id == bindparam("tenant", type_=Text),
        or_(_segment.ended_at.is_(None), _segment.ended_at > _NOW),
    )
    .order_by(_segment.ended_at.desc().nulls_first())
    .limit(_LIMIT)
)


_COSTS: Final = text(f"""
    SELECT allocation_id, sum({COST.format("CAST(:until AS timestamptz)")})
    FROM usage_segments
    WHERE allocation_id = ANY(CAST(:ids AS text[]))
    GROUP BY allocation_id
""")  # noqa: S608  a formula of ours


class PostgresUsageSegments(PostgresRows[UsageSegment]):
    async def tenants_due(self, now: datetime, *, limit: int) -> Sequence[TenantId]:
        found = await self.session.rows(_TENANTS_DUE, {"now": now, "row_limit": limit})
        return [TenantId(row[0]) for row in found]

    async def running_after(
        self, tenant_id: TenantId, since: datetime, *, limit: int
    ) -> Sequence[UsageSegment]:
        values = {"tenant": tenant_id, "now": since, "row_limit": limit}
        return await self.read(_RUNNING_AFTER, values)

    async def costs(
        self, allocation_ids: Sequence[AllocationId], until: datetime
    ) -> Mapping[AllocationId, int]:
        found = await self.session.rows(_COSTS, {"ids": list(allocation_ids), "until": until})
        return {AllocationId(row[0]): int(row[1]) for row in found}


_NODE_NAMES: Final = text("SELECT id, name FROM nodes WHERE id = ANY(CAST(:ids AS text[]))")


# As ``marks_of`` says it; the first part is what the index of migration 0024 is made of.
_WITH_MARK: Final = (
    NODES.select.where(
        text("""(
        (jsonb_path_query_array(topology, '$.gpus[*].uuid')
            || jsonb_path_query_array(topology, '$.gpus[*].serial')
            || jsonb_path_query_array(topology, '$.nvmes[*].serial')) ? :mark
        OR access ->> 'host' = :mark OR slot_host = :mark
        OR id IN (SELECT node_id FROM slots WHERE ssh_host = :mark)
    ) AND :mark <> ''""").bindparams(bindparam("mark", type_=Text))
    )
    .order_by(_node.id)
    .limit(_LIMIT)
)
_FIRST_NAMES: Final = text(
    "SELECT id, name FROM nodes WHERE status <> 'deleted' "
    'ORDER BY name COLLATE "C" LIMIT :row_limit'
)
_NODE_GPUS: Final = text("""
    SELECT id, coalesce(topology #>> '{gpus,0,model}', ''),
           coalesce(jsonb_array_length(topology -> 'gpus'), 0)
    FROM nodes WHERE status = ANY(CAST(:statuses AS text[]))
""")


class PostgresNodes(PostgresRows[Node]):
    async def with_mark(self, mark: str, *, limit: int) -> tuple[Node, ...]:
        return await self.read(_WITH_MARK, {"mark": mark, "row_limit": limit})

    async def due(self, now: datetime, *, limit: int) -> Sequence[Node]:
        values = {"now": now, "known_before": now - LOOK_EVERY, "row_limit": limit}
        return await self.read(_LOOKS_DUE, values)

    async def names(self, node_ids: Collection[NodeId]) -> Mapping[NodeId, str]:
        found = await self.session.rows(_NODE_NAMES, {"ids": list(node_ids)}) if node_ids else []
        return {NodeId(row[0]): row[1] for row in found}

    async def first_names(self, limit: int) -> Mapping[NodeId, str]:
        found = await self.session.rows(_FIRST_NAMES, {"row_limit": limit})
        return {NodeId(row[0]): row[1] for row in found}

    async def gpus(self, statuses: Collection[NodeStatus]) -> Sequence[NodeGpus]:
        found = await self.session.rows(_NODE_GPUS, {"statuses": sorted(statuses)})
        return [NodeGpus(NodeId(row[0]), row[1], row[2]) for row in found]


_account = BILLING_ACCOUNTS.columns
_DEADLINES: Final = (
    select(_account.tenant_id)
    .where(_account.next_deadline_at <= _NOW)
    .order_by(_account.next_deadline_at)
    .limit(_LIMIT)
)


# With what ``settle_usage`` leaves out this is the rule of ``billing.settlement.is_plain``.
_LOCK_PLAIN: Final = text("""
    SELECT tenant_id FROM billing_accounts
    WHERE tenant_id = ANY(CAST(:ids AS text[])) AND credits = '[]'
    ORDER BY tenant_id FOR NO KEY UPDATE SKIP LOCKED
""")
_SETTLE: Final = text("""
    SELECT * FROM settle_usage(
        CAST(:ids AS text[]), CAST(:now AS timestamptz), CAST(:head AS text)
    )
""")
_NUMBERED: Final = 4  # digits of an id, for a number of 20 bits


class PostgresBillingAccounts(PostgresRows[BillingAccount]):
    async def settle_plain(self, tenant_ids: Sequence[TenantId]) -> Sequence[TenantId]:
        locked = await self.session.rows(_LOCK_PLAIN, {"ids": list(tenant_ids)})
        if not locked:
            return ()
        now = self.session.now()
        first = first_id(TransferKind.USAGE, now, os.urandom(8))
        given = {"ids": [row[0] for row in locked], "now": now, "head": first[:-_NUMBERED]}
        return [TenantId(row[0]) for row in await self.session.rows(_SETTLE, given)]

    async def due(self, now: datetime, *, limit: int) -> Sequence[TenantId]:
        found = await self.session.rows(_DEADLINES, {"now": now, "row_limit": limit})
        return [TenantId(row[0]) for row in found]


_event = WEBHOOK_EVENTS.columns
_event_due = func.coalesce(_event.next_try_at, _event.received_at)
_EVENTS_DUE: Final = (
    WEBHOOK_EVENTS.select.where(_event.handled_at.is_(None), _event_due <= _NOW)
    .order_by(_event_due)
    .limit(_LIMIT)
    .with_for_update(skip_locked=True, key_share=True)
)


class PostgresWebhookEvents(PostgresRows[WebhookEvent]):
    async def due(self, now: datetime, *, limit: int) -> Sequence[WebhookEvent]:
        return await self.read(_EVENTS_DUE, {"now": now, "row_limit": limit})


_mail = MAILS.columns
_MAILS_DUE: Final = (
    MAILS.select.where(_mail.due_at <= _NOW)
    .order_by(_mail.due_at, _mail.id)
    .limit(_LIMIT)
    .with_for_update(skip_locked=True, key_share=True)
)


class PostgresMails(PostgresRows[Mail]):
    async def due(self, now: datetime, *, limit: int) -> Sequence[Mail]:
        return await self.read(_MAILS_DUE, {"now": now, "row_limit": limit})
