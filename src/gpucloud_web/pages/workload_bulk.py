"""One act on many workloads: asked once, done one by one, and answered one by one.

Each is done in its own transaction under its own key, so one that is refused holds up no other,
and pressing again repeats nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Final

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.lists import AllocationLine, ListAllocations
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.once import once
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_web import formats
from gpucloud_web.components import Consequence
from gpucloud_web.pages.rendered import own_address
from gpucloud_web.pages.visit import Visit, form_of, fresh_key, one, provide_visit
from gpucloud_web.pages.workload_acts import ACTS, Act, Changes
from gpucloud_web.tables import outcome_words

ROWS_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One of the selected rows, before the act: whether it can be done to it, and why not."""

    id: str
    name: str
    fits: bool
    kind: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPage:
    """All that ``lists/bulk.html`` may know: what will happen to which rows."""

    title: str
    verb: str
    danger: bool
    action: str
    back: str
    targets: tuple[Target, ...]
    points: tuple[Consequence, ...]
    note: str
    idempotency_key: str
    operation: str

    @classmethod
    def of(cls, name: str, act: Act, lines: Sequence[AllocationLine], *, back: str) -> "BulkPage":
        targets = tuple(
            Target(
                id=line.allocation.id,
                name=line.allocation.name,
                fits=line.status in act.fits,
                kind="allocation",
                state=line.status,
            )
            for line in lines
        )
        ready = [line.allocation for line in lines if line.status in act.fits]
        rate = sum(row.rate_micros_per_hour for row in ready)
        many = formats.counted(len(ready), "workload")
        left = len(targets) - len(ready)
        note = f"{formats.counted(left, 'selected workload')} cannot be {act.past} just now."
        points = list(act.points)
        if rate and ready:
            words = f"Together they cost {formats.hourly(rate, ready[0].currency)} while active."
            points.append(Consequence(icon="flame", text=words))
        return cls(
            title=f"{act.verb} {many}?",
            verb=f"{act.verb} {many}",
            danger=act.danger,
            action=f"/workloads/bulk/{name}",
            back=back,
            targets=targets,
            points=tuple(points),
            note=note if left else "",
            idempotency_key=fresh_key(),
            operation=f"{name}Allocation",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one row."""

    name: str
    href: str
    state: str  # of the check kind: ok or failed
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkResultPage:
    """All that ``lists/results.html`` may know: what became of each row."""

    title: str
    results: tuple[Result, ...]
    back: str

    @classmethod
    def of(cls, act: Act, results: Sequence[Result], *, back: str) -> "BulkResultPage":
        done = [result.state == "ok" for result in results]
        title = outcome_words(done, act.past)
        reasons = sorted({one.words for one in results if one.state == "failed"})
        if len(reasons) == 1:
            title += f": {reasons[0][:1].lower()}{reasons[0][1:].rstrip('.')}"
        return cls(title=title, results=tuple(results), back=back)


class BulkPages(Controller):
    path = "/workloads/bulk"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get([f"/{act}" for act in ACTS])
    async def ask(
        self, visit: NamedDependency[Visit], list_allocations: FromDishka[ListAllocations]
    ) -> Response[str]:
        """Say what will happen to which of the selected rows, before it does."""
        query = visit.request.query_params
        lines = await _lines(visit, list_allocations, query.getall("id", []))
        back = own_address(query.get("back", ""), "/workloads")
        name = visit.last_part
        return visit.page("lists/bulk.html", BulkPage.of(name, ACTS[name], lines, back=back))

    @post([f"/{act}" for act in ACTS], status_code=HTTPStatus.OK)
    async def do(
        self, visit: NamedDependency[Visit], list_allocations: FromDishka[ListAllocations]
    ) -> Response[str]:
        """Do it to each, and say of each what became of it."""
        act = ACTS[visit.last_part]
        form = await form_of(visit.request)
        lines = await _lines(visit, list_allocations, form.get("id", []))
        key = await visit.idempotency(one(form, "idempotency_key"))
        use_case = await visit.use_case(act.use_case)
        results = []
        for line in lines:
            row = line.allocation
            change = partial(_change, use_case, visit.actor, row.id)
            try:
                task_id = await once(
                    replace(key, key=f"{key.key}:{row.id}"[-128:]), change, written=str, read=str
                )
            except DomainError as error:
                results.append(_result(row.name, f"/workloads/{row.id}", "failed", error.detail))
            else:
                href = f"/tasks/{task_id}"
                results.append(_result(row.name, href, "ok", act.past.capitalize()))
        back = own_address(one(form, "back"), "/workloads")
        return visit.page("lists/results.html", BulkResultPage.of(act, results, back=back))


async def _change(use_case: Changes, actor: Actor, allocation_id: AllocationId) -> str:
    """Do it; return the task to follow."""
    return (await use_case(actor=actor, allocation_id=allocation_id)).task_id


def _result(name: str, href: str, state: str, words: str) -> Result:
    return Result(name=name, href=href, state=state, words=words)


async def _lines(
    visit: Visit, list_allocations: ListAllocations, ids: Sequence[str]
) -> tuple[AllocationLine, ...]:
    """Return the selected rows that are there and theirs, newest first."""
    where: Mapping[str, Sequence[object]] = {"id": tuple(ids)[:ROWS_MAX]}
    page = await list_allocations(
        actor=visit.actor,
        project_id=visit.in_project(),
        query=ListQuery(where=where, limit=ROWS_MAX),
    )
    return page.items
