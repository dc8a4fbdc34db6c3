"""A list as its address asks for it: what is read, and all that is drawn of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

from gpucloud_core.kernel.rows import COUNTED_MAX, Page
from gpucloud_web import formats
from gpucloud_web.components import Chip, Kept, Pager, ViewTab
from gpucloud_web.pages.list_address import ListAddress, address, first
from gpucloud_web.tables import (
    Column,
    ColumnChoice,
    Empty,
    FilterChoice,
    FilterField,
    Head,
    ListView,
    OwnViews,
    Row,
    SortChoice,
)

__all__ = ["ListState", "address"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListState(ListAddress):
    """What an address says about a list, and the list as it is drawn."""

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
        narrowed = self.is_filtered or bool(self.view != first(self.spec.views)) or self.cursor
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
            kept=self._kept("sort", "limit", *self.carried),
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
            own=self._own() if self.spec.savable else None,
        )

    def _views(self, counts: Mapping[str, int], hot: Collection[str]) -> tuple[ViewTab, ...]:
        if len(self.spec.views) == 1 and not self.saved:
            return ()
        given = tuple(
            ViewTab(
                title=title or "All",
                href=self.with_(view=view if view != first(self.spec.views) else ""),
                count=_counted(counts, view),
                current=view == self.view and self.own is None,
                hot=view in hot and counts.get(view, 0) > 0,
            )
            for view, title in self.spec.views.items()
        )
        return given + tuple(
            ViewTab(
                title=one.name,
                href=address(self.path, view=one.id),
                count=_counted(self.own_counts, one.id, COUNTED_MAX),
                current=one is self.own,
            )
            for one in self.saved
        )

    def _own(self) -> OwnViews:
        query, columns = urlencode(self.to_save()), ".".join(c.key for c in self.columns)
        back = self.with_(cursor=self.cursor)
        return OwnViews(
            id=self.own.id if self.own else "",
            name=self.own.name if self.own else "",
            changed=self.is_moved,
            reset=address(self.path, view=self.own.id) if self.own else "",
            query=query,
            columns=columns,
            new=address("/views/new", list=self.spec.name, query=query, columns=columns, back=back),
        )

    def _filter(self, each: FilterField) -> FilterChoice:
        return FilterChoice(
            name=each.name,
            title=each.title,
            value=self.filters.get(each.name, ""),
            options=tuple(each.options.items()),
        )

    def _kept(self, *names: str) -> tuple[Kept, ...]:
        """Return what a form that asks this list something else sends along."""
        said = self._said()
        if self.own is not None:
            said |= {"view": self.own.id, "sort": self.sort}
        return tuple(
            Kept(name=name, value=str(said[name])) for name in ("view", *names) if said[name]
        )

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


def _counted(counts: Mapping[str, int], view: str, most: int | None = None) -> str:
    if view not in counts:
        return ""
    return f"{counts[view]:,}" + ("+" if most is not None and counts[view] >= most else "")


def _singular(noun: str) -> str:
    return noun.removesuffix("ies") + "y" if noun.endswith("ies") else noun.removesuffix("s")
