"""The five deterministic policies of "Beware of Fragmentation" (Weng et al., USENIX ATC'23).

A policy scores every node that fits a pod; the highest integer wins, the first in tie-break order
among equals. Scores are kept for each shape of pod and worked out again only for nodes that have
changed since the shape was last seen, which gives the same answers hundreds of times faster.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from openb import GPU_MILLI, Curve, Node, Pod, Workload

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CPU_MAX: Final = 128_000.0
GPU_MAX: Final = 8_000.0
SLOTS: Final = 8
TYPICAL: Final = 0.95
_NEVER: Final = np.int64(-1)


class Cluster:
    """What is left of each node, as arrays."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.cpu = np.array([node.cpu_milli for node in nodes], dtype=np.int64)
        self.memory = np.array([node.memory_mib for node in nodes], dtype=np.int64)
        self.count = np.array([node.gpus for node in nodes], dtype=np.int64)
        self.gpu = np.where(np.arange(SLOTS) < self.count[:, None], GPU_MILLI, 0)
        self.left = self.gpu.sum(axis=1)
        self.models = sorted({node.model for node in nodes})
        self.model = np.array([self.models.index(node.model) for node in nodes])
        self.classes = [Counter[int]() for _ in nodes]

    def fits(self, pod: Pod, rows: Ints) -> npt.NDArray[np.bool_]:
        fits = (self.cpu[rows] >= pod.cpu_milli) & (self.memory[rows] >= pod.memory_mib)
        if pod.num_gpu:
            enough = (self.gpu[rows] >= pod.gpu_milli).sum(axis=1) >= pod.num_gpu
            fits &= enough & self.may_use(pod)[self.model[rows]]
        return fits

    def may_use(self, pod: Pod) -> npt.NDArray[np.bool_]:
        return np.array([not pod.models or model in pod.models for model in self.models])

    def take(self, pod: Pod, row: int, gpus: Ints) -> None:
        self.cpu[row] -= pod.cpu_milli
        self.memory[row] -= pod.memory_mib
        self.gpu[row, gpus] -= pod.gpu_milli
        self.left[row] -= pod.milli
        if pod.num_gpu:
            self.classes[row][class_of(pod)] += 1


def class_of(pod: Pod) -> int:
    """Return 0 for a share of a GPU, else how many GPUs the pod takes."""
    return 0 if 0 < pod.gpu_milli < GPU_MILLI else pod.num_gpu


class Policy(ABC):
    def __init__(self, cluster: Cluster, workload: Workload) -> None:
        self.cluster = cluster

    @abstractmethod
    def scores(self, pod: Pod, rows: Ints) -> Ints:
        """Return the score of the pod on each of ``rows``, which all fit it."""

    def final(self, scores: Ints) -> Ints:
        """Return the scores as compared, given those of all nodes that fit (others -1)."""
        return scores

    def gpus(self, pod: Pod, row: int) -> Ints:
        free = self.cluster.gpu[row]
        able = np.flatnonzero(free >= pod.gpu_milli)
        if class_of(pod) == 0 and pod.num_gpu:
            return np.asarray(able[np.argmin(free[able], keepdims=True)])
        return np.asarray(able[: pod.num_gpu])


