"""Mails: queued in the transaction of what they are about, sent by workers, each once.

A mail is a row before it is a message, so that nothing is mailed of what was rolled back, and
nothing forgotten of what was committed. A worker leases a row, hands the message over outside any
transaction, and notes what became of it. One that dies in between is followed by another after the
lease; the message carries the row's id, by which mail servers know it again.

The secret of a link that proves an address is made when the message is, and kept as its hash alone.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from gpucloud_core.access.model import OneTimeToken, User
from gpucloud_core.access.ports import Secrets
from gpucloud_core.access.session_life import token_hash
from gpucloud_core.kernel.errors import AlreadyExists, DomainError, ErrorKind
from gpucloud_core.kernel.ids import Ids, TenantId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.notices.model import Mail, MailState
from gpucloud_core.notices.ports import NoticeUnit

PROVES_EMAIL: Final = "email"
CONFIRM_PATH: Final = "/account/email/confirm"
LINK_LIFETIME: Final = timedelta(hours=24)
LEASE: Final = timedelta(minutes=5)
GIVE_UP_AFTER: Final = timedelta(days=2)
_FIRST_PAUSE: Final = timedelta(minutes=1)
_LONGEST_PAUSE: Final = timedelta(hours=4)
_SIGNATURE: Final = "You get this because of your account at {origin}."


class MailRefused(DomainError):
    """The mail server will not take this message, now or later."""

    code = "mail_refused"
    kind = ErrorKind.INVALID
    next_step = "Look whether the address is right."


class MailUnavailable(DomainError):
    """Whether the message was taken is not known, or the mail server does not answer."""

    code = "mail_unavailable"
    kind = ErrorKind.UNAVAILABLE
    next_step = "It is tried again by itself."


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A mail as it goes out. ``id`` is the same however often it is handed over."""

    id: str
    to: str
    subject: str
    text: str


class Mailer(Protocol):
    """Hands messages to whoever delivers them. tests/contracts/mailer.py says the same in code."""

    async def send(self, message: Message) -> None:
        """Hand the message over; returns once it is accepted.

        Raises:
            MailRefused: it is not, and will never be.
            MailUnavailable: unknown; hand it over again, with the same id.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterhead:
    """Where links in mails lead: the origin of the web interface, without a slash at its end."""

    origin: str


async def queue(unit: NoticeUnit, ids: Ids, user: User, tenant_id: TenantId, **facts: str) -> None:
    """Queue a mail to a person, once per ``key``; facts are those of ``Mail``."""
    now = await unit.now()
    mail = Mail(
        id=ids.new("mal"),
        tenant_id=tenant_id,
        user_id=user.id,
        key=facts["key"],
        to=facts["to"],
        subject=facts["subject"],
        text=facts["text"],
        link=facts.get("link", ""),
        created_at=now,
        due_at=now,
    )
    try:
        await unit.mails.add(mail)
    except AlreadyExists:
        return


def pause_after(tries: int) -> timedelta:
    """Return how long to wait after so many tries: twice as long each time, up to a limit."""
    pause = _FIRST_PAUSE
    for _ in range(1, min(tries, 20)):
        pause = min(2 * pause, _LONGEST_PAUSE)
    return pause


def composed(mail: Mail, letterhead: Letterhead, link: str) -> Message:
    """Return the message of a mail, with the address of ``link``."""
    parts = [mail.text]
    if link:
        parts.append(letterhead.origin + link)
    parts.append("-- \n" + _SIGNATURE.format(origin=letterhead.origin))
    return Message(id=mail.id, to=mail.to, subject=mail.subject, text="\n\n".join(parts) + "\n")


def after_failure(mail: Mail, error: DomainError, now: datetime) -> Mail:
    """Return a mail that was not taken: over if it was refused, or tried for too long."""
    failed = replace(mail, error=error.detail[:400])
    if isinstance(error, MailRefused):
        return replace(failed, state=MailState.REFUSED, due_at=None)
    if now - mail.created_at >= GIVE_UP_AFTER:
        return replace(failed, state=MailState.GIVEN_UP, due_at=None)
    return replace(failed, due_at=now + pause_after(mail.tries))


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMails:
    """Hand over what is due."""

    transactions: Transactions[NoticeUnit]
    mailer: Mailer
    letterhead: Letterhead
    secrets: Secrets

    async def __call__(self, *, limit: int = 20) -> int:
        """Return how many were handed over or given up."""
        done = 0
        for _ in range(limit):
            leased = await self._lease()
            if leased is None:
                break
            done += await self._send(*leased)
        return done

    async def _lease(self) -> tuple[Mail, str] | None:
        """Take the mail that is due for longest; return it with its link."""
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            due = await unit.mails.due(now, limit=1)
            if not due:
                return None
            mail = replace(due[0], tries=due[0].tries + 1, due_at=now + LEASE)
            await unit.mails.put(mail)
            return mail, await self._link(unit, mail, now)

    async def _link(self, unit: NoticeUnit, mail: Mail, now: datetime) -> str:
        if mail.link != CONFIRM_PATH:
            return mail.link
        secret = self.secrets.token()
        await unit.one_time_tokens.add(
            OneTimeToken(
                id=token_hash(secret),
                tenant_id=mail.tenant_id,
                user_id=mail.user_id,
                purpose=PROVES_EMAIL,
                subject=mail.to,
                expires_at=now + LINK_LIFETIME,
            )
        )
        return f"{CONFIRM_PATH}?token={secret}"

    async def _send(self, mail: Mail, link: str) -> bool:
        error: DomainError | None = None
        try:
            await self.mailer.send(composed(mail, self.letterhead, link))
        except (MailRefused, MailUnavailable) as failure:
            error = failure
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            present = await unit.mails.lock(mail.id)
            if present is None or (present.tries, present.due_at) != (mail.tries, mail.due_at):
                return False  # our lease ran out, and somebody else has it
            sent = replace(mail, state=MailState.SENT, due_at=None, sent_at=now, error="")
            after = sent if error is None else after_failure(mail, error, now)
            await unit.mails.put(after)
        return after.due_at is None
