"""Admin, Audit Logs: who did what, before and after, in a chain that can be checked."""

from dataclasses import replace

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect, Stream

from gpucloud_core.audit.queries import ListAudit, ReadAudit, ReadChain, SeenRow
from gpucloud_core.fleet.verify_audit import ReadLastVerified, VerifyAudit
from gpucloud_core.kernel.ids import parse_id
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_web.api.audit import AuditSeen, chain_lines
from gpucloud_web.api.exports import PAGE, csv_of
from gpucloud_web.pages.audit_rows import (
    AUDIT,
    PATH,
    AuditPage,
    AuditRowPage,
    spans_of,
    where_of,
)
from gpucloud_web.pages.insiders import INSIDERS, provide_insider
from gpucloud_web.pages.rendered import see_other
from gpucloud_web.pages.visit import Visit, form_of, fresh_key, one


class AuditPages(Controller):
    path = PATH
    include_in_schema = False
    dependencies = {"visit": Provide(provide_insider)}
    exception_handlers = INSIDERS

    @get()
    async def index(
        self,
        visit: NamedDependency[Visit],
        list_audit: FromDishka[ListAudit],
        read_chain: FromDishka[ReadChain],
        read_last: FromDishka[ReadLastVerified],
    ) -> Response[str]:
        """List what was done, newest first, and say how the chain stands."""
        asked = visit.list_state(PATH, AUDIT)
        state, page = await asked.read(
            lambda now: list_audit(
                actor=visit.actor, query=now.query(where_of(now), spans_of(now, visit.zone))
            )
        )
        view = AuditPage.of(
            state=state,
            page=page,
            chain=await read_chain(actor=visit.actor),
            last=await read_last(actor=visit.actor),
            zone=visit.zone,
            key=fresh_key(),
        )
        return visit.page("audit/index.html", view)

    @get("/csv")
    async def export(
        self, visit: NamedDependency[Visit], list_audit: FromDishka[ListAudit]
    ) -> Stream:
        """Export what the filters leave as CSV."""
        state = visit.list_state(PATH, AUDIT)
        query = state.query(where_of(state), spans_of(state, visit.zone))

        async def ask(cursor: str | None) -> Page[SeenRow]:
            asked: ListQuery = replace(query, cursor=cursor, limit=PAGE)
            return await list_audit(actor=visit.actor, query=asked)

        return await csv_of(AuditSeen, AuditSeen.of, ask, name="audit", now=visit.now)

    @get("/chain")
    async def chain(
        self,
        visit: NamedDependency[Visit],
        list_audit: FromDishka[ListAudit],
        read_chain: FromDishka[ReadChain],
    ) -> Stream:
        """Download the whole chain as lines of JSON, to be verified without us."""
        return await chain_lines(visit.actor, list_audit, read_chain, now=visit.now)

    @post("/verify", status_code=303)
    async def verify(
        self, visit: NamedDependency[Visit], verify_audit: FromDishka[VerifyAudit]
    ) -> Redirect:
        """Look at every row again, and follow the task."""
        form = await form_of(visit.request)

        async def verify() -> str:
            return await verify_audit(actor=visit.actor)

        task_id = await visit.once(one(form, "idempotency_key"), verify)
        return see_other(f"/tasks/{task_id}")

    @get("/{row_id:str}")
    async def show(
        self,
        row_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_audit: FromDishka[ReadAudit],
    ) -> Response[str]:
        """Show one row with before and after."""
        view = await read_audit(actor=visit.actor, row_id=parse_id("aud", row_id))
        return visit.page("audit/detail.html", AuditRowPage.of(view, visit.zone))
