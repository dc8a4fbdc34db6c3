"""Who asks, and the sessions they have.

The rules are in ``session_life``; here they are applied to rows. Resolving the actor happens on
every request, so it reads by unique keys alone and writes once in five minutes. A replayed
refresh token must end its session although the request fails, so ``Refresh`` decides inside the
transaction and refuses after it.
"""

from dataclasses import dataclass, replace

from gpucloud_core.access.acting import fact_by, person
from gpucloud_core.access.model import Actor, Session, SessionKind, User
from gpucloud_core.access.ports import AccessUnit, Secrets, SignedIn
from gpucloud_core.access.session_life import (
    Client,
    EndReason,
    Over,
    Replayed,
    Rotated,
    Tokens,
    admits,
    end,
    family_of,
    is_alive,
    rotate,
    seen,
    session_id_of,
    token_hash,
)
from gpucloud_core.kernel.errors import DomainError, ErrorKind, NotFound
from gpucloud_core.kernel.ids import SessionId, TenantId, UserId
from gpucloud_core.kernel.unit import AuditFact, Event, Scope, Transactions


class Unauthenticated(DomainError):
    """You are not signed in, or no longer."""

    code = "unauthenticated"
    kind = ErrorKind.UNAUTHENTICATED
    next_step = "Sign in again, or refresh the access token."


class RefreshTokenInvalid(DomainError):
    """This refresh token is not good, or no longer."""

    code = "refresh_token_invalid"
    kind = ErrorKind.UNAUTHENTICATED
    next_step = "Sign in again."


class RefreshTokenReused(DomainError):
    """This refresh token was used before, so its session was ended."""

    code = "refresh_token_reused"
    kind = ErrorKind.UNAUTHENTICATED
    next_step = "Sign in again. If it was not you who used it, change your password."


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveActor:
    """Say who presents an access token."""

    transactions: Transactions[AccessUnit]

    async def __call__(self, *, token: str, kind: SessionKind, client: Client) -> Actor:
        """Return the actor.

        Args:
            token: as presented.
            kind: what it was presented as; a cookie is no bearer token, nor the other way round.
            client: where the request comes from, for the audit rows it may cause.

        Raises:
            Unauthenticated: unknown, ended, idle for too long, or its user is disabled.
        """
        return actor_of(await signed_in(self.transactions, token, kind), client)


