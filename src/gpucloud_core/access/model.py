"""People, tenants, projects, sessions and keys. Plain rows; the rules stand beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gpucloud_core.kernel.ids import ProjectId, SessionId, SshKeyId, TenantId, UserId


class PlatformRole(StrEnum):
    USER = "user"
    ADMIN = "admin"
    OPS = "ops"
    BILLING_OPERATOR = "billing_operator"


class Role(StrEnum):
    """A member's role in a tenant or a project, strongest first."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


class TenantKind(StrEnum):
    PERSONAL = "personal"  # one member for ever
    WORK = "work"  # an issuer, domains, members


class SessionKind(StrEnum):
    BROWSER = "browser"  # one opaque cookie
    API = "api"  # short access token, rotating refresh token


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    id: TenantId
    name: str
    kind: TenantKind
    currency: str = "USD"
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """``username_key`` is the case-folded NFKC name, unique. Hashes are Argon2id, encoded."""

    id: UserId
    username: str
    username_key: str
    password_hash: str | None
    email: str | None = None
    email_verified_at: datetime | None = None
    platform_role: PlatformRole = PlatformRole.USER
    default_project_id: ProjectId | None = None
    created_at: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    id: ProjectId
    tenant_id: TenantId
    name: str
    slug: str  # unique in the tenant
    created_at: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantMember:
    id: str  # "<tenant_id>/<user_id>"
    tenant_id: TenantId
    user_id: UserId
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectMember:
    id: str  # "<project_id>/<user_id>"
    tenant_id: TenantId
    project_id: ProjectId
    user_id: UserId
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One signed-in browser or API client. Tokens are kept as SHA-256, never in clear."""

    id: SessionId
    user_id: UserId
    tenant_id: TenantId  # the one the user works in now
    kind: SessionKind
    access_hash: str  # unique; of the cookie for a browser
    access_expires_at: datetime
    refresh_hash: str | None = None
    previous_refresh_hash: str | None = None  # honoured for ten seconds after a rotation
    rotated_at: datetime | None = None
    rotation_salt: str | None = None  # lets the same rotation be answered again in those seconds
    created_at: datetime
    last_seen_at: datetime
    ends_at: datetime  # absolute end
    revoked_at: datetime | None = None
    revoked_reason: str | None = None
    user_agent: str = ""
    ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshKey:
    """A user's public key in its canonical form. Private keys never reach us."""

    id: SshKeyId
    tenant_id: TenantId
    user_id: UserId
    name: str
    type: str  # ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa ...
    public_key: str  # "type base64", without the comment
    fingerprint: str  # "SHA256:..."
    comment: str = ""
    created_at: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeToken:
    """A secret that works once, for one purpose and subject, for a short time."""

    id: str  # SHA-256 of the secret
    tenant_id: TenantId
    user_id: UserId
    purpose: str  # "terminal", ...
    subject: str  # such as an allocation id
    binding: str = ""  # what else must match, such as the origin
    session_id: SessionId | None = None  # where its owner was signed in
    expires_at: datetime
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedView:
    """How one person likes to see one list."""

    id: str
    tenant_id: TenantId
    user_id: UserId
    list: str  # the list's name
    name: str
    name_key: str  # the case-folded NFKC name, unique among their views of the list
    query: Mapping[str, str]  # what narrows and orders it, as in its address
    columns: tuple[str, ...] | None = None  # None: as the browser has them
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who is asking, resolved once at the edge; the use cases only read it."""

    user_id: UserId | None
    username: str
    tenant_id: TenantId
    tenant_role: Role | None
    platform_role: PlatformRole = PlatformRole.USER
    project_roles: Mapping[ProjectId, Role] = field(default_factory=dict)
    session_id: SessionId | None = None
    via: str = "api"  # ui, api, key, worker, system
    correlation_id: str = ""
    ip: str = ""
    user_agent: str = ""
