"""A signed-in person's visit to a page: who, where, their money, and the answer with the shell.

A Litestar dependency makes it once per request; handlers read it and hand it their view row.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from http import HTTPStatus
from typing import Any, TypeVar
from uuid import uuid4

from dishka import AsyncContainer
from litestar import Request, Response
from litestar.datastructures import State
from litestar.di import NamedDependency

from gpucloud_core.access.authorize import Action, Allowed, authorize
from gpucloud_core.access.model import Actor, SavedView
from gpucloud_core.access.projects import Me, ReadMe
from gpucloud_core.access.saved_views import ListViews
from gpucloud_core.allocations.lifecycle import NEEDS_ATTENTION
from gpucloud_core.allocations.lists import CountAllocations
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.skus import ListSkus
from gpucloud_core.billing.model import Balance
from gpucloud_core.billing.queries import ReadBalance
from gpucloud_core.catalog.model import Sku
from gpucloud_core.kernel.errors import FieldError, ValidationFailed
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_core.kernel.ids import ProjectId
from gpucloud_core.kernel.once import once
from gpucloud_core.kernel.unit import Transactions
from gpucloud_core.notices.inbox import CountUnread
from gpucloud_web.caller import PROJECT_COOKIE
from gpucloud_web.keyed import key_of
from gpucloud_web.pages.addresses import ListState
from gpucloud_web.pages.rendered import drawn, frame_of
from gpucloud_web.pages.workload_rows import view_counts
from gpucloud_web.shell import Frame, Shell
from gpucloud_web.tables import ListSpec, columns_cookie

T = TypeVar("T")
PageRequest = Request[Any, Any, State]
Form = Mapping[str, list[str]]
"""The text fields of a posted form, each with every value sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What every page of a signed-in person starts from."""

    request: PageRequest
    frame: Frame
    actor: Actor
    me: Me
    project_id: ProjectId | None
    balance: Balance
    counts: Mapping[AllocationState, int]
    unread: int = 0

    @property
    def now(self) -> datetime:
        return self.balance.as_of

    @property
    def zone(self) -> tzinfo:
        return self.frame.zone

    @property
    def project_name(self) -> str:
        mine = (one.project for one in self.me.projects)
        return next((project.name for project in mine if project.id == self.project_id), "")

    @property
    def needs_attention(self) -> int:
        return sum(self.counts.get(state, 0) for state in NEEDS_ATTENTION)

    def in_project(self) -> ProjectId:
        """Return the project this visit is in.

        Raises:
            ValidationFailed: they are a member of none.
        """
        if self.project_id is None:
            detail = "You have no project yet; ask an owner to add you to one."
            raise ValidationFailed(detail, fields=[FieldError("", "no_project", detail)])
        return self.project_id

    def may(self, action: Action) -> bool:
        """Tell whether this person may, in the project they are in."""
        verdict = authorize(
            self.actor, action, tenant_id=self.actor.tenant_id, project_id=self.project_id
        )
        return isinstance(verdict, Allowed)

    def page(self, template: str, view: object, *, status: int = HTTPStatus.OK) -> Response[str]:
        """Return the page in its shell."""
        return drawn(self.request, template, view, shell=self.shell(), status=status)

    def shell(self) -> Shell:
        totals = view_counts(self.counts)
        return Shell.of(
            actor=self.actor,
            tenant=self.me.tenant.tenant,
            projects=[one.project for one in self.me.projects],
            project_id=self.project_id,
            balance=self.balance,
            counts={"active": totals["active"], "attention": totals["attention"]},
            frame=self.frame,
            now=self.now,
            unread=self.unread,
        )

    @property
    def last_part(self) -> str:
        """The last part of the address, where it names what is done."""
        return str(self.request.scope["path"]).rstrip("/").rpartition("/")[2]

    def list_state(self, path: str, spec: ListSpec) -> ListState:
        """Return what this address and this person's choice of columns say about a list."""
        columns = self.request.cookies.get(columns_cookie(spec.name))
        state = ListState.of(path, dict(self.request.query_params), spec, columns=columns)

        async def saved() -> tuple[SavedView, ...]:
            list_views = await self.use_case(ListViews)
            return await list_views(actor=self.actor, of=spec.name)

        return replace(state, source=saved)

    async def use_case(self, kind: type[T]) -> T:
        """Return a use case by its class, for the few that only some branches of a page need."""
        container: AsyncContainer = self.request.app.state.dishka_container
        return await container.get(kind)

    async def skus(self) -> tuple[Sku, ...]:
        """Return the SKUs, for names and images; read once, however often they are asked for."""
        known: tuple[Sku, ...] | None = self.request.state.get("skus")
        if known is None:
            known = self.request.state["skus"] = await self._read_skus()
        return known

    async def _read_skus(self) -> tuple[Sku, ...]:
        container: AsyncContainer = self.request.app.state.dishka_container
        transactions = await container.get(Transactions[AllocationUnit])
        return await ListSkus(transactions=transactions)(actor=self.actor)

    async def sku_names(self) -> dict[str, str]:
        return {sku.id: sku.display_name for sku in await self.skus()}

    async def idempotency(self, key: str) -> IdempotencyKey:
        """Return the key that the form carries, with what was sent under it."""
        return key_of(self.request, self.actor, key or fresh_key(), await self.request.body())

    async def once(self, key: str, effect: Callable[[], Awaitable[str]]) -> str:
        """Return what ``effect`` returned when the form's key was first used; do it if never."""
        return await once(await self.idempotency(key), effect, written=str, read=str)


def fresh_key() -> str:
    """Return a key for a form that is drawn now: pressing twice acts once."""
    return str(uuid4())


async def provide_visit(request: PageRequest, actor: NamedDependency[Actor]) -> Visit:
    """Litestar dependency ``visit``."""
    container: AsyncContainer = request.app.state.dishka_container
    me = await (await container.get(ReadMe))(actor=actor)
    known = {mine.project.id for mine in me.projects}
    remembered = ProjectId(request.cookies.get(PROJECT_COOKIE, ""))
    first = next((mine.project.id for mine in me.projects), None)
    project_id = remembered if remembered in known else (me.default_project_id or first)
    counts: Mapping[AllocationState, int] = {}
    if project_id is not None:
        counts = await (await container.get(CountAllocations))(actor=actor, project_id=project_id)
    return Visit(
        request=request,
        frame=frame_of(request),
        actor=actor,
        me=me,
        project_id=project_id,
        balance=await (await container.get(ReadBalance))(actor=actor),
        counts=counts,
        unread=await (await container.get(CountUnread))(actor=actor),
    )


async def form_of(request: PageRequest) -> Form:
    """Return what a form posted."""
    form = await request.form()
    return {name: [value for value in form.getall(name) if isinstance(value, str)] for name in form}


def one(form: Form, name: str) -> str:
    """Return a field's first value, or nothing."""
    return form[name][0] if form.get(name) else ""
