"""View rows of one workload: what it is, how to get in, where it runs, what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.allocations.lifecycle import LIFECYCLE, PublicStatus, public_status
from gpucloud_core.allocations.model import Allocation, AllocationState, EndOfBalance, StateChange
from gpucloud_core.allocations.ports import MAY_TIME
from gpucloud_core.allocations.queries import AllocationView
from gpucloud_core.allocations.reasons import REASONS
from gpucloud_web import formats
from gpucloud_web.charts import Chart
from gpucloud_web.components import Choice, Fact, TimelineRow, ViewTab
from gpucloud_web.pages.addresses import address
from gpucloud_web.pages.metric_charts import MetricCharts
from gpucloud_web.pages.timers import release_words
from gpucloud_web.pages.workload_place import Place, place_of
from gpucloud_web.pages.workload_rows import (
    BILLED,
    CANCELLABLE,
    RELEASABLE,
    RESTARTABLE,
    hardware,
    ran_for,
    ssh_command,
)
from gpucloud_web.tables import ListView

TABS: Final = {
    "overview": "Overview",
    "access": "Access",
    "metrics": "Metrics",
    "timeline": "Timeline",
    "cost": "Cost",
    "hardware": "Hardware",
}

PLANS: Final = {
    EndOfBalance.RELEASE: "release at once, the reserve returns",
    EndOfBalance.RUN_ON_RESERVE: "run on the reserve, then release",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChip:
    """A key of the workload: read back from it at an instant, or on its way."""

    state: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """How to get in: everything ready to copy."""

    command: str
    config: str
    fingerprint: str
    known_hosts: str
    keys: tuple[KeyChip, ...]

    @classmethod
    def of(cls, allocation: Allocation, now: datetime, zone: tzinfo) -> "Connect | None":
        found = allocation.connection
        if found is None:
            return None
        host = found.host if found.port == 22 else f"[{found.host}]:{found.port}"  # noqa: PLR2004
        return cls(
            command=ssh_command(allocation),
            config="\n".join(
                (
                    f"Host {allocation.name.replace(' ', '-')}",
                    f"    HostName {found.host}",
                    f"    Port {found.port}",
                    f"    User {found.username}",
                    "    StrictHostKeyChecking yes",
                )
            ),
            fingerprint=found.host_key_fingerprint,
            known_hosts=f"{host} {found.host_key}",
            keys=key_chips(allocation, now, zone),
        )


def key_chips(allocation: Allocation, now: datetime, zone: tzinfo) -> tuple[KeyChip, ...]:
    """Return each chosen key with the instant it was read back."""
    return tuple(
        KeyChip(
            state="applied",
            words=f"{key.name}, applied {formats.short_time(key.applied_at, now, zone)}",
        )
        if key.applied_at
        else KeyChip(state="applying", words=f"{key.name}, applying")
        for key in allocation.keys
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What went wrong: code, words, what it meant for the money, what to do."""

    tone: str
    icon: str
    title: str
    words: str
    money: str
    next_action: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TabParts:
    """What only one tab needs, and is read for that tab alone."""

    metrics: MetricCharts | None = None
    cost_chart: Chart | None = None
    entries: ListView | None = None
    lately: Chart | None = None
    key_choices: tuple[Choice, ...] = ()
    key_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPage:
    """All that ``workloads/detail.html`` may know."""

    id: str
    name: str
    status: str
    list_title: str
    list_href: str
    href: str
    tab: str
    tabs: tuple[ViewTab, ...]
    about: str
    facts: tuple[Fact, ...]
    trouble: Trouble | None
    connect: Connect | None
    keys: tuple[KeyChip, ...]
    place: Place
    timeline: tuple[TimelineRow, ...]
    task_href: str
    cost: str
    cost_as_of: str
    cost_rows: tuple[Fact, ...]
    plan: tuple[Fact, ...]
    network: tuple[Fact, ...]
    is_active: bool
    is_running_up: bool  # the meter runs
    is_moving: bool
    may_release: bool
    may_retry: bool
    may_cancel: bool
    may_restart: bool
    may_time: bool
    href_timer: str
    has_receipt: bool
    token_path: str
    terminal_title: str
    terminal_banner: str
    metrics: MetricCharts | None
    cost_chart: Chart | None
    entries: ListView | None
    lately: Chart | None
    key_choices: tuple[Choice, ...]
    key_error: str

    @classmethod
    def of(
        cls,
        view: AllocationView,
        *,
        changes: Sequence[StateChange],
        project: str,
        names: Mapping[str, str],
        zone: tzinfo,
        base: str,
        tab: str,
        parts: TabParts,
    ) -> "WorkloadPage":
        row, now, status = view.allocation, view.as_of, view.status
        href = f"{base}/{row.id}"
        first = changes[0].actor if changes else ""
        launched = formats.short_time(row.requested_at, now, zone)
        username = row.connection.username if row.connection else "root"
        return cls(
            id=row.id,
            name=row.name,
            status=status,
            list_title="Workloads" if base == "/workloads" else "Allocations",
            list_href=base,
            href=href,
            tab=tab,
            tabs=_tabs(view, href, tab),
            about=f"{project} · launched {launched}" + (f" by {first}" if first else ""),
            facts=_facts(view, names),
            trouble=_trouble(row, status),
            connect=Connect.of(row, now, zone) if status is PublicStatus.ACTIVE else None,
            keys=key_chips(row, now, zone),
            place=place_of(view),
            timeline=timeline_rows(changes, now, zone),
            task_href=f"/tasks/{row.task_id}",
            cost=formats.amount(view.cost_micros, row.currency),
            cost_as_of=formats.clock_time(now, zone),
            cost_rows=_cost_rows(view, now, zone),
            plan=_plan(row, now, zone),
            network=_network(row),
            is_active=status is PublicStatus.ACTIVE,
            is_running_up=status in BILLED,
            is_moving=status
            not in {
                *RELEASABLE,
                PublicStatus.RELEASED,
                PublicStatus.CANCELLED,
                PublicStatus.FAILED,
            },
            may_release=status in RELEASABLE and status is not PublicStatus.RELEASE_FAILED,
            may_retry=status is PublicStatus.RELEASE_FAILED,
            may_cancel=status in CANCELLABLE,
            may_restart=status in RESTARTABLE,
            may_time=row.state in MAY_TIME,
            href_timer=f"/workloads/{row.id}/timer",
            has_receipt=row.billing_stopped_at is not None,
            token_path=f"/api/v1/allocations/{row.id}/terminal-token",
            terminal_title=f"{username}@{row.name}",
            terminal_banner=_banner(view),
            metrics=parts.metrics,
            cost_chart=parts.cost_chart,
            entries=parts.entries,
            lately=parts.lately,
            key_choices=parts.key_choices,
            key_error=parts.key_error,
        )


