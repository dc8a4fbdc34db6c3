"""The caller's inbox, and what wants an operator's attention."""

from datetime import datetime
from typing import Annotated

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from gpucloud_core.access.model import Actor
from gpucloud_core.kernel.ids import parse_id
from gpucloud_core.notices.attention import AcknowledgeAttention, ListAttention, SnoozeAttention
from gpucloud_core.notices.inbox import UNREAD, CountUnread, ListInbox, MarkRead
from gpucloud_core.notices.model import AttentionRow, InboxNotice, Severity
from gpucloud_web.api.lists import Cursor, Limit, Listing, Sort, list_query, listing

Unread = Annotated[bool, QueryParameter(description="Only what was not read yet.")]
Search = Annotated[str, QueryParameter(description="Text in the kind, the subject or the title.")]
Cleared = Annotated[bool, QueryParameter(description="Also what is so no more.")]
Severities = Annotated[list[Severity] | None, QueryParameter(description="Only these.")]


class NoticeBody(msgspec.Struct, kw_only=True):
    id: str
    kind: str
    level: str
    title: str
    text: str
    link: str
    created_at: datetime
    read_at: datetime | None

    @classmethod
    def of(cls, notice: InboxNotice) -> "NoticeBody":
        return cls(
            id=notice.id,
            kind=notice.kind,
            level=notice.level,
            title=notice.title,
            text=notice.text,
            link=notice.link,
            created_at=notice.created_at,
            read_at=notice.read_at,
        )


class UnreadBody(msgspec.Struct):
    unread: int


class AttentionBody(msgspec.Struct, kw_only=True):
    """Something that is so and should not be; ``cleared_at`` is set once it is gone."""

    id: str
    kind: str
    subject: str
    severity: str
    title: str
    facts: dict[str, object]
    first_seen: datetime
    last_seen: datetime
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    reason: str
    snoozed_until: datetime | None
    cleared_at: datetime | None

    @classmethod
    def of(cls, row: AttentionRow) -> "AttentionBody":
        return cls(
            id=row.id,
            kind=row.kind,
            subject=row.subject,
            severity=row.severity,
            title=row.title,
            facts=dict(row.facts),
            first_seen=row.first_seen,
            last_seen=row.last_seen,
            acknowledged_by=row.acknowledged_by,
            acknowledged_at=row.acknowledged_at,
            reason=row.reason,
            snoozed_until=row.snoozed_until,
            cleared_at=row.cleared_at,
        )


class AcknowledgeBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is being done about it."""

    reason: str


class SnoozeBody(msgspec.Struct, forbid_unknown_fields=True):
    """Until when it may wait, and why."""

    until: datetime
    reason: str


class Inbox(Controller):
    path = "/me/inbox"
    tags = ["inbox"]

    @get(operation_id="listInbox")
    async def index(
        self,
        actor: NamedDependency[Actor],
        list_inbox: FromDishka[ListInbox],
        unread: Unread = False,
        sort: Sort = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Listing[NoticeBody]:
        """List the caller's notices, newest first."""
        only = UNREAD if unread else None
        query = list_query(limit=limit, cursor=cursor, sort=sort, read_at=only)
        return listing(await list_inbox(actor=actor, query=query), NoticeBody.of)

    @get("/unread", operation_id="countUnread")
    async def count(
        self, actor: NamedDependency[Actor], count_unread: FromDishka[CountUnread]
    ) -> UnreadBody:
        """Count what was not read yet."""
        return UnreadBody(await count_unread(actor=actor))

    @post("/read", operation_id="markAllRead", status_code=200)
    async def read_all(
        self, actor: NamedDependency[Actor], mark_read: FromDishka[MarkRead]
    ) -> UnreadBody:
        """Mark everything as read."""
        await mark_read.all_(actor=actor)
        return UnreadBody(0)

    @post("/{notice_id:str}/read", operation_id="markRead", status_code=200)
    async def read(
        self,
        notice_id: FromPath[str],
        actor: NamedDependency[Actor],
        mark_read: FromDishka[MarkRead],
    ) -> NoticeBody:
        """Mark one notice as read."""
        found = parse_id("not", notice_id)
        return NoticeBody.of(await mark_read(actor=actor, notice_id=found))


class Attention(Controller):
    path = "/ops/attention"
    tags = ["ops"]

    @get(operation_id="listAttention")
    async def index(
        self,
        actor: NamedDependency[Actor],
        list_attention: FromDishka[ListAttention],
        severity: Severities = None,
        search: Search = "",
        cleared: Cleared = False,
        sort: Sort = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Listing[AttentionBody]:
        """List what wants attention, newest first; what is snoozed is in it."""
        query = list_query(
            limit=limit,
            cursor=cursor,
            sort=sort,
            search=search,
            severity=severity,
            cleared_at=None if cleared else (None,),
        )
        return listing(await list_attention(actor=actor, query=query), AttentionBody.of)

    @post("/{row_id:str}/acknowledge", operation_id="acknowledgeAttention", status_code=200)
    async def acknowledge(
        self,
        row_id: FromPath[str],
        data: JSONBody[AcknowledgeBody],
        actor: NamedDependency[Actor],
        acknowledge: FromDishka[AcknowledgeAttention],
    ) -> AttentionBody:
        """Say that somebody works on it."""
        found = parse_id("att", row_id)
        row = await acknowledge(actor=actor, row_id=found, reason=data.reason)
        return AttentionBody.of(row)

    @post("/{row_id:str}/snooze", operation_id="snoozeAttention", status_code=200)
    async def snooze(
        self,
        row_id: FromPath[str],
        data: JSONBody[SnoozeBody],
        actor: NamedDependency[Actor],
        snooze: FromDishka[SnoozeAttention],
    ) -> AttentionBody:
        """Put it off for a while."""
        found = parse_id("att", row_id)
        row = await snooze(actor=actor, row_id=found, until=data.until, reason=data.reason)
        return AttentionBody.of(row)
