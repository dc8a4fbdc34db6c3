"""How full placement gets a fleet, beside the policies of the field and beside what is possible.

First the five deterministic policies of "Beware of Fragmentation" (Weng et al., USENIX ATC'23) are
replayed on its workloads and compared with its own published curves: a peer that is not reproduced
proves nothing. Then they and the product's own ``choose`` place the same launches on whole GPUs:
the paper's workloads with shares of a GPU rounded up, and eight-way fleets with the sizes of the
Philly trace. Launches arrive and stay; what does not fit is lost. The figure is the share of all
GPUs in use when as many have been asked for as there are.

    python benchmarks/bench_placement_quality.py --data DIR [--seeds 42 43 ...] [--json]
        [--plots DIR] [--keep DIR]

DIR holds ``openb`` and ``philly``; GPUCLOUD_BENCH_DATA may name it instead. All of it takes hours
of a processor: with ``--keep`` each replay is written to a folder, and one that lies there is not
done again, so that a run may be cut off and taken up. Empty the folder when a policy has changed.
"""

import argparse
import csv
import gzip
import json
import os
import platform
import random
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import openb
from openb import GPU_MILLI, Node, Pod, Workload
from paper_policies import PAPER, replay
from placement_bound import bound
from product_policy import replay_product
from quality_plots import HARDEST, draw

OURS: Final = "gpucloud"
CLOSE: Final = 0.01  # percentage points; the published curves are rounded to this
CLOSE_BAR: Final = 0.97
FAR_BAR: Final = 0.3
GAP_BAR: Final = 0.5
AT: Final = 100

PHILLY_NODES: Final = (16, 64, 256)
PHILLY_NODE: Final = Node(cpu_milli=96_000, memory_mib=768 * 1024, gpus=8, model="8-way")
PHILLY_ARRIVAL: Final = 1.3

Curve = tuple[float, ...]


class Task(NamedTuple):
    """One replay: which launches, placed by whom."""

    workload: str
    seed: int
    policy: str
    is_whole: bool  # shares rounded up to whole GPUs


class Replayed(NamedTuple):
    task: Task
    curve: Curve
    bound: float


def projected(workload: Workload) -> Workload:
    """Return the workload with every share of a GPU rounded up to a whole one."""

    def whole(pods: Iterable[Pod]) -> tuple[Pod, ...]:
        return tuple(pod._replace(gpu_milli=GPU_MILLI) if pod.num_gpu else pod for pod in pods)

    return replace(workload, listed=whole(workload.listed), arrivals=whole(workload.arrivals))


