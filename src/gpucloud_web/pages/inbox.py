"""The inbox: what a person was told, and whether they have read it."""

from datetime import datetime, tzinfo
from functools import partial
from typing import Final

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.notices.inbox import UNREAD, CountUnread, ListInbox, MarkRead
from gpucloud_core.notices.model import InboxNotice
from gpucloud_web import formats
from gpucloud_web.components import MenuEntry
from gpucloud_web.pages.addresses import ListState
from gpucloud_web.pages.list_page import ListPage
from gpucloud_web.pages.rendered import see_other
from gpucloud_web.pages.visit import Visit, provide_visit
from gpucloud_web.tables import NEWEST_FIRST, Cell, Column, Empty, ListSpec, Row

INBOX: Final = ListSpec(
    name="inbox",
    noun="notices",
    views={"all": "All", "unread": "Unread"},
    sorts=NEWEST_FIRST,
    columns=(
        Column(key="title", title="Notice"),
        Column(key="level", title="Level"),
        Column(key="read", title="State"),
        Column(key="at", title="When", sort="id", number=True),
    ),
    search="Words of a notice",
    live="allocation money task",
)
NOTHING: Final = Empty(
    heading="Nothing yet",
    sentence="What happens to your workloads and your balance is told here, and stays until read.",
)


def notice_row(notice: InboxNotice, now: datetime, zone: tzinfo) -> Row:
    """Return one notice."""
    menu = []
    if notice.link:
        menu.append(MenuEntry(text="Open", icon="arrow-right", href=notice.link))
    if notice.read_at is None:
        menu.append(
            MenuEntry(
                text="Mark as read",
                icon="check",
                href=f"/inbox/{notice.id}/read",
                post=True,
                operation="markRead",
            )
        )
    read = Cell(text="Unread", strong=True)
    if notice.read_at is not None:
        read = Cell(when=formats.moment(notice.read_at, now, zone), weak=True)
    return Row(
        id=notice.id,
        label=notice.title,
        menu=tuple(menu),
        cells={
            "title": Cell(text=notice.title, href=notice.link, second=notice.text),
            "level": Cell(kind="notice", state=notice.level),
            "read": read,
            "at": Cell(when=formats.moment(notice.created_at, now, zone)),
        },
    )


def _query_of(state: ListState) -> ListQuery:
    return state.query({"read_at": UNREAD} if state.view == "unread" else {})


class InboxPages(Controller):
    path = "/inbox"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get()
    async def index(
        self,
        visit: NamedDependency[Visit],
        list_inbox: FromDishka[ListInbox],
        count_unread: FromDishka[CountUnread],
    ) -> Response[str]:
        """List what one was told, newest first."""
        asked = visit.list_state("/inbox", INBOX)
        state, page = await asked.read(
            lambda now: list_inbox(actor=visit.actor, query=_query_of(now))
        )
        state = await state.counted(_query_of, partial(count_unread.each, actor=visit.actor))
        rows = [notice_row(one, visit.now, visit.zone) for one in page.items]
        view = state.list_view(
            page,
            rows,
            empty=NOTHING,
            counts={"unread": visit.unread},
            hot=("unread",),
        )
        shown = ListPage(
            title="Inbox",
            list=view,
            act="Mark all as read" if visit.unread else "",
            act_path="/inbox/read",
            act_operation="markAllRead",
        )
        return visit.page("lists/index.html", shown)

    @post("/{notice_id:str}/read", status_code=303)
    async def read(
        self,
        notice_id: FromPath[str],
        visit: NamedDependency[Visit],
        mark_read: FromDishka[MarkRead],
    ) -> Redirect:
        """Mark one as read."""
        await mark_read(actor=visit.actor, notice_id=notice_id)
        return see_other("/inbox")

    @post("/read", status_code=303)
    async def read_all(
        self, visit: NamedDependency[Visit], mark_read: FromDishka[MarkRead]
    ) -> Redirect:
        """Mark everything as read."""
        await mark_read.all_(actor=visit.actor)
        return see_other("/inbox")
