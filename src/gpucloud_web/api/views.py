"""The caller's own views of lists, as the tabs of a page show them."""

from datetime import datetime
from typing import Annotated

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from gpucloud_core.access.model import Actor, SavedView
from gpucloud_core.access.saved_views import ChangeView, DeleteView, ListViews, SaveView
from gpucloud_core.kernel.ids import parse_id
from gpucloud_web.api.lists import Listing

Of = Annotated[str | None, QueryParameter(name="list", description="Only views of this list.")]


class SaveViewBody(msgspec.Struct, forbid_unknown_fields=True):
    """A view: which list, its name, what it asks as in the address, and the columns it shows."""

    list: str
    name: str
    query: dict[str, str]
    columns: tuple[str, ...] | None = None


class ChangeViewBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change; the rest stays."""

    name: str | None = None
    query: dict[str, str] | None = None
    columns: tuple[str, ...] | None = None


class ViewBody(msgspec.Struct, kw_only=True):
    """A view; ``columns`` is null where the browser decides."""

    id: str
    list: str
    name: str
    query: dict[str, str]
    columns: tuple[str, ...] | None
    created_at: datetime

    @classmethod
    def of(cls, view: SavedView) -> "ViewBody":
        return cls(
            id=view.id,
            list=view.list,
            name=view.name,
            query=dict(view.query),
            columns=view.columns,
            created_at=view.created_at,
        )


class Views(Controller):
    path = "/me/views"
    tags = ["me"]

    @get(operation_id="listViews")
    async def index(
        self, actor: NamedDependency[Actor], list_views: FromDishka[ListViews], of: Of = None
    ) -> Listing[ViewBody]:
        """List the caller's views in the order they were saved; at most 20 for each list."""
        return Listing([ViewBody.of(view) for view in await list_views(actor=actor, of=of)])

    @post(operation_id="saveView", status_code=201)
    async def save(
        self,
        data: JSONBody[SaveViewBody],
        actor: NamedDependency[Actor],
        save_view: FromDishka[SaveView],
    ) -> ViewBody:
        """Keep a view of a list under a name; only the caller sees it."""
        view = await save_view(
            actor=actor, of=data.list, name=data.name, query=data.query, columns=data.columns
        )
        return ViewBody.of(view)

    @patch("/{view_id:str}", operation_id="changeView")
    async def change(
        self,
        view_id: FromPath[str],
        data: JSONBody[ChangeViewBody],
        actor: NamedDependency[Actor],
        change_view: FromDishka[ChangeView],
    ) -> ViewBody:
        """Give a view another name, query or choice of columns."""
        view = await change_view(
            actor=actor,
            view_id=parse_id("v", view_id),
            name=data.name,
            query=data.query,
            columns=data.columns,
        )
        return ViewBody.of(view)

    @delete("/{view_id:str}", operation_id="deleteView", status_code=204)
    async def remove(
        self,
        view_id: FromPath[str],
        actor: NamedDependency[Actor],
        delete_view: FromDishka[DeleteView],
    ) -> None:
        """Forget a view."""
        await delete_view(actor=actor, view_id=parse_id("v", view_id))
