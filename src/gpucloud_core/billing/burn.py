"""What a tenant spent when: the rate at every instant of a window, from the usage itself.

The rate is a step function: it changes only where a stretch of usage begins or ends. Its integral
is the cost of the window, up to the rounding of each stretch, so a chart of it and the ledger say
the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gpucloud_core.access.authorize import Action, require, visible_projects
from gpucloud_core.access.model import Actor
from gpucloud_core.billing.ports import BillingUnit
from gpucloud_core.kernel.ids import AllocationId, SkuId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.metering.charge import charged
from gpucloud_core.metering.model import UsageSegment

SEGMENTS_MAX: Final = 5_000
"""A window with more stretches than this begins later; it says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnStep:
    """From ``at`` on, until the next step, each SKU costs this an hour."""

    at: datetime
    rates: Mapping[SkuId, int]

    @property
    def total(self) -> int:
        """Micro-units an hour, of all SKUs together."""
        return sum(self.rates.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """The steps of a window and what it cost. ``since`` is later than asked if there was more."""

    since: datetime
    until: datetime
    steps: tuple[BurnStep, ...]
    spent_micros: int
    complete: bool = True


def burn_steps(
    segments: Iterable[UsageSegment], since: datetime, until: datetime
) -> tuple[BurnStep, ...]:
    """Return the rate at ``since`` and at every instant before ``until`` at which it changes."""
    changes: dict[datetime, dict[SkuId, int]] = {since: {}}
    for segment in segments:
        start = max(segment.started_at, since)
        end = min(segment.ended_at or until, until)
        if start >= end:
            continue
        for at, sign in ((start, 1), (end, -1)):
            moved = changes.setdefault(at, {})
            moved[segment.sku_id] = (
                moved.get(segment.sku_id, 0) + sign * segment.rate_micros_per_hour
            )
    rates: dict[SkuId, int] = {}
    steps: list[BurnStep] = []
    for at in sorted(changes):
        if at >= until:
            break
        for sku, change in changes[at].items():
            rates[sku] = rates.get(sku, 0) + change
        now = {sku: rate for sku, rate in rates.items() if rate}
        if not steps or steps[-1].rates != now:
            steps.append(BurnStep(at=at, rates=now))
    return tuple(steps)


def spent(segments: Iterable[UsageSegment], since: datetime, until: datetime) -> int:
    """Return what the stretches cost within the window, to the micro-unit."""
    total = 0
    for segment in segments:
        start = max(segment.started_at, since)
        end = min(segment.ended_at or until, until)
        if start < end:
            total += charged(segment, end) - charged(segment, start)
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBurn:
    """The burn of the tenant, or of one allocation, from ``since`` to now."""

    transactions: Transactions[BillingUnit]

    async def __call__(
        self, *, actor: Actor, since: datetime, allocation_id: AllocationId | None = None
    ) -> Burn:
        require(actor, Action.BILLING_READ, tenant_id=actor.tenant_id)
        visible = visible_projects(actor, Action.USAGE_READ)
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            if allocation_id is None:
                rows = await unit.usage_segments.running_after(
                    actor.tenant_id, since, limit=SEGMENTS_MAX
                )
            else:
                rows = await unit.usage_segments.find(allocation_id=allocation_id)
            now = await unit.now()
        complete = allocation_id is not None or len(rows) < SEGMENTS_MAX
        if not complete:
            since = min((row.ended_at for row in rows if row.ended_at), default=now)
        found = [row for row in rows if visible is None or row.project_id in visible]
        return Burn(
            since=since,
            until=now,
            steps=burn_steps(found, since, now),
            spent_micros=spent(found, since, now),
            complete=complete,
        )
