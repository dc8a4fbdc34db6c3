"""Signing up, in and out with a username and a password, and knowing who asks afterwards.

Nothing here tells a stranger whether a username exists: an unknown one costs a hash, a write and
the same words. Attempts are limited per pair of account and address, per address and over all, and
never per account alone, so that nobody can lock somebody else out. Hashing and counting are
outside calls and stand outside the transactions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from gpucloud_core.access.credentials import (
    check_email,
    check_password,
    check_username,
    prepare_password,
    username_key,
)
from gpucloud_core.access.model import (
    Project,
    ProjectMember,
    Role,
    Session,
    SessionKind,
    Tenant,
    TenantKind,
    TenantMember,
    User,
)
from gpucloud_core.access.ports import AccessUnit, Founding, PasswordHasher, RateLimiter, Secrets
from gpucloud_core.access.session_life import Client, Tokens, open_session, token_hash
from gpucloud_core.kernel.errors import (
    AlreadyExists,
    DomainError,
    ErrorKind,
    FieldError,
    ValidationFailed,
)
from gpucloud_core.kernel.ids import Ids, ProjectId, TenantId, UserId
from gpucloud_core.kernel.unit import AuditFact, Event, Scope, Transactions


class InvalidCredentials(DomainError):
    """The username or the password is not right."""

    code = "invalid_credentials"
    kind = ErrorKind.UNAUTHENTICATED
    next_step = "Check both and try again."


class AccountDisabled(DomainError):
    """This account is disabled."""

    code = "account_disabled"
    kind = ErrorKind.FORBIDDEN
    next_step = "Write to support; your data is kept."


class UsernameTaken(DomainError):
    """This username is taken."""

    code = "username_taken"
    kind = ErrorKind.CONFLICT
    next_step = "Choose another, or sign in if it is yours."


class TooManyAttempts(DomainError):
    """That was too often in a short time."""

    code = "rate_limited"
    kind = ErrorKind.RATE_LIMITED
    next_step = "Wait for the time given, then try again."


@dataclass(frozen=True, slots=True)
class Limit:
    """So many attempts in any stretch of this length."""

    attempts: int
    window: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLimits:
    """How often one may try. Those over all protect the processors: hashing is slow on purpose."""

    sign_in_account_and_address: Limit = Limit(10, timedelta(minutes=10))
    sign_in_address: Limit = Limit(300, timedelta(minutes=10))
    sign_in_all: Limit = Limit(3000, timedelta(minutes=1))
    password_person: Limit = Limit(10, timedelta(minutes=10))
    sign_up_address: Limit = Limit(100, timedelta(hours=1))
    sign_up_all: Limit = Limit(600, timedelta(minutes=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Who signed in, where they are now, and the tokens their client keeps."""

    user: User
    tenant_id: TenantId
    session: Session
    tokens: Tokens


