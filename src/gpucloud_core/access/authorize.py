"""Who may do what: one literal table, and one pure function that reads it.

Every action stands at one level. In a project or a tenant the row names the *weakest* role that
may, so a stronger role can never do less. On the platform the row names each role that may, for
there a billing operator is not a weaker administrator but somebody else. The web layer asks this
function and knows no rule of its own; a route without a row here fails the build.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

from gpucloud_core.access.model import Actor, PlatformRole, Role
from gpucloud_core.kernel.errors import DomainError, ErrorKind, NotFound
from gpucloud_core.kernel.ids import ProjectId, TenantId


class Action(StrEnum):
    """Everything a person can ask for, as ``subject.verb``."""

    CATALOG_READ = "catalog.read"
    SSH_KEY_READ = "ssh_key.read"
    SSH_KEY_MANAGE = "ssh_key.manage"
    BILLING_READ = "billing.read"
    BILLING_PAY = "billing.pay"
    TENANT_READ = "tenant.read"
    INBOX_USE = "inbox.use"
    VIEWS_USE = "views.use"

    PROJECT_READ = "project.read"
    PROJECT_MANAGE = "project.manage"
    USAGE_READ = "usage.read"
    ALLOCATION_READ = "allocation.read"
    ALLOCATION_LAUNCH = "allocation.launch"
    ALLOCATION_CANCEL = "allocation.cancel"
    ALLOCATION_RESTART = "allocation.restart"
    ALLOCATION_RELEASE = "allocation.release"
    ALLOCATION_KEYS = "allocation.keys"
    ALLOCATION_TERMINAL = "allocation.terminal"
    TASK_READ = "task.read"
    TASK_CANCEL = "task.cancel"

    ADMIN_READ = "admin.read"
    NODE_READ = "node.read"
    NODE_OPERATE = "node.operate"
    NODE_MANAGE = "node.manage"
    CATALOG_MANAGE = "catalog.manage"
    QUOTA_MANAGE = "quota.manage"
    USER_READ = "user.read"
    USER_MANAGE = "user.manage"
    TENANT_MANAGE = "tenant.manage"
    ANY_ALLOCATION_READ = "any_allocation.read"
    ANY_ALLOCATION_FORCE = "any_allocation.force"
    ANY_PAYMENT_READ = "any_payment.read"
    ANY_BALANCE_ADJUST = "any_balance.adjust"
    ANY_USAGE_READ = "any_usage.read"
    AUDIT_READ = "audit.read"
    ATTENTION_READ = "attention.read"
    ATTENTION_MANAGE = "attention.manage"
    TELEMETRY_READ = "telemetry.read"


@dataclass(frozen=True, slots=True)
class InTenant:
    """Members of the tenant from this role up."""

    weakest: Role


@dataclass(frozen=True, slots=True)
class InProject:
    """Members of the project from this role up; the tenant's owners and admins count as such."""

    weakest: Role


@dataclass(frozen=True, slots=True)
class OnPlatform:
    """These of our own people, whatever tenant they work in."""

    roles: tuple[PlatformRole, ...]


Grant: TypeAlias = InTenant | InProject | OnPlatform

_ADMIN: Final = OnPlatform((PlatformRole.ADMIN,))
_OPERATORS: Final = OnPlatform((PlatformRole.ADMIN, PlatformRole.OPS))
_MONEY: Final = OnPlatform((PlatformRole.ADMIN, PlatformRole.BILLING_OPERATOR))

GRANTS: Final[Mapping[Action, Grant]] = {
    Action.CATALOG_READ: InTenant(Role.VIEWER),
    # A viewer of the tenant may be a member of one project, and then needs keys of their own.
    Action.SSH_KEY_READ: InTenant(Role.VIEWER),
    Action.SSH_KEY_MANAGE: InTenant(Role.VIEWER),
    # The balance is everybody's: it decides whose work goes on.
    Action.BILLING_READ: InTenant(Role.VIEWER),
    Action.BILLING_PAY: InTenant(Role.ADMIN),
    Action.TENANT_READ: InTenant(Role.VIEWER),
    Action.INBOX_USE: InTenant(Role.VIEWER),
    Action.VIEWS_USE: InTenant(Role.VIEWER),
    Action.PROJECT_READ: InProject(Role.VIEWER),
    Action.PROJECT_MANAGE: InProject(Role.ADMIN),
    Action.USAGE_READ: InProject(Role.VIEWER),
    Action.ALLOCATION_READ: InProject(Role.VIEWER),
    Action.ALLOCATION_LAUNCH: InProject(Role.MEMBER),
    Action.ALLOCATION_CANCEL: InProject(Role.MEMBER),
    Action.ALLOCATION_RESTART: InProject(Role.MEMBER),
    Action.ALLOCATION_RELEASE: InProject(Role.MEMBER),
    Action.ALLOCATION_KEYS: InProject(Role.MEMBER),
    Action.ALLOCATION_TERMINAL: InProject(Role.MEMBER),
    Action.TASK_READ: InProject(Role.VIEWER),
    Action.TASK_CANCEL: InProject(Role.MEMBER),
    Action.ADMIN_READ: _ADMIN,
    Action.NODE_READ: _OPERATORS,
    Action.NODE_OPERATE: _OPERATORS,
    Action.NODE_MANAGE: _ADMIN,
    Action.CATALOG_MANAGE: _ADMIN,
    Action.QUOTA_MANAGE: _ADMIN,
    Action.USER_READ: _MONEY,
    Action.USER_MANAGE: _ADMIN,
    Action.TENANT_MANAGE: _ADMIN,
    Action.ANY_ALLOCATION_READ: _OPERATORS,
    Action.ANY_ALLOCATION_FORCE: _ADMIN,
    Action.ANY_PAYMENT_READ: _MONEY,
    Action.ANY_BALANCE_ADJUST: _MONEY,
    Action.ANY_USAGE_READ: _MONEY,
    Action.AUDIT_READ: _ADMIN,
    Action.ATTENTION_READ: _OPERATORS,
    Action.ATTENTION_MANAGE: _OPERATORS,
    Action.TELEMETRY_READ: _OPERATORS,
}

