"""``gpucloud simulate``: run worlds from their seeds, and say what became of them.

A world that breaks a promise prints its end, and the command that plays it again to the same last
event. Fit to be run by the thousand: worlds know nothing of each other, and may share processors.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from typing import Any, Final

from gpucloud_adapters.memory.simulation.coverage import MOVES, untaken
from gpucloud_adapters.memory.simulation.world import Plan, Report, simulate

SUMMARY: Final = "Run the whole platform in virtual time, with everything going wrong."
_OK: Final = 0
_BROKEN: Final = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes. The names of a plan's fields are those of the options."""
    plan = Plan(seed=1)
    parser.add_argument("--seed", type=int, default=plan.seed, help="what everything follows from")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="worlds, from --seed on")
    parser.add_argument("--days", type=float, default=plan.days, help="how long people live in it")
    parser.add_argument("--tenants", type=int, default=plan.tenants)
    parser.add_argument("--nodes", type=int, default=plan.nodes, help="of eight GPUs each")
    parser.add_argument(
        "--pause-hours",
        type=float,
        default=plan.pause_hours,
        help="between two things that one tenant does, on average",
    )
    parser.add_argument(
        "--rough", type=float, default=plan.rough, help="3: calls go wrong three times as often"
    )
    parser.add_argument("--jobs", type=int, default=1, help="worlds at the same time")
    parser.add_argument("--story", action="store_true", help="tell every event, on stderr")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def plan_of(asked: argparse.Namespace) -> Plan:
    return Plan(**{field.name: getattr(asked, field.name) for field in fields(Plan)})


def replay(plan: Plan) -> str:
    """Return the command that plays a world again."""
    options = (f"--{name.replace('_', '-')} {value:g}" for name, value in asdict(plan).items())
    return f"gpucloud simulate {' '.join(options)}"


def run(asked: argparse.Namespace, _: Mapping[str, str]) -> int:
    """Run the worlds that were asked for; return the status to exit with."""
    first = plan_of(asked)
    plans = [
        Plan(**{**asdict(first), "seed": seed})
        for seed in range(first.seed, first.seed + asked.seeds)
    ]
    reports = []
    for report in _played(plans, jobs=asked.jobs, story=asked.story):
        reports.append(report)
        if not report.ok and not asked.json:
            _write(_failure(report))
    if asked.json:
        _write([json.dumps(as_json(reports), indent=1)])
    else:
        _write(summary(reports))
    return _OK if all(report.ok for report in reports) else _BROKEN


def _played(plans: Sequence[Plan], *, jobs: int, story: bool) -> Iterator[Report]:
    if story:
        yield from (simulate(plan, tell=_tell) for plan in plans)
    elif jobs == 1:
        yield from map(simulate, plans)
    else:
        with ProcessPoolExecutor(jobs) as processes:
            yield from processes.map(simulate, plans)


def as_json(reports: Sequence[Report]) -> dict[str, Any]:
    """Return what became of the worlds, all together, and each that broke."""
    taken = {name: _sum(report.taken.get(name, {}) for report in reports) for name in MOVES}
    groups = dict.fromkeys(group for report in reports for group in report.counts)
    return {
        "worlds": len(reports),
        "ok": all(report.ok for report in reports),
        "events": sum(report.events for report in reports),
        "virtual_days": round(sum(report.virtual_days for report in reports), 3),
        "fingerprints": {str(report.plan.seed): report.fingerprint for report in reports},
        "counts": {
            group: _sum(report.counts.get(group, {}) for report in reports) for group in groups
        },
        "moves": {"taken": taken, "not_taken": [asdict(each) for each in untaken(taken)]},
        "failures": [
            {
                "seed": report.plan.seed,
                "replay": replay(report.plan),
                "breaches": report.breaches,
                "story": report.story,
            }
            for report in reports
            if not report.ok
        ],
    }


def summary(reports: Sequence[Report]) -> list[str]:
    """Return the lines for people: what happened, which moves were taken, and the verdict."""
    whole = as_json(reports)
    lines = []
    for group, counts in whole["counts"].items():
        figures = ", ".join(f"{name} {number}" for name, number in counts.items())
        lines.append(f"{group}: {figures or 'none'}")
    for machine, moves in whole["moves"]["taken"].items():
        lines.append(f"moves of a {machine}: {len(moves)} of {len(MOVES[machine])}")
        lines += [f"  {number:>6}  {name}" for name, number in moves.items()]
    missing: dict[tuple[str, str], list[str]] = {}
    for each in whole["moves"]["not_taken"]:
        why = each["why"] or "nothing here led to it"
        missing.setdefault((each["machine"], why), []).append(each["move"])
    for (machine, why), names in missing.items():
        lines.append(f"no {machine} moved {', '.join(names)}: {why}")
    broken = len(whole["failures"])
    verdict = f"{broken} broke a promise" if broken else "every promise held"
    worlds = "1 world" if whole["worlds"] == 1 else f"{whole['worlds']} worlds"
    days, events = whole["virtual_days"], whole["events"]
    lines.append(f"{worlds}, {days:.1f} days, {events} events: {verdict}")
    if len(reports) == 1:
        lines.append(f"fingerprint {reports[0].fingerprint}")
    return lines


def _failure(report: Report) -> list[str]:
    return [
        f"seed {report.plan.seed} broke a promise. The end of its story:",
        *(f"  {line}" for line in report.story),
        *report.breaches,
        f"Play it again: {replay(report.plan)} --story",
        "",
    ]


def _sum(counters: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return {name: total[name] for name in sorted(total)}


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _write(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()  # what is known of many worlds is said even if the rest is cut short
