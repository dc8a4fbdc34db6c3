"""What wants an operator: what is so and should not be, who works on it, and what may wait."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import partial
from http import HTTPStatus
from typing import Final

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.access.authorize import Action
from gpucloud_core.kernel.errors import DomainError, NotFound
from gpucloud_core.kernel.ids import parse_id
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.notices.attention import (
    AcknowledgeAttention,
    ListAttention,
    SnoozeAttention,
    is_shown,
)
from gpucloud_core.notices.model import AttentionRow, Severity
from gpucloud_web import formats
from gpucloud_web.components import MenuEntry
from gpucloud_web.navigation import PAGES
from gpucloud_web.pages.forms import submitted
from gpucloud_web.pages.insiders import restricted
from gpucloud_web.pages.list_page import ListPage, listed
from gpucloud_web.pages.visit import Form, Visit, form_of, fresh_key, one, provide_visit
from gpucloud_web.tables import Cell, Column, Empty, FilterField, ListSpec, Row

PATH: Final = "/ops/attention"
OPEN: Final = (None,)
ATTENTION: Final = ListSpec(
    name="attention",
    noun="rows",
    views={"open": "Open", "new": "Nobody is on it", "all": "All"},
    sorts={
        "-last_seen": "Seen last",
        "-first_seen": "Newest first",
        "first_seen": "Oldest first",
    },
    columns=(
        Column(key="title", title="What is so"),
        Column(key="severity", title="Severity"),
        Column(key="who", title="Who is on it"),
        Column(key="seen", title="Seen", sort="last_seen", number=True),
        Column(key="since", title="Since", sort="first_seen", number=True),
        Column(key="kind", title="Kind", optional=True),
    ),
    search="Words, kind or id",
    filters=(
        FilterField(
            name="severity",
            title="Severity",
            options={
                Severity.CRITICAL: "Critical",
                Severity.WARNING: "Warning",
                Severity.NOTICE: "Notice",
            },
        ),
    ),
)
NOTHING: Final = Empty(
    heading="Nothing wants you",
    sentence="What the platform cannot settle alone is listed here until it is so no more.",
)
SNOOZES: Final[Mapping[str, tuple[str, timedelta]]] = {
    "1h": ("1 hour", timedelta(hours=1)),
    "4h": ("4 hours", timedelta(hours=4)),
    "1d": ("1 day", timedelta(days=1)),
    "7d": ("1 week", timedelta(days=7)),
    "30d": ("30 days", timedelta(days=30)),
}
_FACTS_LENGTH: Final = 240


def where_of(view: str, severity: str) -> dict[str, tuple[object, ...]]:
    """Return what a view of the list is narrowed to."""
    where: dict[str, tuple[object, ...]] = {} if view == "all" else {"cleared_at": OPEN}
    if view == "new":
        where["acknowledged_by"] = OPEN
    if severity in set(Severity):
        where["severity"] = (Severity(severity),)
    return where


def attention_row(row: AttentionRow, now: datetime, zone: tzinfo) -> Row:
    """Return one row: what is so, and who is on it."""
    told = " · ".join(_facts(row))[:_FACTS_LENGTH]
    is_node = row.subject.startswith("nod_")
    subject = f"/admin/nodes/{row.subject}" if is_node else f"{PATH}?q={row.subject}"
    return Row(
        id=row.id,
        label=row.title,
        menu=() if row.cleared_at else _menu(row),
        cells={
            "title": Cell(text=row.title, href=subject, second=told),
            "severity": Cell(kind="severity", state=row.severity),
            "who": _who(row, now, zone),
            "seen": Cell(when=formats.moment(row.last_seen, now, zone)),
            "since": Cell(when=formats.moment(row.first_seen, now, zone)),
            "kind": Cell(text=row.kind, mono=True),
        },
    )


def _facts(row: AttentionRow) -> list[str]:
    """Return the subject, then each fact in words; ids shortened, as the search finds them too."""
    said = [formats.shortened(row.subject)]
    for name, value in row.facts.items():
        if value in {None, ""}:
            continue
        label = name.removesuffix("_id").replace("_", " ")
        said.append(f"{label}: {formats.shortened(str(value))}")
    return said


def _menu(row: AttentionRow) -> tuple[MenuEntry, ...]:
    acts = (("Acknowledge…", "check", "acknowledge"), ("Snooze…", "clock-pause", "snooze"))
    return tuple(
        MenuEntry(
            text=text,
            icon=icon,
            href=f"{PATH}/{row.id}/{act}",
            dialog=True,
            operation=f"{act}Attention",
        )
        for text, icon, act in acts
    )


def _who(row: AttentionRow, now: datetime, zone: tzinfo) -> Cell:
    if row.cleared_at is not None:
        since = formats.short_time(row.cleared_at, now, zone)
        return Cell(text="So no more", weak=True, second=f"since {since}")
    if not is_shown(row, now) and row.snoozed_until is not None:
        until = formats.short_time(row.snoozed_until, now, zone)
        return Cell(text=f"Snoozed until {until}", weak=True, second=row.reason)
    if row.acknowledged_by:
        return Cell(text=row.acknowledged_by, second=row.reason)
    return Cell(text="Nobody", strong=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnoozeOption:
    value: str
    text: str
    selected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionActPage:
    """All that ``ops/attention_act.html`` may know."""

    title: str
    what: str
    action: str
    verb: str
    operation: str
    words: str
    snoozes: tuple[SnoozeOption, ...]
    reason: str
    error: str
    idempotency_key: str
    back: str = PATH

    @classmethod
    def of(
        cls, row: AttentionRow, act: str, *, reason: str = "", chosen: str = "4h", error: str = ""
    ) -> "AttentionActPage":
        is_snooze = act == "snooze"
        options = tuple(
            SnoozeOption(value=value, text=words, selected=value == chosen)
            for value, (words, _) in SNOOZES.items()
        )
        return cls(
            title="Put it off?" if is_snooze else "Take it on?",
            what=row.title,
            action=f"{PATH}/{row.id}/{act}",
            verb="Snooze" if is_snooze else "Acknowledge",
            operation=f"{act}Attention",
            words="It comes back by itself, unless it is so no more by then."
            if is_snooze
            else "Others see that you are on it. It stays open until it is so no more.",
            snoozes=options if is_snooze else (),
            reason=reason,
            error=error,
            idempotency_key=fresh_key(),
        )


class AttentionPages(Controller):
    path = PATH
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get()
    async def index(
        self, visit: NamedDependency[Visit], list_attention: FromDishka[ListAttention]
    ) -> Response[str]:
        """List what wants somebody, seen last first."""
        if not visit.may(Action.ATTENTION_READ):
            return restricted(visit, PAGES[PATH])
        view = await listed(
            visit,
            PATH,
            ATTENTION,
            ask=lambda query: list_attention(actor=visit.actor, query=query),
            where=lambda now: where_of(now.view, now.filters.get("severity", "")),
            row=lambda row: attention_row(row, visit.now, visit.zone),
            empty=NOTHING,
        )
        return visit.page("lists/index.html", ListPage(title="Attention", list=view))

    @get(["/{row_id:str}/acknowledge", "/{row_id:str}/snooze"])
    async def ask(
        self,
        row_id: FromPath[str],
        visit: NamedDependency[Visit],
        list_attention: FromDishka[ListAttention],
    ) -> Response[str]:
        """Say what it does, and ask why."""
        if not visit.may(Action.ATTENTION_READ):
            return restricted(visit, PAGES[PATH])
        row = await _row(visit, list_attention, row_id)
        return visit.page("ops/attention_act.html", AttentionActPage.of(row, visit.last_part))

    @post("/{row_id:str}/acknowledge", status_code=303)
    async def acknowledge(
        self,
        row_id: FromPath[str],
        visit: NamedDependency[Visit],
        acknowledge: FromDishka[AcknowledgeAttention],
        list_attention: FromDishka[ListAttention],
    ) -> Response[str] | Redirect:
        """Take it on."""
        form = await form_of(visit.request)

        async def take_on() -> str:
            reason = one(form, "reason")
            return (await acknowledge(actor=visit.actor, row_id=row_id, reason=reason)).id

        again = partial(_refused, visit, list_attention, row_id, form)
        return await submitted(visit, form, take_on, to=lambda _: PATH, again=again)

    @post("/{row_id:str}/snooze", status_code=303)
    async def snooze(
        self,
        row_id: FromPath[str],
        visit: NamedDependency[Visit],
        snooze: FromDishka[SnoozeAttention],
        list_attention: FromDishka[ListAttention],
    ) -> Response[str] | Redirect:
        """Put it off."""
        form = await form_of(visit.request)
        _, length = SNOOZES.get(one(form, "for"), SNOOZES["4h"])

        async def put_off() -> str:
            row = await snooze(
                actor=visit.actor,
                row_id=row_id,
                until=visit.now + length,
                reason=one(form, "reason"),
            )
            return row.id

        again = partial(_refused, visit, list_attention, row_id, form)
        return await submitted(visit, form, put_off, to=lambda _: PATH, again=again)


async def _row(visit: Visit, list_attention: ListAttention, row_id: str) -> AttentionRow:
    found = parse_id("att", row_id)
    page = await list_attention(actor=visit.actor, query=ListQuery(where={"id": (found,)}))
    if not page.items or page.items[0].cleared_at is not None:
        raise NotFound("There is no open row with this id.")
    return page.items[0]


async def _refused(
    visit: Visit,
    list_attention: ListAttention,
    row_id: str,
    form: Form,
    error: DomainError,
) -> Response[str]:
    """Show the refusal where it was asked, with what was typed."""
    row = await _row(visit, list_attention, row_id)
    view = AttentionActPage.of(
        row,
        visit.last_part,
        reason=one(form, "reason"),
        chosen=one(form, "for") or "4h",
        error=error.fields[0].detail if error.fields else error.detail,
    )
    return visit.page("ops/attention_act.html", view, status=HTTPStatus.UNPROCESSABLE_ENTITY)