_PERSONAL_PROJECT: Final = ("Default", "default")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUp:
    """Make a user, a personal tenant, its first project and a session, all or nothing."""

    transactions: Transactions[AccessUnit]
    hasher: PasswordHasher
    limiter: RateLimiter
    secrets: Secrets
    ids: Ids
    founding: Sequence[Founding] = ()
    currency: str = "USD"
    limits: AttemptLimits = field(default_factory=AttemptLimits)

    async def __call__(
        self,
        *,
        username: str,
        password: str,
        email: str | None = None,
        kind: SessionKind,
        client: Client,
    ) -> SignedIn:
        """Sign up and in.

        Raises:
            ValidationFailed: some of the fields will not do; all are named.
            UsernameTaken: by somebody else, perhaps in this very moment.
            TooManyAttempts: from this address, or altogether.
        """
        address = _address_key(client.ip)
        await take_attempt(self.limiter, f"sign-up:address:{address}", self.limits.sign_up_address)
        await take_attempt(self.limiter, "sign-up:all", self.limits.sign_up_all)
        checks = (
            check_username(username),
            check_password(password, username=username),
            check_email(email) if email else None,
        )
        if faults := [fault for fault in checks if fault is not None]:
            raise ValidationFailed(fields=faults)
        encoded = await self.hasher.hash(prepare_password(password))
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            signed_in, project = self._people(
                username=username.strip(),
                encoded=encoded,
                email=email or None,
                kind=kind,
                client=client,
                now=now,
            )
            await self._found(unit, signed_in, project, now)
            user, tenant_id = signed_in.user, signed_in.tenant_id
            await unit.audit(_fact(user, tenant_id, client, action="user.sign_up"))
        return signed_in

    def _people(
        self,
        *,
        username: str,
        encoded: str,
        email: str | None,
        kind: SessionKind,
        client: Client,
        now: datetime,
    ) -> tuple[SignedIn, Project]:
        tenant_id = TenantId(self.ids.new("ten"))
        project = Project(
            id=ProjectId(self.ids.new("prj")),
            tenant_id=tenant_id,
            name=_PERSONAL_PROJECT[0],
            slug=_PERSONAL_PROJECT[1],
            created_at=now,
        )
        user = User(
            id=UserId(self.ids.new("usr")),
            username=username,
            username_key=username_key(username),
            password_hash=encoded,
            email=email,
            default_project_id=project.id,
            created_at=now,
        )
        return _signed_in(user, tenant_id, self.secrets, kind, client, now), project

    async def _found(
        self, unit: AccessUnit, signed_in: SignedIn, project: Project, now: datetime
    ) -> None:
        user, tenant_id = signed_in.user, signed_in.tenant_id
        try:
            await unit.users.add(user)
        except AlreadyExists:
            raise UsernameTaken(
                fields=[FieldError("/username", "taken", "Somebody else has this username.")]
            ) from None
        tenant = Tenant(
            id=tenant_id,
            name=user.username,
            kind=TenantKind.PERSONAL,
            currency=self.currency,
            created_at=now,
        )
        await unit.tenants.add(tenant)
        await unit.projects.add(project)
        await unit.tenant_members.add(
            TenantMember(
                id=f"{tenant_id}/{user.id}",
                tenant_id=tenant_id,
                user_id=user.id,
                role=Role.OWNER,
                created_at=now,
            )
        )
        await unit.project_members.add(
            ProjectMember(
                id=f"{project.id}/{user.id}",
                tenant_id=tenant_id,
                project_id=project.id,
                user_id=user.id,
                role=Role.OWNER,
                created_at=now,
            )
        )
        await unit.sessions.add(signed_in.session)
        for found in self.founding:
            await found(unit, tenant)
        await unit.emit(Event(kind="tenant.founded", subject=tenant_id, tenant_id=tenant_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Check a password and open a session."""

    transactions: Transactions[AccessUnit]
    hasher: PasswordHasher
    limiter: RateLimiter
    secrets: Secrets
    limits: AttemptLimits = field(default_factory=AttemptLimits)

    async def __call__(
        self, *, username: str, password: str, kind: SessionKind, client: Client
    ) -> SignedIn:
        """Sign in.

        Raises:
            InvalidCredentials: unknown, wrong, or without a password; never says which.
            AccountDisabled: the password is right, the account is closed.
            TooManyAttempts: for this account from this address, from this address, or altogether.
        """
        key, address = username_key(username), _address_key(client.ip)
        pair = f"sign-in:account:{token_hash(key)}:{address}"
        await take_attempt(self.limiter, pair, self.limits.sign_in_account_and_address)
        await take_attempt(self.limiter, f"sign-in:address:{address}", self.limits.sign_in_address)
        await take_attempt(self.limiter, "sign-in:all", self.limits.sign_in_all)

        async with self.transactions.begin(Scope.platform()) as unit:
            found = await unit.users.find(username_key=key)
        encoded = found[0].password_hash if found else None
        matches = await self.hasher.verify(encoded, prepare_password(password))

        async with self.transactions.begin(Scope.platform()) as unit:
            user = await unit.users.get(found[0].id if found else "")
            # Hashing took a while: a password changed meanwhile counts as changed.
            if matches and user is not None and user.password_hash == encoded:
                outcome = await self._open(unit, user, kind, client)
            else:
                outcome = InvalidCredentials()
                await unit.audit(_fact(user, None, client, action="user.sign_in", result="denied"))
        if isinstance(outcome, DomainError):
            raise outcome
        return outcome

    async def _open(
        self, unit: AccessUnit, user: User, kind: SessionKind, client: Client
    ) -> SignedIn | DomainError:
        tenant_id = None if user.disabled_at else await home_tenant(unit, user)
        if tenant_id is None:
            await unit.audit(_fact(user, None, client, action="user.sign_in", result="denied"))
            return AccountDisabled()
        now = await unit.now(not_before=user.created_at)
        signed_in = _signed_in(user, tenant_id, self.secrets, kind, client, now)
        await unit.sessions.add(signed_in.session)
        await unit.audit(_fact(user, tenant_id, client, action="user.sign_in"))
        return signed_in


async def home_tenant(unit: AccessUnit, user: User) -> TenantId | None:
    """Return where ``user`` lands: by their default project, else the tenant joined first."""
    memberships = await unit.tenant_members.find(user_id=user.id)
    default = await unit.projects.get(user.default_project_id or "")
    joined = sorted(memberships, key=lambda membership: (membership.created_at, membership.id))
    for membership in joined:
        if default is not None and membership.tenant_id == default.tenant_id:
            return membership.tenant_id
    return joined[0].tenant_id if joined else None


def _signed_in(
    user: User,
    tenant_id: TenantId,
    secrets: Secrets,
    kind: SessionKind,
    client: Client,
    now: datetime,
) -> SignedIn:
    session, tokens = open_session(
        kind=kind,
        user_id=user.id,
        tenant_id=tenant_id,
        client=client,
        family=secrets.token(),
        secret=secrets.token(),
        now=now,
    )
    return SignedIn(user=user, tenant_id=tenant_id, session=session, tokens=tokens)


async def take_attempt(limiter: RateLimiter, key: str, limit: Limit) -> None:
    """Count an attempt.

    Raises:
        TooManyAttempts: there were as many as ``limit`` allows; it says how long to wait.
    """
    wait = await limiter.take(key, limit=limit.attempts, window=limit.window)
    if wait is not None:
        seconds = max(1, -(-wait // timedelta(seconds=1)))
        raise TooManyAttempts(
            f"That was too often; try again in {seconds} s.", retry_after_seconds=seconds
        )


def _address_key(ip: str) -> str:
    """Return what counts as one address: of IPv6 the /64, which is what one customer holds."""
    try:
        address = ip_address(ip)
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or IPv6Network((address, 64), strict=False).network_address)
    return str(address)


def _fact(
    user: User | None,
    tenant_id: TenantId | None,
    client: Client,
    *,
    action: str,
    result: str = "ok",
) -> AuditFact:
    return AuditFact(
        action=action,
        target=user.id if user else "",
        result=result,
        tenant_id=tenant_id,
        user_id=user.id if user else None,
        actor=user.username if user else "unknown",
        via=client.via,
        correlation_id=client.correlation_id,
        ip=client.ip,
        user_agent=client.user_agent,
    )
