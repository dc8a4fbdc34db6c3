"""Sessions as pure rules: how they are opened, how long they live, how refresh tokens rotate.

A refresh token is two secrets, ``family.rotation``. The family never changes and the session's id
is derived from it, so whoever presents a family was given it once: a known family with a rotation
that is neither the present nor the just-replaced one is a replay, however old, and ends the
session. The replaced rotation is honoured for ten seconds and answered with the very same tokens
as the first time, so two honest tabs that race stay together on one chain; both are derived from
the old secret and a random salt, since only hashes are kept.
Source: RFC 9700 section 4.14.2 (refresh token rotation), read 2026-11-22.
"""

import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from gpucloud_core.access.model import Session, SessionKind
from gpucloud_core.kernel.ids import SessionId, TenantId, UserId, entity_id

BROWSER_IDLE: Final = timedelta(hours=12)
LIFETIME: Final = timedelta(days=30)
ACCESS_LIFETIME: Final = timedelta(minutes=15)
GRACE: Final = timedelta(seconds=10)
SEEN_EVERY: Final = timedelta(minutes=5)
"""How far ``last_seen_at`` may lag, so that not every request writes."""

_TEXT_MAX: Final = 400


class EndReason(StrEnum):
    """Why a session was ended before its time."""

    SIGNED_OUT = "signed_out"
    REVOKED = "revoked"
    REFRESH_REUSED = "refresh_reused"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  a reason, not a password


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What the client gets, in clear, once. A browser's cookie is the access token alone."""

    access_token: str
    access_expires_at: datetime
    refresh_token: str | None = None

    def __repr__(self) -> str:
        return "Tokens(…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Where a request comes from, as the edge saw it."""

    ip: str = ""
    user_agent: str = ""
    correlation_id: str = ""
    via: str = "api"  # ui or api


def token_hash(token: str) -> str:
    """Return what is stored of a token: enough to recognise it, not to present it."""
    return hashlib.sha256(token.encode()).hexdigest()


def session_id_of(family: str) -> SessionId:
    """Return the id of the session of this family; it cannot be made without the secret."""
    digest = hashlib.sha256(b"session:" + family.encode()).digest()
    return SessionId(entity_id("ses", int.from_bytes(digest[:16])))


def open_session(
    *,
    kind: SessionKind,
    user_id: UserId,
    tenant_id: TenantId,
    client: Client,
    family: str,
    secret: str,
    now: datetime,
) -> tuple[Session, Tokens]:
    """Return a new session and its tokens, made of two fresh secrets."""
    refresh = f"{family}.{_derive(secret, 'refresh', family)}"
    access = _derive(secret, "access", family)
    is_browser = kind is SessionKind.BROWSER
    expires_at = now + (BROWSER_IDLE if is_browser else ACCESS_LIFETIME)
    session = Session(
        id=session_id_of(family),
        user_id=user_id,
        tenant_id=tenant_id,
        kind=kind,
        access_hash=token_hash(access),
        access_expires_at=expires_at,
        refresh_hash=None if is_browser else token_hash(refresh),
        created_at=now,
        last_seen_at=now,
        ends_at=now + LIFETIME,
        user_agent=client.user_agent[:_TEXT_MAX],
        ip=client.ip,
    )
    return session, Tokens(
        access_token=access,
        access_expires_at=expires_at,
        refresh_token=None if is_browser else refresh,
    )


def is_alive(session: Session, now: datetime) -> bool:
    """Tell whether the session can still be used, by its access token or by a refresh."""
    if session.revoked_at is not None or now >= session.ends_at:
        return False
    return session.kind is SessionKind.API or now < session.access_expires_at


def admits(session: Session, now: datetime) -> bool:
    """Tell whether the session's access token is good for a request now."""
    return is_alive(session, now) and now < session.access_expires_at


def seen(session: Session, now: datetime) -> Session | None:
    """Return the session with its idle limit moved on, or None while that need not be written."""
    if now - session.last_seen_at < SEEN_EVERY:
        return None
    if session.kind is SessionKind.API:
        return replace(session, last_seen_at=now)
    expires_at = min(now + BROWSER_IDLE, session.ends_at)
    return replace(session, last_seen_at=now, access_expires_at=expires_at)


def end(session: Session, reason: EndReason, now: datetime) -> Session:
    """Return the session ended; the first reason stays."""
    if session.revoked_at is not None:
        return session
    return replace(session, revoked_at=now, revoked_reason=reason)


@dataclass(frozen=True, slots=True)
class Rotated:
    """New tokens; the session as it must be stored (unchanged when answered again)."""

    session: Session
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Replayed:
    """A spent token came back: someone has a copy. The session is ended."""

    session: Session


@dataclass(frozen=True, slots=True)
class Over:
    """The session had ended before."""


def rotate(session: Session, token: str, *, salt: str, now: datetime) -> Rotated | Replayed | Over:
    """Decide what the holder of ``token`` gets; ``session`` is that of the token's family.

    Args:
        session: the row, locked.
        token: as presented, ``family.rotation``.
        salt: a fresh secret, used if this is a new rotation.
        now: after the lock.
    """
    if session.kind is not SessionKind.API or not is_alive(session, now):
        return Over()
    presented = token_hash(token)
    if _same(presented, session.refresh_hash):
        tokens = _successor(token, salt, min(now + ACCESS_LIFETIME, session.ends_at))
        rotated = replace(
            session,
            access_hash=token_hash(tokens.access_token),
            access_expires_at=tokens.access_expires_at,
            refresh_hash=token_hash(tokens.refresh_token or ""),
            previous_refresh_hash=presented,
            rotated_at=now,
            rotation_salt=salt,
            last_seen_at=now,
        )
        return Rotated(rotated, tokens)
    if (
        session.rotated_at is not None
        and session.rotation_salt is not None
        and now < session.rotated_at + GRACE
        and _same(presented, session.previous_refresh_hash)
    ):
        tokens = _successor(token, session.rotation_salt, session.access_expires_at)
        return Rotated(session, tokens)
    return Replayed(end(session, EndReason.REFRESH_REUSED, now))


def family_of(token: str) -> str | None:
    """Return the family in a refresh token, or None if it has no such form."""
    family, dot, rotation = token.partition(".")
    return family if dot and family and rotation and token.isascii() else None


def _successor(token: str, salt: str, expires_at: datetime) -> Tokens:
    family = token.partition(".")[0]
    return Tokens(
        access_token=_derive(token, "access", salt),
        access_expires_at=expires_at,
        refresh_token=f"{family}.{_derive(token, 'refresh', salt)}",
    )


def _derive(secret: str, purpose: str, salt: str) -> str:
    return hmac.new(secret.encode(), f"{purpose}:{salt}".encode(), hashlib.sha256).hexdigest()


def _same(presented: str, stored: str | None) -> bool:
    return stored is not None and hmac.compare_digest(presented, stored)
