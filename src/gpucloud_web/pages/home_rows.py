"""View rows of Home: what runs, what it costs, how long the money lasts, what needs a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from gpucloud_core.allocations.lifecycle import PublicStatus
from gpucloud_core.allocations.lists import AllocationLine
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.allocations.reasons import REASONS
from gpucloud_core.billing.model import Balance
from gpucloud_core.catalog.offers import Offer
from gpucloud_web import formats
from gpucloud_web.charts import Chart, RangeChoice
from gpucloud_web.components import Kpi
from gpucloud_web.node_picture import SlotStrip, slot_strip
from gpucloud_web.pages.addresses import address
from gpucloud_web.pages.catalog_rows import free_words, is_sold_out
from gpucloud_web.pages.workload_rows import (
    BILLED,
    VIEWS,
    hardware,
    ran_for,
    rate_words,
    second_line,
    view_counts,
)
from gpucloud_web.status import look_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionItem:
    """One workload that needs a person, with what it means for the money and what to do."""

    status: str
    when: formats.Moment
    name: str
    href: str
    hardware: str
    text: str
    action: str
    action_href: str
    dialog: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeItem:
    title: str
    price: str
    free: str
    sold_out: bool
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeRow:
    """One workload that runs or is on its way."""

    id: str
    name: str
    href: str
    status: str
    second: str
    hardware: str
    strip: SlotStrip | None
    running: str
    rate: str
    billed: bool
    cost: str

    @classmethod
    def of(cls, line: AllocationLine, names: Mapping[str, str], zone: tzinfo) -> "HomeRow":
        row = line.allocation
        return cls(
            id=row.id,
            name=row.name,
            href=f"/workloads/{row.id}",
            status=line.status,
            second=second_line(row, line.status, line.step, line.as_of, zone),
            hardware=hardware(row, names),
            strip=slot_strip(line.slots, row.mask),
            running=ran_for(row, line.as_of),
            rate=rate_words(row, line.status),
            billed=line.status in BILLED,
            cost=formats.amount(line.cost_micros, row.currency),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRun:
    """The first thing to do in a new tenant: add funds, or ask who may."""

    may_pay: bool
    owner: str
    has_key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HomePage:
    """All that ``home/index.html`` may know."""

    date: str
    first_run: FirstRun | None
    kpis: tuple[Kpi, ...]
    burn: Chart
    ranges: tuple[RangeChoice, ...]
    active: tuple[HomeRow, ...]
    total: str
    attention: tuple[AttentionItem, ...]
    free: tuple[FreeItem, ...]
    as_of: str

    @classmethod
    def of(
        cls,
        *,
        balance: Balance,
        counts: Mapping[AllocationState, int],
        active: Sequence[AllocationLine],
        attention: Sequence[AllocationLine],
        offers: Sequence[Offer],
        names: Mapping[str, str],
        first_run: FirstRun | None,
        burn: Chart,
        ranges: tuple[RangeChoice, ...],
        now: datetime,
        zone: tzinfo,
    ) -> "HomePage":
        local = now.astimezone(zone)
        return cls(
            date=f"{local:%A} {local.day} {local:%B, %H:%M} · all amounts in {balance.currency}",
            first_run=first_run,
            kpis=_kpis(balance, counts, active, now, zone),
            burn=burn,
            ranges=ranges,
            active=tuple(HomeRow.of(line, names, zone) for line in active),
            total=formats.counted(sum(counts.values()), "workload"),
            attention=tuple(_attention(line, names, zone) for line in attention),
            free=tuple(_free(offer) for offer in offers),
            as_of=formats.clock_time(offers[0].as_of if offers else now, zone),
        )


def _kpis(
    balance: Balance,
    counts: Mapping[AllocationState, int],
    active: Sequence[AllocationLine],
    now: datetime,
    zone: tzinfo,
) -> tuple[Kpi, ...]:
    totals = view_counts(counts)
    rate, currency = balance.burn_rate_micros_per_hour, balance.currency
    gpus = sum(line.allocation.gpu_count for line in active if line.status in VIEWS["active"][1])
    look = look_of("standing", balance.standing)
    tone = "" if look.tone == "ok" else look.tone
    free = formats.amount(balance.available_micros, currency)
    billed = "nothing is billed now"
    if rate:
        workloads = formats.counted(totals["active"], "billed workload")
        billed = f"{formats.daily(rate, currency)} · {workloads}"
    runway = Kpi(
        label="Runway", value=formats.UNKNOWN, note=f"nothing is billed · {free} available"
    )
    if rate and balance.depletes_at:
        at = formats.short_time(balance.depletes_at, now, zone)
        runway = Kpi(
            label="Runway",
            value=formats.span(now, balance.depletes_at),
            note=f"zero on {at} · {free} free",
            tone=tone,
            icon=look.icon if tone else "",
            href="/billing",
        )
    elif tone:
        runway = Kpi(
            label="Runway",
            value=look.words,
            note=f"{free} available",
            tone=tone,
            icon=look.icon,
            href="/billing",
        )
    return (
        Kpi(label="Burn rate", value=formats.amount(rate, currency), unit="/h", note=billed),
        runway,
        Kpi(
            label="Active work",
            value=f"{totals['active']:,}",
            unit="workload" if totals["active"] == 1 else "workloads",
            note=f"{formats.counted(gpus, 'GPU')} · {totals['progress']:,} more in progress",
            href="/workloads",
        ),
        Kpi(
            label="Needs attention",
            value=f"{totals['attention']:,}",
            note="none of it is being billed" if totals["attention"] else "nothing waits for you",
            tone="bad" if totals["attention"] else "",
            href="/workloads?view=attention",
        ),
    )


def _attention(line: AllocationLine, names: Mapping[str, str], zone: tzinfo) -> AttentionItem:
    row = line.allocation
    reason = REASONS.get(row.release_failed_reason or row.failure_reason or "")
    text = f"{reason.words} {reason.money}" if reason else "Not billed since the evidence."
    retry = line.status is PublicStatus.RELEASE_FAILED
    again = line.status is PublicStatus.FAILED
    href = f"/workloads/{row.id}"
    return AttentionItem(
        status=line.status,
        when=formats.moment(row.state_since, line.as_of, zone),
        name=row.name,
        href=href,
        hardware=hardware(row, names),
        text=text,
        action="Retry release…" if retry else ("Launch again" if again else "Open"),
        action_href=f"{href}/release"
        if retry
        else (address("/launch", sku=row.sku_id, gpu_count=row.gpu_count) if again else href),
        dialog=retry,
    )


def _free(offer: Offer) -> FreeItem:
    most = max(
        (count for count in offer.allowed_gpu_counts if offer.available[str(count)]), default=0
    )
    price = formats.unit_price(offer.price_micros_per_gpu_hour, offer.currency)
    return FreeItem(
        title=offer.display_name,
        price=f"{price} · up to {most}" if most else price,
        free=free_words(offer.available.get("1", max(offer.available.values(), default=0)), 1),
        sold_out=is_sold_out(offer),
        href=address("/launch", sku=offer.sku, step="capacity"),
    )
