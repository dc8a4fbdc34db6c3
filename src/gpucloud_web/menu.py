"""The menu as it is drawn: the pages that somebody may use, with the one they are on marked."""

from collections.abc import Mapping
from dataclasses import dataclass

from gpucloud_web.navigation import GROUPS, Audience, Maturity, NavPage, current_page


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuItem:
    """A line of the menu as the template draws it."""

    title: str
    path: str
    icon: str
    current: bool
    coming: bool
    count: str
    hot: bool  # the count asks for attention
    jump: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuGroup:
    title: str
    open: bool
    items: tuple[MenuItem, ...]


def menu(
    *, here: str, audiences: frozenset[Audience], counts: Mapping[str, int]
) -> tuple[MenuGroup, ...]:
    """Return the groups that ``audiences`` may use, with the page at ``here`` marked.

    ``here`` is a path with its query: the workload views are one path with two menu lines.
    """
    current = current_page(here)
    groups = []
    for group in GROUPS:
        pages = [page for page in group.pages if page.audience in audiences]
        if not pages:
            continue
        inside = current is not None and current in pages
        groups.append(
            MenuGroup(
                title=group.title,
                open=group.open_at_first or inside,
                items=tuple(_item(page, page is current, counts) for page in pages),
            )
        )
    return tuple(groups)


def _item(page: NavPage, current: bool, counts: Mapping[str, int]) -> MenuItem:
    number = counts.get(page.count, 0)
    return MenuItem(
        title=page.title,
        path=page.path,
        icon=page.icon,
        current=current,
        coming=page.maturity is Maturity.COMING,
        count=f"{number:,}" if number else "",
        hot=page.count == "attention" and number > 0,
        jump=page.jump,
    )
