"""The launch wizard: six steps in the address, one draft, one request at the end."""

from collections.abc import Sequence
from dataclasses import replace

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.response import Redirect

from gpucloud_core.access.ssh_keys import ListSshKeys
from gpucloud_core.allocations.catalog import ListImages, ReadCatalog
from gpucloud_core.allocations.launch import LaunchAllocations
from gpucloud_core.allocations.quote import Quote as LaunchQuote
from gpucloud_core.allocations.quote import QuoteLaunch
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import ProjectId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_web.components import FieldFault
from gpucloud_web.pages.addresses import address
from gpucloud_web.pages.forms import status_of
from gpucloud_web.pages.launch_draft import COOKIE, COOKIE_BYTES_MAX, STEPS, Draft
from gpucloud_web.pages.launch_quote import faults_at, faults_of
from gpucloud_web.pages.launch_rows import Shelf, completed, launch_page
from gpucloud_web.pages.rendered import see_other
from gpucloud_web.pages.visit import Visit, form_of, fresh_key, one, provide_visit

COOKIE_SECONDS = 7 * 86_400


async def _shelf(visit: Visit) -> Shelf:
    read_catalog = await visit.use_case(ReadCatalog)
    list_images = await visit.use_case(ListImages)
    list_ssh_keys = await visit.use_case(ListSshKeys)
    keys = await list_ssh_keys(actor=visit.actor, query=ListQuery(limit=100))
    return Shelf(
        offers=await read_catalog(actor=visit.actor),
        images=await list_images(actor=visit.actor),
        image_ids={sku.id: sku.image_ids for sku in await visit.skus()},
        keys=keys.items,
        project=visit.project_name,
        now=visit.now,
        zone=visit.zone,
    )


def _completed(draft: Draft, shelf: Shelf) -> Draft:
    return completed(draft, shelf.offers, shelf.images, shelf.keys, shelf.image_ids)


async def _quote(visit: Visit, draft: Draft) -> tuple[LaunchQuote | None, tuple[FieldFault, ...]]:
    """Return the quote of a draft, or what is wrong with its single fields."""
    if not draft.sku:
        return None, ()
    quote_launch = await visit.use_case(QuoteLaunch)
    try:
        quote = await quote_launch(
            actor=visit.actor, project_id=visit.in_project(), request=draft.request()
        )
    except DomainError as error:
        return None, faults_at(error)
    return quote, ()


def _remember(answer: Response[str] | Redirect, draft: Draft) -> None:
    value = draft.cookie()
    if len(value) <= COOKIE_BYTES_MAX:
        answer.set_cookie(
            key=COOKIE,
            value=value,
            max_age=COOKIE_SECONDS,
            path="/launch",
            httponly=True,
            samesite="lax",
        )


async def _page(
    visit: Visit,
    draft: Draft,
    shelf: Shelf,
    *,
    step: str,
    status: int = 200,
    errors: Sequence[FieldFault] | None = None,
) -> Response[str]:
    quote, faults = await _quote(visit, draft)
    view = launch_page(
        draft,
        shelf,
        step=step,
        quote=quote,
        errors=faults if errors is None else errors,
        error_title="Not launched; nothing was charged." if errors else "Please look again.",
        idempotency_key=fresh_key(),
    )
    answer = visit.page("launch/index.html", view, status=status)
    _remember(answer, draft)
    return answer


class LaunchPages(Controller):
    path = "/launch"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get()
    async def show(self, visit: NamedDependency[Visit]) -> Response[str]:
        """Show the step the address names, with the draft of this browser."""
        query = dict(visit.request.query_params)
        draft = Draft.of_cookie(visit.request.cookies.get(COOKIE, ""))
        if draft.project not in {"", visit.project_id}:
            draft = Draft()  # another project's draft: its keys and prices may not hold here
        draft = replace(draft.with_link(query), project=visit.in_project())
        shelf = await _shelf(visit)
        draft = _completed(draft, shelf)
        step = query.get("step", "")
        if step not in STEPS:
            step = "capacity" if "sku" in query else "hardware"
        return await _page(visit, draft, shelf, step=step)

    @post(status_code=303)
    async def step(
        self, visit: NamedDependency[Visit], launch_allocations: FromDishka[LaunchAllocations]
    ) -> Response[str] | Redirect:
        """Take over a step and go on; on Review, launch."""
        form = await form_of(visit.request)
        here = one(form, "step") if one(form, "step") in STEPS else "hardware"
        draft = Draft.of_cookie(one(form, "draft")).with_step(here, form)
        draft = replace(draft, project=visit.in_project())
        go = one(form, "go")
        if go == "launch":
            return await self._launch(
                visit, draft, launch_allocations, one(form, "idempotency_key")
            )
        shelf = await _shelf(visit)
        draft = _completed(draft, shelf)
        if go == "stay":
            return await _page(visit, draft, shelf, step=here)
        names = list(STEPS)
        following = names[min(names.index(here) + 1, len(names) - 1)]
        answer = see_other(address("/launch", step=go if go in STEPS else following))
        _remember(answer, draft)
        return answer

    async def _launch(
        self, visit: Visit, draft: Draft, launch_allocations: LaunchAllocations, key: str
    ) -> Response[str] | Redirect:
        async def launch() -> str:
            accepted = await launch_allocations(
                actor=visit.actor, project_id=ProjectId(draft.project), request=draft.request()
            )
            return accepted.task_id

        try:
            task_id = await visit.once(key, launch)
        except DomainError as error:
            shelf = await _shelf(visit)
            quote, faults = await _quote(visit, draft)
            failed = faults_of(quote.checks) if quote else faults
            status = status_of(error)
            return await _page(
                visit, draft, shelf, step="review", status=status, errors=failed or faults_at(error)
            )
        answer = see_other(f"/tasks/{task_id}")
        answer.set_cookie(key=COOKIE, value="", max_age=0, path="/launch", httponly=True)
        return answer

    @post("/discard", status_code=303)
    async def discard(self, visit: NamedDependency[Visit]) -> Redirect:
        """Forget the draft."""
        del visit  # signed in is all that is asked
        answer = see_other("/infra/catalog")
        answer.set_cookie(key=COOKIE, value="", max_age=0, path="/launch", httponly=True)
        return answer
