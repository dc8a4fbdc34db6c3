"""What a node's own tools say, read into a topology.

Each parser takes one tool's text and returns what it could read together with what was wrong;
this puts them together. Nothing is guessed in silence: what is missing or at odds becomes a
fault beside the topology, for the operator who reviews it. The outputs come from machines we do
not trust: whatever they hold, nothing but ``DiscoveryUnreadable`` is raised.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from gpucloud_core.nodes.amd_smi import parse_amd
from gpucloud_core.nodes.bus import Bus, read_bus
from gpucloud_core.nodes.host import HostCpus, parse_cpulists, parse_lscpu, parse_meminfo
from gpucloud_core.nodes.links import LinkTable, parse_links
from gpucloud_core.nodes.model import Fault, Gpu, LinkClass, Topology
from gpucloud_core.nodes.slots import CpuListInvalid, format_cpus, parse_cpus
from gpucloud_core.nodes.smi import (
    DiscoveryUnreadable,
    SmiGpu,
    SmiReport,
    parse_listing,
    parse_report,
)
from gpucloud_core.nodes.systems import topology_class

__all__ = ["Discovered", "DiscoveryUnreadable", "Fault", "read_topology"]

REPORT: Final = "nvidia-smi -q -x"
LINKS: Final = "nvidia-smi topo -m"
LISTING: Final = "nvidia-smi -L"
AMD_LISTING: Final = "amd-smi list --json"
AMD_STATIC: Final = "amd-smi static --json"
AMD_TOPOLOGY: Final = "amd-smi topology --json"
PCI: Final = "lspci -vmm -D"
PCI_TREE: Final = "grep -rs --include=numa_node . /sys/devices"
IOMMU: Final = "find /sys/kernel/iommu_groups -type l"
DISKS: Final = "lsblk -J -b -o NAME,TYPE,SIZE,MODEL,SERIAL,FSTYPE,LABEL,MOUNTPOINTS"
OLD_DISKS: Final = "lsblk -J -b"  # all that an lsblk before 2.37 can say
NETDEVS: Final = "ip -d -j address"
CPUS: Final = "lscpu -J"
CPULISTS: Final = "grep -rs --include=cpulist . /sys/devices/system/node"
MEMORY: Final = "cat /proc/meminfo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """A node's inside, and everything about it that an operator should know before approval."""

    topology: Topology
    faults: tuple[Fault, ...] = ()


def read_topology(outputs: Mapping[str, str]) -> Discovered:
    """Read the outputs of ``Discovery``, by command. Only the list of GPUs is indispensable.

    Raises:
        DiscoveryUnreadable: no tool of a vendor shows a GPU that answers.
    """
    if outputs.get(AMD_LISTING, "").strip() and not outputs.get(REPORT, "").strip():
        report, links, faults = _amd(outputs)
    else:
        report, links, faults = _nvidia(outputs)
    faults += [Fault(code="links_unclear", detail=fault) for fault in links.faults]
    cpus = _cpus(outputs, links)
    if not cpus.numa:
        faults.append(Fault(code="cpus_unknown", detail="No tool tells the CPUs of each domain."))
    memory = parse_meminfo(outputs.get(MEMORY, ""))
    if memory is None:
        faults.append(Fault(code="memory_unknown", detail="/proc/meminfo does not tell."))
    bus = read_bus(
        lspci=outputs.get(PCI, ""),
        tree=outputs.get(PCI_TREE, ""),
        lsblk=outputs.get(DISKS) or outputs.get(OLD_DISKS, ""),
        groups=outputs.get(IOMMU, ""),
        netdevs=outputs.get(NETDEVS, ""),
    )
    topology = _topology(report, links, cpus, bus, memory or 0)
    faults += [
        Fault(code="numa_unknown", detail=f"The NUMA domain of {gpu.pci_address} is not known.")
        for gpu in topology.gpus
        if gpu.numa < 0
    ]
    return Discovered(topology=topology, faults=tuple(faults))


def _nvidia(outputs: Mapping[str, str]) -> tuple[SmiReport, LinkTable, list[Fault]]:
    report = parse_report(outputs.get(REPORT, ""))
    if not report.gpus:
        raise DiscoveryUnreadable("nvidia-smi -q -x shows no GPU that answers.")
    faults = list(report.faults)
    links = parse_links(outputs.get(LINKS, ""))
    if links.count != len(report.gpus):
        detail = f"nvidia-smi topo -m shows {links.count} GPUs, its report {len(report.gpus)}."
        faults.append(Fault(code="links_unknown", detail=detail))
        links = LinkTable(faults=links.faults)
    faults += _listing_faults(report, outputs.get(LISTING))
    return report, links, faults


