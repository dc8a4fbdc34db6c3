"""Slots: what discovery proposes for sale around each GPU, and what must be so before approval.

The host keeps a few cores of every NUMA domain and some memory for itself; the rest is shared out
evenly, each GPU from its own domain, whole cores with all their threads. Like nodes get like
shares, so that placement can treat them as one kind. Disks and network ports are dealt out by
``beside``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gpucloud_core.kernel.errors import DomainError, ErrorKind
from gpucloud_core.kernel.ids import SlotId
from gpucloud_core.nodes.beside import beside, disk_objection, nearness, nic_objection, why_none
from gpucloud_core.nodes.fabric import is_switched, partition_masks
from gpucloud_core.nodes.model import Gpu, Node, NodeMode, Slot, SlotState, Topology

UNFIT: Final = frozenset(
    {
        "gpu_fabric_not_ready",
        "gpu_in_mig_mode",
        "gpu_memory_failing",
        "gpu_partitioned",
        "gpu_recovery_wanted",
        "gpu_reset_required",
    }
)
"""Faults with which a GPU is not sold as it stands."""

_MEMORY_GRAIN_MIB: Final = 1024  # shares are whole GiB, so that a few odd MiB make no new kind


class SlotsUnplaced(DomainError):
    """There are not as many ids and SSH endpoints as the node has GPUs."""

    code = "slots_unplaced"
    kind = ErrorKind.INVALID
    next_step = "Give each GPU an SSH endpoint of its own."


class CpuListInvalid(DomainError):
    """This is not a list of CPUs."""

    code = "cpu_list_invalid"
    kind = ErrorKind.INVALID
    next_step = "Write it as the kernel does, such as 0-47,96-143."


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReserve:
    """What the host keeps for itself: its driver, our agent, the page cache of images."""

    cores_per_numa: int = 2
    memory_mib: int = 65_536


HOST_RESERVE: Final = HostReserve()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The CPUs (as a cpulist) and the memory that go with one GPU."""

    cpus: str
    memory_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that must be so before a slot is approved, and why it is or is not."""

    code: str
    holds: bool
    reason: str


_CPU_MAX: Final = 65_536


def parse_cpus(cpulist: str) -> tuple[int, ...]:
    """Return the CPUs of a cpulist such as ``0-47,96-143``, in the order written.

    Raises:
        CpuListInvalid: it is not one.
    """
    return tuple(cpu for run in _runs(cpulist) for cpu in run)


def format_cpus(cpus: Sequence[int]) -> str:
    """Return CPUs as a cpulist, ascending, runs joined."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][-1] + 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def shares(topology: Topology, reserve: HostReserve = HOST_RESERVE) -> tuple[Share, ...]:
    """Return the share of each GPU, by index."""
    if not topology.gpus:
        return ()
    spare = topology.memory_mib - min(reserve.memory_mib, topology.memory_mib // 8)
    memory = spare // len(topology.gpus) // _MEMORY_GRAIN_MIB * _MEMORY_GRAIN_MIB
    cpus = [""] * len(topology.gpus)
    for numa in {gpu.numa for gpu in topology.gpus}:
        if 0 <= numa < len(topology.numa_cpus):
            members = [gpu.index for gpu in topology.gpus if gpu.numa == numa]
            cores = _cores(topology.numa_cpus[numa])
            kept = max(0, min(reserve.cores_per_numa, len(cores) - len(members)))
            each = (len(cores) - kept) // len(members)
            first = len(cores) - each * len(members)  # what does not divide stays with the host
            for place, index in enumerate(members):
                own = cores[first + place * each : first + (place + 1) * each]
                cpus[index] = format_cpus([cpu for core in own for cpu in core])
    return tuple(Share(cpus=own, memory_mib=memory) for own in cpus)


def propose_slots(
    node: Node,
    *,
    slot_ids: Sequence[SlotId],
    endpoints: Sequence[tuple[str, int]],
    at: datetime,
    reserve: HostReserve = HOST_RESERVE,
) -> tuple[Slot, ...]:
    """Return one proposed slot per GPU, with its share, its disk and port, and an SSH endpoint.

    Raises:
        SlotsUnplaced: fewer ids or endpoints than GPUs, or an endpoint twice.
    """
    gpus = node.topology.gpus
    ends = tuple(endpoints[: len(gpus)])
    if len(slot_ids) < len(gpus) or len(ends) < len(gpus) or len(set(ends)) < len(ends):
        raise SlotsUnplaced(
            f"{node.name} has {len(gpus)} GPUs; there are {len(slot_ids)} slot ids and "
            f"{len(set(ends))} different SSH endpoints."
        )
    devices = beside(node.topology, node.mode)
    made = zip(gpus, slot_ids, ends, shares(node.topology, reserve), devices, strict=False)
    return tuple(
        Slot(
            id=slot_id,
            node_id=node.id,
            index=gpu.index,
            gpu_uuid=gpu.uuid,
            numa=gpu.numa,
            cpus=share.cpus,
            memory_mib=share.memory_mib,
            ssh_host=host,
            ssh_port=port,
            state=SlotState.PROPOSED,
            state_since=at,
            disk=near.disk,
            nic=near.nic,
        )
        for gpu, slot_id, (host, port), share, near in made
    )


def conditions(node: Node, slot: Slot) -> tuple[Condition, ...]:
    """Return every readiness condition of a slot, each with its reason."""
    gpu = next((gpu for gpu in node.topology.gpus if gpu.uuid == slot.gpu_uuid), None)
    if gpu is None:
        reason = f"{slot.gpu_uuid} is not among the GPUs that discovery found."
        return (Condition(code="gpu_present", holds=False, reason=reason),)
    found = [
        _condition("gpu_present", True, f"{gpu.model} at {gpu.pci_address}."),
        _condition(
            "gpu_index",
            gpu.index == slot.index,
            f"It is GPU {gpu.index} in PCI order; the slot says {slot.index}.",
        ),
        _condition("gpu_memory", gpu.memory_mib > 0, f"It reports {gpu.memory_mib} MiB."),
        _health(node, gpu),
        _one_model(node.topology, gpu),
        _condition(
            "numa_domain",
            0 <= gpu.numa < max(1, len(node.topology.numa_cpus)),
            f"NUMA domain {gpu.numa}." if gpu.numa >= 0 else "Its NUMA domain is not known.",
        ),
        _condition("cpu_share", bool(slot.cpus), f"CPUs {slot.cpus or 'none'}."),
        _condition("memory_share", slot.memory_mib > 0, f"{slot.memory_mib} MiB."),
        _data_disk(_seen(node), gpu, slot),
        _network_port(_seen(node), gpu, slot, node.mode),
        _mode(node),
    ]
    if node.mode is NodeMode.VM:
        found.append(_isolation(gpu))
        if is_switched(node.topology):
            found.append(_partitions(node.topology))
    return tuple(found)


def is_ready(node: Node, slot: Slot) -> bool:
    """Return whether every condition of the slot holds."""
    return all(condition.holds for condition in conditions(node, slot))


def _condition(code: str, holds: bool, reason: str) -> Condition:
    return Condition(code=code, holds=holds, reason=reason)


def _health(node: Node, gpu: Gpu) -> Condition:
    """Ask what the last discovery said of the GPU itself; a node never looked at has none."""
    faults = node.findings.faults if node.findings else ()
    bad = [fault for fault in faults if fault.subject == gpu.uuid and fault.code in UNFIT]
    if node.mode is NodeMode.MIG:
        bad = [fault for fault in bad if fault.code != "gpu_in_mig_mode"]
    reason = " ".join(fault.detail for fault in bad) or "Nothing is known to be wrong with it."
    return _condition("gpu_health", not bad, reason)


def _one_model(topology: Topology, gpu: Gpu) -> Condition:
    models = sorted({other.model for other in topology.gpus})
    reason = f"All GPUs are {gpu.model}." if len(models) == 1 else f"Mixed: {', '.join(models)}."
    return _condition("one_model", len(models) == 1, reason)


def _seen(node: Node) -> Topology:
    """Return the inside as it was last found: what has changed there is not approved unseen."""
    found = node.findings.found if node.findings else None
    return found or node.topology


def _data_disk(seen: Topology, gpu: Gpu, slot: Slot) -> Condition:
    disk = next((each for each in seen.nvmes if each.name == slot.disk), None)
    if not slot.disk:
        reason = why_none("data disk", ((each.name, disk_objection(each)) for each in seen.nvmes))
    elif disk is None:
        reason = f"Disk {slot.disk} is not among those that discovery found."
    elif objection := disk_objection(disk):
        reason = f"Disk {disk.name} {objection}."
    else:
        reason = f"Disk {disk.name}, {disk.size_bytes // 10**9} GB, {nearness(gpu, disk)}."
        return _condition("data_disk", True, reason)
    return _condition("data_disk", not slot.disk, reason)


def _network_port(seen: Topology, gpu: Gpu, slot: Slot, mode: NodeMode) -> Condition:
    nic = next((each for each in seen.nics if each.pci_address == slot.nic), None)
    if not slot.nic:
        objections = ((each.pci_address, nic_objection(each, mode)) for each in seen.nics)
        reason = why_none("network port", objections)
    elif nic is None:
        reason = f"Port {slot.nic} is not among those that discovery found."
    elif nic.in_use:  # that it has no device on the host may be because a slice has it
        reason = f"Port {nic.pci_address} {nic.in_use}."
    else:
        reason = f"Port {nic.pci_address}, {nic.model}, {nearness(gpu, nic)}."
        return _condition("network_port", True, reason)
    return _condition("network_port", not slot.nic, reason)


def _mode(node: Node) -> Condition:
    really = node.findings.mode if node.findings else None
    if really not in {None, node.mode}:
        reason = f"The node says that it is still in {really} mode, not in {node.mode} mode."
        return _condition("node_mode", False, reason)
    if node.mode is NodeMode.MIG:
        return _condition("node_mode", False, "MIG instances are sold by geometry, not as slots.")
    return _condition("node_mode", True, f"The node is in {node.mode} mode.")


def _isolation(gpu: Gpu) -> Condition:
    """A guest gets a whole IOMMU group; nothing that is not its GPU may be in there."""
    if gpu.iommu_group is None:
        reason = "Its IOMMU group is not known: the IOMMU is off, or lspci does not tell."
        return _condition("iommu_group", False, reason)
    if gpu.iommu_mates:
        others = ", ".join(gpu.iommu_mates)
        reason = f"IOMMU group {gpu.iommu_group} also holds {others}: access control is off there."
        return _condition("iommu_group", False, reason)
    return _condition("iommu_group", True, f"It is alone in IOMMU group {gpu.iommu_group}.")


def _partitions(topology: Topology) -> Condition:
    known = bool(partition_masks(topology))
    reason = (
        "The fabric's partitions are known through the GPUs' module ids."
        if known
        else "The fabric or a module id is not known, so no partition can be switched."
    )
    return _condition("fabric_partitions", known, reason)


def _cores(cpulist: str) -> list[tuple[int, ...]]:
    """Return a domain's cores, each with its threads.

    The kernel numbers the first threads of all cores in one run and the second threads in another
    of the same length; where the runs differ, each CPU counts as a core.
    """
    runs = _runs(cpulist) if cpulist else []
    if len({len(run) for run in runs}) == 1:
        return list(zip(*runs, strict=True))
    return [(cpu,) for run in runs for cpu in run]


def _runs(cpulist: str) -> list[range]:
    runs: list[range] = []
    total = 0
    for part in cpulist.split(",") if cpulist else ():
        first, dash, last = part.strip().partition("-")
        low, high = _number(first, cpulist), _number(last if dash else first, cpulist)
        if high < low:
            raise CpuListInvalid(f"{cpulist[:80]!r} counts down.")
        runs.append(range(low, high + 1))
        total += len(runs[-1])
        if total > _CPU_MAX:
            raise CpuListInvalid(f"{cpulist[:80]!r} names more CPUs than any machine has.")
    return runs


def _number(text: str, cpulist: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_CPU_MAX))):
        raise CpuListInvalid(f"{cpulist[:80]!r} is not a list of CPUs.")
    number = int(text)
    if number >= _CPU_MAX:
        raise CpuListInvalid(f"{cpulist[:80]!r} names a CPU that no machine has.")
    return number
