"""How long it takes to choose k of a node's GPUs, beside looking at every set there is.

Two choices are timed. *Pairs* is go-gpuallocator's objective (the sum of pair scores), over its own
published topologies and sixteen-way machines, with random free GPUs and sizes. *Sets* is what the
product asks on each decision: the best feasible set by worst link, all links and locality. An
answer is remembered per class of nodes; what the very first one of each question costs is shown
apart and held to no bar, and so are the tables, which are made once per class.

    python benchmarks/bench_node_choice.py [--json] [--choices N]
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from time import perf_counter_ns
from typing import Final

from gpucloud_core.nodes.model import LinkClass, Topology
from gpucloud_core.nodes.system import by_numa
from gpucloud_core.nodes.systems import SYSTEMS
from gpucloud_core.placement.sets import FeasibleSets, PairRanking, Scores, pair_scores

EIGHT: Final = ("dgx-1-volta", "dgx-1-pascal", "hgx-h200", "l40s-x8", "mi300x-x8")
SIXTEEN: Final = ("hgx-2", "cards-x16")
EIGHT_BAR_US: Final = 5.0
SIXTEEN_BAR_US: Final = 1_000.0
PUBLISHED_US: Final = {8: "43 to 420", 16: "6 000 000 to 11 000 000"}
"""Microseconds of go-gpuallocator's best effort policy, measured by running it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Microseconds of one kind of choice on one machine."""

    machine: str
    gpus: int
    choice: str
    median: float
    p99: float
    scan: float  # looking at every set, median
    made_ms: float  # the tables of the class


def cards(count: int) -> Topology:
    """Return plain cards in pairs on switches, halves on sockets: the hardest table there is."""
    base = SYSTEMS["hgx-2"].topology(seed="bench")
    numa = tuple(index * 2 // count for index in range(count))
    plain, counts = by_numa(numa, inside=LinkClass.NODE)
    links = tuple(
        tuple(LinkClass.PIX if i // 2 == j // 2 else plain[i][j] for j in range(count))
        for i in range(count)
    )
    return Topology(
        system="cards-x16",
        gpus=base.gpus[:count],
        links=links,
        nvlinks=counts,
        cpu_count=base.cpu_count,
        memory_mib=base.memory_mib,
        numa_cpus=base.numa_cpus,
    )


def questions(gpus: int, count: int, chance: random.Random) -> list[tuple[int, int]]:
    """Return (free, size) pairs that have an answer."""
    asked: list[tuple[int, int]] = []
    while len(asked) < count:
        free = chance.getrandbits(gpus)
        size = chance.choice([n for n in (1, 2, 3, 4, 8) if n <= gpus])
        if free.bit_count() >= size:
            asked.append((free, size))
    return asked


def scan(scores: Scores, free: int, size: int) -> int:
    """Return the best sum of pair scores by looking at every set."""
    there = [index for index in range(len(scores)) if free >> index & 1]
    return max(
        sum(scores[i][j] for i, j in combinations(chosen, 2))
        for chosen in combinations(there, size)
    )


def timed(choose: Callable[[int, int], object], asked: list[tuple[int, int]]) -> list[float]:
    spent = []
    for free, size in asked:
        began = perf_counter_ns()
        choose(free, size)
        spent.append((perf_counter_ns() - began) / 1000)
    return spent


def measure(machine: str, topology: Topology, choices: int) -> list[Timed]:
    gpus, chance = len(topology.gpus), random.Random(len(topology.gpus))
    asked = questions(gpus, choices, chance)
    scores = pair_scores(topology)
    scanned = timed(lambda free, size: scan(scores, free, size), asked[: max(20, choices // 50)])
    began = perf_counter_ns()
    pairs, sets = PairRanking(scores), FeasibleSets(topology, None)
    for size in range(1, gpus + 1):
        pairs.best(0, size)
        sets.ranked(size)
    for free, _ in asked:
        sets.canonical(free)
    made = (perf_counter_ns() - began) / 1e6

    def whole(free: int, size: int) -> int:
        best = sets.best(sets.canonical(free), size)
        return 0 if best is None else sets.realise(best[1][0], free)

    kinds = {
        "pairs": timed(pairs.best, asked),
        "sets, first": timed(whole, sorted(set(asked))),
        "sets": timed(whole, asked),
    }
    return [
        Timed(
            machine=machine,
            gpus=gpus,
            choice=choice,
            median=statistics.median(spent),
            p99=statistics.quantiles(spent, n=100)[98],
            scan=statistics.median(scanned),
            made_ms=made,
        )
        for choice, spent in kinds.items()
    ]


def bars_of(results: list[Timed]) -> dict[str, dict[str, object]]:
    """Hold the slowest machine of each size to its bar: eight by the median, sixteen by p99."""
    remembered = [each for each in results if each.choice != "sets, first"]
    eight = max(each.median for each in remembered if each.gpus == 8)
    sixteen = max(each.p99 for each in remembered if each.gpus == 16)
    return {
        "median_us_8_gpus": {"value": eight, "bar": EIGHT_BAR_US, "met": eight <= EIGHT_BAR_US},
        "p99_us_16_gpus": {
            "value": sixteen,
            "bar": SIXTEEN_BAR_US,
            "met": sixteen <= SIXTEEN_BAR_US,
        },
    }


def report(results: list[Timed], *, as_json: bool) -> bool:
    bars = bars_of(results)
    ratios = {
        f"scan_over_{each.choice}_{each.machine}": each.scan / each.median for each in results
    }
    if as_json:
        environment = {"python": platform.python_version(), "cpus": os.cpu_count()}
        rows = [{name: getattr(each, name) for name in Timed.__slots__} for each in results]
        document = {
            "benchmark": "node_choice",
            "environment": environment,
            "results": rows,
            "ratios": ratios,
            "bars": bars,
        }
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        sys.stdout.write(
            f"{'machine':<14} {'GPUs':>4}  {'choice':<12} {'median µs':>10} {'p99 µs':>9}"
            f" {'scan µs':>10} {'times':>7} {'made ms':>8}\n"
        )
        for each in results:
            sys.stdout.write(
                f"{each.machine:<14} {each.gpus:>4}  {each.choice:<12} {each.median:>10.2f}"
                f" {each.p99:>9.2f} {each.scan:>10.1f} {each.scan / each.median:>7.0f}"
                f" {each.made_ms:>8.1f}\n"
            )
        for gpus, published in PUBLISHED_US.items():
            sys.stdout.write(f"go-gpuallocator at {gpus} GPUs, as published: {published} µs\n")
        for name, bar in bars.items():
            word = "met" if bar["met"] else "MISSED"
            sys.stdout.write(f"{name}: {bar['value']:.2f}, bar {bar['bar']:g}: {word}\n")
    return all(bar["met"] for bar in bars.values())


def main() -> int:
    parser = argparse.ArgumentParser(description="Choosing GPUs inside a node.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--choices", type=int, default=4_000)
    given = parser.parse_args()
    machines = {name: SYSTEMS[name].topology(seed="bench") for name in (*EIGHT, SIXTEEN[0])}
    machines["cards-x16"] = cards(16)
    results = [
        timing
        for name, topology in machines.items()
        for timing in measure(name, topology, given.choices)
    ]
    return int(not report(results, as_json=given.json))


if __name__ == "__main__":
    sys.exit(main())
