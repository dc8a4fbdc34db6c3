"""What an address says about a list: reading it leniently, and writing it without noise."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, tzinfo
from typing import Final, Protocol, Self, TypeVar
from urllib.parse import urlencode

from gpucloud_core.access.model import SavedView
from gpucloud_core.kernel.errors import ValidationFailed
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_web.tables import Column, FilterField, ListSpec, shown_columns

T = TypeVar("T")

PAGE_SIZES: Final = (25, 50, 100)
CURSOR_MAX: Final = 1_000
Saved = Callable[[], Awaitable[Sequence[SavedView]]]
"""Reads a person's own views of a list."""


class Count(Protocol):
    def __call__(self, *, queries: Sequence[ListQuery]) -> Awaitable[Sequence[int]]: ...


def address(path: str, **params: object) -> str:
    """Return ``path`` with the parameters that say something."""
    said = {name: str(value) for name, value in params.items() if value not in (None, "", False)}
    return f"{path}?{urlencode(said)}" if said else path


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAddress:
    """What an address says about a list. What it says wrongly is dropped, and named.

    ``?view=v_…`` alone is a saved view as it was saved. Beside it, filters or an order are the view
    with these instead of its own: moved away from what was saved, until that is saved too.

    Attributes:
        own: the person's own view that is open.
        saved: all of their views of this list; known once it was ``read``.
        asked, chosen: the address and the cookie as they came.
        source: reads ``saved``.
    """

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
    own: SavedView | None = None
    saved: tuple[SavedView, ...] = ()
    asked: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    chosen: str | None = field(default=None, compare=False, repr=False)
    source: Saved | None = field(default=None, compare=False, repr=False)
    own_counts: Mapping[str, int] = field(default_factory=dict, compare=False)

    @classmethod
    def of(
        cls,
        path: str,
        query: Mapping[str, str],
        spec: ListSpec,
        *,
        columns: str | None = None,
        saved: Sequence[SavedView] = (),
    ) -> Self:
        """Read an address.

        ``columns`` is the cookie that chose the list's columns; ``saved`` are views of this list.
        """
        dropped: list[str] = []
        asked, chosen = query, columns
        own = next((one for one in saved if one.id == asked.get("view")), None)
        if own is not None:
            query = _opened(own, asked, spec)
            columns = columns if own.columns is None else ".".join(own.columns)

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
            own=own,
            saved=tuple(saved),
            asked=asked,
            chosen=chosen,
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

    async def read(self, ask: Callable[[Self], Awaitable[Page[T]]]) -> tuple[Self, Page[T]]:
        """Return a page, from the beginning if the cursor is none of this list's.

        The person's own views are read first: the address may name one.
        """
        now = self
        if self.source is not None and self.spec.savable:
            saved = await self.source()
            now = self.of(self.path, self.asked, self.spec, columns=self.chosen, saved=saved)
        try:
            return now, await ask(now)
        except ValidationFailed:
            if not now.cursor:
                raise
        again = replace(now, cursor="", dropped=(*now.dropped, "cursor"))
        return again, await ask(again)

    def with_(self, **changes: object) -> str:
        """Return the address of this list with something changed; a change begins a new page."""
        if self.own is None:
            return address(self.path, **{**self._said(), **changes})
        if "view" in changes:  # to a view of the list's own, without what this one narrows
            kept = {"limit": self._said()["limit"], **self.carried}
            return address(self.path, **{"view": changes["view"], **kept})
        said = {**self._said(), "view": self.own.id}
        if not self.is_moved and changes.keys() <= {"cursor", "limit"}:
            said = {name: said[name] for name in ("view", "limit", *self.carried)}
            return address(self.path, **{**said, **changes})
        return address(self.path, **{**said, "sort": self.sort, **changes})

    @property
    def is_moved(self) -> bool:
        """Tell whether the saved view that is open would have to be saved again."""
        return self.own is not None and self.to_save() != {**self.own.query}

    def to_save(self) -> dict[str, str]:
        """Return what a view of this very list keeps."""
        left = {"limit", *self.carried}
        return {
            name: str(value) for name, value in self._said().items() if value and name not in left
        }

    async def counted(self, query_of: Callable[[Self], ListQuery], count: Count) -> Self:
        """Return this with how many rows each of the person's own views has.

        ``query_of`` is what the list asks for a state of it, ``count`` counts what each finds.
        """
        if not self.saved:
            return self
        as_saved = (
            self.of(self.path, {"view": one.id}, self.spec, saved=(one,)) for one in self.saved
        )
        numbers = await count(queries=[query_of(state) for state in as_saved])
        counts = {one.id: number for one, number in zip(self.saved, numbers, strict=True)}
        return replace(self, own_counts=counts)

    def beside(self, path: str) -> str:
        """Return ``path`` with what this address says, such as the export of the same rows."""
        return address(path, **{**self._said(), "limit": ""})

    def _said(self) -> dict[str, object]:
        return {
            "view": self.view if self.view != first(self.spec.views) else "",
            "q": self.search,
            **self.filters,
            "sort": self.sort if self.sort != first(self.spec.sorts) else "",
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


def _opened(own: SavedView, asked: Mapping[str, str], spec: ListSpec) -> dict[str, str]:
    """Return what an address asks that opens a saved view, in the list's own words."""
    moves = {"q", "sort", *(each.name for each in spec.filters)}
    if moves & asked.keys():
        return {**asked, "view": own.query.get("view", "")}
    stays = ("limit", "cursor", *spec.keeps)
    return {**own.query, **{name: asked[name] for name in stays if name in asked}}


def first(allowed: Collection[str]) -> str:
    return next(iter(allowed))


def _fits(each: FilterField, value: str) -> bool:
    if each.options:
        return value in each.options
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return len(value) == len("2026-11-22")
