"""Mails are sent once each, to proved addresses alone, however mailers and workers fail.

Seen to fail when a notice was mailed to an address that nobody had proved, when a refusal was tried
again, when a worker whose lease had run out overwrote what the next one noted, when a link worked
for whoever was signed in, and when it worked twice.
"""

import asyncio
import re
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_builders import PASSWORD, AccessWorld
from gpucloud_adapters.memory.mails import MemoryMailer
from gpucloud_adapters.stored.kinds import MAILS, ONE_TIME_TOKENS, USERS
from gpucloud_core.access.model import Actor, User
from gpucloud_core.access.sign_in import TooManyAttempts
from gpucloud_core.kernel.errors import ValidationFailed
from gpucloud_core.kernel.ids import TenantId, UserId
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.unit import Event, Scope
from gpucloud_core.notices.email_address import AskForEmail, ConfirmEmail, EmailLinkInvalid
from gpucloud_core.notices.mail import (
    GIVE_UP_AFTER,
    LEASE,
    LINK_LIFETIME,
    Letterhead,
    Mailer,
    MailRefused,
    MailUnavailable,
    Message,
    SendMails,
    after_failure,
    pause_after,
)
from gpucloud_core.notices.model import Mail, MailState
from gpucloud_core.notices.tell import TellPeople

ADDRESS, NEXT = "ada@example.com", "ada@example.org"


@dataclass
class Post:
    """A world with people, a mailer and a worker."""

    world: AccessWorld = field(default_factory=AccessWorld)
    mailer: MemoryMailer = field(default_factory=MemoryMailer)

    def worker(self, mailer: Mailer | None = None) -> SendMails:
        return SendMails(
            transactions=self.world.transactions,
            mailer=mailer or self.mailer,
            letterhead=Letterhead(origin="https://gpus.example"),
            secrets=self.world.secrets,
        )

    async def ask(self, actor: Actor, email: str, password: str = PASSWORD) -> None:
        ask = AskForEmail(
            transactions=self.world.transactions,
            hasher=self.world.hasher,
            limiter=self.world.limiter,
            ids=self.world.ids,
        )
        await ask(actor=actor, email=email, current_password=password)

    async def link(self) -> str:
        """Send what is due, and return the secret of the newest link."""
        await self.worker()()
        (found,) = re.findall(r"confirm\?token=(\S+)", list(self.mailer.sent.values())[-1].text)
        return str(found)

    async def confirm(self, actor: Actor, token: str) -> User:
        confirm = ConfirmEmail(transactions=self.world.transactions, ids=self.world.ids)
        return await confirm(actor=actor, token=token)

    async def prove(self, actor: Actor, email: str) -> User:
        await self.ask(actor, email)
        return await self.confirm(actor, await self.link())

    async def tell(self, actor: Actor, number: int = 1) -> None:
        event = Event(
            kind="user.password_changed", subject=actor.user_id or "", tenant_id=actor.tenant_id
        )
        tell = TellPeople(transactions=self.world.transactions, ids=self.world.ids)
        await tell(StoredEvent(id=number, event=event, created_at=self.world.clock.now()))

    def rows(self) -> list[Mail]:
        return list(self.world.transactions.database.rows(MAILS))

    def to(self, address: str) -> list[str]:
        return [one.subject for one in self.mailer.sent.values() if one.to == address]


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
async def ada(post: Post) -> Actor:
    return await post.world.actor("ada")


class TestAnAddress:
    async def test_counts_once_its_link_was_opened_and_gets_nothing_before(
        self, post: Post, ada: Actor
    ) -> None:
        await post.ask(ada, f" {ADDRESS} ")
        await post.tell(ada)
        token = await post.link()
        (user,) = post.world.transactions.database.rows(USERS)
        assert (user.email, user.email_verified_at) == (None, None)
        assert post.to(ADDRESS) == ["Confirm your mail address"]

        user = await post.confirm(ada, token)
        await post.tell(ada, number=2)
        await post.tell(ada, number=2)
        await post.worker()()

        assert (user.email, user.email_verified_at) == (ADDRESS, post.world.clock.now())
        assert post.to(ADDRESS)[1:] == ["Your password was changed"]
        assert "https://gpus.example/account" in list(post.mailer.sent.values())[-1].text

    async def test_that_was_given_at_sign_up_gets_nothing(self, post: Post, ada: Actor) -> None:
        async with post.world.transactions.begin(Scope.platform()) as unit:
            user = await unit.users.get(ada.user_id or "")
            assert user is not None
            await unit.users.put(replace(user, email=ADDRESS))
        await post.tell(ada)

        assert post.rows() == []

    async def test_of_before_is_told(self, post: Post, ada: Actor) -> None:
        await post.prove(ada, ADDRESS)
        await post.prove(ada, NEXT)
        await post.worker()()

        assert post.to(ADDRESS) == ["Confirm your mail address", "Your mail address was changed"]
        assert post.to(NEXT) == ["Confirm your mail address"]

    async def test_needs_the_present_password_and_a_form(self, post: Post, ada: Actor) -> None:
        for email, password in (
            (ADDRESS, "wrong"),
            ("not one", PASSWORD),
            ("a@b.c\nBcc: d@e.f", PASSWORD),
        ):
            with pytest.raises(ValidationFailed):
                await post.ask(ada, email, password)
        assert post.rows() == []

    async def test_is_not_asked_for_too_often(self, post: Post, ada: Actor) -> None:
        for _ in range(10):
            await post.ask(ada, ADDRESS)
        with pytest.raises(TooManyAttempts):
            await post.ask(ada, ADDRESS)
        assert len(post.rows()) == 10


