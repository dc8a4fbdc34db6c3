"""Who sends a request, and in which project: found out together, in one go."""

from dataclasses import dataclass

from gpucloud_core.access.model import Actor, SessionKind
from gpucloud_core.access.ports import AccessUnit
from gpucloud_core.access.projects import ProjectOfMine, projects_of
from gpucloud_core.access.session_life import Client
from gpucloud_core.access.sessions import actor_of, signed_in
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import ProjectId
from gpucloud_core.kernel.unit import Transactions


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks, and those of their projects that may be meant; the one they begin in first."""

    actor: Actor
    projects: tuple[ProjectOfMine, ...]

    def named(self, project_id: ProjectId) -> ProjectId:
        """Return the project that the request names.

        Raises:
            NotFound: there is none, or it is not theirs to know of.
        """
        if not self._knows(project_id):
            raise NotFound("There is no project with this id.")
        return project_id

    def remembered(self, project_id: ProjectId) -> ProjectId | None:
        """Return the project they chose earlier if it is still theirs, or else the first."""
        if self._knows(project_id):
            return project_id
        return self.projects[0].project.id if self.projects else None

    def _knows(self, project_id: ProjectId) -> bool:
        return any(mine.project.id == project_id for mine in self.projects)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveCaller:
    """Say who presents an access token, and where they may mean to work."""

    transactions: Transactions[AccessUnit]

    async def __call__(
        self, *, token: str, kind: SessionKind, client: Client, project_id: ProjectId
    ) -> Caller:
        """Return the caller.

        Args:
            token: as presented.
            kind: what it was presented as; a cookie is no bearer token, nor the other way round.
            client: where the request comes from, for the audit rows it may cause.
            project_id: the project that the request names, or remembers; it need not be theirs.

        Raises:
            Unauthenticated: unknown, ended, idle for too long, or its user is disabled.
        """
        found = await signed_in(self.transactions, token, kind, project_id)
        actor = actor_of(found, client)
        return Caller(actor, projects_of(actor, found.projects, found.user.default_project_id))
