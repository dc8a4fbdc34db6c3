"""The address is the state of a list: reading it leniently, and writing it without noise."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlencode

from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_web.components import Chip, Head, Kept, Pager

T = TypeVar("T")

PAGE_SIZES: Final = (25, 50, 100)


def address(path: str, **params: object) -> str:
    """Return ``path`` with the parameters that say something."""
    said = {name: str(value) for name, value in params.items() if value not in (None, "", False)}
    return f"{path}?{urlencode(said)}" if said else path


@dataclass(frozen=True, slots=True, kw_only=True)
class ListState:
    """What an address says about a list. What it says wrongly is dropped, and named."""

    path: str
    view: str
    search: str
    sort: str
    cursor: str
    limit: int
    dropped: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        path: str,
        query: Mapping[str, str],
        *,
        views: Collection[str],
        sorts: Collection[str],
    ) -> "ListState":
        """Read an address; the first of ``views`` and of ``sorts`` are the defaults."""
        dropped = []

        def choose(name: str, allowed: Collection[str]) -> str:
            default = next(iter(allowed))
            value = query.get(name, "")
            if value and value not in allowed:
                dropped.append(name)
                return default
            return value or default

        limit = query.get("limit", "")
        if limit and limit not in {str(size) for size in PAGE_SIZES}:
            dropped.append("limit")
            limit = ""
        return cls(
            path=path,
            view=choose("view", views),
            search=query.get("q", "").strip()[:200],
            sort=choose("sort", sorts),
            cursor=query.get("cursor", ""),
            limit=int(limit or PAGE_SIZES[0]),
            dropped=tuple(dropped),
        )

    def query(self, where: Mapping[str, tuple[object, ...]]) -> ListQuery:
        """Return what to ask the list for."""
        return ListQuery(
            where=where,
            search=self.search,
            sort=self.sort,
            cursor=self.cursor or None,
            limit=self.limit,
        )

    def with_(self, **changes: object) -> str:
        """Return the address of this list with something changed; a change begins a new page."""
        params: dict[str, object] = {
            "view": self.view,
            "q": self.search,
            "sort": self.sort,
            "limit": self.limit if self.limit != PAGE_SIZES[0] else "",
            **changes,
        }
        return address(self.path, **params)

    def notice(self) -> str:
        """Return what was dropped, in words, or nothing."""
        if not self.dropped:
            return ""
        return f"Ignored in the address: {', '.join(self.dropped)}."

    def kept(self) -> tuple[Kept, ...]:
        """Return what a search form carries along."""
        return tuple(
            Kept(name=name, value=value)
            for name, value in (("view", self.view), ("sort", self.sort))
            if value
        )

    def chips(self) -> tuple[Chip, ...]:
        if not self.search:
            return ()
        return (Chip(name="Search", value=self.search, href=self.with_(q="")),)

    def head(self, title: str, field: str = "", *, number: bool = False) -> Head:
        """Return a column head; with ``field`` it sorts, and a second press turns it round."""
        if not field:
            return Head(title=title, number=number)
        order = {field: "ascending", f"-{field}": "descending"}.get(self.sort, "")
        turned = field if self.sort == f"-{field}" else f"-{field}"
        return Head(title=title, href=self.with_(sort=turned), order=order, number=number)

    def pager(self, page: Page[T], noun: str) -> Pager:
        count = len(page.items)
        shown = f"{count} {noun}" if count != 1 else f"1 {noun.removesuffix('s')}"
        if page.next_cursor or page.prev_cursor:
            shown += " on this page"
        return Pager(
            shown=shown,
            newer=self.with_(cursor=page.prev_cursor) if page.prev_cursor else "",
            older=self.with_(cursor=page.next_cursor) if page.next_cursor else "",
        )
