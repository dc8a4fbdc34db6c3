"""The OpenAPI document, at the address the product promises, and what it says of every write."""

from http import HTTPStatus
from typing import Any, Final

from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIHeader, OpenAPIResponse, Operation, Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.routes import HTTPRoute

from gpucloud_core.kernel.idempotency import KEY_LENGTH_MAX
from gpucloud_web.edge import SAFE_METHODS
from gpucloud_web.keyed import HEADER, REPLAYED_HEADER, Once

_WORDS: Final = {
    Once.EFFECT: "Makes this happen once: sent again with the same key and body, the first answer "
    "is replayed.",
    Once.REQUIRED: "Required, because this spends money. Makes it happen once: sent again with the "
    "same key and body, the first answer is replayed.",
    Once.ONE_TIME: "Makes this happen once. The answer holds a secret, which is not kept: sent "
    "again, it is refused with `secret_not_replayed`, which names the object.",
    Once.INTENT: "Makes this happen once, also at the payment provider: sent again with the same "
    "key and body, it is the same object.",
}
_CONFLICTS: Final = {
    HTTPStatus.CONFLICT: "`idempotency_in_progress`: a twin of this request is being worked on; or "
    "the object is not in a state that allows this.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "`idempotency_key_reused`, `idempotency_key_invalid`, or "
    "fields that need another look.",
}


@get("/openapi.json", include_in_schema=False)
async def openapi_document(request: Request[object, object, State]) -> Response[object]:
    """Return the OpenAPI 3.1 document of every operation."""
    return Response(described(request.app), media_type="application/json")


def described(app: Litestar) -> dict[str, Any]:
    """Return the document; what it says of keys is read off the handlers."""
    known: dict[str, Any] | None = app.state.get("openapi_document")
    if known is None:
        modes = _modes(app)
        for path in (app.openapi_schema.paths or {}).values():
            for operation in (path.post, path.put, path.patch, path.delete):
                if operation is not None and operation.operation_id in modes:
                    _tell_of_key(operation, modes[operation.operation_id])
        known = app.openapi_schema.to_schema()
        app.state.openapi_document = known
    return known


def _modes(app: Litestar) -> dict[str, Once]:
    """Return how each write takes the header, by operation id, but for those that ignore it."""
    return {
        str(handler.operation_id): Once.of(handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if isinstance(handler, HTTPRouteHandler)
        and handler.http_methods - SAFE_METHODS
        and Once.of(handler) is not Once.NEVER
    }


def _tell_of_key(operation: Operation, once: Once) -> None:
    text = Schema(type=OpenAPIType.STRING, min_length=1, max_length=KEY_LENGTH_MAX)
    header = Parameter(
        name=HEADER,
        param_in="header",
        required=once is Once.REQUIRED,
        schema=text,
        description=_WORDS[once],
    )
    operation.parameters = [*(operation.parameters or []), header]
    responses = operation.responses if operation.responses is not None else {}
    for status, words in _CONFLICTS.items():
        responses.setdefault(str(int(status)), OpenAPIResponse(description=words))
    replayed = OpenAPIHeader(
        description="`true` when this is the stored answer of an earlier request.",
        schema=Schema(type=OpenAPIType.STRING),
    )
    for status_code, response in responses.items():
        if isinstance(response, OpenAPIResponse) and status_code.startswith("2"):
            response.headers = {**(response.headers or {}), REPLAYED_HEADER: replayed}
    operation.responses = responses
