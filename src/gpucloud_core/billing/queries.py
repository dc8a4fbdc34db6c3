"""What people read of their money: balance, usage and ledger, all from the same rows.

The settled part of the usage rows sums to the usage entries of the ledger, to the micro-unit; the
cost of a window is a difference of the closed form, so windows that meet add up exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gpucloud_core.access.authorize import Action, require, visible_projects
from gpucloud_core.access.model import Actor
from gpucloud_core.billing.accounts import read_books
from gpucloud_core.billing.balance import Runway
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.model import Balance, Transfer
from gpucloud_core.billing.ports import BillingUnit
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import AllocationId, ProjectId, SkuId
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.time import microseconds_between
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.metering.charge import charged
from gpucloud_core.metering.model import UsageSegment

_SECOND_MICROSECONDS: Final = 1_000_000
_PAGES_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time asked about, half-open; an end that is None is open."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """One stretch of one allocation at one rate, cut to the window asked for.

    ``settled_micros`` of ``cost_micros`` are on the ledger; ``settled`` says that all are.
    """

    allocation_id: AllocationId
    project_id: ProjectId
    sku: SkuId
    gpu_count: int
    since: datetime
    until: datetime
    running: bool
    seconds: int
    rate_micros_per_hour: int
    cost_micros: int
    settled_micros: int
    settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """A page of usage: filters, the window, and the list's own words."""

    project_ids: Sequence[ProjectId] | None = None
    allocation_id: AllocationId | None = None
    window: Window = Window()
    sort: str = "-started_at"
    cursor: str | None = None
    limit: int = 50


def usage_row(segment: UsageSegment, run: Runway, window: Window, now: datetime) -> UsageRow | None:
    """Return the row of ``segment`` within ``window``; None if it has no part in it."""
    end = segment.ended_at or max(segment.settled_until, run.paid_until(segment, now))
    since = max(segment.started_at, window.since or segment.started_at)
    until = min(end, window.until or end)
    if until < since or (until == since and end > segment.started_at):
        return None
    before = charged(segment, since)
    cost = charged(segment, until) - before
    on_ledger = charged(segment, min(until, max(since, segment.settled_until))) - before
    return UsageRow(
        allocation_id=segment.allocation_id,
        project_id=segment.project_id,
        sku=segment.sku_id,
        gpu_count=segment.gpu_count,
        since=since,
        until=until,
        running=segment.ended_at is None,
        seconds=microseconds_between(since, until) // _SECOND_MICROSECONDS,
        rate_micros_per_hour=segment.rate_micros_per_hour,
        cost_micros=cost,
        settled_micros=on_ledger,
        settled=until <= segment.settled_until,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBalance:
    """The tenant's money now: posted, held, pending, available, and how long it lasts."""

    transactions: Transactions[BillingUnit]

    async def __call__(self, *, actor: Actor) -> Balance:
        require(actor, Action.BILLING_READ, tenant_id=actor.tenant_id)
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            books = await _books_of(unit, actor)
            return books.balance(await unit.now())


@dataclass(frozen=True, slots=True, kw_only=True)
class ListUsage:
    """What ran, for how long, at what rate, and what it cost."""

    transactions: Transactions[BillingUnit]

    async def __call__(self, *, actor: Actor, query: UsageQuery) -> Page[UsageRow]:
        """Return a page of the projects the actor may see.

        A page may be shorter than asked for where segments fall outside the window; it is empty
        only if there is no more.
        """
        where = self._where(actor, query)
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            run = (await _books_of(unit, actor)).run
            now = await unit.now()
            cursor = query.cursor
            for _ in range(_PAGES_AT_ONCE):
                page = await unit.usage_segments.page(
                    ListQuery(where=where, sort=query.sort, cursor=cursor, limit=query.limit)
                )
                rows = [usage_row(segment, run, query.window, now) for segment in page.items]
                found = tuple(row for row in rows if row is not None)
                if found or page.next_cursor is None:
                    break
                cursor = page.next_cursor
        return Page(items=found, next_cursor=page.next_cursor, prev_cursor=page.prev_cursor)

    @staticmethod
    def _where(actor: Actor, query: UsageQuery) -> Mapping[str, Sequence[object]]:
        where: dict[str, Sequence[object]] = {"tenant_id": [actor.tenant_id]}
        visible = visible_projects(actor, Action.USAGE_READ)
        if query.project_ids is not None:
            for project_id in query.project_ids:
                require(actor, Action.USAGE_READ, tenant_id=actor.tenant_id, project_id=project_id)
            where["project_id"] = list(query.project_ids)
        elif visible is not None:
            where["project_id"] = sorted(visible)
        if query.allocation_id is not None:
            where["allocation_id"] = [query.allocation_id]
        return where


@dataclass(frozen=True, slots=True, kw_only=True)
class ListLedger:
    """Every transfer of the tenant, as it was posted."""

    transactions: Transactions[BillingUnit]

    async def __call__(self, *, actor: Actor, query: ListQuery) -> Page[Transfer]:
        require(actor, Action.BILLING_READ, tenant_id=actor.tenant_id)
        own = ListQuery(
            where={**query.where, "tenant_id": [actor.tenant_id]},
            search=query.search,
            sort=query.sort,
            cursor=query.cursor,
            limit=query.limit,
        )
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            return await unit.ledger.transfers(own)


async def _books_of(unit: BillingUnit, actor: Actor) -> Books:
    account = await unit.billing_accounts.get(actor.tenant_id)
    if account is None:
        raise NotFound("There is no billing account of this tenant.")
    return await read_books(unit, account)
