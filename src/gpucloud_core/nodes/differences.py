"""What a later discovery found otherwise: drift, told in words, never applied by itself."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from gpucloud_core.nodes.model import Gpu, Nic, Nvme, Topology

MEMORY_SLACK_PERCENT: Final = 1
"""What the kernel keeps for itself changes with its version; that is no other machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it was approved: a stable code, what it is about, both sides."""

    code: str
    subject: str
    before: str
    after: str


def differences(before: Topology, after: Topology) -> tuple[Difference, ...]:
    """Return all that ``after`` has otherwise, GPUs by UUID first, in PCI order.

    What a link of a GPU to itself says means nothing and is not compared.
    """
    return (*_gpus(before, after), *_host(before, after), *_devices(before, after))


def _gpus(before: Topology, after: Topology) -> Iterator[Difference]:
    was = {gpu.uuid: gpu for gpu in before.gpus}
    now = {gpu.uuid: gpu for gpu in after.gpus}
    for uuid, gpu in was.items():
        if uuid not in now:
            yield _difference("gpu_gone", uuid, f"{gpu.model} at {gpu.pci_address}", "nothing")
        else:
            yield from _gpu(gpu, now[uuid])
    for uuid, gpu in now.items():
        if uuid not in was:
            yield _difference("gpu_new", uuid, "nothing", f"{gpu.model} at {gpu.pci_address}")
    both = [uuid for uuid in was if uuid in now]
    for position, one in enumerate(both):
        for other in both[position + 1 :]:
            link = _link(before, was[one], was[other])
            if (found := _link(after, now[one], now[other])) != link:
                pair = f"{was[one].pci_address} to {was[other].pci_address}"
                yield _difference("link_changed", pair, link, found)


def _gpu(was: Gpu, now: Gpu) -> Iterator[Difference]:
    facts = {
        "gpu_model_changed": (was.model, now.model),
        "gpu_memory_changed": (f"{was.memory_mib} MiB", f"{now.memory_mib} MiB"),
        "gpu_moved": (_place(was), _place(now)),
        "gpu_isolation_changed": (_isolation(was), _isolation(now)),
    }
    for code, (old, new) in facts.items():
        if old != new:
            yield _difference(code, was.uuid, old, new)


def _place(gpu: Gpu) -> str:
    module = "" if gpu.module_id is None else f", module {gpu.module_id}"
    return f"GPU {gpu.index} at {gpu.pci_address}, NUMA domain {gpu.numa}{module}"


def _isolation(gpu: Gpu) -> str:
    if gpu.iommu_group is None:
        return "no IOMMU group"
    return f"with {', '.join(gpu.iommu_mates)}" if gpu.iommu_mates else "alone in its IOMMU group"


def _link(topology: Topology, one: Gpu, other: Gpu) -> str:
    link, count = (
        topology.links[one.index][other.index],
        topology.nvlinks[one.index][other.index],
    )
    return f"{link} x{count}" if count else str(link)


def _host(before: Topology, after: Topology) -> Iterator[Difference]:
    if before.numa_cpus != after.numa_cpus or before.cpu_count != after.cpu_count:
        yield _difference("cpus_changed", "host", _cpus(before), _cpus(after))
    slack = before.memory_mib * MEMORY_SLACK_PERCENT // 100
    if abs(before.memory_mib - after.memory_mib) > slack:
        yield _difference(
            "memory_changed", "host", f"{before.memory_mib} MiB", f"{after.memory_mib} MiB"
        )
    if before.driver_version != after.driver_version:
        yield _difference("driver_changed", "host", before.driver_version, after.driver_version)


def _devices(before: Topology, after: Topology) -> Iterator[Difference]:
    """Yield adapters by address and disks by name."""
    kinds = {
        "nic": (
            {nic.pci_address: _nic(nic) for nic in before.nics},
            {nic.pci_address: _nic(nic) for nic in after.nics},
        ),
        "disk": (
            {disk.name: _disk(disk) for disk in before.nvmes},
            {disk.name: _disk(disk) for disk in _as_told(before, after)},
        ),
    }
    for kind, (was, now) in kinds.items():
        for name in sorted(was.keys() | now.keys()):
            old, new = was.get(name, "nothing"), now.get(name, "nothing")
            if old != new:
                change = "gone" if name not in now else "new" if name not in was else "changed"
                yield _difference(f"{kind}_{change}", name, old, new)


def _as_told(before: Topology, after: Topology) -> Iterator[Nvme]:
    """Yield the disks without the serials that nobody read before: they are not new."""
    told = {disk.name: bool(disk.serial) for disk in before.nvmes}
    for disk in after.nvmes:
        yield disk if told.get(disk.name, True) else replace(disk, serial="")


def _nic(nic: Nic) -> str:
    """Whether it has a network device on the host is left out: it has none while a slice has it."""
    return f"{nic.model}, {nic.in_use}" if nic.in_use else nic.model


def _disk(disk: Nvme) -> str:
    facts = [disk.model or "a disk", disk.serial, f"{disk.size_bytes} bytes", disk.in_use]
    return ", ".join(filter(None, facts))


def _cpus(topology: Topology) -> str:
    domains = "; ".join(topology.numa_cpus) or "unknown domains"
    return f"{topology.cpu_count} CPUs: {domains}"


def _difference(code: str, subject: str, before: str, after: str) -> Difference:
    return Difference(code=code, subject=subject, before=before, after=after)
