"""What a unit tells of itself: events, audit rows and the steps of a lifecycle, written at its end.

None of them can be in anybody's way, so they wait for each other and go in one statement. Whoever
reads the steps in the same unit sees them: they are written first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from gpucloud_adapters.postgres.rows import PostgresRows
from gpucloud_adapters.postgres.session import Session
from gpucloud_adapters.postgres.statements import Statements
from gpucloud_adapters.stored import kinds
from gpucloud_core.allocations.model import StateChange
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.unit import Event

STATE_CHANGES: Final = Statements(kinds.STATE_CHANGES)

# Rows go in as they lie in the arrays: the numbers of events are in the order they were told.
_WRITE: Final = text("""
    WITH changed AS (
        INSERT INTO state_changes (id, tenant_id, allocation_id, at, state, event, actor, reason)
        SELECT * FROM unnest(
            CAST(:change_id AS text[]), CAST(:change_tenant_id AS text[]),
            CAST(:change_allocation_id AS text[]), CAST(:change_at AS timestamptz[]),
            CAST(:change_state AS text[]), CAST(:change_event AS text[]),
            CAST(:change_actor AS text[]), CAST(:change_reason AS text[])
        )
    ), told AS (
        INSERT INTO outbox (kind, subject, tenant_id, payload)
        SELECT kind, subject, tenant_id, payload FROM unnest(
            CAST(:event_kind AS text[]), CAST(:event_subject AS text[]),
            CAST(:event_tenant_id AS text[]), CAST(:event_payload AS jsonb[])
        ) WITH ORDINALITY AS event (kind, subject, tenant_id, payload, number) ORDER BY number
    )
    INSERT INTO audit_rows (
        id, at, action, target, result, tenant_id, project_id, user_id, actor, via,
        correlation_id, ip, user_agent, changes, content_hash, seq, chain_hash
    )
    SELECT * FROM unnest(
        CAST(:fact_id AS text[]), CAST(:fact_at AS timestamptz[]), CAST(:fact_action AS text[]),
        CAST(:fact_target AS text[]), CAST(:fact_result AS text[]),
        CAST(:fact_tenant_id AS text[]), CAST(:fact_project_id AS text[]),
        CAST(:fact_user_id AS text[]), CAST(:fact_actor AS text[]), CAST(:fact_via AS text[]),
        CAST(:fact_correlation_id AS text[]), CAST(:fact_ip AS text[]),
        CAST(:fact_user_agent AS text[]), CAST(:fact_changes AS jsonb[]),
        CAST(:fact_content_hash AS text[]), CAST(:fact_seq AS bigint[]),
        CAST(:fact_chain_hash AS text[])
    )
""").bindparams(
    bindparam("event_payload", type_=ARRAY(JSONB)), bindparam("fact_changes", type_=ARRAY(JSONB))
)
_EVENT_FIELDS: Final = ("kind", "subject", "tenant_id", "payload")


@dataclass(slots=True)
class Records:
    """What one unit has told and not written yet."""

    events: list[Event] = field(default_factory=list)
    facts: list[AuditRow] = field(default_factory=list)
    changes: list[StateChange] = field(default_factory=list)

    async def write(self, session: Session) -> None:
        if not (self.events or self.facts or self.changes):
            return
        values = (
            _columns("change", kinds.STATE_CHANGES.fields, self.changes)
            | _columns("event", _EVENT_FIELDS, self.events)
            | _columns("fact", kinds.AUDIT_ROWS.fields, self.facts)
        )
        for told in (self.events, self.facts, self.changes):
            told.clear()
        await session.change(_WRITE, values)


def _columns(
    name: str, fields: Mapping[str, Any] | Sequence[str], rows: Sequence[object]
) -> dict[str, list[Any]]:
    return {f"{name}_{field}": [getattr(row, field) for row in rows] for field in fields}


class PostgresStateChanges(PostgresRows[StateChange]):
    """The steps of lifecycles; new ones are written with the unit's other records."""

    def __init__(self, session: Session, records: Records) -> None:
        super().__init__(session, STATE_CHANGES)
        self._records = records

    async def add(self, row: StateChange) -> None:
        self._require_writable()
        self._records.changes.append(row)

    async def get(self, key: str) -> StateChange | None:
        await self._records.write(self.session)
        return await super().get(key)

    async def find(self, **equals: object) -> tuple[StateChange, ...]:
        await self._records.write(self.session)
        return await super().find(**equals)

    async def page(self, query: ListQuery) -> Page[StateChange]:
        await self._records.write(self.session)
        return await super().page(query)
