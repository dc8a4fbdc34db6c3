"""Charts of money: the burn of a tenant, and what one workload has come to cost."""

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Final

from gpucloud_core.billing.burn import Burn
from gpucloud_core.kernel.time import microseconds_between
from gpucloud_web import formats
from gpucloud_web.charts import SERIES_MAX, Chart, Line, RangeChoice
from gpucloud_web.pages.addresses import address

RANGES: Final = {
    "24h": ("24 h", timedelta(days=1)),
    "7d": ("7 d", timedelta(days=7)),
    "30d": ("30 d", timedelta(days=30)),
}
"""How far back the burn is shown; the first is the default."""

_HOUR_MICROSECONDS: Final = 3_600_000_000


def range_of(asked: str) -> str:
    """Return the range that an address asks for, or the default."""
    return asked if asked in RANGES else next(iter(RANGES))


def range_choices(path: str, chosen: str, **kept: str) -> tuple[RangeChoice, ...]:
    """Return the ranges as links that keep the rest of the address."""
    first = next(iter(RANGES))
    return tuple(
        RangeChoice(
            title=title,
            href=address(path, **kept, range="" if name == first else name),
            current=name == chosen,
        )
        for name, (title, _) in RANGES.items()
    )


def burn_chart(
    burn: Burn, names: Mapping[str, str], *, currency: str, zone: tzinfo, now: datetime
) -> Chart:
    """Return the rate over time: all of it, and the SKUs that cost most of it if several do."""
    times = [step.at for step in burn.steps] + [burn.until]
    rates = [step.rates for step in burn.steps]
    totals = [step.total for step in burn.steps]
    skus = sorted(
        {sku for each in rates for sku in each},
        key=lambda sku: (-max(each.get(sku, 0) for each in rates), sku),
    )
    lines = [Line(label="Total", values=_units([*totals, totals[-1]]))]
    if len(skus) > 1:
        for sku in skus[: SERIES_MAX - 1]:
            each = [one.get(sku, 0) for one in rates]
            lines.append(Line(label=names.get(sku, sku), values=_units([*each, each[-1]])))
    spent = formats.amount(burn.spent_micros, currency)
    since = formats.short_time(burn.since, now, zone)
    highest = formats.hourly(max(totals), currency)
    summary = f"{spent} spent since {since}, at most {highest}."
    if not burn.complete:
        summary += " There was more before; the table of usage has all of it."
    return Chart.of(
        id="burn-chart",
        title="Burn rate",
        summary=summary,
        times=times,
        lines=lines if any(totals) else (),
        zone=zone,
        prefix=formats.amount(0, currency, places=0).strip("0 "),
        suffix="/h",
        steps=True,
    )


def cost_chart(burn: Burn, *, currency: str, zone: tzinfo) -> Chart:
    """Return what a workload had cost at each instant at which its rate changed, and now."""
    times = [step.at for step in burn.steps] + [burn.until]
    cost = [0]
    for step, end in zip(burn.steps, times[1:], strict=True):
        elapsed = microseconds_between(step.at, end)
        cost.append(cost[-1] + step.total * elapsed // _HOUR_MICROSECONDS)
    return Chart.of(
        id="cost-chart",
        title="Cost so far",
        summary=f"{formats.amount(burn.spent_micros, currency)} in "
        f"{formats.span(burn.since, burn.until)}; flat where nothing was billed.",
        times=times,
        lines=[Line(label="Cost", values=_units(cost))] if burn.spent_micros else (),
        zone=zone,
        prefix=formats.amount(0, currency, places=0).strip("0 "),
    )


def _units(micros: list[int]) -> list[float]:
    return [round(each / 1_000_000, 4) for each in micros]
