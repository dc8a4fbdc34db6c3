"""Slices, keys and a clock for tests of nodes without hardware."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from gpucloud_core.kernel.ids import AllocationId, ClaimId, NodeId, SlotId, entity_id
from gpucloud_core.nodes.beside import beside
from gpucloud_core.nodes.model import LinkClass, NodeMode, SliceSpec, Slot, SlotState, Topology
from gpucloud_core.nodes.systems import hgx_h200

NOON: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
NODE: Final = hgx_h200(seed="tests")
KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN1BcP+Y9Ft/HTU1uxM0V82BUvDXw0niHdgBpdYrWIXG"
OTHER_KEY: Final = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJeGPBn/jWp9+usJ+uWtSNDvESkaZARny6/Mt3O+6rF/"
)


@dataclass
class SteppedClock:
    """Stands until a test moves it."""

    instant: datetime = field(default=NOON)

    def now(self) -> datetime:
        return self.instant

    def step(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


def claim(number: int) -> ClaimId:
    return ClaimId(entity_id("clm", number))


def a_spec(
    number: int = 1,
    *,
    gpus: tuple[int, ...] = (2, 3),
    generation: int = 1,
    port: int | None = None,
    cidrs: tuple[str, ...] = (),
    topology: Topology = NODE,
) -> SliceSpec:
    """Return the spec of claim ``number`` over some of the node's GPUs."""
    return SliceSpec(
        claim_id=claim(number),
        allocation_id=AllocationId(entity_id("alc", number)),
        generation=generation,
        image="ubuntu-24.04",
        username="ubuntu",
        hostname=f"slice-{number}",
        gpu_uuids=tuple(topology.gpus[index].uuid for index in gpus),
        gpu_indexes=gpus,
        cpus="24-47",
        memory_mib=262_144,
        pids_max=4096,
        ssh_host="127.0.0.1",
        ssh_port=2200 + number if port is None else port,
        ssh_cidrs=cidrs,
    )


def slots_of(
    topology: Topology, ports: Sequence[int], *, host: str = "127.0.0.1"
) -> tuple[Slot, ...]:
    """Return a slot for each port, over the node's first GPUs."""
    near = beside(topology, NodeMode.CONTAINER)
    return tuple(
        Slot(
            id=SlotId(entity_id("slt", index)),
            node_id=NodeId(entity_id("nod", 1)),
            index=index,
            gpu_uuid=topology.gpus[index].uuid,
            numa=topology.gpus[index].numa,
            cpus=f"{index * 12}-{index * 12 + 11}",
            memory_mib=131_072,
            ssh_host="127.0.0.1",
            ssh_port=port,
            disk=near[index].disk,
            state=SlotState.AVAILABLE,
            state_since=NOON,
        )
        for index, port in enumerate(ports)
    )


def without_diagonal(topology: Topology) -> Topology:
    """Return the topology with the links of each GPU to itself, which mean nothing, made alike."""
    links = tuple(
        tuple(LinkClass.SYS if i == j else link for j, link in enumerate(row))
        for i, row in enumerate(topology.links)
    )
    return replace(topology, links=links)
