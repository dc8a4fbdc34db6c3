"""Told once, however often an event is handed on; open until gone, however often it is noticed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from contracts.stores import PLATFORM, Household, settle
from gpucloud_adapters.memory.cloud import CountedIds
from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_adapters.stored.kinds import ATTENTION_ROWS, INBOX_NOTICES
from gpucloud_core.access.authorize import Forbidden
from gpucloud_core.access.model import Actor, PlatformRole, Role, TenantMember
from gpucloud_core.kernel.errors import NotFound, ValidationFailed
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.unit import Event, Json
from gpucloud_core.notices.attention import (
    AcknowledgeAttention,
    ListAttention,
    SnoozeAttention,
    is_shown,
)
from gpucloud_core.notices.inbox import CountUnread, ListInbox, MarkRead
from gpucloud_core.notices.model import AttentionRow, InboxNotice
from gpucloud_core.notices.tell import TellPeople
from row_builders import NOW, FixedClock, a_user

HOUR = timedelta(hours=1)


class World:
    """One tenant with two owners and a member, a clock, and what was told."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.transactions = MemoryTransactions(self.clock)
        self.ids = CountedIds()
        self.tell = TellPeople(transactions=self.transactions, ids=self.ids)

    async def found(self) -> "World":
        self.home: Household = await settle(self.transactions)
        self.other_owner, self.member = a_user(), a_user()
        members = ((self.home.user, Role.OWNER), (self.other_owner, Role.OWNER))
        async with self.transactions.begin(PLATFORM) as unit:
            for user, role in (*members, (self.member, Role.MEMBER)):
                await unit.tenant_members.add(
                    TenantMember(
                        id=f"{self.home.tenant.id}/{user.id}",
                        tenant_id=self.home.tenant.id,
                        user_id=user.id,
                        role=role,
                        created_at=NOW,
                    )
                )
        return self

    async def say(self, number: int, kind: str, **payload: Json) -> None:
        event = Event(
            kind=kind,
            subject=self.home.tenant.id,
            tenant_id=self.home.tenant.id,
            payload=dict(payload),
        )
        await self.tell(StoredEvent(id=number, event=event, created_at=self.clock.now()))

    @property
    def notices(self) -> tuple[InboxNotice, ...]:
        return self.transactions.database.rows(INBOX_NOTICES)

    @property
    def attention(self) -> tuple[AttentionRow, ...]:
        return self.transactions.database.rows(ATTENTION_ROWS)

    def owner(self) -> Actor:
        return Actor(
            user_id=self.home.user.id,
            username="ada",
            tenant_id=self.home.tenant.id,
            tenant_role=Role.OWNER,
        )

    def operator(self) -> Actor:
        return replace(self.owner(), username="ops", platform_role=PlatformRole.OPS)


@pytest.fixture
async def world() -> World:
    return await World().found()


class TestTellPeople:
    async def test_tells_each_owner_once(self, world: World) -> None:
        for number in (7, 7, 7):
            await world.say(number, "billing.depleted")

        readers = {notice.user_id for notice in world.notices}
        assert readers == {world.home.user.id, world.other_owner.id}
        assert len(world.notices) == 2

    async def test_tells_again_what_happens_again(self, world: World) -> None:
        for number, ended in enumerate(("alc_1", "alc_2")):
            await world.say(number, "billing.depleted", allocations={ended: "2026-01-01T00:00:00Z"})

        assert len(world.notices) == 4

    async def test_does_not_tell_again_what_a_reminder_says(self, world: World) -> None:
        for number in (7, 8):
            await world.say(
                number, "billing.depleted", allocations={"alc_1": "2026-01-01T00:00:00Z"}
            )

        assert len(world.notices) == 2

    async def test_keeps_one_open_row_for_what_is_noticed_again(self, world: World) -> None:
        await world.say(1, "drift.stray_hold", found="an open hold")
        world.clock.at += HOUR
        await world.say(2, "drift.stray_hold", found="two")

        (row,) = world.attention
        assert (row.first_seen, row.last_seen) == (NOW, NOW + HOUR)
        assert row.facts == {"found": "two"}

    async def test_says_nothing_of_other_events(self, world: World) -> None:
        await world.say(1, "task.queued")

        assert (world.notices, world.attention) == ((), ())


