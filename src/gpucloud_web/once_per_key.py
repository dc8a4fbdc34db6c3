"""Done once, answered the same each time: the middleware around every route of the API.

It puts an attempt in force and holds the answer back. Finding out who asks arms the attempt with
the client's key; whatever units of work the handler begins then share one transaction, and a
success is stored in it and committed with it. Only then the answer leaves.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from gpucloud_core.access.model import Actor
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.once import Attempt, attempting
from gpucloud_web.edge import SAFE_METHODS
from gpucloud_web.keyed import HEADER, Once
from gpucloud_web.problems import on_bug, on_domain_error

_HEADER = HEADER.lower().encode()


class OncePerKey:
    """Keeps an attempt around each keyed write."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not _is_keyed(scope):
            await self._app(scope, receive, send)
            return
        held = _HeldAnswer()
        async with attempting() as attempt:
            with _readable(scope):
                await self._app(scope, receive, held.take)
            failed = await _committed(attempt, scope, held)
        if failed is None:
            for message in held.messages:
                await send(message)
            return
        request: Request[Actor, object, State] = Request(scope, receive)
        problem = (
            on_domain_error(request, failed)
            if isinstance(failed, DomainError)
            else on_bug(request, failed)
        )
        await problem.to_asgi_response(app=None, request=request)(scope, receive, send)


def _is_keyed(scope: HTTPScope) -> bool:
    return (
        scope["method"] not in SAFE_METHODS
        and any(name == _HEADER for name, _ in scope["headers"])
        and Once.of(scope["route_handler"]) is not Once.NEVER
    )


@contextmanager
def _readable(scope: HTTPScope) -> Iterator[None]:
    """Have the answer uncompressed: it is stored as it is read."""
    asked = scope["headers"]
    scope["headers"] = [pair for pair in asked if pair[0] != b"accept-encoding"]
    try:
        yield
    finally:
        scope["headers"] = asked


async def _committed(attempt: Attempt, scope: HTTPScope, held: "_HeldAnswer") -> Exception | None:
    """Commit a success with its answer; return why not, if that did not work."""
    if not attempt.has_begun or held.status >= HTTPStatus.BAD_REQUEST:
        return None
    try:
        if Once.of(scope["route_handler"]) is Once.ONE_TIME:
            await attempt.keep_secret(_object_of(scope, held.body))
        else:
            await attempt.keep(held.status, held.body.decode())
    except Exception as error:  # noqa: BLE001  outermost: an answer was made, and does not hold
        return error
    return None


def _object_of(scope: HTTPScope, body: bytes) -> str:
    """Return the id of what an answer is about: its own, or else the last in the address."""
    answer = msgspec.json.decode(body)
    if isinstance(answer, dict) and isinstance(answer.get("id"), str):
        return str(answer["id"])
    named = list(scope.get("path_params", {}).values())
    return str(named[-1]) if named else scope["path"]


class _HeldAnswer:
    """An answer on its way out, kept back until it is known to hold."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        self.body = b""

    async def take(self, message: Message) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
