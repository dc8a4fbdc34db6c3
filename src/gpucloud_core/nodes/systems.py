"""The standard systems, and the class that nodes alike share.

A *topology class* is everything placement may know of a node's inside: models, NUMA domains,
module ids and links, in PCI order. Two nodes of one class are interchangeable, so every table
about sets of GPUs is made once per class. Known systems have a readable name; any other inside
gets a name made of its own content, so that the same machine found twice is the same class.

Addresses and module ids: NVIDIA HGX Shared NVSwitch GPU Passthrough Virtualization Integration
Guide (WP-12736-002); memory and links: nvidia-smi of the systems named. Read 2026-11-22.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from gpucloud_core.nodes.model import Gpu, LinkClass, Topology

LinkMatrix = tuple[tuple[LinkClass, ...], ...]
CountMatrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A standard system: all of a topology but what differs from one machine to the next."""

    name: str
    gpu_model: str
    gpu_memory_mib: int
    pci_addresses: tuple[str, ...]
    module_ids: tuple[int, ...] = ()  # none where the GPUs are plain cards
    numa: tuple[int, ...]
    links: LinkMatrix
    nvlinks: CountMatrix
    cpu_count: int
    memory_mib: int
    numa_cpus: tuple[str, ...]
    driver_version: str

    def topology(self, *, seed: str) -> Topology:
        """Return one machine of this system. Serials and UUIDs follow from ``seed`` alone."""
        gpus = tuple(
            Gpu(
                index=index,
                uuid=_uuid(seed, index),
                model=self.gpu_model,
                pci_address=address,
                numa=self.numa[index],
                memory_mib=self.gpu_memory_mib,
                module_id=self.module_ids[index] if self.module_ids else None,
                serial=_serial(seed, index),
            )
            for index, address in enumerate(self.pci_addresses)
        )
        return Topology(
            system=self.name,
            gpus=gpus,
            links=self.links,
            nvlinks=self.nvlinks,
            cpu_count=self.cpu_count,
            memory_mib=self.memory_mib,
            numa_cpus=self.numa_cpus,
            driver_version=self.driver_version,
        )


def uniform(count: int, link: LinkClass, nvlinks: int = 0) -> tuple[LinkMatrix, CountMatrix]:
    """Return the matrices of ``count`` GPUs that all reach each other the same way."""
    links = tuple((link,) * count for _ in range(count))
    counts = tuple(tuple(0 if i == j else nvlinks for j in range(count)) for i in range(count))
    return links, counts


def by_numa(numa: tuple[int, ...], *, inside: LinkClass) -> tuple[LinkMatrix, CountMatrix]:
    """Return the matrices of plain cards: ``inside`` a NUMA domain, else across sockets."""
    links = tuple(tuple(inside if a == b else LinkClass.SYS for b in numa) for a in numa)
    return links, tuple((0,) * len(numa) for _ in numa)


def _uuid(seed: str, index: int) -> str:
    digits = hashlib.sha256(f"gpu/{seed}/{index}".encode()).hexdigest()
    parts = (digits[0:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32])
    return f"GPU-{'-'.join(parts)}"


def _serial(seed: str, index: int) -> str:
    digest = hashlib.sha256(f"serial/{seed}/{index}".encode()).digest()
    return f"16{int.from_bytes(digest[:8]) % 10**11:011d}"  # thirteen digits, as the boards print


def topology_class(topology: Topology) -> str:
    """Return the name of the class ``topology`` belongs to; ``topology.system`` is not read."""
    inside = _inside(topology)
    for name, known in _known_insides():
        if inside == known:
            return name
    model = topology.gpus[0].model if topology.gpus else "no GPUs"
    slug = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    digest = hashlib.sha256(repr(inside).encode()).hexdigest()[:10]
    return f"{slug}-x{len(topology.gpus)}-{digest}"


@cache
def _known_insides() -> tuple[tuple[str, tuple[object, ...]], ...]:
    return tuple((name, _inside(system.topology(seed=""))) for name, system in SYSTEMS.items())


def _inside(topology: Topology) -> tuple[object, ...]:
    size = len(topology.gpus)
    pairs = tuple(
        (str(topology.links[i][j]), topology.nvlinks[i][j])
        for i in range(size)
        for j in range(i + 1, size)
    )
    return tuple((gpu.model, gpu.numa, gpu.module_id) for gpu in topology.gpus), pairs


_HGX_ADDRESSES: Final = tuple(
    f"00000000:{bus}:00.0" for bus in ("0F", "10", "41", "44", "86", "87", "B8", "BB")
)
_HGX_MODULES: Final = (5, 7, 6, 8, 1, 3, 2, 4)  # not PCI order: a partition names modules
_TWO_SOCKETS: Final = (0, 0, 0, 0, 1, 1, 1, 1)
_NVSWITCH_18: Final = uniform(8, LinkClass.NVSWITCH, 18)
_PLAIN_CARDS: Final = by_numa(_TWO_SOCKETS, inside=LinkClass.NODE)

HGX_H200: Final = System(
    name="hgx-h200",
    gpu_model="NVIDIA H200",
    gpu_memory_mib=143_771,
    pci_addresses=_HGX_ADDRESSES,
    module_ids=_HGX_MODULES,
    numa=_TWO_SOCKETS,
    links=_NVSWITCH_18[0],
    nvlinks=_NVSWITCH_18[1],
    cpu_count=192,
    memory_mib=2_097_152,
    numa_cpus=("0-47,96-143", "48-95,144-191"),
    driver_version="570.133.20",
)
HGX_H100: Final = System(
    name="hgx-h100",
    gpu_model="NVIDIA H100 80GB HBM3",
    gpu_memory_mib=81_559,
    pci_addresses=_HGX_ADDRESSES,
    module_ids=_HGX_MODULES,
    numa=_TWO_SOCKETS,
    links=_NVSWITCH_18[0],
    nvlinks=_NVSWITCH_18[1],
    cpu_count=192,
    memory_mib=2_097_152,
    numa_cpus=("0-47,96-143", "48-95,144-191"),
    driver_version="570.133.20",
)
L40S_X8: Final = System(
    name="l40s-x8",
    gpu_model="NVIDIA L40S",
    gpu_memory_mib=46_068,
    pci_addresses=tuple(
        f"00000000:{bus}:00.0" for bus in ("01", "25", "41", "61", "81", "A1", "C1", "E1")
    ),
    numa=_TWO_SOCKETS,
    links=_PLAIN_CARDS[0],
    nvlinks=_PLAIN_CARDS[1],
    cpu_count=128,
    memory_mib=1_048_576,
    numa_cpus=("0-31,64-95", "32-63,96-127"),
    driver_version="570.133.20",
)

SYSTEMS: Final[Mapping[str, System]] = {
    system.name: system for system in (HGX_H200, HGX_H100, L40S_X8)
}
"""Every system we know by name."""


def hgx_h200(*, seed: str) -> Topology:
    """Return an eight-way HGX H200: the node of the demo fleet and of most tests."""
    return HGX_H200.topology(seed=seed)
