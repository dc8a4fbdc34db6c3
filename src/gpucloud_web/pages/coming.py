"""Every page that is not there yet: it says what it will do, and that it is coming.

A page of the platform's own people answers others with the restricted state: which role it takes
and who can grant it, never an empty page.
"""

from dataclasses import dataclass
from typing import Final

from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide

from gpucloud_web.navigation import PAGES, Maturity, NavPage, current_page
from gpucloud_web.pages.insiders import restricted
from gpucloud_web.pages.visit import Visit, provide_visit
from gpucloud_web.shell import audiences_of

PATHS: Final = [
    *(path for path, page in PAGES.items() if page.maturity is Maturity.COMING),
    "/apps/{below:str}",
    "/access/projects/{below:str}",
    "/developer/docs/{below:str}",
    "/admin/users/{below:str}",
]
"""The pages of the menu that are coming, and the pages below them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComingPage:
    """All that ``errors/coming.html`` may know."""

    title: str
    will_do: str

    @classmethod
    def of(cls, page: NavPage) -> "ComingPage":
        return cls(title=page.title, will_do=page.will_do)


class ComingPages(Controller):
    path = "/"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get(PATHS)
    async def show(self, visit: NamedDependency[Visit]) -> Response[str]:
        """Say what the page will do, or whom it is for."""
        page = current_page(visit.frame.path)
        if page is None:
            raise AssertionError("a path of this handler belongs to no page of the menu")
        if page.audience not in audiences_of(visit.actor):
            return restricted(visit, page)
        return visit.page("errors/coming.html", ComingPage.of(page))