_STRENGTH: Final = {Role.OWNER: 4, Role.ADMIN: 3, Role.MEMBER: 2, Role.VIEWER: 1, None: 0}
_EVERYWHERE: Final = frozenset({Role.OWNER, Role.ADMIN})
"""Tenant roles that hold in each of the tenant's projects."""


class Forbidden(DomainError):
    """Your role does not allow this."""

    code = "forbidden"
    kind = ErrorKind.FORBIDDEN
    next_step = "Ask someone who holds the role named to do it, or to give it to you."


@dataclass(frozen=True, slots=True)
class Allowed:
    """Yes."""


@dataclass(frozen=True, slots=True)
class Denied:
    """No, why not, and who could.

    ``hidden`` says that the actor may not even learn of the object: it reads as absent.
    """

    reason: str
    needed_role: str
    hidden: bool = False


def authorize(
    actor: Actor,
    action: Action,
    *,
    tenant_id: TenantId | None = None,
    project_id: ProjectId | None = None,
) -> Allowed | Denied:
    """Decide whether ``actor`` may, on an object of this tenant and project.

    Args:
        actor: who asks, as resolved at the edge.
        action: what they want.
        tenant_id: whose the object is; not needed for actions on the platform.
        project_id: the project it is in; None asks for all projects of the tenant at once.
    """
    grant = GRANTS[action]
    if isinstance(grant, OnPlatform):
        if actor.platform_role in grant.roles:
            return Allowed()
        return _denied(grant, "This is for the platform's own people.")
    if tenant_id != actor.tenant_id:
        return _denied(grant, "It belongs to another tenant.", hidden=True)
    held = actor.tenant_role if isinstance(grant, InTenant) else role_in(actor, project_id)
    if held is None:
        return _denied(grant, "It is in a place you are not a member of.", hidden=True)
    if _STRENGTH[held] < _STRENGTH[grant.weakest]:
        return _denied(grant, f"As {held} you may not do this.")
    return Allowed()


def require(
    actor: Actor,
    action: Action,
    *,
    tenant_id: TenantId | None = None,
    project_id: ProjectId | None = None,
) -> None:
    """Return if ``actor`` may.

    Raises:
        Forbidden: they may know of it, but not do this.
        NotFound: it is not theirs to know of.
    """
    answer = authorize(actor, action, tenant_id=tenant_id, project_id=project_id)
    if isinstance(answer, Denied):
        if answer.hidden:
            raise NotFound
        raise Forbidden(f"{answer.reason} It takes the role {answer.needed_role}.")


def visible_projects(actor: Actor, action: Action) -> frozenset[ProjectId] | None:
    """Return the projects in which ``actor`` may, or None when that is all of their tenant's."""
    everywhere = authorize(actor, action, tenant_id=actor.tenant_id)
    if isinstance(everywhere, Allowed):
        return None
    return frozenset(
        project_id
        for project_id in actor.project_roles
        if isinstance(
            authorize(actor, action, tenant_id=actor.tenant_id, project_id=project_id), Allowed
        )
    )


def role_in(actor: Actor, project_id: ProjectId | None) -> Role | None:
    """Return the role that counts in a project (None: in all of the tenant's), if there is one."""
    in_project = None if project_id is None else actor.project_roles.get(project_id)
    in_tenant = actor.tenant_role if actor.tenant_role in _EVERYWHERE else None
    return max(in_project, in_tenant, key=lambda role: _STRENGTH[role])


def _denied(grant: Grant, reason: str, *, hidden: bool = False) -> Denied:
    match grant:
        case InTenant(weakest):
            needed = f"{weakest} of the tenant"
        case InProject(weakest):
            needed = f"{weakest} of the project"
        case OnPlatform(roles):
            needed = f"{' or '.join(roles)} of the platform"
        case _:  # pragma: no cover  the type checker proves it cannot be
            assert_never(grant)
    return Denied(reason, needed, hidden)