def _banner(view: AllocationView) -> str:
    models = sorted({gpu.model.removeprefix("NVIDIA ") for gpu in view.gpus})
    hardware = f"{' and '.join(models)} ×{len(view.gpus)}" if models else ""
    return " · ".join(filter(None, ("gpucloud", view.allocation.id, hardware, view.node.region)))


def _tabs(view: AllocationView, href: str, tab: str) -> tuple[ViewTab, ...]:
    keys = len(view.allocation.keys)
    counts = {"access": formats.counted(keys, "key")}
    return tuple(
        ViewTab(
            title=title,
            href=address(href, tab="" if name == "overview" else name),
            count=counts.get(name, ""),
            current=name == tab,
        )
        for name, title in TABS.items()
    )


def _facts(view: AllocationView, names: Mapping[str, str]) -> tuple[Fact, ...]:
    row, status = view.allocation, view.status
    rate = formats.hourly(row.rate_micros_per_hour, row.currency)
    billed = status in BILLED
    note = formats.daily(row.rate_micros_per_hour, row.currency) if billed else "not billed now"
    if row.active_at is None:
        note = "once active"
    return (
        Fact(label="Cost so far", value=formats.amount(view.cost_micros, row.currency), big=True),
        Fact(label="Rate", value=rate, note=note),
        Fact(
            label="Running" if billed else "Ran",
            value=ran_for(row, view.as_of) or "not yet",
        ),
        Fact(label="Hardware", value=hardware(row, names)),
        Fact(label="Node", value=view.node.name, note=view.node.region),
    )


