"""How long one placement decision takes as the fleet grows; it should not grow with it.

Each fleet is a seeded mix of busy and free HGX H200 nodes. Decisions are made one after another on
a changing image: every second one is kept, so that the tables behind the decision are used and
renewed as in life. Exits with 1 if the largest fleet is much slower than the smallest.
"""

import random
import statistics
import sys
import time
from typing import Final

from gpucloud_core.kernel.ids import NodeId, SkuId
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.placement.choose import choose
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import NodeCapacity, Placement, PlacementRequest

SIZES: Final = (100, 1_000, 10_000)
DECISIONS: Final = 400
WORST_GROWTH: Final = 5.0  # a hundred times the nodes, at most five times the time
POOL: Final = "eu-fra-1/NVIDIA H200/container"
VCPUS: Final = 20
MEMORY_MIB: Final = 200_000
MIX: Final = ((1, 60), (2, 15), (4, 15), (8, 10))


def fleet(size: int, chance: random.Random) -> FleetImage:
    """Return ``size`` nodes, each with some of its eight GPUs taken."""
    topology = hgx_h200(seed="bench")
    image = FleetImage()
    image.learn(topology)
    for number in range(size):
        free = chance.choice((0x00, 0x0F, 0x03, 0xF0, 0x55, 0xFE, 0xFF, 0x80))
        count = free.bit_count()
        image.put(
            NodeCapacity(
                node_id=NodeId(f"nod_{number:06d}"),
                pool=POOL,
                system=topology.system,
                mode=NodeMode.CONTAINER,
                gpu_count=8,
                approved_mask=0xFF,
                free_mask=free,
                free_vcpus=VCPUS * count,
                free_memory_mib=MEMORY_MIB * count,
                sellable=True,
            )
        )
    return image


def request(gpus: int) -> PlacementRequest:
    return PlacementRequest(
        sku_id=SkuId("h200-sxm"),
        pool=POOL,
        gpu_count=gpus,
        vcpus=VCPUS * gpus,
        memory_mib=MEMORY_MIB * gpus,
        demand_mix=MIX,
    )


def decide(image: FleetImage, chance: random.Random) -> list[float]:
    """Make decisions on a changing image; return how long each took, in microseconds."""
    taken: list[NodeCapacity] = []
    spent = []
    for number in range(DECISIONS):
        asked = request(chance.choice((1, 1, 1, 2, 4, 8)))
        began = time.perf_counter_ns()
        answer = choose(asked, image)
        spent.append((time.perf_counter_ns() - began) / 1000)
        if isinstance(answer, Placement) and number % 2:
            place = answer.places[0]
            taken.append(image.row(place.node_id))
            image.take(place, asked)
        elif taken:
            image.put(taken.pop(0))
    return spent


def main() -> int:
    print(f"{'nodes':>8}  {'build ms':>9}  {'median µs':>10}  {'p99 µs':>8}")
    medians = []
    for size in SIZES:
        chance = random.Random(size)
        began = time.perf_counter()
        image = fleet(size, chance)
        built = (time.perf_counter() - began) * 1000
        spent = decide(image, chance)
        medians.append(statistics.median(spent))
        worst = statistics.quantiles(spent, n=100)[98]
        print(f"{size:>8}  {built:>9.1f}  {medians[-1]:>10.0f}  {worst:>8.0f}")
    growth = medians[-1] / medians[0]
    print(f"{SIZES[-1] // SIZES[0]} times the nodes cost {growth:.1f} times the time")
    return int(growth > WORST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
