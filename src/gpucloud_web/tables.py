"""The one list: what every list of the product is made of, as data.

A page says once what its list has (``ListSpec``: columns, saved views, filters, sorts, bulk
actions) and turns each of its things into a ``Row`` of cells. ``ListView.of`` puts them together
with what the address says, and ``components/table.html`` draws them. So every list keeps the same
contract: the address is its state, and it sorts, filters, pages, chooses columns, selects, exports
and stays current in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gpucloud_web.components import Chip, Kept, MenuEntry, Pager, ViewTab
from gpucloud_web.formats import Moment
from gpucloud_web.node_picture import SlotStrip

NEWEST_FIRST: Final = {"-id": "Newest first", "id": "Oldest first"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one row says in one column. Which of these are set decides how it is drawn.

    Attributes:
        text: the words; beside ``kind`` and ``state``, more exact ones than the status table's.
        second: the next fact, under it; ``second_tone`` colours it.
        second_when: an instant instead of words under it.
        href: leads there; the first column's is the row's name.
        kind, state: a row of the status table, drawn as a badge.
        when: an instant.
        strip: a slot strip under the words.
        copy, copy_label: what a button beside it, or beside ``second``, copies.
        weak: of less weight, such as a rate that is not charged.
        strong: of more weight, such as a total.
        unknown: why it is not known; drawn as a dash.
    """

    text: str = ""
    second: str = ""
    second_tone: str = ""
    second_when: Moment | None = None
    href: str = ""
    kind: str = ""
    state: str = ""
    when: Moment | None = None
    strip: SlotStrip | None = None
    copy: str = ""
    copy_label: str = ""
    mono: bool = False
    weak: bool = False
    strong: bool = False
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. The first one names the row and is always shown.

    Attributes:
        sort: the field it sorts by; empty if it does not.
        number: right-aligned with tabular figures.
        optional: hidden until chosen.
    """

    key: str
    title: str
    sort: str = ""
    number: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterField:
    """A filter of the list: one of ``options`` (value to words), or a date if there are none."""

    name: str
    title: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkAction:
    """What can be done to all selected rows at once; ``path`` asks before it acts."""

    verb: str
    icon: str
    path: str
    operation: str
    danger: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    """What a list says before it has ever had a row: what it is, one action, one command."""

    heading: str
    sentence: str
    action: str = ""
    href: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSpec:
    """All that is the same for everybody who looks at a list.

    Attributes:
        name: names its cookies, its parts and its exports.
        noun: what its rows are, in the plural.
        views: saved views, name to title; the first is the default.
        sorts: sort keys with their words; the first is the default.
        search: what the search box finds by; empty if it cannot search.
        live: topics whose change draws it again.
        keeps: what else stands in the address of its page, and is carried along.
        savable: people can keep views of it; not where two lists share one address.
    """

    name: str
    noun: str
    columns: tuple[Column, ...]
    views: Mapping[str, str] = field(default_factory=lambda: {"": ""})
    sorts: Mapping[str, str] = field(default_factory=lambda: NEWEST_FIRST)
    search: str = ""
    filters: tuple[FilterField, ...] = ()
    bulk: tuple[BulkAction, ...] = ()
    live: str = ""
    keeps: tuple[str, ...] = ()
    savable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing in a list.

    ``label`` names it where its cells do not: for its checkbox and its menu.
    """

    id: str
    label: str
    cells: Mapping[str, Cell]
    menu: tuple[MenuEntry, ...] = ()
    selectable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A row that has left the view it was in: where to, and the ways there."""

    id: str
    label: str
    text: str
    links: tuple[MenuEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a shown column. With ``href`` it sorts, now in ``order``."""

    key: str
    title: str
    number: bool
    href: str = ""
    order: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChoice:
    key: str
    title: str
    shown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterChoice:
    """A filter as the form draws it: a select with ``options``, or a date."""

    name: str
    title: str
    value: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SortChoice:
    title: str
    href: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnViews:
    """What a person may do about their own views of a list.

    Attributes:
        id, name: the view of theirs that is open; empty if none is.
        changed: the address has moved away from it.
        reset: the address of it as it was saved.
        query, columns: what a view of this very list would keep.
        new: asks for the name of a new one.
    """

    id: str
    name: str
    changed: bool
    reset: str
    query: str
    columns: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListView:
    """All that ``components/table.html`` may know of a list.

    Attributes:
        state: ``rows``, ``empty`` (never had one) or ``no_matches``.
        rows_path: draws rows by id as they are now, or says where they went; empty if rows never
            leave a view of this list.
        export: downloads what the filters leave, as CSV.
        own: what can be done about saved views; None where nobody saves any.
    """

    name: str
    noun: str
    path: str
    address: str
    views: tuple[ViewTab, ...]
    search: str
    search_label: str
    filters: tuple[FilterChoice, ...]
    kept: tuple[Kept, ...]
    chips: tuple[Chip, ...]
    clear: str
    heads: tuple[Head, ...]
    columns: tuple[ColumnChoice, ...]
    sorts: tuple[SortChoice, ...]
    sort_words: str
    rows: tuple[Row, ...]
    bulk: tuple[BulkAction, ...]
    pager: Pager
    limit: int
    notice: str
    live: str
    rows_path: str
    export: str
    state: str
    empty: Empty
    own: OwnViews | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsPage:
    """All that ``lists/rows.html`` may know: rows of a list, and what has left it."""

    list: ListView
    gone: tuple[Gone, ...]


def shown_columns(spec: ListSpec, cookie: str | None) -> tuple[Column, ...]:
    """Return the columns a person chose; the first is always there.

    ``cookie`` has their keys, joined by dots; None is the list as it comes. Keys that are not
    columns any more are passed over.
    """
    first, *rest = spec.columns
    if cookie is None:
        return (first, *(column for column in rest if not column.optional))
    chosen = set(cookie.split("."))
    return (first, *(column for column in rest if column.key in chosen))


def columns_cookie(name: str) -> str:
    """Return the name of the cookie that keeps a list's columns."""
    return f"gpucloud-columns-{name}"


def outcome_words(done: Sequence[bool], verb: str) -> str:
    """Return what became of a bulk action, such as ``7 released, 1 failed``."""
    right = sum(done)
    wrong = len(done) - right
    said = [f"{right:,} {verb}"] if right or not wrong else []
    return ", ".join([*said, f"{wrong:,} failed"] if wrong else said)
