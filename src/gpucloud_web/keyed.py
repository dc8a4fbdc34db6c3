"""How a write takes the Idempotency-Key, and whose key it is.

A handler needs to do nothing for its effect to happen once per key (see ``once_per_key``). What
cannot be done so says it in its ``opt``, as one of ``Once``.
"""

from enum import StrEnum
from typing import Final

from litestar import Request
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from gpucloud_core.access.model import Actor
from gpucloud_core.kernel.idempotency import IdempotencyKey, IdempotencyKeyRequired
from gpucloud_core.kernel.once import current_attempt
from gpucloud_web.edge import SAFE_METHODS

HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotent-Replayed"
OPT: Final = "once"
_TRUE: Final = frozenset({"1", "true"})
_Request = Request[object, object, State]


class Once(StrEnum):
    """How a write takes the header."""

    EFFECT = "effect"  # the answer is stored with the effect; what holds if nothing is said
    REQUIRED = "required"  # likewise, and without a key it is refused: it spends money
    ONE_TIME = "one_time"  # the answer holds a secret: not kept; again is a 409 naming the object
    INTENT = "intent"  # it calls the outside, and keeps what it is about to do under the key
    NEVER = "never"  # the header is ignored

    @classmethod
    def of(cls, handler: BaseRouteHandler) -> "Once":
        return cls(handler.opt.get(OPT, cls.EFFECT))


def key_of(request: _Request, actor: Actor, key: str, body: bytes) -> IdempotencyKey:
    """Return the client's key with everything it was sent with.

    Raises:
        IdempotencyKeyInvalid: it is empty, too long or not printable ASCII.
    """
    return IdempotencyKey.of(
        tenant_id=actor.tenant_id,
        who=actor.user_id or actor.username,
        route=f"{request.method} {request.scope['path']}",
        key=key,
        body=request.scope["query_string"] + b"\0" + body,
    )


async def arm(request: _Request, actor: Actor) -> None:
    """Put the request's key in force from here on, if this is a write that has one.

    Raises:
        IdempotencyKeyInvalid: it is empty, too long or not printable ASCII.
        IdempotencyKeyRequired: there is none, and the write spends money.
    """
    mode = Once.of(request.route_handler)
    if request.method in SAFE_METHODS or mode is Once.NEVER or _only_asks(request):
        return
    key = request.headers.get(HEADER)
    if key is None:
        if mode is Once.REQUIRED:
            raise IdempotencyKeyRequired
        return
    known = key_of(request, actor, key, await request.body())
    attempt = current_attempt()
    if attempt is not None and mode is not Once.INTENT:
        attempt.arm(known)


def _only_asks(request: _Request) -> bool:
    """Tell whether this is a dry run, which has no effect."""
    return request.query_params.get("dry_run", "").lower() in _TRUE
