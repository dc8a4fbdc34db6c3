"""What sign-in, projects and keys need from outside."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

from gpucloud_core.access.model import (
    OneTimeToken,
    Project,
    ProjectMember,
    Role,
    SavedView,
    Session,
    SshKey,
    Tenant,
    TenantMember,
    User,
)
from gpucloud_core.kernel.ids import ProjectId
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.kernel.unit import Unit


class PasswordHasher(Protocol):
    """Argon2id, off the event loop."""

    async def hash(self, password: str) -> str:
        """Return the encoded hash of ``password`` with a fresh salt."""
        ...

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Tell whether they match, in the same time also when ``encoded`` is None."""
        ...


class Secrets(Protocol):
    """Randomness nobody can guess."""

    def token(self) -> str:
        """Return 256 random bits, URL-safe."""
        ...


class RateLimiter(Protocol):
    """Counts attempts in a sliding window."""

    async def take(self, key: str, *, limit: int, window: timedelta) -> timedelta | None:
        """Count one attempt under ``key``; return how long to wait if it is one too many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session with whose it is, and what they may where it works.

    ``projects`` are such of its tenant's that are not deleted that nobody who may read the others
    needs them to know which one comes first: those the user is a member of, the one they begin in,
    the one that is asked for, and the first by name.
    """

    session: Session
    user: User
    tenant_role: Role | None
    project_roles: Mapping[ProjectId, Role]
    projects: tuple[Project, ...]
    as_of: datetime  # the database's clock


class Sessions(Rows[Session], Protocol):
    async def signed_in(self, access_hash: str, project_id: str) -> SignedIn | None:
        """Return the session with this access token, alive or not, read in one go.

        ``project_id`` is the project that is asked for; it need not be theirs, nor be at all.
        """
        ...


class OneTimeTokens(Rows[OneTimeToken], Protocol):
    async def use(self, key: str, now: datetime) -> OneTimeToken | None:
        """Mark the token used and return it; None if absent, used before, or expired."""
        ...


class AccessUnit(Unit, Protocol):
    """The rows of this concept."""

    @property
    def tenants(self) -> Rows[Tenant]: ...
    @property
    def users(self) -> Rows[User]: ...
    @property
    def projects(self) -> Rows[Project]: ...
    @property
    def tenant_members(self) -> Rows[TenantMember]: ...
    @property
    def project_members(self) -> Rows[ProjectMember]: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def ssh_keys(self) -> Rows[SshKey]: ...
    @property
    def saved_views(self) -> Rows[SavedView]: ...
    @property
    def one_time_tokens(self) -> OneTimeTokens: ...


Founding: TypeAlias = Callable[[AccessUnit, Tenant], Awaitable[None]]
"""What other concepts add when a tenant is founded, in the same transaction."""
