"""Views of lists that people keep: a name for what narrows and orders a list, and its columns.

What a view asks of its list is kept as it stands in the list's address, and read as leniently: a
filter that a list has no longer is dropped when the view is opened, and the person is told.
"""

import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gpucloud_core.access.acting import fact_by, person
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor, SavedView
from gpucloud_core.access.ports import AccessUnit
from gpucloud_core.access.ssh_keys import visible
from gpucloud_core.kernel.errors import (
    AlreadyExists,
    DomainError,
    ErrorKind,
    FieldError,
    NotFound,
    ValidationFailed,
)
from gpucloud_core.kernel.ids import Ids
from gpucloud_core.kernel.unit import Json, Scope, Transactions

NAME_MAX: Final = 60
VIEWS_MAX: Final = 20
PARTS_MAX: Final = 20
PART_MAX: Final = 200
COLUMNS_MAX: Final = 40
_LIST: Final = re.compile(r"[a-z][a-z-]{0,39}")
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


class TooManyViews(DomainError):
    """This list has as many saved views as one person may have of it."""

    code = "too_many_views"
    kind = ErrorKind.CONFLICT
    next_step = "Delete one that you no longer need."


def view_name(text: str) -> str:
    """Return a view's name as it is kept: one line of what people can see.

    Raises:
        ValidationFailed: nothing is left of it, or it is too long.
    """
    name = visible(unicodedata.normalize("NFC", text))
    if not name:
        raise _wrong("name", "empty", "Give the view a name.")
    if len(name) > NAME_MAX:
        raise _wrong("name", "too_long", f"A name has at most {NAME_MAX} characters.")
    return name


def view_query(said: Mapping[str, str]) -> dict[str, str]:
    """Return what a view asks of its list, without what says nothing.

    Raises:
        ValidationFailed: it is more than any list understands.
    """
    query = {name: value for name, value in said.items() if value}
    if len(query) > PARTS_MAX or any(
        not _WORD.fullmatch(name) or len(value) > PART_MAX for name, value in query.items()
    ):
        raise _wrong("query", "invalid", "This is not what a list is asked for.")
    return query


def view_columns(columns: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the columns a view shows; None leaves them to the browser.

    Raises:
        ValidationFailed: they are not names of columns.
    """
    if columns is None:
        return None
    if len(columns) > COLUMNS_MAX or not all(_WORD.fullmatch(column) for column in columns):
        raise _wrong("columns", "invalid", "These are not the columns of a list.")
    return tuple(dict.fromkeys(columns))


def _key(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _wrong(name: str, code: str, detail: str) -> ValidationFailed:
    return ValidationFailed(detail, fields=[FieldError(f"/{name}", code, detail)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ListViews:
    """The actor's own views, of one list or of all, in the order they were saved."""

    transactions: Transactions[AccessUnit]

    async def __call__(self, *, actor: Actor, of: str | None = None) -> tuple[SavedView, ...]:
        require(actor, Action.VIEWS_USE, tenant_id=actor.tenant_id)
        mine = {"tenant_id": actor.tenant_id, "user_id": person(actor)}
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            if of is None:
                return await unit.saved_views.find(**mine)
            return await unit.saved_views.find(**mine, list=of)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveView:
    """Keep a view of a list under a name."""

    transactions: Transactions[AccessUnit]
    ids: Ids

    async def __call__(
        self,
        *,
        actor: Actor,
        of: str,
        name: str,
        query: Mapping[str, str],
        columns: Sequence[str] | None = None,
    ) -> SavedView:
        """Return the view.

        Args:
            actor: whose it will be; nobody else sees it.
            of: the list's name, such as ``workloads``.
            name: what its tab says; unlike those of the person's other views of this list.
            query: what narrows and orders the list, as in its address.
            columns: keys of the columns shown; None leaves them to the browser.

        Raises:
            ValidationFailed: a name, a query or columns that no view has.
            AlreadyExists: they have a view of this name.
            TooManyViews: they have as many as one may.
        """
        require(actor, Action.VIEWS_USE, tenant_id=actor.tenant_id)
        user_id, shown = person(actor), view_name(name)
        if not _LIST.fullmatch(of):
            raise _wrong("list", "invalid", "There is no list of this name.")
        async with self.transactions.begin(Scope.platform()) as unit:
            await unit.users.lock(user_id)  # one after another, so that nobody has one too many
            count = await unit.saved_views.count(
                tenant_id=actor.tenant_id, user_id=user_id, list=of
            )
            if count >= VIEWS_MAX:
                raise TooManyViews(f"You have {count} views of this list, as many as one may.")
            view = SavedView(
                id=self.ids.new("v"),
                tenant_id=actor.tenant_id,
                user_id=user_id,
                list=of,
                name=shown,
                name_key=_key(shown),
                query=view_query(query),
                columns=view_columns(columns),
                created_at=await unit.now(),
            )
            await _kept(unit.saved_views.add, view)
            await unit.audit(
                fact_by(actor, action="view.save", target=view.id, changes={"name": [None, shown]})
            )
        return view


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeView:
    """Give one of the actor's views another name, query or choice of columns."""

    transactions: Transactions[AccessUnit]

    async def __call__(
        self,
        *,
        actor: Actor,
        view_id: str,
        name: str | None = None,
        query: Mapping[str, str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> SavedView:
        """Change what is given, and return the view.

        Raises:
            NotFound: the actor has no such view.
            ValidationFailed, AlreadyExists: as for saving one.
        """
        require(actor, Action.VIEWS_USE, tenant_id=actor.tenant_id)
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            before = await _own(unit, actor, view_id)
            shown = before.name if name is None else view_name(name)
            view = replace(
                before,
                name=shown,
                name_key=_key(shown),
                query=before.query if query is None else view_query(query),
                columns=before.columns if columns is None else view_columns(columns),
            )
            await _kept(unit.saved_views.put, view)
            changes: dict[str, Json] = {"name": [before.name, shown]}
            await unit.audit(fact_by(actor, action="view.change", target=view.id, changes=changes))
        return view


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteView:
    """Forget one of the actor's views."""

    transactions: Transactions[AccessUnit]

    async def __call__(self, *, actor: Actor, view_id: str) -> SavedView:
        """Forget it, and return what it was.

        Raises:
            NotFound: the actor has no such view.
        """
        require(actor, Action.VIEWS_USE, tenant_id=actor.tenant_id)
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            view = await _own(unit, actor, view_id)
            await unit.saved_views.delete(view.id)
            await unit.audit(
                fact_by(
                    actor, action="view.delete", target=view.id, changes={"name": [view.name, None]}
                )
            )
        return view


async def _own(unit: AccessUnit, actor: Actor, view_id: str) -> SavedView:
    view = await unit.saved_views.lock(view_id)
    if view is None or view.user_id != person(actor):
        raise NotFound("You have no saved view with this id.")
    return view


async def _kept(keep: Callable[[SavedView], Awaitable[None]], view: SavedView) -> None:
    try:
        await keep(view)
    except AlreadyExists:
        said = f"You have a view called {view.name} already."
        field = FieldError("/name", "taken", said)
        raise AlreadyExists(said, fields=[field]) from None
