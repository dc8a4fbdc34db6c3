"""``gpucloud plan``: what a fleet could take of a demand, with advice; nothing is changed.

The fleet is one imagined (a standard system, so many nodes), or a pool of the platform's own as
its database has it. The demand is a mix of sizes drawn from a seed, or a trace: a CSV file with
the columns ``at_seconds``, ``gpus`` and, if launches end, ``stays_seconds``.
"""

import argparse
import asyncio
import csv
import importlib
import json
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from gpucloud_adapters.plan_report import page, text
from gpucloud_adapters.settings import database_url
from gpucloud_core.kernel.ids import NodeId, SkuId
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.nodes.systems import SYSTEMS
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import Demand, NodeCapacity, PlacementRequest
from gpucloud_core.placement.what_if import Arrival, Held, Outlook, play

SUMMARY: Final = "Show what a fleet could take of a demand, and which drains would pay."
POOL: Final = "plan"
_OK: Final = 0
_MISUSED: Final = 2
_HOUR: Final = 3600
_ARRIVAL: Final = 1.3  # GPUs asked for, of all there are, where no number is given

Mix = dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The fleet to plan on: its image, its pool, and what stands there."""

    image: FleetImage
    pool: str
    held: tuple[Held, ...] = ()

    @property
    def gpus(self) -> int:
        rows = map(self.image.row, self.image.node_ids())
        return sum(row.approved_mask.bit_count() for row in rows)


class Unusable(Exception):
    """The command's input makes no sense; the words say why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--system", choices=sorted(SYSTEMS), default="hgx-h200")
    parser.add_argument("--nodes", type=int, default=16, metavar="N")
    parser.add_argument("--mode", choices=["container", "vm"], default="container")
    parser.add_argument("--pool", metavar="POOL", help="a pool of DATABASE_URL instead of --nodes")
    parser.add_argument("--vcpus-per-gpu", type=int, default=22, metavar="N")
    parser.add_argument("--memory-gib-per-gpu", type=int, default=224, metavar="N")
    parser.add_argument("--mix", default="1:60,2:15,4:15,8:10", metavar="SIZE:WEIGHT,...")
    parser.add_argument("--launches", type=int, metavar="N", help="default: 1.3 times the GPUs")
    parser.add_argument("--every", type=int, default=60, metavar="SECONDS")
    parser.add_argument("--stay-hours", type=float, metavar="HOURS", help="mean; default: for good")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trace", type=Path, metavar="FILE.csv", help="instead of the mix's draws")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="also draw it")


def run(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    try:
        mix = parse_mix(asked.mix)
        ground = _ground(asked, environment)
        arrivals = _arrivals(asked, mix, ground.gpus)
        outlook = play(
            ground.image, _requests(asked, mix, arrivals, ground.pool), arrivals, held=ground.held
        )
    except (Unusable, OSError) as error:
        print(f"gpucloud plan: {error}", file=sys.stderr)
        return _MISUSED
    if asked.report is not None:
        asked.report.write_text(page(outlook))
    print(json.dumps(as_json(outlook), indent=1) if asked.json else text(outlook))
    return _OK


def parse_mix(words: str) -> Mix:
    """Return weights by GPU count."""
    try:
        pairs = [part.split(":") for part in words.split(",")]
        mix = {int(size): int(weight) for size, weight in pairs}
    except ValueError:
        raise Unusable(f"'{words}' is not a mix such as 1:60,2:15,8:10") from None
    if any(size < 1 or weight < 1 for size, weight in mix.items()):
        raise Unusable("sizes and weights of a mix start at 1")
    return mix


def as_json(outlook: Outlook) -> dict[str, object]:
    return asdict(outlook)


def _ground(asked: argparse.Namespace, environment: Mapping[str, str]) -> Ground:
    if asked.pool is not None:
        return asyncio.run(_live(database_url(environment).reveal(), asked.pool))
    if asked.nodes < 1:
        raise Unusable("a fleet has at least one node")
    system, image = SYSTEMS[asked.system], FleetImage()
    gpus = len(system.pci_addresses)
    full = (1 << gpus) - 1
    for number in range(asked.nodes):
        image.put(
            NodeCapacity(
                node_id=NodeId(f"nod_{number:04d}"),
                pool=POOL,
                system=system.name,
                mode=NodeMode(asked.mode),
                gpu_count=gpus,
                approved_mask=full,
                free_mask=full,
                free_vcpus=gpus * asked.vcpus_per_gpu,
                free_memory_mib=gpus * asked.memory_gib_per_gpu * 1024,
                sellable=True,
            )
        )
    return Ground(image=image, pool=POOL)


async def _live(url: str, pool: str) -> Ground:
    reader = importlib.import_module("gpucloud_adapters.plan_live")
    ground: Ground | None = await reader.read(url, pool)
    if ground is None:
        raise Unusable(f"the platform has no node of the pool '{pool}'")
    return ground


def _requests(
    asked: argparse.Namespace, mix: Mix, arrivals: Iterable[Arrival], pool: str
) -> dict[int, PlacementRequest]:
    demands = tuple(
        Demand(
            gpu_count=size,
            weight=weight,
            vcpus=size * asked.vcpus_per_gpu,
            memory_mib=size * asked.memory_gib_per_gpu * 1024,
        )
        for size, weight in mix.items()
    )
    sizes = sorted({*mix, *(arrival.gpu_count for arrival in arrivals)})
    return {
        size: PlacementRequest(
            sku_id=SkuId("plan"),
            pool=pool,
            gpu_count=size,
            vcpus=size * asked.vcpus_per_gpu,
            memory_mib=size * asked.memory_gib_per_gpu * 1024,
            demand_mix=demands,
        )
        for size in sizes
    }


def _arrivals(asked: argparse.Namespace, mix: Mix, gpus: int) -> list[Arrival]:
    if asked.trace is not None:
        with asked.trace.open(newline="") as lines:
            return _traced(list(csv.DictReader(lines)))
    chance = random.Random(asked.seed)  # noqa: S311  a draw to be repeated, not a secret
    sizes, weights = list(mix), list(mix.values())
    mean = sum(size * weight for size, weight in mix.items()) / sum(weights)
    number = asked.launches or max(1, int(gpus * _ARRIVAL / mean))
    return [
        Arrival(
            gpu_count=chance.choices(sizes, weights)[0],
            at_seconds=turn * asked.every,
            stays_seconds=(
                None
                if asked.stay_hours is None
                else int(chance.expovariate(1 / (asked.stay_hours * _HOUR)))
            ),
        )
        for turn in range(number)
    ]


def _traced(rows: Sequence[Mapping[str, str]]) -> list[Arrival]:
    try:
        found = [
            Arrival(
                gpu_count=int(row["gpus"]),
                at_seconds=int(float(row["at_seconds"])),
                stays_seconds=int(float(stays)) if (stays := row.get("stays_seconds")) else None,
            )
            for row in rows
        ]
    except (KeyError, ValueError) as error:
        raise Unusable(
            f"the trace needs the columns at_seconds and gpus with numbers: {error}"
        ) from error
    if not found or any(arrival.gpu_count < 1 for arrival in found):
        raise Unusable("a trace has at least one launch, each of at least one GPU")
    return sorted(found, key=lambda arrival: arrival.at_seconds)
