"""Sessions in memory, with all that a request needs to know of who sends it."""

from gpucloud_adapters.memory.database import MemoryDatabase
from gpucloud_adapters.memory.rows import MemoryRows
from gpucloud_adapters.stored.kinds import (
    PROJECT_MEMBERS,
    PROJECTS,
    SESSIONS,
    TENANT_MEMBERS,
    USERS,
)
from gpucloud_core.access.model import Session
from gpucloud_core.access.ports import SignedIn
from gpucloud_core.kernel.time import Clock
from gpucloud_core.kernel.unit import Scope


class MemorySessions(MemoryRows[Session]):
    def __init__(self, database: MemoryDatabase, scope: Scope, clock: Clock) -> None:
        super().__init__(database, scope, SESSIONS)
        self._clock = clock

    async def signed_in(self, access_hash: str, project_id: str) -> SignedIn | None:
        for session in await self.find(access_hash=access_hash):
            user = await MemoryRows(self.database, self.scope, USERS).get(session.user_id)
            of = {"tenant_id": session.tenant_id, "user_id": session.user_id}
            members = await MemoryRows(self.database, self.scope, TENANT_MEMBERS).find(**of)
            roles = await MemoryRows(self.database, self.scope, PROJECT_MEMBERS).find(**of)
            projects = await MemoryRows(self.database, self.scope, PROJECTS).find(
                tenant_id=session.tenant_id, deleted_at=None
            )
            if user is not None:
                return SignedIn(
                    session=session,
                    user=user,
                    tenant_role=next((member.role for member in members), None),
                    project_roles={member.project_id: member.role for member in roles},
                    projects=projects,
                    as_of=self._clock.now(),
                )
        return None
