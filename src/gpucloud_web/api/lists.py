"""The one list contract of the API: limit, cursor, sort, named filters, one envelope."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from gpucloud_core.kernel.rows import ListQuery, Page

T = TypeVar("T")
B = TypeVar("B")

Limit = Annotated[int, QueryParameter(ge=1, le=100, description="Rows per page, 1 to 100.")]
Cursor = Annotated[
    str | None, QueryParameter(description="Opaque; next_cursor or prev_cursor of a page.")
]
Sort = Annotated[
    str | None, QueryParameter(description="A field; `-` in front puts the largest first.")
]


class Listing(msgspec.Struct, Generic[B]):
    """One page: rows in order, and where the neighbouring pages begin."""

    items: list[B]
    next_cursor: str | None = None
    prev_cursor: str | None = None


def list_query(
    *,
    limit: int = 50,
    cursor: str | None = None,
    sort: str | None = None,
    search: str = "",
    **where: Sequence[object] | None,
) -> ListQuery:
    """Return the query; filters that are None are not set."""
    return ListQuery(
        where={name: tuple(values) for name, values in where.items() if values is not None},
        search=search,
        sort=sort or "-id",
        cursor=cursor,
        limit=limit,
    )


def listing(page: Page[T], body: Callable[[T], B]) -> Listing[B]:
    return Listing([body(item) for item in page.items], page.next_cursor, page.prev_cursor)
