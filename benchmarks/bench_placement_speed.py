"""Placement decisions per second from a thousand GPUs to a million, beside a full scan and FGD.

Each fleet is eight-way H200 nodes kept near 60 % use by launches of a seeded size mix and releases
at random. A decision is timed alone, as the product makes it; taking its place and giving others
back happens in between. Besides the time on the wall, which others on the machine may take, the
processor's own time is told. The full scan makes the same decision by looking at every node, FGD
(Weng et al., USENIX ATC'23) makes its own on nodes as full; both are timed on the small fleets
only, where they are bearable.

    python benchmarks/bench_placement_speed.py [--json] [--decisions N] [--gpus N ...]
"""

import argparse
import gc
import json
import os
import platform
import random
import sys
from dataclasses import replace
from time import perf_counter_ns, thread_time_ns
from typing import Any, Final

import numpy as np
from openb import Node, Pod, Workload
from paper_policies import FGD, Cluster

from gpucloud_core.kernel.ids import NodeId, SkuId
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.nodes.systems import HGX_H200
from gpucloud_core.placement.choose import choose
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import (
    Demand,
    NodeCapacity,
    Place,
    Placement,
    PlacementRequest,
)
from gpucloud_core.placement.orders import Ask, fit

POOL: Final = "bench/NVIDIA H200/vm"
MIX: Final = (Demand(1, 60), Demand(2, 15), Demand(4, 15), Demand(8, 10))
SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
SCANNED_UP_TO: Final = 10_000
USE: Final = 0.6
VCPUS: Final = 22
MEMORY_MIB: Final = 224 * 1024

RATE_BAR: Final = 50_000
P99_BAR_US: Final = 200.0
GROWTH_BAR: Final = 2.0


def a_request(gpus: int) -> PlacementRequest:
    return PlacementRequest(
        sku_id=SkuId("h200-sxm"),
        pool=POOL,
        gpu_count=gpus,
        vcpus=VCPUS * gpus,
        memory_mib=MEMORY_MIB * gpus,
        demand_mix=MIX,
    )


REQUESTS: Final = {demand.gpu_count: a_request(demand.gpu_count) for demand in MIX}
WEIGHTS: Final = [demand.weight for demand in MIX]


def a_fleet(nodes: int) -> FleetImage:
    image = FleetImage()
    for number in range(nodes):
        image.put(
            NodeCapacity(
                node_id=NodeId(f"nod_{number:026d}"),
                pool=POOL,
                system=HGX_H200.name,
                mode=NodeMode.VM,
                gpu_count=8,
                approved_mask=0xFF,
                free_mask=0xFF,
                free_vcpus=8 * VCPUS,
                free_memory_mib=8 * MEMORY_MIB,
                sellable=True,
            )
        )
    return image


class Churn:
    """Launches and releases that keep a fleet at its use."""

    def __init__(self, image: FleetImage, gpus: int) -> None:
        self.image = image
        self.limit = int(gpus * USE)
        self.used = 0
        self.held: list[tuple[Place, PlacementRequest]] = []
        self.chance = random.Random(7)

    def next_request(self) -> PlacementRequest:
        return self.chance.choices(list(REQUESTS.values()), WEIGHTS)[0]

    def take(self, place: Place, request: PlacementRequest) -> None:
        self.image.take(place, request)
        self.held.append((place, request))
        self.used += request.gpu_count
        while self.used > self.limit:
            self.give_back()

    def give_back(self) -> None:
        number = self.chance.randrange(len(self.held))
        self.held[number], self.held[-1] = self.held[-1], self.held[number]
        place, request = self.held.pop()
        row = self.image.row(place.node_id)
        self.used -= request.gpu_count
        self.image.put(
            replace(
                row,
                free_mask=row.free_mask | place.mask,
                free_vcpus=row.free_vcpus + request.vcpus,
                free_memory_mib=row.free_memory_mib + request.memory_mib,
            )
        )

    def fill(self) -> None:
        """Bring the fleet to its use, quickly: what is measured comes after."""
        while self.used < self.limit - 8:
            request = self.next_request()
            decision = choose(request, self.image)
            if isinstance(decision, Placement):
                self.take(decision.places[0], request)


def scan(request: PlacementRequest, image: FleetImage) -> NodeId | None:
    """Make the same decision by looking at every node."""
    ask = Ask.of(request)
    prices = image.pools[request.pool].supply(ask.mix).prices()
    best: tuple[tuple[int, ...], NodeId] | None = None
    for node_id in image.node_ids():
        bucket = image.bucket_of(node_id)
        entry = None if bucket is None else fit(bucket, ask)
        if entry is not None and image.has_share(node_id, ask):
            found = entry.rated(prices).goodness, node_id
            best = found if best is None else min(best, found)
    return None if best is None else best[1]