def philly(folder: Path, nodes: int, seed: int) -> Workload:
    """Return launches with the sizes of the trace, in a drawn order, for a fleet of eight-ways.

    A job of more than eight GPUs is so many launches of eight. Every GPU has an equal share.
    """
    with gzip.open(folder / "philly_jobs.csv.gz", "rt") as lines:
        sizes = [int(row["num_gpus"]) for row in csv.DictReader(lines)]
    listed = tuple(
        Pod(size * 12_000, size * 96 * 1024, size, GPU_MILLI, ())
        for job in sizes
        for size in ([8] * (job // 8) if job >= 8 else [job])
    )
    chance, wanted = random.Random(seed), int(nodes * 8 * PHILLY_ARRIVAL)
    arrivals: list[Pod] = []
    while sum(pod.num_gpu for pod in arrivals) < wanted:
        arrivals.extend(chance.sample(listed, nodes))
    return Workload(
        name=f"philly{nodes}",
        seed=seed,
        nodes=(PHILLY_NODE,) * nodes,
        listed=listed,
        arrivals=tuple(arrivals),
    )


def load(data: Path, task: Task) -> Workload:
    if task.workload.startswith("philly"):
        return philly(data / "philly", int(task.workload.removeprefix("philly")), task.seed)
    found = openb.workload(data / "openb", task.workload, task.seed)
    return projected(found) if task.is_whole else found


def run(data: Path, keep: Path | None, task: Task) -> Replayed:
    """Return the replay of ``task``, from the folder of those kept if it lies there."""
    if keep is None:
        return replayed(data, task)
    name = f"{task.workload}-{task.seed}-{task.policy}-{'whole' if task.is_whole else 'shared'}"
    file = keep / f"{name}.json"
    if file.exists():
        curve, most = json.loads(file.read_text())
        return Replayed(task, tuple(curve), most)
    made = replayed(data, task)
    written = file.with_suffix(".part")
    written.write_text(json.dumps([made.curve, made.bound]))
    written.rename(file)
    return made


def replayed(data: Path, task: Task) -> Replayed:
    workload = load(data, task)
    if task.policy == OURS:
        return Replayed(task, replay_product(workload), bound(workload, AT))
    return Replayed(task, replay(workload, PAPER[task.policy]), 0.0)


def tasks(data: Path, seeds: Sequence[int], part: str, only: Sequence[str] = ()) -> list[Task]:
    """Return every replay, the longest first."""
    names = [name for name in openb.names(data / "openb") if not only or name in only]
    fleets = [f"philly{nodes}" for nodes in PHILLY_NODES]
    fleets = [name for name in fleets if not only or name in only]
    whole = [
        Task(name, seed, policy, is_whole=True)
        for policy in (OURS, *PAPER)
        for seed in seeds
        for name in reversed([*fleets, *names])
    ]
    shipped = [
        Task(name, seed, policy, is_whole=False)
        for policy in PAPER
        for seed in seeds
        for name in names
    ]
    return {"shipped": shipped, "whole": whole, "all": [*whole, *shipped]}[part]


# ---- what came of it ------------------------------------------------------------------------


def reproduction(data: Path, done: Iterable[Replayed]) -> dict[str, Any]:
    """Return how far each replayed curve is from the published one, at worst."""
    curves = openb.expected(data / "openb")
    off = {}
    for task, curve, _ in done:
        if not task.is_whole:
            theirs = curves[task.workload, openb.POLICIES[task.policy], task.seed]
            off[task] = max(abs(a - b) for a, b in zip(curve, theirs, strict=True))
    close = sum(each <= CLOSE for each in off.values())
    if not off:
        return {}
    return {
        "curves": len(off),
        "within_0.01": close,
        "worst": round(max(off.values()), 3),
        "others": {
            f"{task.workload}/{task.policy}/{task.seed}": round(each, 3)
            for task, each in off.items()
            if each > CLOSE
        },
    }


def table(done: Iterable[Replayed]) -> list[dict[str, Any]]:
    """Return a row per workload: each policy's figure and the bound, means over the seeds."""
    figures: dict[str, dict[str, list[float]]] = {}
    for task, curve, most in done:
        if task.is_whole:
            row = figures.setdefault(task.workload, {})
            row.setdefault(task.policy, []).append(curve[AT])
            if task.policy == OURS:
                row.setdefault("bound", []).append(most)
    rows = []
    for name in sorted(figures):
        means = {key: statistics.fmean(values) for key, values in figures[name].items()}
        gap, won = means["bound"] - means["FGD"], means[OURS] - means["FGD"]
        closed = won / gap if gap > CLOSE else 1.0
        rows.append(
            {"workload": name}
            | {key: round(value, 2) for key, value in means.items()}
            | {"gap_closed": round(closed, 3), "over_fgd": round(won, 3)}
        )
    return rows


def curves_of(name: str, done: Iterable[Replayed]) -> dict[str, list[Curve]]:
    """Return the curves of one workload on whole GPUs by policy, ours first."""
    found: dict[str, list[Curve]] = {policy: [] for policy in (OURS, *PAPER)}
    for task, curve, _ in done:
        if task.is_whole and task.workload == name:
            found[task.policy].append(curve)
    return found


def report(data: Path, done: list[Replayed], seeds: Sequence[int]) -> dict[str, Any]:
    shipped, rows = reproduction(data, done), table(done)
    bars: dict[str, dict[str, Any]] = {}
    if shipped:
        share = round(shipped["within_0.01"] / shipped["curves"], 3)
        worst = shipped["worst"]
        bars["curves_within_0.01_pp"] = bar(share, CLOSE_BAR, met=share >= CLOSE_BAR)
        bars["worst_curve_pp"] = bar(worst, FAR_BAR, met=worst <= FAR_BAR)
    if rows:
        least = min(rows, key=lambda row: row["over_fgd"])
        closed = round(statistics.fmean(row["gap_closed"] for row in rows), 3)
        over = least["over_fgd"]
        bars["worst_against_fgd_pp"] = bar(over, 0.0, met=over >= 0) | {"of": least["workload"]}
        bars["gap_to_bound_closed"] = bar(closed, GAP_BAR, met=closed >= GAP_BAR)
    return {
        "benchmark": "placement_quality",
        "environment": {"python": platform.python_version(), "seeds": list(seeds)},
        "results": rows,
        "reproduction": shipped,
        "ratios": {f"to_fgd_{row['workload']}": round(row[OURS] / row["FGD"], 4) for row in rows},
        "bars": bars,
    }


def bar(value: float, limit: float, *, met: bool) -> dict[str, Any]:
    return {"value": value, "bar": limit, "met": met}


def show(made: dict[str, Any]) -> None:
    if shipped := made["reproduction"]:
        print(
            f"{shipped['within_0.01']} of {shipped['curves']} published curves are met within "
            f"0.01 percentage points, the worst within {shipped['worst']}: {shipped['others']}"
        )
    if made["results"]:
        names = [*PAPER, OURS, "bound"]
        print(f"{'GPUs in use, %':<14}{''.join(f'{name:>11}' for name in names)}  gap closed")
    for row in made["results"]:
        figures = "".join(f"{row[name]:>11.2f}" for name in names)
        print(f"{row['workload']:<14}{figures}{row['gap_closed']:>11.0%}")
    for name, each in made["bars"].items():
        verdict = "met" if each["met"] else "missed"
        print(f"{name}: {each['value']} (bar {each['bar']}, {verdict})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=os.environ.get("GPUCLOUD_BENCH_DATA"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--part", choices=["shipped", "whole", "all"], default="all")
    parser.add_argument("--workloads", nargs="+", default=(), help="only these")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plots", type=Path, help="a folder to draw SVG plots into")
    parser.add_argument("--keep", type=Path, help="a folder to keep each replay in")
    options = parser.parse_args()
    if options.data is None or not (Path(options.data) / "openb/csv").is_dir():
        print("skipped: the trace data is not here; name its folder with --data")
        return 0
    data = Path(options.data)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    todo = tasks(data, options.seeds, options.part, options.workloads)
    each: Callable[[Task], Replayed] = partial(run, data, options.keep)
    with ProcessPoolExecutor(options.workers) as workers:
        done = list(workers.map(each, todo))
    made = report(data, done, options.seeds)
    if options.plots and made["results"]:
        draw(curves_of(HARDEST, done), made["results"], options.plots)
    print(json.dumps(made, indent=1)) if options.json else show(made)
    return int(not all(bar["met"] for bar in made["bars"].values()))


if __name__ == "__main__":
    sys.exit(main())
