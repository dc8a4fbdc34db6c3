"""A person's inbox, in the tenant they work in now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gpucloud_core.access.acting import fact_by, person
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.rows import COUNTED_MAX, ListQuery, Page
from gpucloud_core.kernel.unit import Json, Scope, Transactions
from gpucloud_core.notices.model import InboxNotice
from gpucloud_core.notices.ports import NoticeUnit

UNREAD: Final = (None,)
"""What ``read_at`` is one of, in a list of what was not read yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListInbox:
    """The actor's own notices, newest first unless asked otherwise."""

    transactions: Transactions[NoticeUnit]

    async def __call__(self, *, actor: Actor, query: ListQuery) -> Page[InboxNotice]:
        require(actor, Action.INBOX_USE, tenant_id=actor.tenant_id)
        mine = replace(query, where={**query.where, "user_id": (person(actor),)})
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            return await unit.inbox_notices.page(mine)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountUnread:
    """How many of the actor's notices were not read yet."""

    transactions: Transactions[NoticeUnit]

    async def __call__(self, *, actor: Actor) -> int:
        require(actor, Action.INBOX_USE, tenant_id=actor.tenant_id)
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            return await unit.inbox_notices.count(user_id=person(actor), read_at=None)

    async def each(self, *, actor: Actor, queries: Sequence[ListQuery]) -> list[int]:
        """Return how many of the actor's notices each query finds, up to ``COUNTED_MAX``."""
        require(actor, Action.INBOX_USE, tenant_id=actor.tenant_id)
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            mine = (
                replace(query, where={**query.where, "user_id": (person(actor),)})
                for query in queries
            )
            return [await unit.inbox_notices.matching(one, at_most=COUNTED_MAX) for one in mine]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRead:
    """Mark one notice, or all, as read."""

    transactions: Transactions[NoticeUnit]

    async def __call__(self, *, actor: Actor, notice_id: str) -> InboxNotice:
        """Mark it; what was read before stays as it was.

        Raises:
            NotFound: the actor has no such notice.
        """
        require(actor, Action.INBOX_USE, tenant_id=actor.tenant_id)
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            notice = await unit.inbox_notices.lock(notice_id)
            if notice is None or notice.user_id != person(actor):
                raise NotFound("There is no notice with this id.")
            read = await _read(unit, notice)
            await unit.audit(fact_by(actor, action="inbox.read", target=notice.id))
        return read

    async def all_(self, *, actor: Actor) -> int:
        """Mark everything that was not read; return how much it was."""
        require(actor, Action.INBOX_USE, tenant_id=actor.tenant_id)
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            unread = await unit.inbox_notices.find(user_id=person(actor), read_at=None)
            for notice in unread:
                await _read(unit, notice)
            changes: dict[str, Json] = {"read": [0, len(unread)]}
            await unit.audit(
                fact_by(actor, action="inbox.read", target=person(actor), changes=changes)
            )
        return len(unread)


async def _read(unit: NoticeUnit, notice: InboxNotice) -> InboxNotice:
    if notice.read_at is not None:
        return notice
    read = replace(notice, read_at=await unit.now(not_before=notice.created_at))
    await unit.inbox_notices.put(read)
    return read
