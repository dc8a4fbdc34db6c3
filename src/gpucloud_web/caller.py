"""From a request to who is asking, in which project, and under which key."""

from typing import Any, Final

from dishka import AsyncContainer
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency

from gpucloud_core.access.model import Actor, SessionKind
from gpucloud_core.access.projects import FindProject, ListProjects
from gpucloud_core.access.session_life import Client
from gpucloud_core.access.sessions import ResolveActor, Unauthenticated
from gpucloud_core.kernel.errors import FieldError, ValidationFailed
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_core.kernel.ids import ProjectId, parse_id
from gpucloud_web import keyed
from gpucloud_web.edge import SESSION_COOKIE, correlation_id_of

PROJECT_HEADER: Final = "X-Project-ID"
PROJECT_COOKIE: Final = "gpucloud-project"
_BEARER: Final = "bearer "

_Connection = ASGIConnection[Any, Any, Any, Any]
_Request = Request[object, object, State]


def client_of(connection: _Connection) -> Client:
    """Return where a request comes from."""
    bearer = "authorization" in connection.headers
    return Client(
        ip=connection.client.host if connection.client else "",
        user_agent=connection.headers.get("user-agent", "")[:400],
        correlation_id=correlation_id_of(connection.scope),
        via="api" if bearer else "ui",
    )


async def actor_of(connection: _Connection, container: AsyncContainer) -> Actor:
    """Return who presents a bearer token or our cookie.

    Raises:
        Unauthenticated: neither, or not good any more.
    """
    resolve = await container.get(ResolveActor)
    authorization = connection.headers.get("authorization", "")
    if authorization:
        if not authorization.lower().startswith(_BEARER):
            raise Unauthenticated("Send the access token as `Authorization: Bearer …`.")
        token = authorization[len(_BEARER) :].strip()
        return await resolve(token=token, kind=SessionKind.API, client=client_of(connection))
    cookie = connection.cookies.get(SESSION_COOKIE, "")
    if not cookie:
        raise Unauthenticated
    return await resolve(token=cookie, kind=SessionKind.BROWSER, client=client_of(connection))


async def provide_actor(request: _Request) -> Actor:
    """Litestar dependency ``actor``: whoever asks, resolved once per request.

    From here on everything happens once per Idempotency-Key: it is theirs.
    """
    actor = await actor_of(request, request.app.state.dishka_container)
    await keyed.arm(request, actor)
    return actor


async def provide_project(request: _Request, actor: NamedDependency[Actor]) -> ProjectId:
    """Litestar dependency ``project``: named by header, remembered by cookie, or the default.

    Raises:
        NotFound: the project named is not theirs.
        ValidationFailed: they have no project at all.
    """
    container: AsyncContainer = request.app.state.dishka_container
    named = request.headers.get(PROJECT_HEADER)
    if named is not None:
        find = await container.get(FindProject)
        return (await find(actor=actor, project_id=ProjectId(parse_id("prj", named)))).id
    projects = await (await container.get(ListProjects))(actor=actor)
    known = {mine.project.id for mine in projects}
    remembered = ProjectId(request.cookies.get(PROJECT_COOKIE, ""))
    if remembered in known:
        return remembered
    if not projects:
        detail = "You have no project yet; ask an owner to add you to one."
        raise ValidationFailed(detail, fields=[FieldError("", "no_project", detail)])
    return projects[0].project.id


async def provide_idempotency(
    request: _Request, actor: NamedDependency[Actor]
) -> IdempotencyKey | None:
    """Litestar dependency ``idempotency``: for what keeps its intent under the key itself.

    Raises:
        IdempotencyKeyInvalid: it is empty, too long or not printable ASCII.
    """
    key = request.headers.get(keyed.HEADER)
    return None if key is None else keyed.key_of(request, actor, key, await request.body())
