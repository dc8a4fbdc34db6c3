"""The two lists of money: what ran and what it cost, and every transfer of the ledger."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.billing.model import AccountKind, Transfer, TransferKind
from gpucloud_core.billing.queries import UsageQuery, UsageRow, Window
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_web import formats
from gpucloud_web.components import MenuEntry
from gpucloud_web.pages.addresses import ListState, address
from gpucloud_web.tables import Cell, Column, Empty, FilterField, ListSpec, Row

LISTS: Final = {"usage": "Usage", "ledger": "Ledger"}
"""Both are views of one page; the first is shown first."""

USAGE: Final = ListSpec(
    name="usage",
    noun="rows",
    views=LISTS,
    sorts={"-started_at": "Newest first", "started_at": "Oldest first"},
    columns=(
        Column(key="workload", title="Workload"),
        Column(key="hardware", title="Hardware"),
        Column(key="from", title="From", sort="started_at"),
        Column(key="billed", title="Billed", number=True),
        Column(key="rate", title="Rate", number=True),
        Column(key="settled", title="On the ledger", number=True, optional=True),
        Column(key="cost", title="Cost", number=True),
    ),
    filters=(FilterField(name="from", title="From"), FilterField(name="to", title="Before")),
    live="money",
    keeps=("range",),
    savable=False,
)
NO_USAGE: Final = Empty(
    heading="Nothing billed yet",
    sentence="Each second that a workload is active is billed, and stands here from the first one.",
)

KIND_WORDS: Final[Mapping[TransferKind, str]] = {
    TransferKind.PAYMENT: "Payment",
    TransferKind.USAGE: "Usage",
    TransferKind.HOLD: "Reserve held",
    TransferKind.VOID: "Reserve returned",
    TransferKind.GOODWILL: "Goodwill",
    TransferKind.PROMOTION: "Promotion",
    TransferKind.EXPIRY: "Promotion expired",
    TransferKind.REFUND: "Refund",
    TransferKind.DISPUTE: "Dispute",
    TransferKind.CORRECTION: "Correction",
}
LEDGER: Final = ListSpec(
    name="ledger",
    noun="transfers",
    views=LISTS,
    columns=(
        Column(key="at", title="Posted", sort="id"),
        Column(key="kind", title="What"),
        Column(key="memo", title="For"),
        Column(key="held", title="Held as reserve", number=True),
        Column(key="change", title="Balance", number=True),
    ),
    search="Id or text",
    filters=(
        FilterField(
            name="kind",
            title="What",
            options={str(kind): words for kind, words in KIND_WORDS.items()},
        ),
    ),
    live="money",
    keeps=("range",),
    savable=False,
)
NO_TRANSFERS: Final = Empty(
    heading="Nothing posted yet",
    sentence="Payments, usage, reserves and refunds stand here as they are posted. "
    "No row is ever changed; a correction is a row of its own.",
)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
OURS: Final = (AccountKind.PREPAID, AccountKind.PROMOTIONAL)


def usage_query(state: ListState, zone: tzinfo) -> UsageQuery:
    """Return what an address asks of the usage; days are those of the person."""
    return UsageQuery(
        window=Window(since=state.day("from", zone), until=state.day("to", zone)),
        sort=state.sort,
        cursor=state.cursor or None,
        limit=state.limit,
    )


def ledger_query(state: ListState) -> ListQuery:
    """Return what an address asks of the ledger."""
    kind = state.filters.get("kind")
    return state.query({"kind": (TransferKind(kind),)} if kind else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyDrawing:
    """What the rows of one answer are drawn with."""

    currency: str
    workloads: Mapping[AllocationId, str]
    names: Mapping[str, str]
    zone: tzinfo

    def usage(self, row: UsageRow, moment: formats.Moment, until: str) -> Row:
        """Return one stretch of one workload at one rate."""
        name = self._name(row.allocation_id)
        pending = row.cost_micros - row.settled_micros
        return Row(
            id=f"{row.allocation_id}-{row.since:%Y%m%d%H%M%S%f}",
            label=name,
            menu=_leads(row.allocation_id),
            cells={
                "workload": Cell(text=name, href=f"/workloads/{row.allocation_id}?tab=cost"),
                "hardware": Cell(text=f"{self.names.get(row.sku, row.sku)} ×{row.gpu_count}"),
                "from": Cell(when=moment, second=until),
                "billed": Cell(text=formats.duration(row.seconds)),
                "rate": Cell(text=formats.hourly(row.rate_micros_per_hour, self.currency)),
                "settled": Cell(text=formats.amount(row.settled_micros, self.currency)),
                "cost": Cell(
                    text=formats.amount(row.cost_micros, self.currency),
                    strong=True,
                    second=f"{formats.amount(pending, self.currency)} pending"
                    if pending and not row.settled
                    else "",
                ),
            },
        )

    def transfer(self, row: Transfer, moment: formats.Moment) -> Row:
        """Return one transfer: what it was for, and what it did to the balance."""
        change = sum(row.entries.get(account, 0) for account in OURS)
        held = row.entries.get(AccountKind.HELD, 0)
        said = self._plain(row.memo)
        about = Cell(text=said or formats.UNKNOWN)
        if row.allocation_id:
            about = Cell(
                text=self._name(row.allocation_id),
                href=f"/workloads/{row.allocation_id}?tab=cost",
                second=said,
            )
        words = KIND_WORDS[row.kind]
        return Row(
            id=row.id,
            label=words,
            menu=(
                MenuEntry(text="Copy id", icon="copy", href="#", copy=row.id),
                *(_leads(row.allocation_id) if row.allocation_id else ()),
            ),
            cells={
                "at": Cell(when=moment),
                "kind": Cell(
                    text=words,
                    second=formats.shortened(row.id),
                    copy=row.id,
                    copy_label=f"id of {words}",
                ),
                "memo": about,
                "held": Cell(text=_signed(held, self.currency), weak=True)
                if held
                else Cell(unknown="this transfer moved no reserve"),
                "change": Cell(text=_signed(change, self.currency), strong=True),
            },
        )

    def _plain(self, memo: str) -> str:
        """Return a memo with its instants as people read them; the export keeps them exact."""
        return _INSTANT.sub(
            lambda found: formats.day_time(datetime.fromisoformat(found.group()), self.zone), memo
        )

    def _name(self, allocation_id: AllocationId) -> str:
        return self.workloads.get(allocation_id, formats.shortened(allocation_id))


def _signed(micros: int, currency: str) -> str:
    plus = "+" if micros > 0 else ""
    return plus + formats.amount(micros, currency)


def _leads(allocation_id: AllocationId) -> tuple[MenuEntry, ...]:
    href = f"/workloads/{allocation_id}"
    return (
        MenuEntry(text="Open workload", icon="arrow-right", href=href, operation="getAllocation"),
        MenuEntry(
            text="Its ledger entries",
            icon="receipt",
            href=address(href, tab="cost"),
            operation="listLedger",
        ),
    )
