"""The address is the state of a list: reading it leniently, and writing it without noise."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, tzinfo
from typing import Final, TypeVar
from urllib.parse import urlencode

from gpucloud_core.kernel.errors import ValidationFailed
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_web import formats
from gpucloud_web.components import Chip, Kept, Pager, SavedView
from gpucloud_web.tables import (
    Column,
    ColumnChoice,
    Empty,
    FilterChoice,
    FilterField,
    Head,
    ListSpec,
    ListView,
    Row,
    SortChoice,
    shown_columns,
)

T = TypeVar("T")

PAGE_SIZES: Final = (25, 50, 100)
CURSOR_MAX: Final = 1_000


def address(path: str, **params: object) -> str:
    """Return ``path`` with the parameters that say something."""
    said = {name: str(value) for name, value in params.items() if value not in (None, "", False)}
    return f"{path}?{urlencode(said)}" if said else path


@dataclass(frozen=True, slots=True, kw_only=True)
class ListState:
    """What an address says about a list. What it says wrongly is dropped, and named."""

    path: str
    spec: ListSpec
    view: str
    search: str
    sort: str
    filters: Mapping[str, str]
    cursor: str
    limit: int
    columns: tuple[Column, ...]
    dropped: tuple[str, ...] = ()
    carried: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, path: str, query: Mapping[str, str], spec: ListSpec, *, columns: str | None = None
    ) -> "ListState":
        """Read an address; ``columns`` is the cookie that chose the list's columns."""
        dropped: list[str] = []

        def choose(name: str, allowed: Collection[str]) -> str:
            default = next(iter(allowed))
            value = query.get(name, "")
            if value and value not in allowed:
                dropped.append(name)
                return default
            return value or default

        limit = choose("limit", tuple(map(str, PAGE_SIZES)))
        view = choose("view", spec.views)
        sort = choose("sort", spec.sorts)
        filters = {}
        for each in spec.filters:
            value = query.get(each.name, "")
            if value and _fits(each, value):
                filters[each.name] = value
            elif value:
                dropped.append(each.name)
        cursor = query.get("cursor", "")
        if len(cursor) > CURSOR_MAX:
            cursor = ""
            dropped.append("cursor")
        return cls(
            path=path,
            spec=spec,
            view=view,
            search=query.get("q", "").strip()[:200] if spec.search else "",
            sort=sort,
            filters=filters,
            cursor=cursor,
            limit=int(limit),
            columns=shown_columns(spec, columns),
            dropped=tuple(dropped),
            carried={name: query[name][:80] for name in spec.keeps if query.get(name)},
        )

    def query(
        self,
        where: Mapping[str, tuple[object, ...]],
        spans: Mapping[str, tuple[datetime | None, datetime | None]] | None = None,
    ) -> ListQuery:
        """Return what to ask the list for."""
        return ListQuery(
            where=where,
            spans=spans or {},
            search=self.search,
            sort=self.sort,
            cursor=self.cursor or None,
            limit=self.limit,
        )

    async def read(
        self, ask: Callable[["ListState"], Awaitable[Page[T]]]
    ) -> tuple["ListState", Page[T]]:
        """Return a page, from the beginning if the cursor is none of this list's."""
        try:
            return self, await ask(self)
        except ValidationFailed:
            if not self.cursor:
                raise
        again = replace(self, cursor="", dropped=(*self.dropped, "cursor"))
        return again, await ask(again)

    def with_(self, **changes: object) -> str:
        """Return the address of this list with something changed; a change begins a new page."""
        return address(self.path, **{**self._said(), **changes})

    def beside(self, path: str) -> str:
        """Return ``path`` with what this address says, such as the export of the same rows."""
        return address(path, **{**self._said(), "limit": ""})

    def _said(self) -> dict[str, object]:
        return {
            "view": self.view if self.view != _first(self.spec.views) else "",
            "q": self.search,
            **self.filters,
            "sort": self.sort if self.sort != _first(self.spec.sorts) else "",
            "limit": self.limit if self.limit != PAGE_SIZES[0] else "",
            **self.carried,
        }

    @property
    def is_filtered(self) -> bool:
        """Tell whether anything but the view narrows the list."""
        return bool(self.search or self.filters)

    def day(self, name: str, zone: tzinfo) -> datetime | None:
        """Return the beginning of the day that a date filter names, where the person is."""
        value = self.filters.get(name)
        return datetime.combine(date.fromisoformat(value), time(), zone) if value else None

    def notice(self) -> str:
        """Return what was dropped, in words, or nothing."""
        if not self.dropped:
            return ""
        return f"Ignored in the address: {', '.join(self.dropped)}."

    def list_view(
        self,
        page: Page[T],
        rows: Sequence[Row],
        *,
        empty: Empty,
        counts: Mapping[str, int] | None = None,
        hot: Collection[str] = (),
        ever: bool | None = None,
        rows_path: str = "",
        export: str = "",
    ) -> ListView:
        """Return the list as it is drawn.

        ``counts`` says how many rows each saved view has, where that is cheap to know; rows of
        ``hot`` views need somebody. ``ever`` tells whether the list ever had a row; without it,
        an unfiltered list tells.
        """
        narrowed = self.is_filtered or bool(self.view != _first(self.spec.views)) or self.cursor
        had = ever if ever is not None else bool(rows or narrowed)
        state = "rows" if rows else ("no_matches" if had else "empty")
        return ListView(
            name=self.spec.name,
            noun=self.spec.noun,
            path=self.path,
            address=self.with_(cursor=self.cursor),
            views=self._views(counts or {}, hot),
            search=self.search,
            search_label=self.spec.search,
            filters=tuple(self._filter(each) for each in self.spec.filters),
            kept=self._kept("view", "sort", "limit", *self.carried),
            chips=self._chips(),
            clear=self._cleared() if self.is_filtered else "",
            heads=tuple(self._head(column) for column in self.columns),
            columns=self._columns(),
            sorts=tuple(
                SortChoice(title=words, href=self.with_(sort=sort), current=sort == self.sort)
                for sort, words in self.spec.sorts.items()
            ),
            sort_words=self.spec.sorts[self.sort],
            rows=tuple(rows),
            bulk=self.spec.bulk,
            pager=self._pager(page),
            limit=self.limit,
            notice=self.notice(),
            live=self.spec.live,
            rows_path=self.beside(rows_path) if rows_path else "",
            export=self.beside(export) if export else "",
            state=state,
            empty=empty,
        )

    def _views(self, counts: Mapping[str, int], hot: Collection[str]) -> tuple[SavedView, ...]:
        if len(self.spec.views) == 1:
            return ()
        return tuple(
            SavedView(
                title=title,
                href=self.with_(view=view if view != _first(self.spec.views) else ""),
                count=f"{counts[view]:,}" if view in counts else "",
                current=view == self.view,
                hot=view in hot and counts.get(view, 0) > 0,
            )
            for view, title in self.spec.views.items()
        )

    def _filter(self, each: FilterField) -> FilterChoice:
        return FilterChoice(
            name=each.name,
            title=each.title,
            value=self.filters.get(each.name, ""),
            options=tuple(each.options.items()),
        )

    def _kept(self, *names: str) -> tuple[Kept, ...]:
        said = self._said()
        return tuple(Kept(name=name, value=str(said[name])) for name in names if said[name])

    def _chips(self) -> tuple[Chip, ...]:
        chips = [Chip(name="Search", value=self.search, href=self.with_(q=""))]
        chips = chips if self.search else []
        for each in self.spec.filters:
            if value := self.filters.get(each.name):
                words = each.options.get(value, value)
                chips.append(Chip(name=each.title, value=words, href=self.with_(**{each.name: ""})))
        return tuple(chips)

    def _cleared(self) -> str:
        return self.with_(q="", **{each.name: "" for each in self.spec.filters})

    def _columns(self) -> tuple[ColumnChoice, ...]:
        shown = {column.key for column in self.columns}
        return tuple(
            ColumnChoice(key=column.key, title=column.title, shown=column.key in shown)
            for column in self.spec.columns[1:]
        )

    def _head(self, column: Column) -> Head:
        """Return a column's head; a second press turns its order round."""
        if not column.sort:
            return Head(key=column.key, title=column.title, number=column.number)
        up, down = column.sort, f"-{column.sort}"
        order = {up: "ascending", down: "descending"}.get(self.sort, "")
        begins = next((sort for sort in self.spec.sorts if sort in (up, down)), down)
        turned = {up: down, down: up}.get(self.sort, begins)
        return Head(
            key=column.key,
            title=column.title,
            number=column.number,
            href=self.with_(sort=turned),
            order=order,
        )

    def _pager(self, page: Page[T]) -> Pager:
        count, noun = len(page.items), self.spec.noun
        shown = formats.counted(count, _singular(noun), noun)
        if page.next_cursor or page.prev_cursor:
            shown += " on this page"
        return Pager(
            shown=shown,
            newer=self.with_(cursor=page.prev_cursor) if page.prev_cursor else "",
            older=self.with_(cursor=page.next_cursor) if page.next_cursor else "",
        )


def _first(allowed: Collection[str]) -> str:
    return next(iter(allowed))


def _singular(noun: str) -> str:
    return noun.removesuffix("ies") + "y" if noun.endswith("ies") else noun.removesuffix("s")


def _fits(each: FilterField, value: str) -> bool:
    if each.options:
        return value in each.options
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return len(value) == len("2026-11-22")