def _amd(outputs: Mapping[str, str]) -> tuple[SmiReport, LinkTable, list[Fault]]:
    found = parse_amd(
        outputs.get(AMD_LISTING, ""), outputs.get(AMD_STATIC, ""), outputs.get(AMD_TOPOLOGY, "")
    )
    if not found.report.gpus:
        raise DiscoveryUnreadable("amd-smi list shows no GPU that answers.")
    return found.report, found.links, list(found.report.faults)


def _topology(
    report: SmiReport, links: LinkTable, cpus: HostCpus, bus: Bus, memory_mib: int
) -> Topology:
    """Put the GPUs into PCI order: their index here is the bit in every mask of the node."""
    shown = sorted(range(len(report.gpus)), key=lambda index: report.gpus[index].pci_address)
    gpus = tuple(
        _gpu(report.gpus[old], new, _numa(report.gpus[old], old, links, cpus, bus), bus)
        for new, old in enumerate(shown)
    )
    unknown = LinkClass.SYS, 0
    pairs = [[links.pairs.get((one, other), unknown) for other in shown] for one in shown]
    topology = Topology(
        system="",
        gpus=gpus,
        links=tuple(tuple(link for link, _ in row) for row in pairs),
        nvlinks=tuple(tuple(nvlinks for _, nvlinks in row) for row in pairs),
        cpu_count=cpus.count,
        memory_mib=memory_mib,
        numa_cpus=_domains(cpus),
        driver_version=report.driver_version,
        nics=bus.nics,
        nvmes=bus.nvmes,
    )
    return replace(topology, system=topology_class(topology))


def _gpu(found: SmiGpu, index: int, numa: int, bus: Bus) -> Gpu:
    group, mates = bus.iommu_of(found.pci_address)
    return Gpu(
        index=index,
        uuid=found.uuid,
        model=found.model,
        pci_address=found.pci_address,
        numa=numa,
        memory_mib=found.memory_mib,
        module_id=found.module_id,
        serial=found.serial,
        pcie_switch=bus.switch_of(found.pci_address),
        iommu_group=group,
        iommu_mates=mates,
    )


def _numa(found: SmiGpu, index: int, links: LinkTable, cpus: HostCpus, bus: Bus) -> int:
    """Return the domain that the vendor's tool names, or the one whose CPUs it names.

    Failing both it is the one that the PCI bus names, or the only one there is.
    """
    named = links.numa.get(index)
    if named is not None:
        return named
    near = _cpu_set(links.cpus.get(index, ""))
    for domain, cpulist in cpus.numa.items():
        if near and near <= _cpu_set(cpulist):
            return domain
    on_the_bus = bus.numa_of(found.pci_address)
    if on_the_bus is not None:
        return on_the_bus
    return next(iter(cpus.numa)) if len(cpus.numa) == 1 else -1


def _cpus(outputs: Mapping[str, str], links: LinkTable) -> HostCpus:
    """Return what the first of the tools says that tells the domains."""
    told = parse_lscpu(outputs.get(CPUS, "")), parse_cpulists(outputs.get(CPULISTS, ""))
    return next((cpus for cpus in told if cpus and cpus.numa), None) or _cpus_of(links)


def _cpus_of(links: LinkTable) -> HostCpus:
    """Return what topo alone tells of the CPUs: those near some GPU, by domain."""
    numa: dict[int, set[int]] = {}
    for index, cpulist in links.cpus.items():
        numa.setdefault(links.numa.get(index, 0), set()).update(_cpu_set(cpulist))
    known = {domain: format_cpus(tuple(found)) for domain, found in numa.items() if found}
    return HostCpus(count=sum(len(found) for found in numa.values()), numa=known)


def _cpu_set(cpulist: str) -> frozenset[int]:
    try:
        return frozenset(parse_cpus(cpulist))
    except CpuListInvalid:
        return frozenset()


def _domains(cpus: HostCpus) -> tuple[str, ...]:
    """Return the cpulists by domain number; a number without CPUs has an empty one."""
    last = max(cpus.numa, default=-1)
    return tuple(cpus.numa.get(domain, "") for domain in range(last + 1))


def _listing_faults(report: SmiReport, listing: str | None) -> list[Fault]:
    if listing is None:
        return []
    listed = {uuid for _, _, uuid in parse_listing(listing)}
    known = {gpu.uuid for gpu in report.gpus}
    if listed == known:
        return []
    detail = f"nvidia-smi -L names {len(listed)} GPUs, its report {len(known)}; they differ."
    return [Fault(code="listing_differs", detail=detail)]
