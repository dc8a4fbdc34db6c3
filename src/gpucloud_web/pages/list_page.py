"""A page that is a list and little else."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_web.pages.addresses import ListState
from gpucloud_web.pages.visit import Visit
from gpucloud_web.tables import Empty, ListSpec, ListView, Row

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """All that ``lists/index.html`` may know.

    Attributes:
        total: how many there are in all, where that is cheap to know.
        sub: a line under the title.
        primary, primary_href: the page's one cobalt button, which leads somewhere.
        act, act_path, act_operation: a button that posts at once, as it can be undone or repeated.
    """

    title: str
    list: ListView
    total: str = ""
    sub: str = ""
    primary: str = ""
    primary_href: str = ""
    primary_icon: str = "plus"
    act: str = ""
    act_path: str = ""
    act_operation: str = ""


def everything(_: ListState) -> Mapping[str, tuple[object, ...]]:
    """Narrow a list by nothing but its search."""
    return {}


async def listed(
    visit: Visit,
    path: str,
    spec: ListSpec,
    *,
    ask: Callable[[ListQuery], Awaitable[Page[T]]],
    row: Callable[[T], Row],
    empty: Empty,
    where: Callable[[ListState], Mapping[str, tuple[object, ...]]] = everything,
) -> ListView:
    """Return the list that this address asks for.

    ``ask`` reads a page of it, ``row`` draws a line, ``where`` is what the address narrows it to.
    """
    state, page = await visit.list_state(path, spec).read(lambda now: ask(now.query(where(now))))
    return state.list_view(page, [row(each) for each in page.items], empty=empty)