def fgd_per_s(image: FleetImage, asked: list[PlacementRequest]) -> float:
    """Return how many decisions a second FGD makes, with all its scores in one numpy pass."""
    rows = [image.row(node_id) for node_id in image.node_ids()]
    nodes = [Node(8 * VCPUS * 1000, 8 * MEMORY_MIB, 8, "H200")] * len(rows)
    pods = {size: Pod(size * VCPUS * 1000, size * MEMORY_MIB, size, 1000, ()) for size in REQUESTS}
    listed = tuple(pods[demand.gpu_count] for demand in MIX for _ in range(demand.weight))
    cluster = Cluster(nodes)
    for number, row in enumerate(rows):
        for index in range(8):
            if not row.free_mask >> index & 1:
                cluster.take(pods[1], number, np.array([index]))
    policy = FGD(cluster, Workload("speed", 0, tuple(nodes), listed, ()))
    every, begun = np.arange(len(rows)), perf_counter_ns()
    for request in asked:
        able = every[cluster.fits(pods[request.gpu_count], every)]
        if len(able):
            policy.scores(pods[request.gpu_count], able).argmax()
    return len(asked) * 1e9 / (perf_counter_ns() - begun)


def beside(churn: Churn) -> dict[str, float]:
    """Return the rates of a full scan, which has to decide alike, and of FGD."""
    rounds = 20
    asked = [churn.next_request() for _ in range(rounds)]
    begun = perf_counter_ns()
    scanned = [scan(request, churn.image) for request in asked]
    rate = rounds * 1e9 / (perf_counter_ns() - begun)
    chosen = [choose(request, churn.image) for request in asked]
    if scanned != [one.places[0].node_id if isinstance(one, Placement) else None for one in chosen]:
        raise SystemExit("the full scan decided otherwise")
    return {
        "full_scan_per_s": round(rate, 1),
        "fgd_per_s": round(fgd_per_s(churn.image, asked), 1),
    }


def measure(gpus: int, decisions: int) -> dict[str, Any]:
    churn = Churn(a_fleet(gpus // 8), gpus)
    churn.fill()
    gc.collect()
    gc.freeze()  # as a long-lived process does once its fleet is read
    wall, cpu = [], []
    for _ in range(decisions):
        request = churn.next_request()
        cpu_begun, begun = thread_time_ns(), perf_counter_ns()
        decision = choose(request, churn.image)
        wall.append(perf_counter_ns() - begun)
        cpu.append(thread_time_ns() - cpu_begun)
        if isinstance(decision, Placement):
            churn.take(decision.places[0], request)
    wall.sort()
    cpu.sort()
    result: dict[str, Any] = {
        "gpus": gpus,
        "decisions_per_s": round(decisions * 1e9 / sum(wall)),
        "p50_us": round(wall[decisions // 2] / 1000, 2),
        "p99_us": round(wall[decisions * 99 // 100] / 1000, 2),
        "cpu_decisions_per_s": round(decisions * 1e9 / sum(cpu)),
        "cpu_p99_us": round(cpu[decisions * 99 // 100] / 1000, 2),
    }
    if gpus <= SCANNED_UP_TO:
        result |= beside(churn)
    gc.unfreeze()
    return result


def report(results: list[dict[str, Any]]) -> dict[str, Any]:
    slowest = min(result["decisions_per_s"] for result in results)
    p99 = max(result["p99_us"] for result in results)
    growth = round(results[-1]["p50_us"] / results[0]["p50_us"], 2)
    return {
        "benchmark": "placement_speed",
        "environment": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        },
        "results": results,
        "ratios": {
            f"to_{peer}_at_{result['gpus']}": round(
                result["decisions_per_s"] / result[f"{peer}_per_s"], 1
            )
            for result in results
            for peer in ("full_scan", "fgd")
            if f"{peer}_per_s" in result
        },
        "bars": {
            "decisions_per_s": {"value": slowest, "bar": RATE_BAR, "met": slowest >= RATE_BAR},
            "p99_us": {"value": p99, "bar": P99_BAR_US, "met": p99 <= P99_BAR_US},
            "p50_growth": {"value": growth, "bar": GROWTH_BAR, "met": growth <= GROWTH_BAR},
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--decisions", type=int, default=50_000)
    parser.add_argument("--gpus", type=int, nargs="+", default=list(SIZES))
    options = parser.parse_args()
    made = report([measure(gpus, options.decisions) for gpus in options.gpus])
    if options.json:
        print(json.dumps(made, indent=1))
        return 0
    columns = list(made["results"][0])
    print("".join(f"{name:>21}" for name in columns))
    for result in made["results"]:
        print("".join(f"{result.get(name, '-'):>21}" for name in columns))
    for name, bar in made["bars"].items():
        print(f"{name}: {bar['value']} (bar {bar['bar']}, {'met' if bar['met'] else 'missed'})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
