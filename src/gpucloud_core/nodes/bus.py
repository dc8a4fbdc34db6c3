"""What else hangs on a node's PCI bus: adapters, disks, switches, and who shares an IOMMU group."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from gpucloud_core.nodes.disks import parse_lsblk
from gpucloud_core.nodes.model import Nic, Nvme
from gpucloud_core.nodes.netdevs import Netdev, parse_netdevs
from gpucloud_core.nodes.pci import (
    PciFunction,
    PciTree,
    iommu_mates,
    parse_iommu_groups,
    parse_lspci,
    parse_pci_tree,
    short_address,
)

_NETWORK: Final = frozenset({"Ethernet controller", "Infiniband controller", "InfiniBand"})
_NICS_MAX: Final = 64
_NVMES_MAX: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """The bus as a whole. Addresses of GPUs are asked for in the driver's spelling."""

    functions: tuple[PciFunction, ...]
    tree: PciTree
    nics: tuple[Nic, ...]
    nvmes: tuple[Nvme, ...]
    by_address: Mapping[str, PciFunction]

    def switch_of(self, pci_address: str) -> str:
        """Return the switch that a GPU hangs on; empty where none is known."""
        return self.tree.switch_above(short_address(pci_address))

    def numa_of(self, pci_address: str) -> int | None:
        """Return the domain that the kernel knows, or None."""
        address = short_address(pci_address)
        known = self.by_address.get(address)
        return self.tree.numa.get(address, known.numa if known else None)

    def iommu_of(self, pci_address: str) -> tuple[int | None, tuple[str, ...]]:
        """Return a GPU's group, and what else would go to a guest with it."""
        function = self.by_address.get(short_address(pci_address))
        if function is None:
            return None, ()
        return function.iommu_group, iommu_mates(function, self.functions)


def read_bus(*, lspci: str, tree: str, lsblk: str, groups: str = "", netdevs: str = "") -> Bus:
    """Put the texts together; whatever is missing leaves its part empty."""
    known, paths = parse_iommu_groups(groups), parse_pci_tree(tree)
    functions = tuple(
        replace(each, iommu_group=known.get(each.address, each.iommu_group))
        for each in parse_lspci(lspci)
    )
    by_address = {function.address: function for function in functions}
    devices = parse_netdevs(netdevs)
    nics = (_nic(each, paths, devices) for each in functions if each.kind in _NETWORK)
    return Bus(
        functions=functions,
        tree=paths,
        nics=tuple(nics)[:_NICS_MAX],
        nvmes=_nvmes(lsblk, by_address, paths),
        by_address=by_address,
    )


def _nic(function: PciFunction, tree: PciTree, devices: Mapping[str, Netdev]) -> Nic:
    device = devices.get(function.address, Netdev(""))
    return Nic(
        pci_address=function.address,
        model=function.device,
        numa=_numa(function, tree),
        pcie_switch=tree.switch_above(function.address),
        netdev=device.name,
        in_use=device.in_use,
    )


def _nvmes(lsblk: str, by_address: Mapping[str, PciFunction], tree: PciTree) -> tuple[Nvme, ...]:
    found = []
    for disk in parse_lsblk(lsblk):
        controller = disk.name.removeprefix("nvme").partition("n")[0]
        if not disk.name.startswith("nvme") or not controller.isdigit():
            continue
        address = tree.nvmes.get(f"nvme{controller}", "")
        function = by_address.get(address)
        found.append(
            Nvme(
                name=disk.name,
                pci_address=address,
                numa=tree.numa.get(address, -1) if function is None else _numa(function, tree),
                size_bytes=disk.size_bytes,
                model=disk.model or (function.device if function else ""),
                mounted=disk.mounted,
                pcie_switch=tree.switch_above(address),
                serial=disk.serial,
                contents=disk.contents,
            )
        )
    return tuple(found[:_NVMES_MAX])


def _numa(function: PciFunction, tree: PciTree) -> int:
    known = tree.numa.get(function.address, function.numa)
    return -1 if known is None else known
