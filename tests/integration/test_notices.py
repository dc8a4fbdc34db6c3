"""Notices and attention rows in PostgreSQL: told and raised at once by several, kept once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from contracts.stores import PLATFORM, Household, settle
from gpucloud_adapters.memory.mails import MemoryMailer
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.system import SystemIds, SystemSecrets
from gpucloud_core.access.model import Role, TenantMember
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.unit import Event
from gpucloud_core.notices.mail import CONFIRM_PATH, Letterhead, SendMails, queue
from gpucloud_core.notices.overdue import SweepAttention
from gpucloud_core.notices.tell import TellPeople
from gpucloud_core.work.model import Step
from row_builders import NOW, a_task


@pytest.fixture
async def transactions(database_url: str) -> AsyncIterator[PostgresTransactions]:
    engine = create_engine(database_url)
    yield PostgresTransactions(engine)
    await engine.dispose()


@pytest.fixture
async def home(transactions: PostgresTransactions) -> Household:
    home = await settle(transactions)
    owner = TenantMember(
        id="owner", tenant_id=home.tenant.id, user_id=home.user.id, role=Role.OWNER, created_at=NOW
    )
    async with transactions.begin(PLATFORM) as unit:
        await unit.tenant_members.add(owner)
    return home


def event_of(home: Household, number: int, kind: str) -> StoredEvent:
    event = Event(
        kind=kind,
        subject=home.tenant.id,
        tenant_id=home.tenant.id,
        payload={"expected": "none", "found": [1, {"x": None}]},
    )
    return StoredEvent(id=number, event=event, created_at=NOW)


class TestTellPeople:
    async def test_tells_once_and_opens_once_though_many_try_at_once(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        tell = TellPeople(transactions=transactions, ids=SystemIds())
        kinds = ("billing.depleted", "drift.stray_hold")

        await asyncio.gather(
            *(tell(event_of(home, 7, kind)) for kind in kinds for _ in range(6)),
            *(tell(event_of(home, 8, "drift.stray_hold")) for _ in range(6)),
        )

        async with transactions.begin(home.scope) as unit:
            (notice,) = await unit.inbox_notices.find(user_id=home.user.id)
        async with transactions.begin(PLATFORM) as unit:
            (row,) = await unit.attention_rows.find(cleared_at=None)
        assert notice.kind == "billing.depleted"
        assert row.facts == {"expected": "none", "found": [1, {"x": None}]}


class TestSweepAttention:
    async def test_opens_and_closes(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        sweep = SweepAttention(transactions=transactions, ids=SystemIds())
        steps = (Step(key="a", title="A", usual_seconds=10),)
        async with transactions.begin(PLATFORM) as unit:
            now = await unit.now()
            slow = a_task(
                home.tenant.id,
                home.project.id,
                steps=steps,
                due_at=now,
                created_at=now - timedelta(hours=1),
            )
            await unit.tasks.add(slow)

        assert await asyncio.gather(*(sweep() for _ in range(4))) == [1] * 4
        async with transactions.begin(PLATFORM) as unit:
            (row,) = await unit.attention_rows.find(kind="task.overdue")
            await unit.tasks.put(replace(slow, finished_at=now))
        assert row.cleared_at is None
        assert await sweep() == 0
        async with transactions.begin(PLATFORM) as unit:
            (row,) = await unit.attention_rows.find(kind="task.overdue")
        assert row.cleared_at is not None


class TestSendMails:
    async def test_hands_each_over_once_though_many_workers_are_at_it(
        self, transactions: PostgresTransactions, home: Household
    ) -> None:
        """Seen to fail when what is due was not locked."""
        mailer = MemoryMailer()
        send = SendMails(
            transactions=transactions,
            mailer=mailer,
            letterhead=Letterhead(origin="https://gpus.example"),
            secrets=SystemSecrets(),
        )
        async with transactions.begin(PLATFORM) as unit:
            for number in range(24):
                await queue(
                    unit,
                    SystemIds(),
                    home.user,
                    home.tenant.id,
                    key=f"{number // 2}",
                    to="ada@example.com",
                    subject="s",
                    text="t",
                    link=CONFIRM_PATH,
                )

        done = await asyncio.gather(*(send(limit=12) for _ in range(6)))

        assert sum(done) == len(mailer.handed) == len(mailer.sent) == 12
        async with transactions.begin(home.scope) as unit:
            assert await unit.mails.count(due_at=None) == await unit.mails.count() == 12
            assert await unit.one_time_tokens.count(purpose="email") == 12