class TestInbox:
    async def test_shows_a_person_their_own_and_forgets_what_was_read(self, world: World) -> None:
        await world.say(1, "billing.depleted")
        await world.say(2, "payment.completed", amount_micros=5_000_000, currency="USD")
        show = ListInbox(transactions=world.transactions)
        count = CountUnread(transactions=world.transactions)
        mark = MarkRead(transactions=world.transactions)

        page = await show(actor=world.owner(), query=ListQuery(where={"read_at": (None,)}))
        newest = page.items[0]
        read = await mark(actor=world.owner(), notice_id=newest.id)
        world.clock.at += HOUR

        assert [notice.kind for notice in page.items] == ["payment.completed", "billing.depleted"]
        assert newest.text == "$5.00 was added to your balance."
        assert await mark(actor=world.owner(), notice_id=newest.id) == read
        assert await count(actor=world.owner()) == 1
        assert await mark.all_(actor=world.owner()) == 1
        assert await count(actor=world.owner()) == 0
        others = [notice for notice in world.notices if notice.user_id != world.home.user.id]
        assert all(notice.read_at is None for notice in others)

    async def test_hides_what_is_somebody_elses(self, world: World) -> None:
        await world.say(1, "billing.depleted")
        theirs = next(n for n in world.notices if n.user_id == world.other_owner.id)
        query = ListQuery(where={"user_id": (world.other_owner.id,)})

        page = await ListInbox(transactions=world.transactions)(actor=world.owner(), query=query)

        assert {notice.user_id for notice in page.items} == {world.home.user.id}
        with pytest.raises(NotFound):
            await MarkRead(transactions=world.transactions)(
                actor=world.owner(), notice_id=theirs.id
            )


class TestAttention:
    async def test_is_worked_on_with_a_reason(self, world: World) -> None:
        await world.say(1, "drift.stray_hold")
        (row,) = world.attention
        acknowledge = AcknowledgeAttention(transactions=world.transactions)
        snooze = SnoozeAttention(transactions=world.transactions)

        await acknowledge(actor=world.operator(), row_id=row.id, reason="  on  it ")
        await snooze(
            actor=world.operator(), row_id=row.id, until=NOW + HOUR, reason="parts are coming"
        )
        await world.say(2, "drift.stray_hold")

        (row,) = world.attention
        assert (row.acknowledged_by, row.acknowledged_at) == ("ops", NOW)
        assert row.reason == "parts are coming"
        assert not is_shown(row, NOW)
        assert is_shown(row, NOW + HOUR)
        actions = [fact.action for fact in world.transactions.database.audit_rows]
        assert actions == ["attention.acknowledge", "attention.snooze"]

    async def test_refuses_what_makes_no_sense(self, world: World) -> None:
        await world.say(1, "drift.stray_hold")
        (row,) = world.attention
        acknowledge = AcknowledgeAttention(transactions=world.transactions)
        snooze = SnoozeAttention(transactions=world.transactions)

        with pytest.raises(ValidationFailed):
            await acknowledge(actor=world.operator(), row_id=row.id, reason=" ")
        for until in (NOW, NOW + timedelta(days=31), (NOW + HOUR).replace(tzinfo=None)):
            with pytest.raises(ValidationFailed):
                await snooze(actor=world.operator(), row_id=row.id, until=until, reason="x")
        with pytest.raises(NotFound):
            await acknowledge(actor=world.operator(), row_id="att_none", reason="x")

    async def test_is_for_operators(self, world: World) -> None:
        with pytest.raises(Forbidden):
            await ListAttention(transactions=world.transactions)(
                actor=world.owner(), query=ListQuery()
            )
        page = await ListAttention(transactions=world.transactions)(
            actor=world.operator(), query=ListQuery()
        )
        assert page.items == ()
