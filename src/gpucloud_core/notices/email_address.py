"""A person's mail address: nothing is sent to one that they have not proved to be theirs.

Asking sends a link to the new address, and that is all that is ever sent there before: the address
counts once the link was opened by the same person, signed in. The address from before is told.
Whoever stole a session must not get mails, so the present password is asked for.
"""

from dataclasses import dataclass, field, replace

from gpucloud_core.access.acting import fact_by, person
from gpucloud_core.access.credentials import check_email, prepare_password
from gpucloud_core.access.model import Actor, User
from gpucloud_core.access.ports import PasswordHasher, RateLimiter
from gpucloud_core.access.session_life import token_hash
from gpucloud_core.access.sign_in import AttemptLimits, take_attempt
from gpucloud_core.kernel.errors import (
    DomainError,
    ErrorKind,
    FieldError,
    NotFound,
    ValidationFailed,
)
from gpucloud_core.kernel.ids import Ids
from gpucloud_core.kernel.unit import Event, Scope, Transactions
from gpucloud_core.notices.mail import CONFIRM_PATH, PROVES_EMAIL, queue
from gpucloud_core.notices.ports import NoticeUnit

CHANGED = "user.email_changed"
_NO_ADDRESS = FieldError("/email", "format", "Write it like name@example.com.")
_WRONG = FieldError("/current_password", "wrong", "This is not your present password.")


class EmailLinkInvalid(DomainError):
    """This link is not good, or no longer."""

    code = "email_link_invalid"
    kind = ErrorKind.INVALID
    next_step = "Ask for another; each works once, for a day, for the person who asked."


@dataclass(frozen=True, slots=True, kw_only=True)
class AskForEmail:
    """Send a link to the address that the actor wants to have."""

    transactions: Transactions[NoticeUnit]
    hasher: PasswordHasher
    limiter: RateLimiter
    ids: Ids
    limits: AttemptLimits = field(default_factory=AttemptLimits)

    async def __call__(self, *, actor: Actor, email: str, current_password: str) -> None:
        """Queue the mail with the link; nothing else changes.

        Raises:
            Forbidden: it is not a person who asks.
            ValidationFailed: it is no mail address, or the password is wrong.
            TooManyAttempts: too many in a short time.
        """
        user_id, wanted = person(actor), email.strip()
        await take_attempt(self.limiter, f"email:{user_id}", self.limits.password_person)
        if check_email(wanted) is not None:
            raise ValidationFailed(fields=[_NO_ADDRESS])
        async with self.transactions.begin(Scope.platform()) as unit:
            user = await unit.users.get(user_id)
        if user is None:
            raise NotFound("There is no such person any more.")
        if not await self.hasher.verify(user.password_hash, prepare_password(current_password)):
            raise ValidationFailed(fields=[_WRONG])
        async with self.transactions.begin(Scope.platform()) as unit:
            await queue(
                unit,
                self.ids,
                user,
                actor.tenant_id,
                key=f"proof/{self.ids.new('mal')}",
                to=wanted,
                subject="Confirm your mail address",
                text=f"Somebody signed in as {user.username} wants mails about the account sent "
                "to this address. If it was you, open this within a day. If it was not, do "
                "nothing: nothing more is sent here.",
                link=CONFIRM_PATH,
            )
            await unit.audit(fact_by(actor, action="user.email_asked", target=user.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmEmail:
    """Spend a link, and let its address be the actor's."""

    transactions: Transactions[NoticeUnit]
    ids: Ids

    async def __call__(self, *, actor: Actor, token: str) -> User:
        """Return the person with their proved address.

        Raises:
            EmailLinkInvalid: unknown, spent, too old, or somebody else asked for it.
        """
        user_id = person(actor)
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            row = await unit.one_time_tokens.get(token_hash(token))
            if row is None or (row.purpose, row.user_id) != (PROVES_EMAIL, user_id):
                raise EmailLinkInvalid
            before = await unit.users.lock(user_id)
            if before is None or await unit.one_time_tokens.use(row.id, now) is None:
                raise EmailLinkInvalid
            after = replace(before, email=row.subject, email_verified_at=now)
            await unit.users.put(after)
            if before.email_verified_at is not None and before.email not in {None, after.email}:
                await queue(
                    unit,
                    self.ids,
                    before,
                    actor.tenant_id,
                    key=f"moved/{row.id}",
                    to=before.email or "",
                    subject="Your mail address was changed",
                    text=f"Mails about the account {before.username} go to another address from "
                    "now on. If it was not you, change your password at once.",
                    link="/account",
                )
            await unit.audit(fact_by(actor, action=CHANGED, target=user_id))
            await unit.emit(Event(kind=CHANGED, subject=user_id, tenant_id=actor.tenant_id))
        return after
