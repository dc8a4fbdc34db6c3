"""Failures as people and programs read them: RFC 9457 for the API, a page for a browser.

The only place where a kind of failure becomes a status. Nothing of a cause's text is repeated:
what nobody foresaw is a 500 with a reference number, and the log has the rest.
Source: RFC 9457 (problem details), read 2026-11-22.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import MediaType, Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException

from gpucloud_core.access.model import Actor
from gpucloud_core.kernel.errors import DomainError, ErrorKind, FieldError
from gpucloud_core.kernel.once import Replayed
from gpucloud_web.edge import correlation_id_of
from gpucloud_web.keyed import REPLAYED_HEADER
from gpucloud_web.pages.failures import failure_page, wants_page

log = structlog.get_logger(__name__)

STATUS: Final = {
    ErrorKind.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorKind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    ErrorKind.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorKind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorKind.CONFLICT: HTTPStatus.CONFLICT,
    ErrorKind.PAYMENT_REQUIRED: HTTPStatus.PAYMENT_REQUIRED,
    ErrorKind.NO_CAPACITY: HTTPStatus.CONFLICT,  # not our fault, so no 5xx: it pages nobody
    ErrorKind.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorKind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
RETRY_AFTER_SECONDS: Final = 5
MEDIA_TYPE: Final = "application/problem+json"

_HTTP_CODES: Final = {
    HTTPStatus.NOT_FOUND: (
        "not_found",
        "There is no such address.",
        "It may be mistyped, or what was here is gone.",
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "method_not_allowed",
        "This address has no such method.",
        "The API reference says which it has.",
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "body_too_large",
        "The body is larger than allowed.",
        "Nothing of it was read.",
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (
        "unsupported_media_type",
        "A body of this kind is not read here.",
        "Send application/json.",
    ),
    HTTPStatus.TOO_MANY_REQUESTS: (
        "rate_limited",
        "That was too often in a short time.",
        "Wait a moment; nothing was changed.",
    ),
}
"""What the framework refuses: code, title, detail."""


class FieldProblem(msgspec.Struct):
    """One thing wrong with one field: a JSON pointer, a code, a sentence."""

    field: str
    code: str
    detail: str


class Problem(msgspec.Struct, kw_only=True):
    """A problem document; ``code`` never changes, the words may."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    correlation_id: str
    next_step: str = ""
    errors: list[FieldProblem] = []


_Request = Request[Actor, object, State]


def _problem(
    request: _Request,
    status: HTTPStatus,
    code: str,
    title: str,
    detail: str,
    *,
    next_step: str = "",
    fields: Sequence[FieldError] = (),
) -> Problem:
    return Problem(
        type=f"/developer/docs/errors#{code}",
        title=title,
        status=status,
        code=code,
        detail=detail,
        correlation_id=correlation_id_of(request.scope),
        next_step=next_step,
        errors=[FieldProblem(each.field, each.code, each.detail) for each in fields],
    )


def _answer(
    request: _Request, problem: Problem, retry_after: int | None = None
) -> Response[object]:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if wants_page(request):
        return failure_page(request, problem, headers)
    return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def on_domain_error(request: _Request, error: DomainError) -> Response[object]:
    """Answer a failure the domain foresaw."""
    status = STATUS[error.kind]
    retry_after = error.retry_after_seconds
    if retry_after is None and error.kind is ErrorKind.UNAVAILABLE:
        retry_after = RETRY_AFTER_SECONDS
    problem = _problem(
        request,
        status,
        error.code,
        error.title(),
        error.detail,
        next_step=error.next_step,
        fields=error.fields,
    )
    return _answer(request, problem, retry_after)


def on_validation(request: _Request, error: ValidationException) -> Response[object]:
    """Answer a body or parameter that does not have the documented form."""
    faults = error.extra if isinstance(error.extra, list) else []
    fields = [
        FieldError(_pointer(fault), "invalid", str(fault.get("message", "")))
        for fault in faults
        if isinstance(fault, dict)
    ]
    if not fields:
        fields = [FieldError("", "invalid", _plain(error.detail))]
    problem = _problem(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "validation_failed",
        "Some fields need another look.",
        "; ".join(dict.fromkeys(f"{each.field or 'body'}: {each.detail}" for each in fields)),
        next_step="Correct the fields named and send it again; nothing was changed.",
        fields=fields,
    )
    return _answer(request, problem)


def _pointer(fault: dict[str, object]) -> str:
    key = str(fault.get("key", ""))
    return "/" + key.replace(".", "/").replace("[", "/").replace("]", "") if key else ""


def _plain(detail: str) -> str:
    return detail.split(" for ", maxsplit=1)[0] if detail else "The body could not be read."


def on_http_error(request: _Request, error: HTTPException) -> Response[object]:
    """Answer what the framework refused: unknown addresses, methods, sizes, malformed bodies."""
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.BAD_REQUEST:
        return on_validation(request, ValidationException(detail=error.detail))
    plain = (
        "request_refused",
        f"{status.phrase}.",
        "The request was refused; nothing was changed.",
    )
    code, title, detail = _HTTP_CODES.get(status, plain)
    return _answer(request, _problem(request, status, code, title, detail))


def on_replayed(_: _Request, earlier: Replayed) -> Response[bytes]:
    """Answer what was answered when the Idempotency-Key was first used."""
    return Response(
        earlier.response.encode(),
        status_code=earlier.status,
        media_type=MediaType.JSON,
        headers={REPLAYED_HEADER: "true"},
    )


def on_bug(request: _Request, error: Exception) -> Response[object]:
    """Answer what nobody foresaw, with a reference number and no cause."""
    log.error(
        "request.crashed",
        correlation_id=correlation_id_of(request.scope),
        path=request.scope["path"],
        exc_info=error,
    )
    problem = _problem(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal_error",
        "Something of ours went wrong.",
        "It is logged under the reference number. Nothing is charged for a failed request; "
        "the same Idempotency-Key is safe to send again.",
        next_step="Try again; if it stays, tell support the reference number.",
    )
    return _answer(request, problem)


HANDLERS: Final[dict[int | type[Exception], Any]] = {
    DomainError: on_domain_error,
    Replayed: on_replayed,
    ValidationException: on_validation,
    HTTPException: on_http_error,
    Exception: on_bug,
}
