"""View rows of the waitlist: the entries, joining, and what timers foretell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from gpucloud_core.access.model import SshKey
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.catalog.model import OsImage
from gpucloud_core.catalog.offers import Offer
from gpucloud_core.kernel.errors import FieldError, ValidationFailed
from gpucloud_core.kernel.rows import Page
from gpucloud_core.waitlist.join import WaitAsked
from gpucloud_core.waitlist.model import WaitKind, WaitState
from gpucloud_core.waitlist.queries import WaitForecast, WaitLine
from gpucloud_web import formats
from gpucloud_web.components import Choice, FieldFault, MenuEntry
from gpucloud_web.pages.addresses import ListState, address
from gpucloud_web.pages.visit import Form, one
from gpucloud_web.tables import NEWEST_FIRST, Cell, Column, Empty, ListSpec, ListView, Row

PATH: Final = "/infra/waitlist"
DAYS: Final = {"1": "1 day", "7": "7 days", "30": "30 days"}
_DAY: Final = 86_400

VIEWS: Final[Mapping[str, tuple[str, tuple[WaitState, ...]]]] = {
    "open": ("Waiting", (WaitState.WAITING, WaitState.OFFERED)),
    "launched": ("Launched", (WaitState.LAUNCHED,)),
    "over": ("Over", (WaitState.EXPIRED, WaitState.WITHDRAWN, WaitState.FAILED)),
    "all": ("All", tuple(WaitState)),
}

ENTRIES: Final = ListSpec(
    name="waitlist",
    noun="entries",
    views={view: title for view, (title, _) in VIEWS.items()},
    sorts=NEWEST_FIRST,
    columns=(
        Column(key="what", title="Waits for"),
        Column(key="status", title="Status"),
        Column(key="position", title="Position", number=True),
        Column(key="limit", title="Price limit", number=True),
        Column(key="until", title="Waits until", number=True),
        Column(key="since", title="Joined", sort="id", number=True),
    ),
    live="capacity allocation",
)

NOBODY_WAITS: Final = Empty(
    heading="Nothing is waited for",
    sentence="When a size is sold out, join the waitlist from the catalog: it is launched as soon "
    "as it is free, or you are told and keep your turn for ten minutes. Turns are fair among "
    "tenants. Waiting costs nothing.",
    action="Open catalog",
    href="/infra/catalog",
)

KINDS: Final = {WaitKind.LAUNCH: "Launch when free", WaitKind.NOTIFY: "Notify me"}


def where_of(state: ListState) -> dict[str, tuple[object, ...]]:
    return {"state": VIEWS[state.view][1]}


def entry_row(line: WaitLine, names: Mapping[str, str], zone: tzinfo) -> Row:
    """Return a line of the list."""
    entry, now = line.entry, line.as_of
    what = f"{names.get(entry.sku_id, entry.sku_id)} ×{entry.gpu_count}"
    until = entry.due_at if entry.state is WaitState.OFFERED and entry.due_at else entry.expires_at
    price = entry.price_max_micros
    return Row(
        id=entry.id,
        label=what,
        selectable=False,
        menu=_menu(line),
        cells={
            "what": Cell(text=what, second=KINDS[entry.kind], href=_href(line)),
            "status": Cell(kind="waitlist", state=entry.state, second=entry.reason),
            "position": Cell(text=f"{line.position} of {line.queue}")
            if line.position
            else Cell(unknown="it does not wait any more"),
            "limit": Cell(text=formats.unit_price(price)) if price else Cell(text="any price"),
            "until": Cell(when=formats.moment(until, now, zone)),
            "since": Cell(when=formats.moment(entry.created_at, now, zone)),
        },
    )


def _href(line: WaitLine) -> str:
    entry = line.entry
    if entry.task_id:
        return f"/tasks/{entry.task_id}"
    return address("/launch", sku=entry.sku_id, gpu_count=entry.gpu_count, step="capacity")


def _menu(line: WaitLine) -> tuple[MenuEntry, ...]:
    entry = line.entry
    if entry.task_id:
        task = f"/tasks/{entry.task_id}"
        return (MenuEntry(text="Task", icon="activity", href=task, operation="getTask"),)
    if entry.state not in {WaitState.WAITING, WaitState.OFFERED}:
        return ()
    return (
        MenuEntry(
            text="Withdraw…",
            icon="ban",
            href=f"{PATH}/{entry.id}/withdraw",
            danger=True,
            dialog=True,
            operation="leaveWaitlist",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitlistPage:
    """All that ``waitlist/index.html`` may know."""

    list: ListView

    @classmethod
    def of(
        cls,
        *,
        state: ListState,
        page: Page[WaitLine],
        names: Mapping[str, str],
        zone: tzinfo,
    ) -> "WaitlistPage":
        rows = [entry_row(line, names, zone) for line in page.items]
        return cls(list=state.list_view(page, rows, empty=NOBODY_WAITS))


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPage:
    """All that ``waitlist/join.html`` may know."""

    title: str
    sku: str
    gpu_count: str
    price: str
    foretold: str
    waiting: str
    kinds: tuple[Choice, ...]
    keys: tuple[Choice, ...]
    images: tuple[Choice, ...]
    days: tuple[Choice, ...]
    limit: str
    key: str
    errors: tuple[FieldFault, ...]
    faults: Mapping[str, str]

    @classmethod
    def of(
        cls,
        offer: Offer,
        foretold: WaitForecast,
        *,
        keys: Sequence[SshKey],
        images: Sequence[OsImage],
        form: Form,
        zone: tzinfo,
        key: str,
        errors: Sequence[FieldFault] = (),
    ) -> "JoinPage":
        chosen = form.get("keys") or [each.id for each in keys[:1]]
        kind = one(form, "kind") or WaitKind.LAUNCH
        days = one(form, "days") or "7"
        count = foretold.gpu_count
        rate = offer.price_micros_per_gpu_hour * count
        return cls(
            title=f"{offer.display_name} ×{count}",
            sku=offer.sku,
            gpu_count=str(count),
            price=f"{formats.hourly(rate, offer.currency)}, from the moment it is active",
            foretold=forecast_words(foretold, zone),
            waiting=formats.counted(foretold.waiting, "launch waits", "launches wait")
            if foretold.waiting
            else "Nobody waits",
            kinds=tuple(
                Choice(value=each, text=text, selected=each == kind) for each, text in KINDS.items()
            ),
            keys=tuple(
                Choice(value=each.id, text=each.name, selected=each.id in chosen) for each in keys
            ),
            images=tuple(
                Choice(
                    value=image.id,
                    text=f"{image.name} {image.version}",
                    selected=image.id == one(form, "image"),
                )
                for image in images
            ),
            days=tuple(
                Choice(value=value, text=text, selected=value == days)
                for value, text in DAYS.items()
            ),
            limit=one(form, "limit"),
            key=key,
            errors=tuple(errors),
            faults={fault.field: fault.text for fault in errors if fault.field},
        )


def forecast_words(read: WaitForecast, zone: tzinfo) -> str:
    """Return what timers foretell, and how much of the fleet has one."""
    found = read.forecast
    if found.fits_now:
        return "It fits at this moment."
    share = f"{found.gpus_timed} of {formats.counted(found.gpus_held, 'held GPU')}"
    known = f"{share} have a timer; the others may be free at any time."
    if found.not_before is None:
        return f"No timer makes room for it. {known}"
    at = formats.short_time(found.not_before, read.as_of, zone)
    return f"By timers alone not before {at}. {known}"


def asked_of(form: Form) -> WaitAsked:
    """Return what a form asks for.

    Raises:
        ValidationFailed: something in it cannot be read.
    """
    faults = []
    limit = one(form, "limit").strip()
    micros = formats.parse_amount(limit, decimals=formats.PRICE_DECIMALS)
    if limit and micros is None:
        detail = "Type a price per GPU and hour such as 2.49, or leave it empty."
        faults.append(FieldError("/limit", "not_an_amount", detail))
    if one(form, "kind") not in set(WaitKind):
        faults.append(FieldError("/kind", "unknown", "Choose one of the two."))
    if one(form, "days") not in DAYS:
        faults.append(FieldError("/days", "unknown", "Choose one of the three."))
    if not one(form, "gpu_count").isascii() or not one(form, "gpu_count").isdigit():
        faults.append(FieldError("/gpu_count", "unknown", "Choose a size from the catalog."))
    if faults:
        raise ValidationFailed("Some fields need another look.", fields=faults)
    return WaitAsked(
        kind=WaitKind(one(form, "kind")),
        request=LaunchRequest(
            sku_id=one(form, "sku"),
            gpu_count=int(one(form, "gpu_count")),
            image_id=one(form, "image") or None,
            ssh_key_ids=tuple(form.get("keys", [])),
        ),
        price_max_micros=micros,
        wait_seconds=int(one(form, "days")) * _DAY,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawPage:
    """All that ``waitlist/withdraw.html`` may know."""

    title: str
    action: str
    lost: str
    key: str
    error: str

    @classmethod
    def of(
        cls, line: WaitLine, names: Mapping[str, str], *, key: str, error: str = ""
    ) -> "WithdrawPage":
        entry = line.entry
        what = f"{names.get(entry.sku_id, entry.sku_id)} ×{entry.gpu_count}"
        return cls(
            title=f"Stop waiting for {what}?",
            action=f"{PATH}/{entry.id}/withdraw",
            lost=f"You give up position {line.position} of {line.queue}."
            if line.position
            else "You give up your turn.",
            key=key,
            error=error,
        )
