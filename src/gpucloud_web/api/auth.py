"""Sign up, in and out; refresh; who am I; my sessions."""

from datetime import datetime

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, Request, delete, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gpucloud_core.access.model import Actor, Session, SessionKind
from gpucloud_core.access.password import ChangePassword
from gpucloud_core.access.projects import ListProjects, Me, ProjectOfMine, ReadMe
from gpucloud_core.access.session_life import Tokens
from gpucloud_core.access.sessions import ListSessions, Refresh, RevokeSession, SignOut
from gpucloud_core.access.sign_in import SignIn, SignUp
from gpucloud_core.kernel.ids import SessionId, parse_id
from gpucloud_core.kernel.time import Clock
from gpucloud_web.api.lists import Listing
from gpucloud_web.caller import client_of
from gpucloud_web.keyed import OPT, Once

_Request = Request[object, object, State]


class SignUpBody(msgspec.Struct, forbid_unknown_fields=True):
    username: str
    password: str
    email: str | None = None


class SignInBody(msgspec.Struct, forbid_unknown_fields=True):
    username: str
    password: str


class PasswordBody(msgspec.Struct, forbid_unknown_fields=True):
    current_password: str
    new_password: str


class ChangedBody(msgspec.Struct):
    """How many other sessions were ended."""

    sessions_ended: int


class RefreshBody(msgspec.Struct, forbid_unknown_fields=True):
    refresh_token: str


class TokensBody(msgspec.Struct):
    """An access token for 15 minutes, and the refresh token that replaces it, once."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int

    @classmethod
    def of(cls, tokens: Tokens, now: datetime) -> "TokensBody":
        seconds = int((tokens.access_expires_at - now).total_seconds())
        return cls(tokens.access_token, tokens.refresh_token or "", "Bearer", max(seconds, 0))


class TenantBody(msgspec.Struct):
    id: str
    name: str
    kind: str
    role: str


class ProjectBody(msgspec.Struct):
    id: str
    name: str
    slug: str
    role: str
    is_default: bool

    @classmethod
    def of(cls, mine: ProjectOfMine) -> "ProjectBody":
        project = mine.project
        return cls(project.id, project.name, project.slug, mine.role, mine.is_default)


class MeBody(msgspec.Struct, kw_only=True):
    id: str
    username: str
    email: str | None
    role: str
    tenant: TenantBody
    tenants: list[TenantBody]
    projects: list[ProjectBody]
    default_project_id: str | None

    @classmethod
    def of(cls, me: Me) -> "MeBody":
        tenants = [
            TenantBody(mine.tenant.id, mine.tenant.name, mine.tenant.kind, mine.role)
            for mine in me.tenants
        ]
        return cls(
            id=me.user.id,
            username=me.user.username,
            email=me.user.email,
            role=me.user.platform_role,
            tenant=next(each for each in tenants if each.id == me.tenant.tenant.id),
            tenants=tenants,
            projects=[ProjectBody.of(mine) for mine in me.projects],
            default_project_id=me.default_project_id,
        )


class SessionBody(msgspec.Struct, kw_only=True):
    id: str
    kind: str
    current: bool
    user_agent: str
    ip: str
    created_at: datetime
    last_seen_at: datetime
    ends_at: datetime

    @classmethod
    def of(cls, session: Session, actor: Actor) -> "SessionBody":
        return cls(
            id=session.id,
            kind=session.kind,
            current=session.id == actor.session_id,
            user_agent=session.user_agent,
            ip=session.ip,
            created_at=session.created_at,
            last_seen_at=session.last_seen_at,
            ends_at=session.ends_at,
        )


class Auth(Controller):
    """No Idempotency-Key here: answers carry secrets, and secrets are never replayed."""

    path = "/auth"
    tags = ["auth"]
    opt = {OPT: Once.NEVER}

    @post("/personal/signup", operation_id="signUp", status_code=201)
    async def sign_up(
        self,
        request: _Request,
        data: JSONBody[SignUpBody],
        sign_up: FromDishka[SignUp],
        clock: FromDishka[Clock],
    ) -> TokensBody:
        """Make a personal account: a user, their tenant and its first project."""
        made = await sign_up(
            username=data.username,
            password=data.password,
            email=data.email,
            kind=SessionKind.API,
            client=client_of(request),
        )
        return TokensBody.of(made.tokens, clock.now())

    @post("/personal/login", operation_id="signIn", status_code=200)
    async def sign_in(
        self,
        request: _Request,
        data: JSONBody[SignInBody],
        sign_in: FromDishka[SignIn],
        clock: FromDishka[Clock],
    ) -> TokensBody:
        """Sign in to a personal account."""
        signed_in = await sign_in(
            username=data.username,
            password=data.password,
            kind=SessionKind.API,
            client=client_of(request),
        )
        return TokensBody.of(signed_in.tokens, clock.now())

    @post("/token/refresh", operation_id="refreshToken", status_code=200)
    async def refresh(
        self,
        request: _Request,
        data: JSONBody[RefreshBody],
        refresh: FromDishka[Refresh],
        clock: FromDishka[Clock],
    ) -> TokensBody:
        """Exchange a refresh token; each works once, and a replay ends its session."""
        tokens = await refresh(refresh_token=data.refresh_token, client=client_of(request))
        return TokensBody.of(tokens, clock.now())

    @post("/personal/password", operation_id="changePassword", status_code=200)
    async def change_password(
        self,
        data: JSONBody[PasswordBody],
        actor: NamedDependency[Actor],
        change: FromDishka[ChangePassword],
    ) -> ChangedBody:
        """Change the caller's password; every other session of theirs ends."""
        ended = await change(actor=actor, current=data.current_password, new=data.new_password)
        return ChangedBody(ended)

    @post("/logout", operation_id="signOut", status_code=204)
    async def sign_out(self, actor: NamedDependency[Actor], sign_out: FromDishka[SignOut]) -> None:
        """End the session that asks."""
        await sign_out(actor=actor)


class Mine(Controller):
    path = "/me"
    tags = ["auth"]

    @get(operation_id="getMe")
    async def show(self, actor: NamedDependency[Actor], read_me: FromDishka[ReadMe]) -> MeBody:
        """Say who is asking, their tenants and their projects."""
        return MeBody.of(await read_me(actor=actor))

    @get("/sessions", operation_id="listSessions")
    async def sessions(
        self, actor: NamedDependency[Actor], list_sessions: FromDishka[ListSessions]
    ) -> Listing[SessionBody]:
        """List where the caller is signed in."""
        sessions = await list_sessions(actor=actor)
        return Listing([SessionBody.of(session, actor) for session in sessions])

    @delete("/sessions/{session_id:str}", operation_id="revokeSession", status_code=204)
    async def revoke(
        self,
        session_id: FromPath[str],
        actor: NamedDependency[Actor],
        revoke_session: FromDishka[RevokeSession],
    ) -> None:
        """End one of the caller's sessions."""
        found = SessionId(parse_id("ses", session_id))
        await revoke_session(actor=actor, session_id=found)


@get("/projects", operation_id="listProjects", tags=["projects"])
async def list_projects(
    actor: NamedDependency[Actor], projects: FromDishka[ListProjects]
) -> Listing[ProjectBody]:
    """List the projects the caller can read, the default one first."""
    return Listing([ProjectBody.of(mine) for mine in await projects(actor=actor)])
