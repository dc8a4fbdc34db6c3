"""Choices that only change how pages look or which project they show: cookies of this browser."""

from typing import Final

from dishka.integrations.litestar import FromDishka
from litestar import post
from litestar.di import NamedDependency
from litestar.response import Redirect

from gpucloud_core.access.model import Actor
from gpucloud_core.access.projects import ListProjects
from gpucloud_core.kernel.errors import NotFound
from gpucloud_web.caller import PROJECT_COOKIE
from gpucloud_web.pages.rendered import (
    DENSITY_COOKIE,
    SHORTCUTS_COOKIE,
    THEME_COOKIE,
    own_address,
    see_other,
)
from gpucloud_web.pages.visit import PageRequest, form_of, one
from gpucloud_web.tables import columns_cookie

YEAR_SECONDS: Final = 31_536_000


def _remembering(address: str, name: str, value: str) -> Redirect:
    answer = see_other(own_address(address))
    age = YEAR_SECONDS if value else 0
    answer.set_cookie(key=name, value=value, max_age=age, path="/", samesite="lax")
    return answer


@post("/preferences/theme", status_code=303, include_in_schema=False)
async def choose_theme(request: PageRequest) -> Redirect:
    """Remember light, dark or the system's; with JavaScript the top bar's button does it itself."""
    form = await form_of(request)
    theme = one(form, "theme")
    kept = theme if theme in {"light", "dark"} else ""
    return _remembering(one(form, "back"), THEME_COOKIE, kept)


@post("/preferences/shortcuts", status_code=303, include_in_schema=False)
async def choose_shortcuts(request: PageRequest) -> Redirect:
    """Remember whether single letters are shortcuts in this browser (WCAG 2.1.4)."""
    form = await form_of(request)
    kept = "off" if one(form, "shortcuts") == "off" else ""
    return _remembering(one(form, "back"), SHORTCUTS_COOKIE, kept)


@post("/preferences/density", status_code=303, include_in_schema=False)
async def choose_density(request: PageRequest) -> Redirect:
    """Remember how close rows stand; with JavaScript the browser does it itself."""
    form = await form_of(request)
    density = one(form, "density")
    return _remembering(one(form, "back"), DENSITY_COOKIE, density if density == "compact" else "")


@post("/preferences/columns", status_code=303, include_in_schema=False)
async def choose_columns(request: PageRequest) -> Redirect:
    """Remember which columns of a list are shown."""
    form = await form_of(request)
    name = one(form, "list")
    columns = [column for column in form.get("column", []) if column.isidentifier()]
    if not name.replace("-", "").isalnum():
        raise NotFound("There is no list of this name.")
    return _remembering(one(form, "back"), columns_cookie(name), ".".join(columns)[:400] or ".")


@post("/preferences/project", status_code=303, include_in_schema=False)
async def choose_project(
    request: PageRequest, actor: NamedDependency[Actor], projects: FromDishka[ListProjects]
) -> Redirect:
    """Work in another project of the same tenant."""
    form = await form_of(request)
    chosen = one(form, "project_id")
    if chosen not in {mine.project.id for mine in await projects(actor=actor)}:
        raise NotFound("There is no project with this id.")
    return _remembering(one(form, "back"), PROJECT_COOKIE, chosen)
