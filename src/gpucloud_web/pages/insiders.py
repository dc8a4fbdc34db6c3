"""Pages of the platform's own people: others get the restricted state, never an empty page."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from litestar import Response
from litestar.di import NamedDependency

from gpucloud_core.access.model import Actor
from gpucloud_web.navigation import GRANTED_BY, ROLE_WORDS, NavPage, current_page
from gpucloud_web.pages.visit import PageRequest, Visit, provide_visit
from gpucloud_web.shell import audiences_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RestrictedPage:
    """All that ``errors/restricted.html`` may know."""

    title: str
    who: str
    granted: str

    @classmethod
    def of(cls, page: NavPage) -> "RestrictedPage":
        return cls(
            title=page.title, who=ROLE_WORDS[page.audience], granted=GRANTED_BY[page.audience]
        )


class Restricted(Exception):
    """The page is not for whoever visits it."""

    def __init__(self, visit: Visit, page: NavPage) -> None:
        self.visit, self.page = visit, page
        super().__init__(page.path)


def restricted(visit: Visit, page: NavPage) -> Response[str]:
    """Return the answer that says whom a page is for, and who can grant it."""
    view = RestrictedPage.of(page)
    return visit.page("errors/restricted.html", view, status=HTTPStatus.FORBIDDEN)


async def provide_insider(request: PageRequest, actor: NamedDependency[Actor]) -> Visit:
    """Litestar dependency ``visit`` of restricted pages.

    Raises:
        Restricted: the page is not for this person.
    """
    visit = await provide_visit(request, actor)
    page = current_page(visit.frame.path)
    if page is not None and page.audience not in audiences_of(actor):
        raise Restricted(visit, page)
    return visit


def _on_restricted(_: PageRequest, error: Restricted) -> Response[str]:
    return restricted(error.visit, error.page)


INSIDERS: Final[dict[int | type[Exception], Any]] = {Restricted: _on_restricted}
"""The exception handlers of every controller whose pages are restricted."""
