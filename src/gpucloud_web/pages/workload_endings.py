"""View rows of the end of a workload: the confirmation before it and the receipt after it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from gpucloud_core.allocations.lifecycle import PublicStatus, public_status
from gpucloud_core.allocations.queries import AllocationView, Receipt
from gpucloud_core.kernel.unit import Json
from gpucloud_web import formats
from gpucloud_web.components import Consequence, Fact, TimelineRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmPage:
    """All that ``workloads/confirm.html`` may know: what will happen, said before it does."""

    title: str
    name: str
    list_title: str
    list_href: str
    action: str
    verb: str
    back: str
    points: tuple[Consequence, ...]
    idempotency_key: str
    error: str
    operation: str

    @classmethod
    def release(
        cls, view: AllocationView, *, base: str, idempotency_key: str, error: str = ""
    ) -> "ConfirmPage":
        row = view.allocation
        again = view.status is PublicStatus.RELEASE_FAILED
        cost = formats.amount(view.cost_micros, row.currency)
        money = f"Billing stops the moment you press Release, at {cost} so far."
        if again or row.billing_stopped_at:
            money = f"Billing has stopped already, at {cost}. A retry costs nothing."
        return cls(
            title=f"{'Retry the release of' if again else 'Release'} {row.name}?",
            name=row.name,
            list_title=_title(base),
            list_href=base,
            action=f"{base}/{row.id}/release",
            verb="Retry release" if again else f"Release {row.name}"[:60],
            back=f"{base}/{row.id}",
            points=(
                Consequence(icon="cloud-off", text="Every shell and connection is cut at once."),
                Consequence(
                    icon="eraser", text="Its disks are wiped and the wipe is proven. No undo."
                ),
                Consequence(icon="wallet", text=money),
                Consequence(
                    icon="receipt", text="Kept: timeline, cost, and a receipt with the proof."
                ),
            ),
            idempotency_key=idempotency_key,
            error=error,
            operation="releaseAllocation",
        )

    @classmethod
    def cancel(
        cls, view: AllocationView, *, base: str, idempotency_key: str, error: str = ""
    ) -> "ConfirmPage":
        row = view.allocation
        return cls(
            title=f"Cancel the launch of {row.name}?",
            name=row.name,
            list_title=_title(base),
            list_href=base,
            action=f"{base}/{row.id}/cancel",
            verb="Cancel launch",
            back=f"{base}/{row.id}",
            points=(
                Consequence(icon="player-stop", text="It stops at the next step boundary."),
                Consequence(icon="arrow-back-up", text="What was made is undone and wiped."),
                Consequence(icon="wallet", text="Nothing is charged; the hold returns to you."),
            ),
            idempotency_key=idempotency_key,
            error=error,
            operation="cancelAllocation",
        )

    @classmethod
    def restart(
        cls, view: AllocationView, *, base: str, idempotency_key: str, error: str = ""
    ) -> "ConfirmPage":
        row = view.allocation
        return cls(
            title=f"Restart {row.name}?",
            name=row.name,
            list_title=_title(base),
            list_href=base,
            action=f"{base}/{row.id}/restart",
            verb="Restart",
            back=f"{base}/{row.id}",
            points=(
                Consequence(icon="rotate-clockwise", text="Everything that runs in it is ended."),
                Consequence(icon="server-2", text="Kept: its GPUs, its disks, its address, keys."),
                Consequence(
                    icon="wallet", text="Billed on if it comes back; not billed if it does not."
                ),
            ),
            idempotency_key=idempotency_key,
            error=error,
            operation="restartAllocation",
        )


def _title(base: str) -> str:
    return "Workloads" if base == "/workloads" else "Allocations"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptPage:
    """All that ``workloads/receipt.html`` may know."""

    id: str
    name: str
    status: str
    list_title: str
    list_href: str
    href: str
    facts: tuple[Fact, ...]
    steps: tuple[TimelineRow, ...]
    charge: tuple[Fact, ...]
    evidence: str
    waiting: str

    @classmethod
    def of(cls, receipt: Receipt, *, now: datetime, zone: tzinfo, base: str) -> "ReceiptPage":
        row = receipt.allocation
        wipe = row.receipt.get("wipe")
        facts = wipe if isinstance(wipe, dict) else {}
        method = str(facts.get("method") or "")
        freed = row.ended_at
        return cls(
            id=row.id,
            name=row.name,
            status=public_status(row.state, cause=row.cause),
            list_title=_title(base),
            list_href=base,
            href=f"{base}/{row.id}",
            facts=(
                Fact(
                    label="Charged",
                    value=formats.amount(receipt.cost_micros, row.currency),
                    big=True,
                ),
                Fact(label="Billed time", value=formats.duration(receipt.billed_seconds)),
                Fact(
                    label="Billing stopped",
                    value=formats.short_time(row.billing_stopped_at, now, zone)
                    if row.billing_stopped_at
                    else formats.UNKNOWN,
                ),
                Fact(label="Wipe", value=method or "under way"),
                *_disks(facts),
                Fact(
                    label="Capacity free",
                    value=formats.short_time(freed, now, zone) if freed else "not yet",
                ),
            ),
            steps=_steps(receipt, bool(facts), method, zone),
            charge=_charge(receipt),
            evidence=json.dumps(facts, indent=2, sort_keys=True) if facts else "",
            waiting=""
            if freed
            else "The wipe is still being proven. It costs nothing, and this page fills itself in.",
        )


def _disks(wipe: Mapping[str, Json]) -> tuple[Fact, ...]:
    """Return the line on data disks; none where it had none."""
    match wipe.get("disks"):
        case [_, *_] as disks:
            names = ", ".join(str(disk["name"]) for disk in disks if isinstance(disk, dict))
            return (Fact(label="Data disks", value=f"{names} erased and read back"),)
    return ()


def _charge(receipt: Receipt) -> tuple[Fact, ...]:
    row = receipt.allocation
    unit = formats.unit_price(row.rate_micros_per_hour // max(row.gpu_count, 1), row.currency)
    return (
        Fact(label="Unit price", value=f"{row.gpu_count} × {unit}"),
        Fact(label="Seconds billed", value=f"{receipt.billed_seconds:,}"),
        Fact(label="Micro-units charged", value=f"{receipt.cost_micros:,}"),
        Fact(label="Charged", value=formats.amount(receipt.cost_micros, row.currency)),
    )


def _steps(receipt: Receipt, wiped: bool, method: str, zone: tzinfo) -> tuple[TimelineRow, ...]:
    row = receipt.allocation

    def line(title: str, at: datetime | None, text: str, pending: str) -> TimelineRow:
        return TimelineRow(
            kind="step",
            state="completed" if at else "pending",
            title=title,
            text=text if at else pending,
            right=formats.clock_time(at, zone) if at else "",
            right_note=f"{at.astimezone(zone):%Y-%m-%d}" if at else "",
            emphasis="" if at else "pend",
        )

    proven = row.ended_at if wiped else None
    return (
        line("Release requested", row.release_requested_at, "", "not asked by a person"),
        line("Billing stopped", row.billing_stopped_at, "nothing is charged after this", ""),
        line("Wiped and proven clean", proven, method, "usually within a minute"),
        line("Capacity free again", row.ended_at, "the slots are sold again", "after the proof"),
    )
