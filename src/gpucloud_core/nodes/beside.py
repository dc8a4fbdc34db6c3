"""What comes beside a GPU: at most one data disk and one network port, the nearest that is free.

Near is the GPU's own PCIe switch, then its own NUMA domain; what lies elsewhere is taken only
where nothing near is left. A disk or a port that the host uses is never proposed. What is proposed
follows from addresses and names alone, not from the order in which a tool prints them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from gpucloud_core.nodes.model import Gpu, Nic, NodeMode, Nvme, Topology

D = TypeVar("D", Nic, Nvme)

_NEARNESS: Final[tuple[tuple[str, Callable[[Gpu, Nic | Nvme], bool]], ...]] = (
    ("on its own PCIe switch", lambda gpu, device: device.pcie_switch == gpu.pcie_switch != ""),
    ("in its own NUMA domain", lambda gpu, device: device.numa == gpu.numa >= 0),
    ("in another NUMA domain", lambda _gpu, _device: True),
)
_NAMED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The names of what comes with one GPU; empty where nothing does."""

    disk: str = ""
    nic: str = ""


def beside(topology: Topology, mode: NodeMode) -> tuple[Devices, ...]:
    """Return what is proposed for each GPU, by index. No disk and no port is proposed twice."""
    disks = _dealt(topology.gpus, [disk for disk in topology.nvmes if not disk_objection(disk)])
    nics = _dealt(topology.gpus, [nic for nic in topology.nics if not nic_objection(nic, mode)])
    return tuple(
        Devices(
            disk=disk.name if (disk := disks.get(gpu.index)) else "",
            nic=nic.pci_address if (nic := nics.get(gpu.index)) else "",
        )
        for gpu in topology.gpus
    )


def disk_objection(disk: Nvme) -> str:
    """Return why a disk is no slice's, to follow its name; empty: it may be given away."""
    return disk.in_use or ("" if disk.size_bytes > 0 else "does not tell its size")


def nic_objection(nic: Nic, mode: NodeMode) -> str:
    """Return why a port is no slice's, to follow its name; empty: it may be given away.

    A container gets the network device itself; a guest gets the function, whoever drives it.
    """
    if nic.in_use:
        return nic.in_use
    if mode is NodeMode.CONTAINER and not nic.netdev:
        return "has no network device on the host"
    return ""


def nearness(gpu: Gpu, device: Nic | Nvme) -> str:
    """Return in words how near a device is to a GPU."""
    return next(words for words, is_near in _NEARNESS if is_near(gpu, device))


def why_none(what: str, objections: Iterable[tuple[str, str]]) -> str:
    """Return a sentence on why no ``what`` comes with a GPU.

    ``objections`` are what there is on the node, by name, each with why it is no slice's.
    """
    said = [f"{name} {objection}" for name, objection in objections if objection]
    because = f": {'; '.join(said[:_NAMED])}" if said else ""
    more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return f"No {what} comes with it{because}{more}."


def _dealt(gpus: Sequence[Gpu], devices: Iterable[D]) -> dict[int, D]:
    """Deal devices out to GPUs, all the nearest first; as many get one as there are devices."""
    free = sorted(devices, key=_name)
    found: dict[int, D] = {}
    for _, is_near in _NEARNESS:
        for gpu in sorted(gpus, key=lambda gpu: gpu.index):
            if gpu.index in found:
                continue
            chosen = next((each for each in free if is_near(gpu, each)), None)
            if chosen is not None:
                free.remove(chosen)
                found[gpu.index] = chosen
    return found


def _name(device: Nic | Nvme) -> tuple[str, str]:
    return device.pci_address, device.name if isinstance(device, Nvme) else device.netdev
