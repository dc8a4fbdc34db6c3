"""What happens to every request before and after its handler.

Gives it a correlation id and a nonce, refuses writes that another site's page made with our
cookie, and puts the security headers on every answer. Pure ASGI, so that nothing runs outside it.
"""

import secrets
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    HTTPScope,
    HTTPSendMessage,
    Message,
    Receive,
    Scope,
    Send,
    WebSocketScope,
)

SESSION_COOKIE: Final = "__Host-gpucloud-session"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
UNSIGNED_WRITES: Final = frozenset({"/api/v1/payments/webhook"})
"""Writes that carry their own proof of origin, so that a browser's is not asked for."""

_ID: Final = "gpucloud_correlation_id"
_NONCE: Final = "gpucloud_nonce"
HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
DEFAULT_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'"


def correlation_id_of(scope: object) -> str:
    """Return the id under which this request is found in logs, audit rows and problems."""
    return str(_state(scope).get(_ID, ""))


def nonce_of(scope: object) -> str:
    """Return the nonce of this request's style elements."""
    return str(_state(scope).get(_NONCE, ""))


def _state(scope: object) -> dict[str, object]:
    state = scope.get("state", {}) if isinstance(scope, dict) else {}
    return state if isinstance(state, dict) else {}


def _header(scope: Scope | HTTPScope | WebSocketScope, name: bytes) -> str:
    return next((v.decode("latin-1") for k, v in scope["headers"] if k == name), "")


def is_same_origin(origin: str, public_url: str, host: str) -> bool:
    """Tell whether ``origin`` is where people reach us, or the very host they asked."""
    if not origin or origin == "null":
        return False
    parts = urlsplit(origin)
    ours = urlsplit(public_url)
    return (parts.scheme, parts.netloc) in {(ours.scheme, ours.netloc), (ours.scheme, host)}


def is_forged(scope: HTTPScope, public_url: str) -> bool:
    """Tell whether a write comes from another site's page.

    Bearer tokens are never sent by a browser on its own, so only requests that carry our cookie,
    or forms that could get one set, are looked at. Browsers put Origin on every form and fetch
    that writes. Source: OWASP CSRF Prevention Cheat Sheet, verifying origin, read 2026-11-22.
    """
    if scope["method"] in SAFE_METHODS or scope["path"] in UNSIGNED_WRITES:
        return False
    if _header(scope, b"authorization"):
        return False
    origin = _header(scope, b"origin")
    if origin:
        return not is_same_origin(origin, public_url, _header(scope, b"host"))
    site = _header(scope, b"sec-fetch-site")
    if site:
        return site not in {"same-origin", "none"}
    return SESSION_COOKIE in _header(scope, b"cookie")


class Edge:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, public_url: str) -> None:
        self._app = app
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.setdefault("state", {})
        state[_ID] = f"req_{secrets.token_hex(12)}"
        state[_NONCE] = secrets.token_urlsafe(16)
        if scope["type"] == ScopeType.HTTP and is_forged(scope, self._public_url):
            await _refuse_forged(send, str(state[_ID]))
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _with_headers(message["headers"], str(state[_ID]))
            await send(message)

        await self._app(scope, receive, headed)


def _with_headers(
    headers: Iterable[tuple[bytes, bytes]], correlation_id: str
) -> list[tuple[bytes, bytes]]:
    kept = list(headers)
    names = {name.lower() for name, _ in kept}
    added = [
        *HEADERS,
        (b"x-correlation-id", correlation_id.encode()),
        (b"content-security-policy", DEFAULT_POLICY),
        (b"cache-control", b"no-store"),
    ]
    kept.extend((name, value) for name, value in added if name not in names)
    return kept


async def _refuse_forged(send: Send, correlation_id: str) -> None:
    body = (
        b'{"type":"/developer/docs/errors#cross_site_request","title":"This request came from '
        b'another site.","status":403,"code":"cross_site_request","detail":"Writes are taken '
        b'from our own pages only. Open the page here and try again.","correlation_id":"'
        + correlation_id.encode()
        + b'"}'
    )
    start: HTTPSendMessage = {
        "type": "http.response.start",
        "status": 403,
        "headers": _with_headers([(b"content-type", b"application/problem+json")], correlation_id),
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})
