"""Sessions with all that a request needs to know of who sends it, in one statement."""

from typing import Final

from sqlalchemy import text

from gpucloud_adapters.postgres.mapping import row_of_json
from gpucloud_adapters.postgres.rows import PostgresRows
from gpucloud_adapters.postgres.session import Session
from gpucloud_adapters.postgres.statements import Statements
from gpucloud_adapters.stored import kinds
from gpucloud_core.access.model import Role
from gpucloud_core.access.model import Session as SignIn
from gpucloud_core.access.ports import SignedIn
from gpucloud_core.kernel.ids import ProjectId

SESSIONS: Final = Statements(kinds.SESSIONS)
_SIGNED_IN: Final = text("""
    SELECT to_jsonb(s), to_jsonb(u),
        (SELECT m.role FROM tenant_members AS m
         WHERE m.tenant_id = s.tenant_id AND m.user_id = s.user_id),
        (SELECT jsonb_object_agg(p.project_id, p.role) FROM project_members AS p
         WHERE p.tenant_id = s.tenant_id AND p.user_id = s.user_id),
        (SELECT jsonb_agg(to_jsonb(p)) FROM projects AS p
         WHERE p.tenant_id = s.tenant_id AND p.deleted_at IS NULL AND (
            p.id IN (:project_id, u.default_project_id)
            OR p.id IN (SELECT m.project_id FROM project_members AS m
                        WHERE m.tenant_id = s.tenant_id AND m.user_id = s.user_id)
            OR p.id = (SELECT f.id FROM projects AS f
                       WHERE f.tenant_id = s.tenant_id AND f.deleted_at IS NULL
                       ORDER BY f.name, f.id LIMIT 1))),
        clock_timestamp()
    FROM sessions AS s JOIN users AS u ON u.id = s.user_id
    WHERE s.access_hash = :access_hash
""")
_session = row_of_json(kinds.SESSIONS)
_user = row_of_json(kinds.USERS)
_project = row_of_json(kinds.PROJECTS)


class PostgresSessions(PostgresRows[SignIn]):
    def __init__(self, session: Session) -> None:
        super().__init__(session, SESSIONS)

    async def signed_in(self, access_hash: str, project_id: str) -> SignedIn | None:
        found = await self.session.first(
            _SIGNED_IN, {"access_hash": access_hash, "project_id": project_id}
        )
        if found is None:
            return None
        session, user, tenant_role, roles, projects, now = found
        return SignedIn(
            session=_session(session),
            user=_user(user),
            tenant_role=None if tenant_role is None else Role(tenant_role),
            project_roles={
                ProjectId(project): Role(role) for project, role in (roles or {}).items()
            },
            projects=tuple(map(_project, projects or ())),
            as_of=now,
        )
