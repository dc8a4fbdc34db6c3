"""The openb workloads: a production cluster's nodes, thirteen pod lists, and the orders of arrival.

The files are those of the paper "Beware of Fragmentation" (Weng et al., USENIX ATC'23), as kept in
the repository of its simulator; the orders are its seeded shuffles. ``folder`` holds ``csv``,
``expected`` and ``orders``. A small folder of the same form lies in ``tests/data/openb``.
"""

import csv
import gzip
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

GPU_MILLI: Final = 1000
POINTS: Final = 131  # a curve has one for each per cent of arrival, 0 to 130
POLICIES: Final = {
    "FGD": "06-FGD",
    "BestFit": "05-BestFit",
    "DotProd": "02-DotProd",
    "Packing": "04-GpuPacking",
    "Clustering": "03-GpuClustering",
}
"""Name here, name in the shipped curves."""


class Node(NamedTuple):
    cpu_milli: int
    memory_mib: int
    gpus: int
    model: str


class Pod(NamedTuple):
    cpu_milli: int
    memory_mib: int
    num_gpu: int
    gpu_milli: int  # of each GPU
    models: tuple[str, ...]  # any, if empty; as written, for FGD tells other spellings apart

    @property
    def milli(self) -> int:
        return self.num_gpu * self.gpu_milli


@dataclass(frozen=True)
class Workload:
    """One pod list in one order of arrival, on the cluster's nodes in tie-break order."""

    name: str
    seed: int
    nodes: tuple[Node, ...]
    listed: tuple[Pod, ...]
    arrivals: tuple[Pod, ...]

    @property
    def gpus(self) -> int:
        return sum(node.gpus for node in self.nodes)


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") as lines:
        return list(csv.DictReader(lines))


def _pod(row: dict[str, str]) -> Pod:
    gpus, cpu, memory = (int(row[name]) for name in ("num_gpu", "cpu_milli", "memory_mib"))
    if not gpus:
        return Pod(cpu, memory, 0, 0, ())
    wanted = tuple(model for model in (row.get("gpu_spec") or "").split("|") if model)
    return Pod(cpu, memory, gpus, int(row["gpu_milli"]), wanted)


@lru_cache(maxsize=32)
def _listed(folder: Path, name: str) -> tuple[Pod, ...]:
    return tuple(map(_pod, _rows(folder / f"csv/openb_pod_list_{name}.csv.gz")))


@lru_cache(maxsize=1)
def _nodes(folder: Path) -> tuple[Node, ...]:
    return tuple(
        Node(int(row["cpu_milli"]), int(row["memory_mib"]), int(row["gpu"]), row["model"])
        for row in _rows(folder / "csv/openb_node_list_gpu_node.csv.gz")
    )


def names(folder: Path) -> list[str]:
    """Return the workloads that the folder holds."""
    found = (folder / "csv").glob("openb_pod_list_*.csv.gz")
    return sorted(path.name.removeprefix("openb_pod_list_").split(".")[0] for path in found)


def workload(folder: Path, name: str, seed: int) -> Workload:
    with np.load(folder / "orders/orders.npz") as orders:
        order = orders[f"{name}__{seed}__pods"].tolist()
        rank = orders[f"{name}__{seed}__node_rank"]
    listed, nodes = _listed(folder, name), _nodes(folder)
    return Workload(
        name=name,
        seed=seed,
        nodes=tuple(nodes[row] for row in np.argsort(rank)),
        listed=listed,
        arrivals=tuple(listed[row] for row in order),
    )


@lru_cache(maxsize=1)
def expected(folder: Path) -> dict[tuple[str, str, int], tuple[float, ...]]:
    """Return the shipped allocation curves by workload, policy (as named there) and seed."""
    return {
        (
            row["workload"].removeprefix("openb_pod_list_"),
            row["sc_policy"],
            int(row["seed"]),
        ): tuple(float(row[str(point)]) for point in range(POINTS))
        for row in _rows(folder / "expected/analysis_allo_discrete.csv.gz")
    }


class Curve:
    """Allocation against arrival, in per cent of all GPUs, as the shipped curves count it."""

    def __init__(self, gpus: int) -> None:
        self._percent = gpus * GPU_MILLI / 100
        self._sums = [0.0] * (POINTS + 1)
        self._counts = [0] * (POINTS + 1)
        self.arrived = self.used = 0

    def add(self, milli: int, *, placed: bool) -> None:
        self.arrived += milli
        self.used += milli if placed else 0
        point = min(round(self.arrived / self._percent), POINTS)
        self._sums[point] += round(self.used / self._percent, 2)
        self._counts[point] += 1

    @property
    def is_full(self) -> bool:
        """Tell whether so much has arrived that nothing more will be drawn."""
        return round(self.arrived / self._percent) >= POINTS

    def points(self) -> tuple[float, ...]:
        pairs = zip(self._sums[:POINTS], self._counts[:POINTS], strict=True)
        return tuple(total / count if count else float("nan") for total, count in pairs)
