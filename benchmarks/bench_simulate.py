"""How fast a simulated world lives, against a bare event loop that has as many things to do.

The baseline is the same virtual loop with one sleeper per event and nothing else: what asyncio
alone would cost. The worlds do the platform's work besides, and ask its promises after each
commit. A world must not slow down with its own history, so the same one is run for twice as long.
Exits with 1 if a bar is missed. Seconds are of this process's own processor time.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from gpucloud_adapters.memory.simulation.virtual import run_virtually
from gpucloud_adapters.memory.simulation.world import Plan, Report, simulate

WORLDS: Final = {
    "small": Plan(seed=1, days=10, tenants=3, nodes=1),
    "busy": Plan(seed=1, days=3, tenants=6, nodes=2, pause_hours=0.5),
    "wide": Plan(seed=1, days=2, tenants=40, nodes=6),
}
LONG: Final = Plan(seed=2, days=4, tenants=8, nodes=2, pause_hours=1)
RATIO_LEAST: Final = 0.01  # of a bare loop's events a second
GROWTH_MOST: Final = 1.5  # of the cost of a day, in a world that lasts three times as long


def spent(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return how many seconds of processor time ``run`` took, and what it returned."""
    began = time.process_time()
    made = run()
    return time.process_time() - began, made


async def bare(events: int) -> None:
    """Let as many things happen as a world told of, one second after another."""
    for _ in range(events):
        await asyncio.sleep(1)


def lived(plan: Plan) -> tuple[float, Report]:
    seconds, report = spent(lambda: simulate(plan))
    if not report.ok:
        raise SystemExit(f"this world broke a promise: {report.breaches[0]}")
    return seconds, report


def row(name: str, plan: Plan) -> dict[str, Any]:
    """Run one world and its baseline; return the figures of both."""
    seconds, report = lived(plan)
    base, _ = spent(lambda: run_virtually(bare(report.events)))
    return {
        "world": name,
        "days": report.virtual_days,
        "tenants": plan.tenants,
        "events": report.events,
        "seconds": seconds,
        "virtual_days_per_minute": report.virtual_days / seconds * 60,
        "events_per_second": report.events / seconds,
        "bare_events_per_second": report.events / base,
    }


def growth() -> float:
    """Return what a day costs in a long world, against a day of the same world cut short."""
    short, first = lived(LONG)
    long, whole = lived(replace(LONG, days=LONG.days * 3))
    return (long / whole.events) / (short / first.events)


def bar(value: float, limit: float, *, is_most: bool = False) -> dict[str, Any]:
    return {"value": value, "bar": limit, "met": value <= limit if is_most else value >= limit}


def measured() -> dict[str, Any]:
    results = [row(name, plan) for name, plan in WORLDS.items()]
    ratios = {
        each["world"]: each["events_per_second"] / each["bare_events_per_second"]
        for each in results
    }
    grown = growth()
    return {
        "benchmark": "simulate",
        "environment": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "processors": os.cpu_count(),
        },
        "results": results,
        "ratios": {**ratios, "growth": grown},
        "bars": {
            "slowest world against a bare loop": bar(min(ratios.values()), RATIO_LEAST),
            "an event in a world three times as long": bar(grown, GROWTH_MOST, is_most=True),
        },
    }


def shown(whole: dict[str, Any]) -> None:
    print(
        f"{'world':>6}  {'days':>5}  {'events':>7}  {'days/min':>9}  {'events/s':>9}  {'bare':>8}"
    )
    for each in whole["results"]:
        print(
            f"{each['world']:>6}  {each['days']:>5.1f}  {each['events']:>7}"
            f"  {each['virtual_days_per_minute']:>9.0f}  {each['events_per_second']:>9.0f}"
            f"  {each['bare_events_per_second']:>8.0f}"
        )
    for name, each in whole["bars"].items():
        said = "met" if each["met"] else "MISSED"
        print(f"{name}: {each['value']:.3f}, bar {each['bar']}: {said}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    whole = measured()
    if asked.json:
        print(json.dumps(whole, indent=1))
    else:
        shown(whole)
    return int(not all(each["met"] for each in whole["bars"].values()))


if __name__ == "__main__":
    sys.exit(main())
