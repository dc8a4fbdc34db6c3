"""Where an allocation stands: its node, its slots, and what the node is asked to make there."""

from collections.abc import Iterable
from dataclasses import dataclass

from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.request import hostname
from gpucloud_core.catalog.model import OsImage
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.nodes.model import Gpu, Node, NodeAccess, SliceSpec, Slot
from gpucloud_core.placement.model import Claim
from gpucloud_core.work.model import Task

PIDS_PER_GPU = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An allocation with everything about its place, read at one instant."""

    allocation: Allocation
    claim: Claim
    node: Node
    slots: tuple[Slot, ...]
    image: OsImage

    @property
    def access(self) -> NodeAccess:
        return self.node.access

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        held = {slot.gpu_uuid for slot in self.slots}
        return tuple(gpu for gpu in self.node.topology.gpus if gpu.uuid in held)

    @property
    def gpu_uuids(self) -> tuple[str, ...]:
        return tuple(gpu.uuid for gpu in self.gpus)

    @property
    def disks(self) -> tuple[str, ...]:
        return disks_of(self.claim, self.slots)

    @property
    def nics(self) -> tuple[str, ...]:
        return nics_of(self.claim, self.slots)


def disks_of(claim: Claim | None, slots: Iterable[Slot]) -> tuple[str, ...]:
    """Return the data disks of a claim on these slots: one each, where it comes with them."""
    has = claim is not None and claim.beside.has_disk
    return tuple(slot.disk for slot in slots if has and slot.disk)


def nics_of(claim: Claim | None, slots: Iterable[Slot]) -> tuple[str, ...]:
    """Return the network ports of a claim on these slots, likewise."""
    has = claim is not None and claim.beside.has_nic
    return tuple(slot.nic for slot in slots if has and slot.nic)


def slots_in(mask: int, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """Return the slots whose bit is set, by index."""
    chosen = (slot for slot in slots if mask >> slot.index & 1)
    return tuple(sorted(chosen, key=lambda slot: slot.index))


async def place_of(unit: AllocationUnit, allocation: Allocation) -> Placed:
    """Read the place of ``allocation``.

    Raises:
        NotFound: a part of it is gone.
    """
    claim = await unit.claims.get(allocation.claim_id)
    node = await unit.nodes.get(allocation.node_id)
    image = await unit.os_images.get(allocation.image_id)
    if claim is None or node is None or image is None:
        raise NotFound("The allocation's place is gone.")
    slots = await unit.slots.find(node_id=node.id)
    return Placed(
        allocation=allocation,
        claim=claim,
        node=node,
        slots=slots_in(claim.mask, slots),
        image=image,
    )


async def place_in(unit: AllocationUnit, task: Task) -> Placed:
    """Read the place of a task's allocation."""
    allocation = await unit.allocations.get(task.subject)
    if allocation is None:
        raise NotFound("The task's allocation is gone.")
    return await place_of(unit, allocation)


def slice_spec(placed: Placed, generation: int) -> SliceSpec:
    """Return what the node is asked to make. Pure; tagged with the claim."""
    allocation, first = placed.allocation, placed.slots[0]
    return SliceSpec(
        claim_id=allocation.claim_id,
        allocation_id=allocation.id,
        generation=generation,
        image=placed.image.id,
        username=placed.image.username,
        hostname=hostname(allocation.name, allocation.id),
        gpu_uuids=placed.gpu_uuids,
        gpu_indexes=tuple(gpu.index for gpu in placed.gpus),
        cpus=",".join(slot.cpus for slot in placed.slots),
        memory_mib=placed.claim.memory_mib,
        pids_max=PIDS_PER_GPU * allocation.gpu_count,
        ssh_host=first.ssh_host,
        ssh_port=first.ssh_port,
        ssh_cidrs=allocation.network.ssh_cidrs,
        inbound=tuple((rule.port, rule.cidrs) for rule in allocation.network.inbound),
        disks=placed.disks,
        nics=placed.nics,
    )
