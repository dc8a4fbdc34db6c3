"""Changing one's own password: the present one first, and every other session ends with it.

Whoever stole a session must not be able to keep the account, so the present password is asked for
again (step-up), wrong ones are limited per person, and a change leaves only the session that made
it. Hashing is slow on purpose and stands outside the transactions.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from gpucloud_core.access.acting import fact_by, person
from gpucloud_core.access.credentials import check_password, prepare_password
from gpucloud_core.access.model import Actor, User
from gpucloud_core.access.ports import AccessUnit, PasswordHasher, RateLimiter
from gpucloud_core.access.session_life import EndReason, end
from gpucloud_core.access.sign_in import AttemptLimits, take_attempt
from gpucloud_core.kernel.errors import Conflict, FieldError, NotFound, ValidationFailed
from gpucloud_core.kernel.ids import UserId
from gpucloud_core.kernel.unit import Event, Scope, Transactions

CHANGED: Final = "user.password_changed"
_WRONG: Final = FieldError("/current_password", "wrong", "This is not your present password.")
_SAME: Final = FieldError("/new_password", "same", "Choose one that is not your present password.")


def check_change(current: str, new: str, *, username: str) -> FieldError | None:
    """Return what is wrong with a new password beside the present one, if anything."""
    if prepare_password(new) == prepare_password(current):
        return _SAME
    fault = check_password(new, username=username)
    return None if fault is None else replace(fault, field="/new_password")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePassword:
    """Give the actor another password and end their other sessions."""

    transactions: Transactions[AccessUnit]
    hasher: PasswordHasher
    limiter: RateLimiter
    limits: AttemptLimits = field(default_factory=AttemptLimits)

    async def __call__(self, *, actor: Actor, current: str, new: str) -> int:
        """Change it, and return how many other sessions were ended.

        Raises:
            Forbidden: it is not a person who asks.
            ValidationFailed: the present one is wrong, or the new one will not do.
            Conflict: it was changed elsewhere in this very moment.
            TooManyAttempts: too many wrong ones.
        """
        user_id = person(actor)
        await take_attempt(self.limiter, f"password:{user_id}", self.limits.password_person)
        async with self.transactions.begin(Scope.platform()) as unit:
            user = await unit.users.get(user_id)
        if user is None:
            raise NotFound("There is no such person any more.")
        if not await self.hasher.verify(user.password_hash, prepare_password(current)):
            await self._note_refusal(actor, user_id)
            raise ValidationFailed(fields=[_WRONG])
        if fault := check_change(current, new, username=user.username):
            raise ValidationFailed(fields=[fault])
        encoded = await self.hasher.hash(prepare_password(new))
        return await self._change(actor, user, encoded)

    async def _change(self, actor: Actor, seen: User, encoded: str) -> int:
        async with self.transactions.begin(Scope.platform()) as unit:
            user = await unit.users.lock(seen.id)
            # Hashing took a while: a password changed meanwhile counts as changed.
            if user is None or user.password_hash != seen.password_hash:
                raise Conflict("Your password was changed elsewhere in this moment.")
            await unit.users.put(replace(user, password_hash=encoded))
            ended = await _end_others(unit, actor, user.id)
            await unit.audit(fact_by(actor, action=CHANGED, target=user.id))
            await unit.emit(Event(kind=CHANGED, subject=user.id, tenant_id=actor.tenant_id))
        return ended

    async def _note_refusal(self, actor: Actor, user_id: UserId) -> None:
        async with self.transactions.begin(Scope.platform()) as unit:
            await unit.audit(fact_by(actor, action=CHANGED, target=user_id, result="denied"))


async def _end_others(unit: AccessUnit, actor: Actor, user_id: UserId) -> int:
    """End every session of the person but the one that asks."""
    found = await unit.sessions.find(user_id=user_id, revoked_at=None)
    now = await unit.now()
    count = 0
    for one in sorted(found, key=lambda session: session.id):
        session = await unit.sessions.lock(one.id) if one.id != actor.session_id else None
        if session is not None and session.revoked_at is None:
            await unit.sessions.put(end(session, EndReason.PASSWORD_CHANGED, now))
            count += 1
    return count
