"""View rows of the audit trail: the list, one row with before and after, and the chain."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.audit.queries import AuditView, ChainNow, SeenRow, Standing
from gpucloud_core.fleet.verify_audit import LastVerified
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.rows import Page
from gpucloud_core.kernel.unit import Json
from gpucloud_web import formats
from gpucloud_web.components import Fact, MenuEntry
from gpucloud_web.formats import Moment
from gpucloud_web.pages.addresses import ListState, address
from gpucloud_web.tables import Cell, Column, Empty, FilterField, ListSpec, ListView, Row

PATH: Final = "/admin/audit-logs"
VIAS: Final[Mapping[str, str]] = {
    "ui": "Pages",
    "api": "API",
    "key": "API key",
    "worker": "Worker",
    "system": "Platform",
}
AUDIT: Final = ListSpec(
    name="audit",
    noun="rows",
    sorts={"-at": "Newest first", "at": "Oldest first", "action": "Action, A to Z"},
    columns=(
        Column(key="action", title="What", sort="action"),
        Column(key="who", title="Who"),
        Column(key="result", title="Result"),
        Column(key="changes", title="Changed"),
        Column(key="tenant", title="Tenant", optional=True),
        Column(key="request", title="Request", optional=True),
        Column(key="standing", title="Chain"),
        Column(key="at", title="When", sort="at", number=True),
    ),
    search="Action, target, who or request",
    filters=(
        FilterField(name="via", title="Through", options=VIAS),
        FilterField(name="from", title="From"),
        FilterField(name="to", title="Before"),
    ),
)
NOTHING: Final = Empty(
    heading="Nothing was recorded yet",
    sentence="Whatever is changed here, by whomever, stands in this list from then on, with before "
    "and after, sealed into a chain that can be checked.",
)
_SHORT: Final = {word: word.upper() for word in ("sku", "ssh", "gpu", "ip", "ttl")} | {
    "gpus": "GPUs",
    "vcpus": "vCPUs",
    "mib": "MiB",
}


def where_of(state: ListState) -> dict[str, tuple[object, ...]]:
    return {"via": (via,)} if (via := state.filters.get("via")) else {}


def spans_of(state: ListState, zone: tzinfo) -> dict[str, tuple[datetime | None, datetime | None]]:
    """Return the days that the list is narrowed to, where the person is."""
    since, until = state.day("from", zone), state.day("to", zone)
    return {"at": (since, until)} if since or until else {}


def words_of(action: str) -> str:
    """Return an action as words, such as ``Allocation: force release``."""
    subject, _, verb = action.partition(".")
    plain = plain_of(subject)
    return f"{plain[:1].upper()}{plain[1:]}: {plain_of(verb)}" if verb else plain


def plain_of(name: str) -> str:
    """Return a name of the code as words, such as ``price per GPU hour``."""
    return " ".join(_SHORT.get(word, word) for word in name.split("_"))


def said(value: Json) -> str:
    """Return a value of before or after as a person reads it."""
    match value:
        case None:
            return formats.UNKNOWN
        case bool():
            return "yes" if value else "no"
        case str():
            return value or "empty"
        case int():
            return f"{value:,}" if abs(value) < 1 << 53 else str(value)
        case list():
            return ", ".join(map(said, value)) or "none"
        case dict():
            return "; ".join(f"{name}: {said(each)}" for name, each in value.items())


def audit_row(seen: SeenRow, now: datetime, zone: tzinfo) -> Row:
    """Return a line of the list."""
    row, href = seen.row, f"{PATH}/{seen.row.id}"
    return Row(
        id=row.id,
        label=words_of(row.action),
        menu=_menu(row, href),
        cells={
            "action": Cell(text=words_of(row.action), href=href, second=row.target),
            "who": Cell(text=row.actor, second=VIAS.get(row.via, row.via)),
            "result": Cell(text="done" if row.result == "ok" else row.result.replace("_", " ")),
            "changes": Cell(text=", ".join(map(plain_of, row.changes)))
            if row.changes
            else Cell(text="no field", weak=True),
            "tenant": Cell(text=row.tenant_id, mono=True)
            if row.tenant_id
            else Cell(text="the platform", weak=True),
            "request": Cell(text=row.correlation_id, mono=True)
            if row.correlation_id
            else Cell(unknown="nobody asked over HTTP"),
            "standing": Cell(kind="audit", state=seen.standing),
            "at": Cell(when=formats.moment(row.at, now, zone)),
        },
    )


def _menu(row: AuditRow, href: str) -> tuple[MenuEntry, ...]:
    entries = [
        MenuEntry(text="Open", icon="arrow-right", href=href, operation="getAuditRow"),
        MenuEntry(text="Everything about it", icon="search", href=address(PATH, q=row.target)),
        MenuEntry(text=f"Everything of {row.actor}", icon="user", href=address(PATH, q=row.actor)),
    ]
    if row.correlation_id:
        text = "The whole request"
        found = address(PATH, q=row.correlation_id)
        entries.append(MenuEntry(text=text, icon="file-text", href=found))
    return tuple(entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """All that ``audit/index.html`` may know."""

    list: ListView
    band: tuple[Fact, ...]
    trouble: str
    trouble_href: str
    export: str
    key: str

    @classmethod
    def of(
        cls,
        *,
        state: ListState,
        page: Page[SeenRow],
        chain: ChainNow,
        last: LastVerified | None,
        zone: tzinfo,
        key: str,
    ) -> "AuditPage":
        rows = [audit_row(seen, chain.as_of, zone) for seen in page.items]
        trouble, href = _trouble(page, chain, last)
        return cls(
            list=state.list_view(page, rows, empty=NOTHING, export=f"{PATH}/csv"),
            band=_band(chain, last, zone),
            trouble=trouble,
            trouble_href=href,
            export=f"{PATH}/chain",
            key=key,
        )


def _band(chain: ChainNow, last: LastVerified | None, zone: tzinfo) -> tuple[Fact, ...]:
    now, anchor = chain.as_of, chain.anchor
    sealed = formats.moment(chain.head.sealed_at, now, zone).text if chain.head.seq else "never"
    return (
        Fact(label="Sealed rows", value=f"{chain.head.seq:,}", note=f"last {sealed}"),
        Fact(
            label="Wait for their place",
            value=f"{chain.unsealed:,}",
            note="a moment's worth is normal",
        ),
        Fact(
            label="Anchored outside",
            value=f"up to row {anchor.seq:,}" if anchor else "nothing yet",
            note=formats.moment(anchor.at, now, zone).text if anchor else "",
        ),
        Fact(
            label="Every row verified",
            value=_verdict_words(last),
            note=formats.moment(last.at, now, zone).text if last else "",
        ),
    )


def _verdict_words(last: LastVerified | None) -> str:
    if last is None:
        return "not from here yet"
    match last.status:
        case "succeeded":
            return f"{last.sealed:,} are as recorded"
        case "queued" | "running":
            return "under way"
        case _:
            return "not as recorded"


def _trouble(page: Page[SeenRow], chain: ChainNow, last: LastVerified | None) -> tuple[str, str]:
    bad = next((seen.row for seen in page.items if seen.standing is Standing.BAD), None)
    if bad is not None:
        text = "A row on this page is not what was recorded. Verify every row, and change nothing."
        return text, f"{PATH}/{bad.id}"
    if last is not None and last.status == "failed":
        return last.detail, f"/tasks/{last.task_id}"
    anchor = chain.anchor
    if anchor is not None and anchor.seq > chain.head.seq:
        text = (
            f"The anchors know {anchor.seq:,} rows, the database {chain.head.seq:,}: rows are gone."
        )
        return text, ""
    return "", ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NearRow:
    title: str
    href: str
    who: str
    when: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRowPage:
    """All that ``audit/detail.html`` may know."""

    id: str
    title: str
    standing: str
    standing_words: str
    about: str
    changes: tuple[ChangeRow, ...]
    who: tuple[Fact, ...]
    chain: tuple[Fact, ...]
    content_hash: str
    target_href: str
    beside: tuple[NearRow, ...]
    beside_href: str

    @classmethod
    def of(cls, view: AuditView, zone: tzinfo) -> "AuditRowPage":
        row, now = view.seen.row, view.as_of
        return cls(
            id=row.id,
            title=words_of(row.action),
            standing=view.seen.standing,
            standing_words=STANDING_WORDS[view.seen.standing],
            about=f"{formats.day_time(row.at, zone)} · {row.target}",
            changes=tuple(_change(name, value) for name, value in row.changes.items()),
            who=(
                Fact(label="Who", value=row.actor),
                Fact(label="Through", value=VIAS.get(row.via, row.via)),
                Fact(label="Result", value="done" if row.result == "ok" else row.result),
                Fact(label="When", value=formats.moment(row.at, now, zone).full),
                Fact(label="Tenant", value=row.tenant_id or "the platform"),
                Fact(label="Project", value=row.project_id or formats.UNKNOWN),
                Fact(label="Address", value=row.ip or formats.UNKNOWN),
                Fact(label="Browser", value=row.user_agent or formats.UNKNOWN),
                Fact(label="Request", value=row.correlation_id or formats.UNKNOWN),
            ),
            chain=(
                Fact(label="Place", value=f"{row.seq:,}" if row.seq else "none yet"),
                Fact(label="Chained to", value=_short(row.chain_hash)),
            ),
            content_hash=row.content_hash,
            target_href=target_href(row.target),
            beside=tuple(
                NearRow(
                    title=words_of(other.action),
                    href=f"{PATH}/{other.id}",
                    who=other.actor,
                    when=formats.moment(other.at, now, zone),
                )
                for other in view.beside
            ),
            beside_href=address(PATH, q=row.target),
        )


STANDING_WORDS: Final[Mapping[Standing, str]] = {
    Standing.SEALED: "It holds what its hash was made of, and follows from the row before it.",
    Standing.UNSEALED: "It holds what its hash was made of; its place in the chain comes within "
    "seconds.",
    Standing.BAD: "It does not hold what was recorded, or does not follow from the row before it. "
    "Keep the database as it is and run gpucloud audit verify.",
}


def _short(digest: str | None) -> str:
    return f"{digest[:16]}…" if digest else formats.UNKNOWN


def _change(name: str, value: Json) -> ChangeRow:
    plain = plain_of(name)
    if isinstance(value, list) and len(value) == 2:  # noqa: PLR2004  before and after
        return ChangeRow(field=plain, before=said(value[0]), after=said(value[1]))
    return ChangeRow(field=plain, before=formats.UNKNOWN, after=said(value))


_PLACES: Final[Mapping[str, str]] = {
    "alc": "/admin/allocations/",
    "nod": "/admin/nodes/",
    "img": "/admin/os-images/",
    "tsk": "/tasks/",
}


def target_href(target: str) -> str:
    """Return where an operator sees what a row is about, if there is such a page."""
    place = _PLACES.get(target.partition("_")[0])
    return f"{place}{target}" if place else ""