def _trouble(row: Allocation, status: PublicStatus) -> Trouble | None:
    code = {
        PublicStatus.FAILED: row.failure_reason or "launch_failed",
        PublicStatus.FAILING: row.failure_reason or "",
        PublicStatus.RELEASE_FAILED: row.release_failed_reason or "release_failed",
    }.get(status, "")
    if status is PublicStatus.DEGRADED:
        return Trouble(
            tone="warn",
            icon="heart-broken",
            title="Degraded.",
            words="Evidence from our side says that it does not work.",
            money="Not billed from the instant of the evidence until it recovers.",
            next_action="Wait while checks go on, or release it.",
            code="",
        )
    reason = REASONS.get(code)
    if reason is None:
        return None
    failed = status is PublicStatus.RELEASE_FAILED
    return Trouble(
        tone="bad",
        icon="lock-exclamation" if failed else "circle-x",
        title="Release failed." if failed else "Launch failed.",
        words=reason.words,
        money=reason.money,
        next_action=reason.next_action,
        code=reason.code,
    )


def timeline_rows(
    changes: Sequence[StateChange], now: datetime, zone: tzinfo
) -> tuple[TimelineRow, ...]:
    """Return every state, newest first, with who, why, how long, and what is usual."""
    rows = []
    for position, change in enumerate(changes):
        after = changes[position + 1] if position + 1 < len(changes) else None
        final = LIFECYCLE.is_final(change.state)
        lasted = ""
        if after is not None:
            lasted = formats.span(change.at, after.at)
        elif not final:
            lasted = f"{formats.span(change.at, now)} so far"
        usual = LIFECYCLE.states[change.state].usual
        said = [change.actor] if change.actor else []
        said += [change.reason] if change.reason else []
        billed = "billed" if LIFECYCLE.states[change.state].billed else "not billed"
        note = [lasted] if lasted else []
        if usual is not None and not final:
            note.append(f"usually {formats.duration(usual.total_seconds())}")
        rows.append(
            TimelineRow(
                kind="step" if after else "allocation",
                state="completed" if after else _timeline_state(change),
                title=change.state.replace("_", " ").capitalize(),
                note="" if final else billed,
                text=" · ".join(said),
                right=formats.short_time(change.at, now, zone),
                right_note=", ".join(note),
            )
        )
    return tuple(reversed(rows))


def _timeline_state(change: StateChange) -> str:
    """The timeline shows raw states; the table knows each of them."""
    if change.state is AllocationState.REQUESTED:
        return "requested"
    return (
        change.state if change.state is AllocationState.UNWINDING else public_status(change.state)
    )


def _cost_rows(view: AllocationView, now: datetime, zone: tzinfo) -> tuple[Fact, ...]:
    row = view.allocation
    pending = view.cost_micros - view.settled_micros
    unit = formats.unit_price(row.rate_micros_per_hour // max(row.gpu_count, 1), row.currency)
    rows = [
        Fact(label="Unit price", value=f"{row.gpu_count} × {unit}"),
        Fact(label="Billed time", value=formats.duration(view.billed_seconds)),
        Fact(label="Posted to the ledger", value=formats.amount(view.settled_micros, row.currency)),
    ]
    if pending:
        value = f"{formats.amount(pending, row.currency)} pending"
        rows.append(Fact(label="Not yet posted", value=value, weak=True))
    if row.billing_stopped_at:
        stopped = formats.short_time(row.billing_stopped_at, now, zone)
        rows.append(Fact(label="Billing stopped", value=stopped))
    return tuple(rows)


def _plan(row: Allocation, now: datetime, zone: tzinfo) -> tuple[Fact, ...]:
    if row.billing_stopped_at or row.ended_at:
        return ()  # it is over: there is nothing left to end by itself
    return (
        Fact(label="Release", value=release_words(row, now, zone)),
        Fact(label="At zero balance", value=PLANS[row.end_of_balance]),
    )


def _network(row: Allocation) -> tuple[Fact, ...]:
    sources = ", ".join(row.network.ssh_cidrs) or "anywhere"
    ports = "; ".join(
        f"{rule.port} from {', '.join(rule.cidrs) or 'anywhere'}" for rule in row.network.inbound
    )
    return (
        Fact(label="SSH from", value=sources),
        Fact(label="Other ports", value=ports or "closed"),
    )
