"""A person's own views of lists: keeping one, naming it anew, saving it anew, forgetting it.

Each is asked for on a page that stands alone or in a dialog; the list's address says what is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.access.model import SavedView
from gpucloud_core.access.saved_views import (
    NAME_MAX,
    ChangeView,
    DeleteView,
    ListViews,
    SaveView,
)
from gpucloud_core.kernel.errors import DomainError, NotFound
from gpucloud_core.kernel.ids import parse_id
from gpucloud_web.components import Consequence, FieldFault
from gpucloud_web.pages.addresses import address
from gpucloud_web.pages.forms import form_faults, refused, submitted
from gpucloud_web.pages.rendered import own_address, see_other
from gpucloud_web.pages.visit import Form, Visit, form_of, fresh_key, one, provide_visit

HOME: Final = "/workloads"
_KEPT: Final = ("list", "query", "columns")


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewNamePage:
    """All that ``lists/name_view.html`` may know: what a view is to be called.

    Attributes:
        fields: what is sent along, unseen.
    """

    title: str
    action: str
    verb: str
    operation: str
    back: str
    fields: Mapping[str, str]
    idempotency_key: str = field(default_factory=fresh_key)
    name: str = ""
    name_max: int = NAME_MAX
    errors: tuple[FieldFault, ...] = ()

    @property
    def faults(self) -> dict[str, str]:
        return {fault.field: fault.text for fault in self.errors}


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewDeletePage:
    """All that ``lists/delete_view.html`` may know."""

    title: str
    action: str
    back: str
    points: tuple[Consequence, ...]


def _new(
    kept: Mapping[str, str], back: str, name: str = "", errors: tuple[FieldFault, ...] = ()
) -> ViewNamePage:
    return ViewNamePage(
        title="Save this view",
        action="/views/new",
        verb="Save view",
        operation="saveView",
        back=back,
        fields={
            "back": back,
            **{name: kept.get(name, "") for name in _KEPT},
        },
        name=name,
        errors=errors,
    )


def _rename(
    view: SavedView, back: str, name: str = "", errors: tuple[FieldFault, ...] = ()
) -> ViewNamePage:
    return ViewNamePage(
        title=f"Rename {view.name}",
        action=f"/views/{view.id}/rename",
        verb="Rename view",
        operation="changeView",
        back=back,
        fields={"back": back},
        name=name or view.name,
        errors=errors,
    )


async def _of(visit: Visit, list_views: ListViews, view_id: str) -> SavedView:
    found = parse_id("v", view_id)
    mine = await list_views(actor=visit.actor)
    view = next((each for each in mine if each.id == found), None)
    if view is None:
        raise NotFound("You have no saved view with this id.")
    return view


def _path(back: str) -> str:
    return urlsplit(back).path


class OwnViewPages(Controller):
    path = "/views"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get("/new")
    async def ask_new(self, visit: NamedDependency[Visit]) -> Response[str]:
        """Ask what a view of the list is to be called."""
        said = visit.request.query_params
        page = _new(dict(said), own_address(said.get("back", ""), HOME))
        return visit.page("lists/name_view.html", page)

    @post("/new", status_code=303)
    async def save(
        self, visit: NamedDependency[Visit], save_view: FromDishka[SaveView]
    ) -> Response[str] | Redirect:
        """Keep it and open it; what cannot be is said beside the name."""
        form = await form_of(visit.request)
        back, name = own_address(one(form, "back"), HOME), one(form, "name")

        async def save() -> str:
            view = await save_view(
                actor=visit.actor,
                of=one(form, "list"),
                name=name,
                query=dict(parse_qsl(one(form, "query"))),
                columns=_columns(form),
            )
            return view.id

        async def again(error: DomainError) -> Response[str]:
            kept = {name: one(form, name) for name in form}
            page = _new(kept, back, name=name, errors=form_faults(error))
            return refused(visit, "lists/name_view.html", page, error)

        return await submitted(
            visit, form, save, to=lambda view: address(_path(back), view=view), again=again
        )

    @get("/{view_id:str}/rename")
    async def ask_name(
        self,
        view_id: FromPath[str],
        visit: NamedDependency[Visit],
        list_views: FromDishka[ListViews],
    ) -> Response[str]:
        """Ask for another name."""
        back = own_address(visit.request.query_params.get("back", ""), HOME)
        page = _rename(await _of(visit, list_views, view_id), back)
        return visit.page("lists/name_view.html", page)

    @post("/{view_id:str}/rename", status_code=303)
    async def rename(
        self,
        view_id: FromPath[str],
        visit: NamedDependency[Visit],
        change_view: FromDishka[ChangeView],
        list_views: FromDishka[ListViews],
    ) -> Response[str] | Redirect:
        """Give it another name."""
        form = await form_of(visit.request)
        back, name = own_address(one(form, "back"), HOME), one(form, "name")
        view = await _of(visit, list_views, view_id)

        async def rename() -> str:
            return (await change_view(actor=visit.actor, view_id=view.id, name=name)).id

        async def again(error: DomainError) -> Response[str]:
            page = _rename(view, back, name=name, errors=form_faults(error))
            return refused(visit, "lists/name_view.html", page, error)

        return await submitted(visit, form, rename, to=lambda _: back, again=again)

    @post("/{view_id:str}/save", status_code=303)
    async def save_again(
        self,
        view_id: FromPath[str],
        visit: NamedDependency[Visit],
        change_view: FromDishka[ChangeView],
    ) -> Redirect:
        """Keep the list as it is asked for now under the same name, or only other columns of it."""
        form = await form_of(visit.request)
        back, is_all = own_address(one(form, "back"), HOME), "query" in form
        view = await change_view(
            actor=visit.actor,
            view_id=parse_id("v", view_id),
            query=dict(parse_qsl(one(form, "query"))) if is_all else None,
            columns=_columns(form),
        )
        return see_other(address(_path(back), view=view.id) if is_all else back)

    @get("/{view_id:str}/delete")
    async def ask_delete(
        self,
        view_id: FromPath[str],
        visit: NamedDependency[Visit],
        list_views: FromDishka[ListViews],
    ) -> Response[str]:
        """Say what forgetting a view means."""
        view = await _of(visit, list_views, view_id)
        back = own_address(visit.request.query_params.get("back", ""), HOME)
        page = ViewDeletePage(
            title=f"Delete the view {view.name}?",
            action=address(f"/views/{view.id}/delete", back=_path(back)),
            back=back,
            points=(
                Consequence(icon="bookmark", text="The view disappears from this list, for you."),
                Consequence(icon="list", text="What it shows stays as it is."),
            ),
        )
        return visit.page("lists/delete_view.html", page)

    @post("/{view_id:str}/delete", status_code=303)
    async def delete(
        self,
        view_id: FromPath[str],
        visit: NamedDependency[Visit],
        delete_view: FromDishka[DeleteView],
    ) -> Redirect:
        """Forget it, and show the list without it."""
        await delete_view(actor=visit.actor, view_id=parse_id("v", view_id))
        return see_other(own_address(visit.request.query_params.get("back", ""), HOME))


def _columns(form: Form) -> tuple[str, ...] | None:
    """Return the columns that a form names: each by itself, or all joined by dots."""
    if "column" not in form and "columns" not in form:
        return None
    named = (*form.get("column", ()), *one(form, "columns").split("."))
    return tuple(column for column in named if column)
