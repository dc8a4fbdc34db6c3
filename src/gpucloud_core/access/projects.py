"""Where a person is: their tenants, and the projects of the one they work in."""

from collections.abc import Iterable
from dataclasses import dataclass

from gpucloud_core.access.acting import person
from gpucloud_core.access.authorize import Action, role_in, visible_projects
from gpucloud_core.access.model import Actor, Project, Role, Tenant, User
from gpucloud_core.access.ports import AccessUnit
from gpucloud_core.access.sessions import Unauthenticated
from gpucloud_core.kernel.ids import ProjectId
from gpucloud_core.kernel.unit import Scope, Transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantOfMine:
    tenant: Tenant
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectOfMine:
    """A project, the role that counts in it, and whether launches go there by default."""

    project: Project
    role: Role
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """All that ``GET me`` says."""

    user: User
    tenant: TenantOfMine
    tenants: tuple[TenantOfMine, ...]
    projects: tuple[ProjectOfMine, ...]
    default_project_id: ProjectId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMe:
    """Who the actor is, and where."""

    transactions: Transactions[AccessUnit]

    async def __call__(self, *, actor: Actor) -> Me:
        """Return it.

        Raises:
            Unauthenticated: the user, or their membership, is gone.
        """
        user_id = person(actor)
        async with self.transactions.look(Scope.platform()) as unit:
            user = await unit.users.get(user_id)
            memberships = await unit.tenant_members.find(user_id=user_id)
            theirs = await unit.tenants.find_any("id", [one.tenant_id for one in memberships])
        by_id = {tenant.id: tenant for tenant in theirs}
        tenants = [
            TenantOfMine(tenant=by_id[membership.tenant_id], role=membership.role)
            for membership in memberships
            if membership.tenant_id in by_id
        ]
        here = [mine for mine in tenants if mine.tenant.id == actor.tenant_id]
        if user is None or not here:
            raise Unauthenticated
        projects = await _projects(self.transactions, actor, user.default_project_id)
        default = next((mine.project.id for mine in projects if mine.is_default), None)
        return Me(
            user=user,
            tenant=here[0],
            tenants=tuple(tenants),
            projects=projects,
            default_project_id=default,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListProjects:
    """The projects the actor may read, the default one first, then by name."""

    transactions: Transactions[AccessUnit]

    async def __call__(self, *, actor: Actor) -> tuple[ProjectOfMine, ...]:
        user_id = person(actor)
        async with self.transactions.look(Scope.platform()) as unit:
            user = await unit.users.get(user_id)
        return await _projects(
            self.transactions, actor, user.default_project_id if user is not None else None
        )


async def _projects(
    transactions: Transactions[AccessUnit], actor: Actor, default: ProjectId | None
) -> tuple[ProjectOfMine, ...]:
    async with transactions.look(Scope.tenant(actor.tenant_id)) as unit:
        projects = await unit.projects.find(tenant_id=actor.tenant_id, deleted_at=None)
    return projects_of(actor, projects, default)


def projects_of(
    actor: Actor, projects: Iterable[Project], default: ProjectId | None
) -> tuple[ProjectOfMine, ...]:
    """Return those that ``actor`` may read, the default one first, then by name."""
    visible = visible_projects(actor, Action.PROJECT_READ)
    mine = [
        ProjectOfMine(project=project, role=role, is_default=project.id == default)
        for project in projects
        if project.deleted_at is None
        and project.tenant_id == actor.tenant_id
        and (visible is None or project.id in visible)
        and (role := role_in(actor, project.id)) is not None
    ]
    return tuple(
        sorted(mine, key=lambda one: (not one.is_default, one.project.name, one.project.id))
    )
