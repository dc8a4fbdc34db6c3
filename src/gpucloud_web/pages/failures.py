"""Failures as a person reads them: what happened, what it means, what to do, and a reference.

``problems`` decides the status and the words; this draws them. Someone who is not signed in is
sent to sign in and comes back to where they were.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import quote

from litestar import Request, Response
from litestar.datastructures import State

from gpucloud_web import formats
from gpucloud_web.components import FieldFault
from gpucloud_web.pages.rendered import drawn, see_other

_MACHINE_PATHS: Final = ("/api/", "/ws/", "/static/", "/metrics", "/healthz", "/readyz", "/live")
_TONES: Final = {
    HTTPStatus.NOT_FOUND: ("idle", "search"),
    HTTPStatus.FORBIDDEN: ("hold", "lock"),
    HTTPStatus.TOO_MANY_REQUESTS: ("warn", "clock-pause"),
    HTTPStatus.SERVICE_UNAVAILABLE: ("warn", "cloud-off"),
}


class ProblemLike(Protocol):
    """What a page needs of a problem document."""

    @property
    def title(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def detail(self) -> str: ...
    @property
    def next_step(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """All that ``errors/failure.html`` may know."""

    title: str
    detail: str
    next_step: str
    errors: tuple[FieldFault, ...]
    tone: str
    icon: str
    back: str
    back_text: str
    retry: str

    @classmethod
    def of(
        cls, problem: ProblemLike, *, details: tuple[str, ...] = (), retry_after: str = ""
    ) -> "Failure":
        tone, icon = _TONES.get(HTTPStatus(problem.status), ("bad", "alert-octagon"))
        return cls(
            title=problem.title.rstrip("."),
            detail=problem.detail,
            next_step=problem.next_step,
            errors=tuple(FieldFault(field="", text=text) for text in details),
            tone=tone,
            icon=icon,
            back="/",
            back_text="Back to Home",
            retry=formats.duration(int(retry_after)) if retry_after.isdigit() else "",
        )


def wants_page(request: Request[Any, Any, State]) -> bool:
    """Tell whether a person's browser asks: an address of ours for people, and HTML wanted."""
    if request.scope["path"].startswith(_MACHINE_PATHS):
        return False
    return "text/html" in request.headers.get("accept", "")


def failure_page(
    request: Request[Any, Any, State], problem: ProblemLike, headers: Mapping[str, str]
) -> Response[Any]:
    """Return the page that says what failed, or the way to sign in."""
    if problem.status == HTTPStatus.UNAUTHORIZED:
        return see_other(sign_in_address(request))
    errors = getattr(problem, "errors", ())
    details = tuple(dict.fromkeys(str(each.detail) for each in errors))
    page = Failure.of(
        problem,
        details=details if details != (problem.detail,) else (),
        retry_after=headers.get("Retry-After", ""),
    )
    answer = drawn(request, "errors/failure.html", page, status=problem.status)
    answer.headers.update(headers)
    return answer


def sign_in_address(request: Request[Any, Any, State]) -> str:
    """Return the sign-in page, knowing where to go afterwards."""
    if request.method != "GET":
        return "/login"
    path = request.scope["path"]
    query = request.scope["query_string"].decode("latin-1")
    back = f"{path}?{query}" if query else path
    return "/login" if back == "/" else f"/login?next={quote(back, safe='')}"
