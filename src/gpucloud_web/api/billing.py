"""Balance, usage (also as CSV) and ledger of the caller's tenant."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Stream

from gpucloud_core.access.model import Actor
from gpucloud_core.billing.model import Balance, Transfer, TransferKind
from gpucloud_core.billing.queries import (
    ListLedger,
    ListUsage,
    ReadBalance,
    UsageQuery,
    UsageRow,
    Window,
)
from gpucloud_core.kernel.ids import AllocationId, parse_id
from gpucloud_core.kernel.rows import Page
from gpucloud_core.kernel.time import Clock
from gpucloud_web.api.exports import PAGE, csv_of
from gpucloud_web.api.lists import Cursor, Limit, Listing, Sort, list_query, listing


class BalanceBody(msgspec.Struct, kw_only=True):
    """Posted is what the ledger holds; held and pending are parts of it that are spoken for."""

    currency: str
    posted_micros: int
    held_micros: int
    pending_micros: int
    available_micros: int
    burn_rate_micros_per_hour: int
    depletes_at: datetime | None
    standing: str
    as_of: datetime

    @classmethod
    def of(cls, balance: Balance) -> "BalanceBody":
        return cls(
            currency=balance.currency,
            posted_micros=balance.posted_micros,
            held_micros=balance.held_micros,
            pending_micros=balance.pending_micros,
            available_micros=balance.available_micros,
            burn_rate_micros_per_hour=balance.burn_rate_micros_per_hour,
            depletes_at=balance.depletes_at,
            standing=balance.standing,
            as_of=balance.as_of,
        )


class UsageBody(msgspec.Struct, kw_only=True, rename={"since": "from", "until": "to"}):
    """Billed time of one allocation at one rate; ``to`` is now while it runs."""

    allocation_id: str
    project_id: str
    sku: str
    gpu_count: int
    since: datetime
    until: datetime
    seconds: int
    rate_micros_per_hour: int
    cost_micros: int
    settled_micros: int
    settled: bool
    running: bool

    @classmethod
    def of(cls, row: UsageRow) -> "UsageBody":
        return cls(
            allocation_id=row.allocation_id,
            project_id=row.project_id,
            sku=row.sku,
            gpu_count=row.gpu_count,
            since=row.since,
            until=row.until,
            seconds=row.seconds,
            rate_micros_per_hour=row.rate_micros_per_hour,
            cost_micros=row.cost_micros,
            settled_micros=row.settled_micros,
            settled=row.settled,
            running=row.running,
        )


class TransferBody(msgspec.Struct, kw_only=True):
    """One transfer; its entries sum to zero."""

    id: str
    kind: str
    at: datetime
    memo: str
    entries: dict[str, int]
    project_id: str | None
    allocation_id: str | None
    corrects: str | None

    @classmethod
    def of(cls, transfer: Transfer) -> "TransferBody":
        return cls(
            id=transfer.id,
            kind=transfer.kind,
            at=transfer.at,
            memo=transfer.memo,
            entries={str(account): micros for account, micros in transfer.entries.items()},
            project_id=transfer.project_id,
            allocation_id=transfer.allocation_id,
            corrects=transfer.corrects,
        )


OfAllocation = Annotated[
    str | None, QueryParameter(name="allocation_id", description="Only this allocation's.")
]
From = Annotated[datetime | None, QueryParameter(name="from", description="RFC 3339, included.")]
To = Annotated[datetime | None, QueryParameter(name="to", description="RFC 3339, not included.")]


Kind = Annotated[
    list[TransferKind] | None, QueryParameter(description="Any of these kinds of transfer.")
]


def _only(allocation_id: str | None) -> tuple[str, ...] | None:
    return (parse_id("alc", allocation_id),) if allocation_id else None


def _window(since: datetime | None, until: datetime | None) -> Window:
    return Window(since=_aware(since), until=_aware(until))


def _aware(instant: datetime | None) -> datetime | None:
    if instant is not None and instant.tzinfo is None:
        return instant.replace(tzinfo=UTC)
    return instant


class Billing(Controller):
    path = "/billing"
    tags = ["billing"]

    @get("/balance", operation_id="getBalance")
    async def balance(
        self, actor: NamedDependency[Actor], read_balance: FromDishka[ReadBalance]
    ) -> BalanceBody:
        """Read the balance at this instant, and when it will be gone."""
        return BalanceBody.of(await read_balance(actor=actor))

    @get("/usage", operation_id="listUsage")
    async def usage(
        self,
        actor: NamedDependency[Actor],
        list_usage: FromDishka[ListUsage],
        allocation_id: OfAllocation = None,
        since: From = None,
        until: To = None,
        sort: Sort = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> Listing[UsageBody]:
        """List what ran, for how long, at which rate and cost."""
        query = UsageQuery(
            allocation_id=AllocationId(parse_id("alc", allocation_id)) if allocation_id else None,
            window=_window(since, until),
            sort=sort or "-started_at",
            cursor=cursor,
            limit=limit,
        )
        return listing(await list_usage(actor=actor, query=query), UsageBody.of)

    @get("/usage/csv", operation_id="exportUsage", media_type="text/csv")
    async def usage_csv(
        self,
        actor: NamedDependency[Actor],
        list_usage: FromDishka[ListUsage],
        clock: FromDishka[Clock],
        allocation_id: OfAllocation = None,
        since: From = None,
        until: To = None,
        sort: Sort = None,
    ) -> Stream:
        """Export the usage as CSV (RFC 4180), streamed, with the same filters."""
        query = UsageQuery(
            allocation_id=AllocationId(parse_id("alc", allocation_id)) if allocation_id else None,
            window=_window(since, until),
            sort=sort or "-started_at",
            limit=PAGE,
        )

        async def ask(cursor: str | None) -> Page[UsageRow]:
            return await list_usage(actor=actor, query=replace(query, cursor=cursor))

        return await csv_of(UsageBody, UsageBody.of, ask, name="usage", now=clock.now())

    @get("/ledger", operation_id="listLedger")
    async def ledger(
        self,
        actor: NamedDependency[Actor],
        list_ledger: FromDishka[ListLedger],
        kind: Kind = None,
        allocation_id: OfAllocation = None,
        sort: Sort = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> Listing[TransferBody]:
        """List the tenant's transfers, newest first."""
        query = list_query(
            limit=limit,
            cursor=cursor,
            sort=sort,
            kind=kind,
            allocation_id=_only(allocation_id),
        )
        return listing(await list_ledger(actor=actor, query=query), TransferBody.of)

    @get("/ledger/csv", operation_id="exportLedger", media_type="text/csv")
    async def ledger_csv(
        self,
        actor: NamedDependency[Actor],
        list_ledger: FromDishka[ListLedger],
        clock: FromDishka[Clock],
        kind: Kind = None,
        allocation_id: OfAllocation = None,
        sort: Sort = None,
    ) -> Stream:
        """Export the ledger as CSV (RFC 4180), streamed, with the same filters."""
        query = list_query(limit=PAGE, sort=sort, kind=kind, allocation_id=_only(allocation_id))

        async def ask(cursor: str | None) -> Page[Transfer]:
            return await list_ledger(actor=actor, query=replace(query, cursor=cursor))

        return await csv_of(TransferBody, TransferBody.of, ask, name="ledger", now=clock.now())
