"""The product's own placement, driven like the paper's policies: a pod arrives, ``choose`` decides.

Nothing is tuned to a workload: the demand mix is the workload's pod list, counted by size and
models, with CPUs per GPU in steps of four. CPUs are counted in thousandths, so that nothing is
rounded. A node's class is its model and number of GPUs; links are all alike.
"""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Final

from openb import Curve, Node, Pod, Workload

from gpucloud_core.kernel.ids import NodeId, SkuId
from gpucloud_core.nodes.model import Gpu, LinkClass, NodeMode, Topology
from gpucloud_core.nodes.system import uniform
from gpucloud_core.placement.choose import choose
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import (
    Demand,
    DemandMix,
    NodeCapacity,
    Placement,
    PlacementRequest,
)

POOL: Final = "openb"
CPU_STEP: Final = 4000  # thousandths of a CPU per GPU; demand is rounded up to whole steps


def system_of(node: Node) -> str:
    return f"{node.model}-x{node.gpus}"


@cache
def topology_of(model: str, gpus: int) -> Topology:
    links, counts = uniform(gpus, LinkClass.PIX)
    return Topology(
        system=f"{model}-x{gpus}",
        gpus=tuple(
            Gpu(
                index=index,
                uuid=f"GPU-{index}",
                model=model,
                pci_address=f"0000:{index:02x}:00.0",
                numa=0,
                memory_mib=0,
            )
            for index in range(gpus)
        ),
        links=links,
        nvlinks=counts,
        cpu_count=0,
        memory_mib=0,
    )


def image_of(nodes: Iterable[Node]) -> FleetImage:
    """Return a fleet of these nodes, in tie-break order."""
    image = FleetImage()
    for number, node in enumerate(nodes):
        image.learn(topology_of(node.model, node.gpus))
        full = (1 << node.gpus) - 1
        image.put(
            NodeCapacity(
                node_id=NodeId(f"nod_{number:05d}"),
                pool=POOL,
                system=system_of(node),
                mode=NodeMode.CONTAINER,
                gpu_count=node.gpus,
                approved_mask=full,
                free_mask=full,
                free_vcpus=node.cpu_milli,
                free_memory_mib=node.memory_mib,
                sellable=True,
            )
        )
    return image


class Systems:
    """Which classes of nodes have a model that a pod asks for."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._of: dict[str, set[str]] = {}
        for node in nodes:
            self._of.setdefault(node.model, set()).add(system_of(node))

    def wanted(self, pod: Pod) -> frozenset[str]:
        return frozenset(name for model in pod.models for name in self._of.get(model, ()))


def mix_of(pods: Iterable[Pod], systems: Systems) -> DemandMix:
    """Return what a pod list asks for, commonest first."""
    found: Counter[Demand] = Counter()
    for pod in pods:
        if pod.num_gpu:
            step = CPU_STEP * pod.num_gpu
            cpus = -(-pod.cpu_milli // step) * step
            found[Demand(pod.num_gpu, 0, cpus, 0, systems.wanted(pod))] += 1
    return tuple(demand._replace(weight=count) for demand, count in found.most_common())


def replay_product(workload: Workload) -> tuple[float, ...]:
    """Let every pod arrive, place it or drop it for good, and return the curve of allocation."""
    image, systems = image_of(workload.nodes), Systems(workload.nodes)
    mix = mix_of(workload.listed, systems)
    curve = Curve(workload.gpus)
    for pod in workload.arrivals:
        if curve.is_full:
            break
        request = PlacementRequest(
            sku_id=SkuId("pod"),
            pool=POOL,
            gpu_count=pod.num_gpu,
            vcpus=pod.cpu_milli,
            memory_mib=pod.memory_mib,
            systems=systems.wanted(pod),
            demand_mix=mix,
        )
        decision = choose(request, image)
        is_placed = isinstance(decision, Placement)
        if isinstance(decision, Placement):
            image.take(decision.places[0], request)
        curve.add(pod.milli, placed=is_placed)
    return curve.points()
