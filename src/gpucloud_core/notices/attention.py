"""The life of an attention row, and what operators do with one.

A row opens when something is noticed and closes when it is gone; people never close one. They
acknowledge it, which says that somebody works on it, or snooze it for a while, both with a reason.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.kernel.errors import AlreadyExists, FieldError, NotFound, ValidationFailed
from gpucloud_core.kernel.ids import Ids
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.unit import Json, Scope, Transactions
from gpucloud_core.notices.model import AttentionRow
from gpucloud_core.notices.ports import NoticeUnit
from gpucloud_core.notices.told import Clear, Raise

REASON_LENGTH_MAX: Final = 500
SNOOZE_MAX: Final = timedelta(days=30)


def opened(row_id: str, raised: Raise, now: datetime) -> AttentionRow:
    return AttentionRow(
        id=row_id,
        kind=raised.kind,
        subject=raised.subject,
        severity=raised.severity,
        title=raised.title,
        facts=raised.facts,
        first_seen=now,
        last_seen=now,
    )


def seen_again(row: AttentionRow, raised: Raise, now: datetime) -> AttentionRow:
    """Return the open row with what is so now; who works on it, and since when, stays."""
    return replace(
        row,
        severity=raised.severity,
        title=raised.title,
        facts=raised.facts,
        last_seen=max(now, row.last_seen),
    )


def is_shown(row: AttentionRow, now: datetime) -> bool:
    """Tell whether the row wants somebody now: open, and not put off."""
    return row.cleared_at is None and (row.snoozed_until is None or row.snoozed_until <= now)


async def raise_(unit: NoticeUnit, ids: Ids, raised: Raise, now: datetime) -> None:
    """Open a row for what is so, or move the one that is open."""
    while True:
        found = await unit.attention_rows.find(
            kind=raised.kind, subject=raised.subject, cleared_at=None
        )
        row = await unit.attention_rows.lock(found[0].id) if found else None
        if row is not None and row.cleared_at is None:
            await unit.attention_rows.put(seen_again(row, raised, now))
            return
        try:
            await unit.attention_rows.add(opened(ids.new("att"), raised, now))
        except AlreadyExists:
            continue  # somebody opened it at the same moment
        return


async def clear(unit: NoticeUnit, cleared: Clear, now: datetime) -> bool:
    """Close the open row of what is gone; tell whether there was one."""
    closed = False
    for found in await unit.attention_rows.find(
        kind=cleared.kind, subject=cleared.subject, cleared_at=None
    ):
        row = await unit.attention_rows.lock(found.id)
        if row is not None and row.cleared_at is None:
            await unit.attention_rows.put(replace(row, cleared_at=max(now, row.first_seen)))
            closed = True
    return closed


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAttention:
    """What wants an operator's attention, newest first unless asked otherwise."""

    transactions: Transactions[NoticeUnit]

    async def __call__(self, *, actor: Actor, query: ListQuery) -> Page[AttentionRow]:
        """Return one page.

        Raises:
            Forbidden: the actor is no operator.
        """
        require(actor, Action.ATTENTION_READ)
        async with self.transactions.look(Scope.platform()) as unit:
            return await unit.attention_rows.page(query)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgeAttention:
    """Say that somebody works on it."""

    transactions: Transactions[NoticeUnit]

    async def __call__(self, *, actor: Actor, row_id: str, reason: str) -> AttentionRow:
        """Acknowledge an open row; again, by another, it is theirs.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: there is no such row, or it is closed.
            ValidationFailed: no reason is given.
        """
        require(actor, Action.ATTENTION_MANAGE)
        said = _reason(reason)
        async with self.transactions.begin(Scope.platform()) as unit:
            row = await _open_row(unit, row_id)
            changed = replace(
                row,
                acknowledged_by=actor.username,
                acknowledged_at=await unit.now(not_before=row.first_seen),
                reason=said,
            )
            await _keep(unit, actor, "attention.acknowledge", changed)
        return changed


@dataclass(frozen=True, slots=True, kw_only=True)
class SnoozeAttention:
    """Put it off for a while."""

    transactions: Transactions[NoticeUnit]

    async def __call__(
        self, *, actor: Actor, row_id: str, until: datetime, reason: str
    ) -> AttentionRow:
        """Hide an open row until an instant.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: there is no such row, or it is closed.
            ValidationFailed: no reason is given, or the instant is past or too far.
        """
        require(actor, Action.ATTENTION_MANAGE)
        said = _reason(reason)
        async with self.transactions.begin(Scope.platform()) as unit:
            row = await _open_row(unit, row_id)
            now = await unit.now()
            if until.tzinfo is None or not now < until <= now + SNOOZE_MAX:
                detail = f"Name an instant in the next {SNOOZE_MAX.days} days, with its offset."
                raise ValidationFailed(detail, fields=[FieldError("/until", "invalid", detail)])
            changed = replace(row, snoozed_until=until, reason=said)
            await _keep(unit, actor, "attention.snooze", changed)
        return changed


async def _open_row(unit: NoticeUnit, row_id: str) -> AttentionRow:
    row = await unit.attention_rows.lock(row_id)
    if row is None or row.cleared_at is not None:
        raise NotFound("There is no open row with this id.")
    return row


async def _keep(unit: NoticeUnit, actor: Actor, action: str, row: AttentionRow) -> None:
    await unit.attention_rows.put(row)
    changes: dict[str, Json] = {"subject": [None, row.subject], "reason": [None, row.reason]}
    await unit.audit(fact_by(actor, action=action, target=row.id, changes=changes))


def _reason(text: str) -> str:
    reason = " ".join(text.split())
    if not 0 < len(reason) <= REASON_LENGTH_MAX:
        detail = f"Say why, in at most {REASON_LENGTH_MAX} characters."
        raise ValidationFailed(detail, fields=[FieldError("/reason", "required", detail)])
    return reason
