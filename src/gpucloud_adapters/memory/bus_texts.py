"""What a node's PCI bus and disks read as, in the few lines that discovery reads."""

import json

from gpucloud_core.nodes.model import Topology
from gpucloud_core.nodes.pci import short_address


def functions(topology: Topology) -> str:
    """``lspci -vmm -D``: GPUs and adapters, each GPU in its IOMMU group as far as it is known."""
    records = []
    for gpu in topology.gpus:
        rows = {"Slot": short_address(gpu.pci_address), "Class": "3D controller"}
        rows |= {"Device": gpu.model, "NUMANode": str(gpu.numa)}
        if gpu.iommu_group is not None:
            rows["IOMMUGroup"] = str(gpu.iommu_group)
        records.append(rows)
    for nic in topology.nics:
        rows = {"Slot": nic.pci_address, "Class": "Ethernet controller"}
        records.append(rows | {"Device": nic.model, "NUMANode": str(nic.numa)})
    return "\n".join(
        "".join(f"{name}:\t{value}\n" for name, value in rows.items()) for rows in records
    )


def numa_files(topology: Topology) -> str:
    """``grep -rs --include=numa_node . /sys/devices``: where each device hangs."""
    places = [
        (short_address(gpu.pci_address), gpu.numa, gpu.pcie_switch, "") for gpu in topology.gpus
    ]
    places += [(nic.pci_address, nic.numa, nic.pcie_switch, "") for nic in topology.nics]
    places += [
        (disk.pci_address, disk.numa, disk.pcie_switch, f"/nvme/{disk.name.removesuffix('n1')}")
        for disk in topology.nvmes
    ]
    lines = []
    for address, numa, switch, below in places:
        ports = f"/{switch}/{switch.removesuffix('0')}1" if switch else ""
        path = f"/sys/devices/pci0000:00/0000:00:01.0{ports}/{address}"
        lines += [f"{path}{part}/numa_node:{numa}\n" for part in dict.fromkeys(("", below))]
    return "".join(lines)


def disks(topology: Topology) -> str:
    """``lsblk -J -b -o …``, as far as it is read."""
    rows = [
        {
            "name": disk.name,
            "type": "disk",
            "size": disk.size_bytes,
            "model": disk.model,
            "serial": disk.serial,
            "fstype": disk.contents or None,
            "label": None,
            "mountpoints": ["/"] if disk.mounted else [None],
        }
        for disk in topology.nvmes
    ]
    return json.dumps({"blockdevices": rows}) + "\n"


def netdevs(topology: Topology) -> str:
    """``ip -d -j address``: the loopback, and a device for each port that has one."""
    rows: list[dict[str, object]] = [{"ifname": "lo", "addr_info": [_address("host")]}]
    for nic in topology.nics:
        if nic.netdev:
            here = {"ifname": nic.netdev, "parentbus": "pci", "parentdev": nic.pci_address}
            rows.append({**here, "addr_info": [_address("global")] if nic.in_use else []})
    return json.dumps(rows) + "\n"


def _address(scope: str) -> dict[str, object]:
    local = "127.0.0.1" if scope == "host" else "192.0.2.10"
    return {"family": "inet", "local": local, "prefixlen": 8, "scope": scope}