async def signed_in(
    transactions: Transactions[AccessUnit],
    token: str,
    kind: SessionKind,
    project_id: str = "",
) -> SignedIn:
    """Return the living session that an access token is of, and note that it was seen.

    Raises:
        Unauthenticated: unknown, ended, idle for too long, or its user is disabled.
    """
    async with transactions.look(Scope.platform()) as unit:
        found = await unit.sessions.signed_in(token_hash(token), project_id)
    if found is None or found.session.kind is not kind:
        raise Unauthenticated
    if not admits(found.session, found.as_of) or found.user.disabled_at is not None:
        raise Unauthenticated
    if seen(found.session, found.as_of) is not None:
        await _mark_seen(transactions, found.session.id)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """Exchange a refresh token for new tokens."""

    transactions: Transactions[AccessUnit]
    secrets: Secrets

    async def __call__(self, *, refresh_token: str, client: Client) -> Tokens:
        """Return the next tokens; the same ones for a repeat within ten seconds.

        Raises:
            RefreshTokenInvalid: not one of ours, or its session has ended.
            RefreshTokenReused: spent before; its session is ended now.
        """
        family = family_of(refresh_token)
        if family is None:
            raise RefreshTokenInvalid
        async with self.transactions.begin(Scope.platform()) as unit:
            session = await unit.sessions.lock(session_id_of(family))
            if session is None:
                raise RefreshTokenInvalid
            user = await unit.users.get(session.user_id)
            if user is None or user.disabled_at is not None:
                raise RefreshTokenInvalid
            now = await unit.now(not_before=session.rotated_at)
            outcome = rotate(session, refresh_token, salt=self.secrets.token(), now=now)
            match outcome:
                case Rotated(changed):
                    if changed is not session:
                        await unit.sessions.put(changed)
                case Replayed(ended):
                    await _end(unit, ended, user, client)
                case Over():
                    pass
        if isinstance(outcome, Rotated):
            return outcome.tokens
        raise RefreshTokenReused if isinstance(outcome, Replayed) else RefreshTokenInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOut:
    """End the session that asks."""

    transactions: Transactions[AccessUnit]

    async def __call__(self, *, actor: Actor) -> None:
        """End it; once ended it stays so, and asking again is fine."""
        if actor.session_id is not None:
            await _revoke(self.transactions, actor, actor.session_id, EndReason.SIGNED_OUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSessions:
    """Where the actor is signed in, last seen first."""

    transactions: Transactions[AccessUnit]

    async def __call__(self, *, actor: Actor) -> tuple[Session, ...]:
        async with self.transactions.look(Scope.platform()) as unit:
            sessions = await unit.sessions.find(user_id=person(actor), revoked_at=None)
            now = await unit.now()
        alive = [session for session in sessions if is_alive(session, now)]
        return tuple(sorted(alive, key=lambda session: session.last_seen_at, reverse=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeSession:
    """End one of the actor's own sessions, such as that of a lost laptop."""

    transactions: Transactions[AccessUnit]

    async def __call__(self, *, actor: Actor, session_id: SessionId) -> None:
        """End it; ended sessions stay as they are.

        Raises:
            NotFound: the actor has no such session.
        """
        await _revoke(self.transactions, actor, session_id, EndReason.REVOKED)


async def _revoke(
    transactions: Transactions[AccessUnit], actor: Actor, session_id: SessionId, reason: EndReason
) -> None:
    async with transactions.begin(Scope.platform()) as unit:
        session = await unit.sessions.lock(session_id)
        if session is None or session.user_id != person(actor):
            raise NotFound("There is no session with this id.")
        ended = end(session, reason, await unit.now(not_before=session.created_at))
        if ended is not session:
            await unit.sessions.put(ended)
            await unit.audit(fact_by(actor, action=f"session.{reason}", target=session_id))


async def _mark_seen(transactions: Transactions[AccessUnit], session_id: SessionId) -> None:
    async with transactions.begin(Scope.platform()) as unit:
        # The row is read again under its lock: a rotation may have changed it meanwhile.
        locked = await unit.sessions.lock(session_id)
        if locked is None:
            return
        now = await unit.now(not_before=locked.last_seen_at)
        moved_on = seen(locked, now) if is_alive(locked, now) else None
        if moved_on is not None:
            await unit.sessions.put(moved_on)


def actor_of(found: SignedIn, client: Client) -> Actor:
    """Return whose session it is as an actor, with the rights they have where it works."""
    return Actor(
        user_id=found.user.id,
        username=found.user.username,
        tenant_id=found.session.tenant_id,
        tenant_role=found.tenant_role,
        project_roles=found.project_roles if found.tenant_role is not None else {},
        platform_role=found.user.platform_role,
        session_id=found.session.id,
        via=client.via,
        correlation_id=client.correlation_id,
        ip=client.ip,
        user_agent=client.user_agent,
    )


async def member_as_actor(
    unit: AccessUnit, tenant_id: TenantId, user_id: UserId, *, via: str
) -> Actor:
    """Return a person as an actor of today, for what they asked to be done later.

    They act with the rights they have now, and with none of the platform's.

    Raises:
        NotFound: they are gone, or disabled.
    """
    user = await unit.users.get(user_id)
    if user is None or user.disabled_at is not None:
        raise NotFound("The person who asked for it is not here any more.")
    return replace(await _member(unit, tenant_id, user), via=via)


async def _member(unit: AccessUnit, tenant_id: TenantId, user: User) -> Actor:
    member = await unit.tenant_members.get(f"{tenant_id}/{user.id}")
    in_projects = await unit.project_members.find(tenant_id=tenant_id, user_id=user.id)
    return Actor(
        user_id=user.id,
        username=user.username,
        tenant_id=tenant_id,
        tenant_role=member.role if member is not None else None,
        project_roles={one.project_id: one.role for one in in_projects} if member else {},
    )


async def _end(unit: AccessUnit, ended: Session, user: User, client: Client) -> None:
    await unit.sessions.put(ended)
    await unit.audit(
        AuditFact(
            action=f"session.{EndReason.REFRESH_REUSED}",
            target=ended.id,
            result="denied",
            tenant_id=ended.tenant_id,
            user_id=user.id,
            actor=user.username,
            via=client.via,
            correlation_id=client.correlation_id,
            ip=client.ip,
            user_agent=client.user_agent,
        )
    )
    await unit.emit(
        Event(kind="session.refresh_reused", subject=ended.id, tenant_id=ended.tenant_id)
    )
