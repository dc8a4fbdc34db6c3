"""Administrators on the audit trail: rows with how they stand in the chain, and the whole of it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from gpucloud_core.access.model import Actor
from gpucloud_core.audit.export import export_line
from gpucloud_core.audit.queries import ListAudit, ReadAudit, ReadChain, SeenRow
from gpucloud_core.fleet.verify_audit import VerifyAudit
from gpucloud_core.kernel.ids import parse_id
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.time import Clock
from gpucloud_web.api.lists import Cursor, Limit, Listing, Sort, list_query, listing

Search = Annotated[
    str, QueryParameter(description="Text in the action, the target, the actor or the request id.")
]
Vias = Annotated[
    list[str] | None,
    QueryParameter(description="Only through these: ui, api, key, worker, system."),
]
Targets = Annotated[list[str] | None, QueryParameter(description="Only about these objects.")]
Since = Annotated[datetime | None, QueryParameter(description="Recorded at or after.")]
Until = Annotated[datetime | None, QueryParameter(description="Recorded before.")]


class AuditSeen(msgspec.Struct, kw_only=True):
    """A row as recorded; ``standing`` is how it stands in the chain, computed as it is read."""

    id: str
    at: datetime
    action: str
    target: str
    result: str
    actor: str
    via: str
    tenant_id: str | None
    project_id: str | None
    user_id: str | None
    correlation_id: str
    ip: str
    user_agent: str
    changes: dict[str, object]
    seq: int | None
    content_hash: str
    chain_hash: str | None
    standing: str

    @classmethod
    def of(cls, seen: SeenRow) -> "AuditSeen":
        row = seen.row
        return cls(
            id=row.id,
            at=row.at,
            action=row.action,
            target=row.target,
            result=row.result,
            actor=row.actor,
            via=row.via,
            tenant_id=row.tenant_id,
            project_id=row.project_id,
            user_id=row.user_id,
            correlation_id=row.correlation_id,
            ip=row.ip,
            user_agent=row.user_agent,
            changes=dict(row.changes),
            seq=row.seq,
            content_hash=row.content_hash,
            chain_hash=row.chain_hash,
            standing=seen.standing,
        )


class AuditTaskBody(msgspec.Struct):
    """The task that looks at every row."""

    task_id: str


async def chain_lines(
    actor: Actor, list_audit: ListAudit, read_chain: ReadChain, *, now: datetime
) -> Stream:
    """Return every sealed row as a line of JSON, in the order of the chain.

    The first part is read here, so that a refusal is an answer.
    """
    last = (await read_chain(actor=actor)).head.seq

    async def part(first: int) -> str:
        places = tuple(range(first, min(first + 100, last + 1)))
        page = await list_audit(actor=actor, query=ListQuery(where={"seq": places}, limit=100))
        rows = sorted((seen.row for seen in page.items), key=lambda row: row.seq or 0)
        return "".join(f"{export_line(row)}\n" for row in rows)

    async def lines() -> AsyncIterator[str]:
        for first in range(1, last + 1, 100):
            yield await part(first)

    filename = f"audit-chain-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.jsonl"
    return Stream(
        lines(),
        media_type="application/jsonl",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


class AuditLogs(Controller):
    path = "/admin/audit-logs"
    tags = ["admin"]

    @get(operation_id="listAuditLogs")
    async def index(
        self,
        actor: NamedDependency[Actor],
        list_audit: FromDishka[ListAudit],
        search: Search = "",
        via: Vias = None,
        target: Targets = None,
        since: Since = None,
        until: Until = None,
        sort: Sort = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Listing[AuditSeen]:
        """List what was done, by whom, in every tenant, newest first."""
        query = list_query(
            limit=limit,
            cursor=cursor,
            sort=sort or "-at",
            search=search,
            via=via,
            target=target,
        )
        spans = {"at": (since, until)} if since or until else {}
        page = await list_audit(actor=actor, query=replace(query, spans=spans))
        return listing(page, AuditSeen.of)

    @get("/export", operation_id="exportAuditLogs", media_type="application/jsonl")
    async def export(
        self,
        actor: NamedDependency[Actor],
        list_audit: FromDishka[ListAudit],
        read_chain: FromDishka[ReadChain],
        clock: FromDishka[Clock],
    ) -> Stream:
        """Export the whole chain as lines of JSON; `gpucloud audit verify --export` checks it."""
        return await chain_lines(actor, list_audit, read_chain, now=clock.now())

    @post("/verify", operation_id="verifyAudit", status_code=202)
    async def verify(
        self, actor: NamedDependency[Actor], verify_audit: FromDishka[VerifyAudit]
    ) -> AuditTaskBody:
        """Look at every row again; the task says what was found."""
        return AuditTaskBody(await verify_audit(actor=actor))

    @get("/{row_id:str}", operation_id="getAuditRow")
    async def show(
        self,
        row_id: FromPath[str],
        actor: NamedDependency[Actor],
        read_audit: FromDishka[ReadAudit],
    ) -> AuditSeen:
        """Read one row."""
        view = await read_audit(actor=actor, row_id=parse_id("aud", row_id))
        return AuditSeen.of(view.seen)
