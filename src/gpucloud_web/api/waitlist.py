"""Wait for what is sold out: launched when it is free, or told of it."""

from datetime import datetime
from typing import Annotated

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from gpucloud_core.access.model import Actor
from gpucloud_core.kernel.ids import ProjectId, WaitlistId, parse_id
from gpucloud_core.waitlist.join import WEEK, JoinWaitlist, LeaveWaitlist, WaitAsked
from gpucloud_core.waitlist.model import WaitKind, WaitState
from gpucloud_core.waitlist.queries import (
    ListWaitlist,
    ReadForecast,
    ReadWaitEntry,
    WaitForecast,
    WaitLine,
)
from gpucloud_web.api.allocation_bodies import LaunchBody
from gpucloud_web.api.lists import Cursor, Limit, Listing, Sort, list_query, listing

States = Annotated[list[WaitState] | None, QueryParameter(description="Only these.")]
Size = Annotated[int, QueryParameter(description="GPUs of one machine.", ge=1)]


class JoinBody(LaunchBody, kw_only=True, forbid_unknown_fields=True):
    """A launch as it will be made, and how to wait for it.

    ``kind``: ``launch`` makes it as soon as it fits; ``notify`` says so, and keeps the turn for
    ten minutes. ``price_max_micros_per_gpu_hour``: dearer, and it is passed over.
    """

    kind: WaitKind = WaitKind.LAUNCH
    price_max_micros_per_gpu_hour: int | None = None
    wait_seconds: int = WEEK

    def asked(self) -> WaitAsked:
        return WaitAsked(
            kind=self.kind,
            request=self.request(),
            price_max_micros=self.price_max_micros_per_gpu_hour,
            wait_seconds=self.wait_seconds,
        )


class WaitBody(msgspec.Struct, kw_only=True):
    """An entry; ``position`` counts from 1 while it waits, in a queue of ``queue``."""

    id: str
    kind: str
    status: str
    status_since: datetime
    sku: str
    gpu_count: int
    count: int
    project_id: str
    position: int | None
    queue: int | None
    reason: str
    price_max_micros_per_gpu_hour: int | None
    claim_until: datetime | None
    expires_at: datetime
    task_id: str | None
    created_at: datetime

    @classmethod
    def of(cls, line: WaitLine) -> "WaitBody":
        entry = line.entry
        return cls(
            id=entry.id,
            kind=entry.kind,
            status=entry.state,
            status_since=entry.state_since,
            sku=entry.sku_id,
            gpu_count=entry.gpu_count,
            count=entry.request.count,
            project_id=entry.project_id,
            position=line.position,
            queue=line.queue,
            reason=entry.reason,
            price_max_micros_per_gpu_hour=entry.price_max_micros,
            claim_until=entry.due_at if entry.state is WaitState.OFFERED else None,
            expires_at=entry.expires_at,
            task_id=entry.task_id,
            created_at=entry.created_at,
        )


class ForecastBody(msgspec.Struct, kw_only=True):
    """When a size can be free at the earliest, as far as timers tell: never a promise.

    ``gpus_timed`` of the ``gpus_held`` GPUs have a timer; the others may be free any time.
    """

    sku: str
    gpu_count: int
    fits_now: bool
    not_before: datetime | None
    gpus_held: int
    gpus_timed: int
    waiting: int
    as_of: datetime

    @classmethod
    def of(cls, read: WaitForecast) -> "ForecastBody":
        found = read.forecast
        return cls(
            sku=read.sku_id,
            gpu_count=read.gpu_count,
            fits_now=found.fits_now,
            not_before=found.not_before,
            gpus_held=found.gpus_held,
            gpus_timed=found.gpus_timed,
            waiting=read.waiting,
            as_of=read.as_of,
        )


def _id(text: str) -> WaitlistId:
    return WaitlistId(parse_id("wtl", text))


class WaitlistEntries(Controller):
    path = "/waitlist"
    tags = ["waitlist"]

    @post(operation_id="joinWaitlist", status_code=201)
    async def join(
        self,
        data: JSONBody[JoinBody],
        actor: NamedDependency[Actor],
        project: NamedDependency[ProjectId],
        join_waitlist: FromDishka[JoinWaitlist],
        read: FromDishka[ReadWaitEntry],
    ) -> WaitBody:
        """Take a turn: fair among tenants, first come first served within one."""
        entry = await join_waitlist(actor=actor, project_id=project, asked=data.asked())
        return WaitBody.of(await read(actor=actor, entry_id=entry.id))

    @get(operation_id="listWaitlist")
    async def index(
        self,
        actor: NamedDependency[Actor],
        project: NamedDependency[ProjectId],
        list_waitlist: FromDishka[ListWaitlist],
        status: States = None,
        sort: Sort = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Listing[WaitBody]:
        """List the project's entries, newest first, with their positions."""
        query = list_query(limit=limit, cursor=cursor, sort=sort, state=status)
        page = await list_waitlist(actor=actor, project_id=project, query=query)
        return listing(page, WaitBody.of)

    @get("/forecast", operation_id="getForecast")
    async def forecast(
        self,
        sku: FromQuery[str],
        gpu_count: Size,
        actor: NamedDependency[Actor],
        read_forecast: FromDishka[ReadForecast],
    ) -> ForecastBody:
        """Say when a size can be free at the earliest, as far as timers tell."""
        return ForecastBody.of(await read_forecast(actor=actor, sku_id=sku, gpu_count=gpu_count))

    @get("/{entry_id:str}", operation_id="getWaitlistEntry")
    async def show(
        self,
        entry_id: FromPath[str],
        actor: NamedDependency[Actor],
        read: FromDishka[ReadWaitEntry],
    ) -> WaitBody:
        """Read an entry with its position."""
        return WaitBody.of(await read(actor=actor, entry_id=_id(entry_id)))

    @delete("/{entry_id:str}", operation_id="leaveWaitlist")
    async def leave(
        self,
        entry_id: FromPath[str],
        actor: NamedDependency[Actor],
        leave_waitlist: FromDishka[LeaveWaitlist],
    ) -> None:
        """Give the turn up."""
        await leave_waitlist(actor=actor, entry_id=_id(entry_id))
