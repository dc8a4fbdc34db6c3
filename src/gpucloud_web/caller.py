"""From a request to who is asking, in which project, and under which key."""

from typing import Any, Final

from dishka import AsyncContainer
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency

from gpucloud_core.access.caller import Caller, ResolveCaller
from gpucloud_core.access.model import Actor, SessionKind
from gpucloud_core.access.session_life import Client
from gpucloud_core.access.sessions import Unauthenticated
from gpucloud_core.kernel.errors import FieldError, NotFound, ValidationFailed
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_core.kernel.ids import ProjectId, parse_id
from gpucloud_web import keyed
from gpucloud_web.edge import SESSION_COOKIE, correlation_id_of

PROJECT_HEADER: Final = "X-Project-ID"
PROJECT_COOKIE: Final = "gpucloud-project"
_BEARER: Final = "bearer "
_CALLER: Final = "gpucloud_caller"

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


def _named(request: _Request) -> ProjectId:
    """Return the id of the project that a request names, or else remembers; it may be of none."""
    named = request.headers.get(PROJECT_HEADER)
    text = request.cookies.get(PROJECT_COOKIE, "") if named is None else named
    try:
        return ProjectId(parse_id("prj", text))
    except NotFound:
        return ProjectId("")


async def _caller_of(request: _Request) -> Caller:
    """Return who presents a bearer token or our cookie.

    Raises:
        Unauthenticated: neither, or not good any more.
    """
    container: AsyncContainer = request.app.state.dishka_container
    resolve = await container.get(ResolveCaller)
    authorization = request.headers.get("authorization", "")
    if authorization:
        if not authorization.lower().startswith(_BEARER):
            raise Unauthenticated("Send the access token as `Authorization: Bearer …`.")
        token, kind = authorization[len(_BEARER) :].strip(), SessionKind.API
    else:
        token, kind = request.cookies.get(SESSION_COOKIE, ""), SessionKind.BROWSER
    if not token:
        raise Unauthenticated
    return await resolve(
        token=token, kind=kind, client=client_of(request), project_id=_named(request)
    )


async def provide_actor(request: _Request) -> Actor:
    """Litestar dependency ``actor``: whoever asks, resolved once per request.

    From here on everything happens once per Idempotency-Key: it is theirs.
    """
    caller = request.state[_CALLER] = await _caller_of(request)
    await keyed.arm(request, caller.actor)
    return caller.actor


async def provide_project(
    request: _Request,
    actor: NamedDependency[Actor],  # noqa: ARG001  the caller is known once the actor is
) -> ProjectId:
    """Litestar dependency ``project``: named by header, remembered by cookie, or the default.

    Raises:
        NotFound: the project named is not theirs.
        ValidationFailed: they have no project at all.
    """
    caller: Caller = request.state[_CALLER]
    if PROJECT_HEADER in request.headers:
        return caller.named(_named(request))
    project = caller.remembered(_named(request))
    if project is None:
        detail = "You have no project yet; ask an owner to add you to one."
        raise ValidationFailed(detail, fields=[FieldError("", "no_project", detail)])
    return project


async def provide_idempotency(
    request: _Request, actor: NamedDependency[Actor]
) -> IdempotencyKey | None:
    """Litestar dependency ``idempotency``: for what keeps its intent under the key itself.

    Raises:
        IdempotencyKeyInvalid: it is empty, too long or not printable ASCII.
    """
    key = request.headers.get(keyed.HEADER)
    return None if key is None else keyed.key_of(request, actor, key, await request.body())