class BestFit(Policy):
    def scores(self, pod: Pod, rows: Ints) -> Ints:
        cpu = (self.cluster.cpu[rows] - pod.cpu_milli) / CPU_MAX
        gpu = (self.cluster.left[rows] - pod.milli) / GPU_MAX
        return _whole(100 * (1 - 0.5 * cpu - 0.5 * gpu))

    def final(self, scores: Ints) -> Ints:
        fitting = scores >= 0
        low, high = scores[fitting].min(), scores[fitting].max()
        if low == high:
            return np.asarray(np.where(fitting, 0, _NEVER))
        return np.asarray(np.where(fitting, (scores - low) * 100 // (high - low), _NEVER))


class DotProd(Policy):
    def scores(self, pod: Pod, rows: Ints) -> Ints:
        cpu = self.cluster.cpu[rows] / CPU_MAX * (pod.cpu_milli / CPU_MAX)
        gpu = self.cluster.left[rows] / GPU_MAX * (pod.milli / GPU_MAX)
        return _whole(100 * (1 - (cpu + gpu) / 2))


class Packing(Policy):
    def scores(self, pod: Pod, rows: Ints) -> Ints:
        if not pod.num_gpu:
            return np.zeros(len(rows), dtype=np.int64)
        free = self.cluster.gpu[rows]
        able = np.sort(np.where(free >= pod.gpu_milli, free, 2 * GPU_MILLI), axis=1)
        used = able[:, : pod.num_gpu]
        opened = (used == GPU_MILLI).sum(axis=1)
        filled = np.maximum(100 - (used // 10).sum(axis=1) // 10, 50)
        count = self.cluster.count[rows]
        is_idle = self.cluster.left[rows] == count * GPU_MILLI
        found = np.where(opened > 0, np.maximum(50 - opened, 33), filled)
        return np.asarray(np.where(is_idle, np.maximum(33 - count, count), found))


class Clustering(Policy):
    def scores(self, pod: Pod, rows: Ints) -> Ints:
        if not pod.num_gpu:
            return np.zeros(len(rows), dtype=np.int64)
        own = class_of(pod)
        base = 25 * (8000 - self.cluster.left[rows]) // 8000
        found = [_affinity(self.cluster.classes[row], own) for row in rows]
        return np.asarray(base + np.array(found))


def _affinity(classes: Counter[int], own: int) -> int:
    if not classes:
        return 25
    if own in classes:
        return 75 if len(classes) == 1 else 50
    return 0


class FGD(Policy):
    """Fragmentation gradient descent."""

    def __init__(self, cluster: Cluster, workload: Workload) -> None:
        super().__init__(cluster, workload)
        typical = _typical(workload.listed)
        self._cpu = np.array([pod.cpu_milli for pod, _ in typical])
        self._num = np.array([pod.num_gpu for pod, _ in typical])
        milli = np.array([pod.gpu_milli for pod, _ in typical])
        self._milli, self._which = np.unique(milli, return_inverse=True)
        self._weight = np.array([weight for _, weight in typical])
        self._may = np.array([cluster.may_use(pod) for pod, _ in typical]).T

    def _fragments(self, model: Ints, cpu: Ints, gpu: Ints) -> Floats:
        """Return the expected fragment of states, each a row of ``gpu``."""
        able = gpu[:, None, :] >= self._milli[:, None]
        counts = able.sum(axis=2)[:, self._which]
        small = np.where(able, 0, gpu[:, None, :]).sum(axis=2)[:, self._which]
        usable = (self._num > 0) & self._may[model]
        usable &= (cpu[:, None] >= self._cpu) & (counts >= self._num)
        lost = np.where(usable, small, gpu.sum(axis=1)[:, None])
        return np.asarray(lost @ self._weight)

    def _gradients(self, pod: Pod, rows: Ints) -> Ints:
        """Return 100 times the sigmoid of the gain, for each row and each GPU it may use."""
        model, cpu, gpu = self.cluster.model[rows], self.cluster.cpu[rows], self.cluster.gpu[rows]
        before = self._fragments(model, cpu, gpu)
        if class_of(pod) or not pod.num_gpu:
            able = gpu >= pod.gpu_milli
            taken = able & (able.cumsum(axis=1) <= pod.num_gpu)
            after = self._fragments(model, cpu - pod.cpu_milli, gpu - taken * pod.gpu_milli)
            return _squashed(before - after)[:, None]
        row, index = np.nonzero(gpu >= pod.gpu_milli)
        left = gpu[row]
        left[np.arange(len(row)), index] -= pod.gpu_milli
        after = self._fragments(model[row], cpu[row] - pod.cpu_milli, left)
        found = np.full(gpu.shape, _NEVER)
        found[row, index] = _squashed(before[row] - after)
        return found

    def scores(self, pod: Pod, rows: Ints) -> Ints:
        return np.asarray(self._gradients(pod, rows).max(axis=1))

    def gpus(self, pod: Pod, row: int) -> Ints:
        if class_of(pod) or not pod.num_gpu:
            return super().gpus(pod, row)
        return np.asarray(np.argmax(self._gradients(pod, np.array([row]))[0], keepdims=True))


def _squashed(gain: Floats) -> Ints:
    return _whole(100 / (1 + np.exp(-gain / GPU_MILLI)))


def _whole(scores: Floats) -> Ints:
    return np.asarray(scores.astype(np.int64))


def _typical(pods: Iterable[Pod]) -> list[tuple[Pod, float]]:
    """Return the commonest pods that make up 95 % of all, and how common each is."""
    found = Counter(pod._replace(memory_mib=0) for pod in pods)
    ordered = sorted(
        found.items(),
        key=lambda item: (
            item[1],
            item[0].cpu_milli,
            item[0].gpu_milli,
            item[0].num_gpu,
            item[0].models,
        ),
        reverse=True,
    )
    total, covered, kept = found.total(), 0, []
    for pod, count in ordered:
        kept.append((pod, count))
        covered += count
        if covered >= TYPICAL * total:
            break
    return [(pod, count / covered) for pod, count in kept]


PAPER: Final[dict[str, type[Policy]]] = {
    "FGD": FGD,
    "BestFit": BestFit,
    "DotProd": DotProd,
    "Packing": Packing,
    "Clustering": Clustering,
}


def replay(workload: Workload, make: type[Policy]) -> tuple[float, ...]:
    """Let every pod arrive, place it or drop it for good, and return the curve of allocation."""
    cluster = Cluster(workload.nodes)
    policy = make(cluster, workload)
    curve = Curve(workload.gpus)
    size = len(workload.nodes)
    version, clock = np.zeros(size, dtype=np.int64), 1
    known: dict[Pod, tuple[Ints, int]] = {}
    for pod in workload.arrivals:
        if curve.is_full:
            break
        scores, seen = known.get(pod, (np.empty(size, dtype=np.int64), -1))
        stale = np.flatnonzero(version > seen)
        if len(stale):
            scores[stale] = _NEVER
            able = stale[cluster.fits(pod, stale)]
            if len(able):
                scores[able] = policy.scores(pod, able)
        known[pod] = scores, clock
        is_placed = bool(scores.max() >= 0)
        if is_placed:
            clock += 1
            row = int(np.argmax(policy.final(scores)))
            cluster.take(pod, row, policy.gpus(pod, row))
            version[row] = clock
        curve.add(pod.milli, placed=is_placed)
    return curve.points()
