"""A standard system: all of a topology but what differs from one machine to the next."""

import hashlib
from dataclasses import dataclass, replace

from gpucloud_core.nodes.model import Gpu, LinkClass, Nic, Nvme, Topology

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
    switches: tuple[str, ...] = ()  # of each GPU; none where they hang on the root
    iommu_first: int | None = 32  # the group of the first GPU; each has one of its own
    nics: tuple[Nic, ...] = ()
    nvmes: tuple[Nvme, ...] = ()

    def topology(self, *, seed: str) -> Topology:
        """Return one machine of this system. Serials and UUIDs follow from ``seed`` alone."""
        gpus = tuple(
            Gpu(
                index=index,
                uuid=_uuid(seed, index, prefix="" if self.is_amd else "GPU-"),
                model=self.gpu_model,
                pci_address=address,
                numa=self.numa[index],
                memory_mib=self.gpu_memory_mib,
                module_id=self.module_ids[index] if self.module_ids else None,
                serial=_serial(seed, index),
                pcie_switch=self.switches[index] if self.switches else "",
                iommu_group=None if self.iommu_first is None else self.iommu_first + index,
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
            nics=self.nics,
            nvmes=tuple(replace(disk, serial=_disk_serial(seed, disk.name)) for disk in self.nvmes),
        )

    @property
    def is_amd(self) -> bool:
        return is_amd(self.gpu_model)


def uniform(count: int, link: LinkClass, nvlinks: int = 0) -> tuple[LinkMatrix, CountMatrix]:
    """Return the matrices of ``count`` GPUs that all reach each other the same way."""
    links = tuple((link,) * count for _ in range(count))
    counts = tuple(tuple(0 if i == j else nvlinks for j in range(count)) for i in range(count))
    return links, counts


def by_numa(numa: tuple[int, ...], *, inside: LinkClass) -> tuple[LinkMatrix, CountMatrix]:
    """Return the matrices of plain cards: ``inside`` a NUMA domain, else across sockets."""
    links = tuple(tuple(inside if a == b else LinkClass.SYS for b in numa) for a in numa)
    return links, tuple((0,) * len(numa) for _ in numa)


def mesh(counts: CountMatrix, other: LinkMatrix) -> tuple[LinkMatrix, CountMatrix]:
    """Return the matrices of GPUs with NVLinks here and there, and ``other`` links elsewhere."""
    size = range(len(counts))
    links = tuple(
        tuple(LinkClass.NVLINK if counts[i][j] else other[i][j] for j in size) for i in size
    )
    return links, counts


def is_amd(model: str) -> bool:
    """Return whether a model, as nodes report it, is of AMD's."""
    return model.startswith("AMD ")


def _uuid(seed: str, index: int, *, prefix: str) -> str:
    digits = hashlib.sha256(f"gpu/{seed}/{index}".encode()).hexdigest()
    parts = (digits[0:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32])
    return f"{prefix}{'-'.join(parts)}"


def _disk_serial(seed: str, name: str) -> str:
    return f"S64{hashlib.sha256(f'disk/{seed}/{name}'.encode()).hexdigest()[:11].upper()}"


def _serial(seed: str, index: int) -> str:
    digest = hashlib.sha256(f"serial/{seed}/{index}".encode()).digest()
    return f"16{int.from_bytes(digest[:8]) % 10**11:011d}"  # thirteen digits, as the boards print
