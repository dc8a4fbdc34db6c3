"""``lspci -vmm -D`` and the ``numa_node`` files of ``/sys``, from a topology.

Each function has its own IOMMU group, as on a host with access control on every port; bridges are
shown where a switch stands between.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gpucloud_adapters.simulated.host.boards import Board, board_of
from gpucloud_core.nodes.model import LinkClass, Topology
from gpucloud_core.nodes.pci import short_address

_FIRST_OTHER_GROUP: Final = 100
_BUS: Final = slice(5, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Function:
    address: str
    kind: str
    vendor: str
    device: str
    subsystem: str
    numa: int
    switch: str = ""
    group: int | None = None
    nvme: str = ""


def lspci(topology: Topology) -> str:
    """``lspci -vmm -D``: GPUs, switches, adapters and disks, in bus order."""
    functions = _functions(topology)
    records = [
        _record(function, _group(function, number)) for number, function in enumerate(functions)
    ]
    return "\n".join(records)


def numa_files(topology: Topology) -> str:
    """``grep -rs --include=numa_node . /sys/devices``: a line per file, bridges before devices."""
    lines: list[str] = []
    under: dict[str, int] = {}
    for function in _functions(topology):
        if function.kind == "PCI bridge":
            continue
        place = under.setdefault(function.switch, 0)
        under[function.switch] += 1
        path = f"{_path(function, place)}/{function.address}"
        lines.append(f"{path}/numa_node:{function.numa}")
        if function.nvme:
            lines.append(f"{path}/nvme/{function.nvme}/numa_node:{function.numa}")
    return "".join(f"{line}\n" for line in lines)


def iommu_links(topology: Topology) -> str:
    """``find /sys/kernel/iommu_groups -type l``: a link per function, below its group."""
    return "".join(
        f"/sys/kernel/iommu_groups/{_group(function, number)}/devices/{function.address}\n"
        for number, function in enumerate(_functions(topology))
    )


def _group(function: _Function, number: int) -> int:
    return _FIRST_OTHER_GROUP + number if function.group is None else function.group


def cpu_lists(topology: Topology) -> str:
    """``grep -rs --include=cpulist . /sys/devices/system/node``."""
    return "".join(
        f"/sys/devices/system/node/node{number}/cpulist:{cpus}\n"
        for number, cpus in enumerate(topology.numa_cpus)
    )


def _path(function: _Function, place: int) -> str:
    """Return the folder of what is above: a root port, and a switch's two ports if there is one."""
    below = int((function.switch or function.address)[_BUS], 16)
    root = f"/sys/devices/pci0000:{below - 1:02x}/0000:{below - 1:02x}:01.0"
    if not function.switch:
        return root
    return f"{root}/{function.switch}/0000:{below + 1:02x}:{place:02x}.0"


def _functions(topology: Topology) -> list[_Function]:
    found = [*_gpus(topology), *_fabric(topology), *_switches(topology)]
    found += [
        _Function(
            address=nic.pci_address,
            kind="Infiniband controller" if "ConnectX" in nic.model else "Ethernet controller",
            vendor="Mellanox Technologies" if "ConnectX" in nic.model else "Broadcom Inc.",
            device=nic.model,
            subsystem="Device 0041",
            numa=nic.numa,
            switch=nic.pcie_switch,
        )
        for nic in topology.nics
    ]
    found += [
        _Function(
            address=disk.pci_address,
            kind="Non-Volatile memory controller",
            vendor="Samsung Electronics Co Ltd",
            device="NVMe SSD Controller PM9A1/PM9A3/980PRO",
            subsystem="Device a902",
            numa=disk.numa,
            switch=disk.pcie_switch,
            nvme=disk.name.removesuffix("n1"),
        )
        for disk in topology.nvmes
    ]
    return sorted(found, key=lambda function: function.address)


def _gpus(topology: Topology) -> Iterator[_Function]:
    for gpu in topology.gpus:
        board = board_of(gpu.model)
        yield _Function(
            address=short_address(gpu.pci_address),
            kind=board.pci_class,
            vendor=board.pci_vendor,
            device=board.pci_name,
            subsystem=f"Device {board.pci_subsystem_id[:4].lower()}",
            numa=gpu.numa,
            switch=gpu.pcie_switch,
            group=gpu.iommu_group,
        )


def _fabric(topology: Topology) -> Iterator[_Function]:
    """Yield the NVSwitches, where the board shows them on the bus."""
    if not any(LinkClass.NVSWITCH in row for row in topology.links):
        return
    board: Board = board_of(topology.gpus[0].model)
    for number in range(board.nvswitches):
        yield _Function(
            address=f"0000:fe:{number:02x}.0",
            kind="Bridge",
            vendor="NVIDIA Corporation",
            device=board.nvswitch_name,
            subsystem="Device 1796",
            numa=0,
        )


def _switches(topology: Topology) -> Iterator[_Function]:
    numa = {nic.pcie_switch: nic.numa for nic in topology.nics}
    numa |= {gpu.pcie_switch: gpu.numa for gpu in topology.gpus}
    for address in sorted(set(numa) - {""}):
        yield _Function(
            address=address,
            kind="PCI bridge",
            vendor="Broadcom / LSI",
            device="PEX890xx PCIe Gen 5 Switch",
            subsystem="Device 0144",
            numa=numa[address],
        )


def _record(function: _Function, group: int) -> str:
    rows = {
        "Slot": function.address,
        "Class": function.kind,
        "Vendor": function.vendor,
        "Device": function.device,
        "SVendor": function.vendor,
        "SDevice": function.subsystem,
        "Rev": "a1",
        "NUMANode": str(function.numa),
        "IOMMUGroup": str(group),
    }
    return "".join(f"{name}:\t{value}\n" for name, value in rows.items())