class TestALink:
    async def test_works_once(self, post: Post, ada: Actor) -> None:
        await post.ask(ada, ADDRESS)
        token = await post.link()
        await post.confirm(ada, token)

        with pytest.raises(EmailLinkInvalid):
            await post.confirm(ada, token)

    async def test_works_for_its_person_alone_and_stays_theirs(
        self, post: Post, ada: Actor
    ) -> None:
        eve = await post.world.actor("eve")
        await post.ask(ada, ADDRESS)
        token = await post.link()

        with pytest.raises(EmailLinkInvalid):
            await post.confirm(eve, token)
        assert (await post.confirm(ada, token)).email == ADDRESS

    async def test_works_for_a_day(self, post: Post, ada: Actor) -> None:
        await post.ask(ada, ADDRESS)
        token = await post.link()
        post.world.clock.pass_(LINK_LIFETIME)

        with pytest.raises(EmailLinkInvalid):
            await post.confirm(ada, token)

    async def test_is_kept_as_its_hash_alone(self, post: Post, ada: Actor) -> None:
        await post.ask(ada, ADDRESS)
        token = await post.link()

        stored = [*post.rows(), *post.world.transactions.database.rows(ONE_TIME_TOKENS)]
        assert len(stored) == 2
        assert token not in repr(stored)

    @pytest.mark.parametrize("token", ["", "a guess", "x" * 5000])
    async def test_is_not_guessed(self, post: Post, ada: Actor, token: str) -> None:
        with pytest.raises(EmailLinkInvalid):
            await post.confirm(ada, token)


class TestSendMails:
    async def test_tries_again_what_is_not_known_until_it_is_taken_once(
        self, post: Post, ada: Actor
    ) -> None:
        await post.ask(ada, ADDRESS)
        post.mailer.away = True
        for _ in range(4):
            assert await post.worker()() == 0
            post.world.clock.pass_(timedelta(hours=4))
        post.mailer.away = False

        assert [await post.worker()(), await post.worker()()] == [1, 0]
        (row,) = post.rows()
        assert (row.state, row.tries, row.due_at, row.error) == (MailState.SENT, 5, None, "")
        assert post.mailer.handed == [row.id] * 5
        assert len(post.mailer.sent) == 1

    async def test_does_not_try_again_what_is_refused(self, post: Post, ada: Actor) -> None:
        await post.ask(ada, ADDRESS)
        post.mailer.refuses.add(ADDRESS)
        assert await post.worker()() == 1
        post.world.clock.pass_(GIVE_UP_AFTER)

        assert await post.worker()() == 0
        (row,) = post.rows()
        assert (row.state, row.tries) == (MailState.REFUSED, 1)
        assert ADDRESS in row.error

    async def test_sends_what_a_worker_died_with(self, post: Post, ada: Actor) -> None:
        class Dies:
            async def send(self, message: Message) -> None:
                raise asyncio.CancelledError

        await post.ask(ada, ADDRESS)
        with pytest.raises(asyncio.CancelledError):
            await post.worker(Dies())()
        assert await post.worker()() == 0, "another worker waits for the lease to end"
        post.world.clock.pass_(LEASE)

        assert await post.worker()() == 1

    async def test_notes_nothing_once_its_lease_has_run_out(self, post: Post, ada: Actor) -> None:
        class Slow:
            async def send(self, message: Message) -> None:
                post.world.clock.pass_(LEASE)
                assert await post.worker()() == 1
                raise MailRefused

        await post.ask(ada, ADDRESS)

        assert await post.worker(Slow())(limit=1) == 0
        (row,) = post.rows()
        assert row.state is MailState.SENT

    @given(tries=st.integers(1, 200), passed=st.integers(0, 72))
    def test_waits_longer_each_time_and_gives_up_in_the_end(self, tries: int, passed: int) -> None:
        clock = AccessWorld().clock
        mail = Mail(
            id="mal_1",
            tenant_id=TenantId("ten_1"),
            user_id=UserId("usr_1"),
            key="k",
            to=ADDRESS,
            subject="s",
            text="t",
            tries=tries,
            due_at=clock.now(),
            created_at=clock.now(),
        )
        now = clock.now() + timedelta(hours=passed)
        failed = after_failure(mail, MailUnavailable(), now)

        assert timedelta(minutes=1) <= pause_after(tries) <= pause_after(tries + 1)
        if now - mail.created_at < GIVE_UP_AFTER:
            assert failed.due_at == now + pause_after(tries)
        else:
            assert (failed.state, failed.due_at) == (MailState.GIVEN_UP, None)
