"""Carries out what an event tells people: one transaction per event, any number of times.

A notice has a key made of the event's number, or of what several events are about, so that neither
an event handed on twice nor a reminder tells anybody twice.
"""

from dataclasses import dataclass

from gpucloud_core.access.model import Role
from gpucloud_core.kernel.errors import AlreadyExists
from gpucloud_core.kernel.ids import AllocationId, Ids, SessionId, TenantId, UserId
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.unit import Event, Scope, Transactions
from gpucloud_core.notices.attention import clear, raise_
from gpucloud_core.notices.mail import queue
from gpucloud_core.notices.model import InboxNotice
from gpucloud_core.notices.ports import NoticeUnit
from gpucloud_core.notices.rules import DRIFT, RULES, told_by
from gpucloud_core.notices.told import Draft, Known, Told


@dataclass(frozen=True, slots=True, kw_only=True)
class TellPeople:
    """The consumer of every event that has a rule."""

    transactions: Transactions[NoticeUnit]
    ids: Ids

    async def __call__(self, stored: StoredEvent) -> None:
        event = stored.event
        if event.kind not in RULES and not event.kind.startswith(DRIFT):
            return
        async with self.transactions.begin(Scope.platform()) as unit:
            told = told_by(event, await _known(unit, event))
            await self._carry_out(unit, stored, told)

    async def _carry_out(self, unit: NoticeUnit, stored: StoredEvent, told: Told) -> None:
        now = await unit.now()
        if (tenant_id := stored.event.tenant_id) is not None:
            for draft in told.notices:
                for user_id in await _readers(unit, tenant_id, draft):
                    await self._put_in_inbox(unit, stored, draft, tenant_id, user_id)
        for raised in told.raises:
            await raise_(unit, self.ids, raised, now)
        for cleared in told.clears:
            await clear(unit, cleared, now)

    async def _put_in_inbox(
        self,
        unit: NoticeUnit,
        stored: StoredEvent,
        draft: Draft,
        tenant_id: TenantId,
        user_id: UserId,
    ) -> None:
        notice = InboxNotice(
            id=self.ids.new("not"),
            tenant_id=tenant_id,
            user_id=user_id,
            key=f"{draft.kind}/{draft.once or stored.id}",
            kind=draft.kind,
            level=draft.level,
            title=draft.title,
            text=draft.text,
            link=draft.link,
            created_at=stored.created_at,
        )
        try:
            await unit.inbox_notices.add(notice)
        except AlreadyExists:
            return  # told before
        user = await unit.users.get(user_id)
        if user is not None and user.email is not None and user.email_verified_at is not None:
            await queue(
                unit,
                self.ids,
                user,
                tenant_id,
                key=f"notice/{notice.id}",
                to=user.email,
                subject=notice.title,
                text=notice.text,
                link=notice.link,
            )


async def _known(unit: NoticeUnit, event: Event) -> Known:
    """Read what the event is about, as far as a rule may ask."""
    match event.kind.partition(".")[0]:
        case "allocation":
            return Known(allocation=await unit.allocations.get(AllocationId(event.subject)))
        case "session":
            return Known(session=await unit.sessions.get(SessionId(event.subject)))
        case _:
            return Known()


async def _readers(unit: NoticeUnit, tenant_id: TenantId, draft: Draft) -> list[UserId]:
    if draft.user_id is not None:
        return [draft.user_id]
    members = await unit.tenant_members.find(tenant_id=tenant_id)
    return [member.user_id for member in members if member.role is Role.OWNER]
