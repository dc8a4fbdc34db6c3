"""Topologies of systems beyond the registry, and the texts that nvidia-smi shows of them."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from hypothesis import strategies as st

from gpucloud_adapters.memory import bus_texts
from gpucloud_core.nodes.discovery import DISKS, NETDEVS
from gpucloud_core.nodes.model import Gpu, LinkClass, Topology
from gpucloud_core.nodes.system import uniform
from gpucloud_core.nodes.systems import hgx_h200, topology_class

DATA: Final = Path(__file__).parent / "data"
NVLINK, SYS = LinkClass.NVLINK, LinkClass.SYS


def gpuallocator_vectors() -> dict[str, Any]:
    """Return the expectations of go-gpuallocator; see ``tests/data/README.md``."""
    text = gzip.decompress((DATA / "gpuallocator" / "vectors.json.gz").read_bytes())
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def fabric_tables() -> dict[str, Any]:
    """Return the fabric manager's published partitions; see ``tests/data/README.md``."""
    loaded: dict[str, Any] = json.loads((DATA / "fabric_manager" / "partitions.json").read_text())
    return loaded


def a_topology(
    *,
    model: str,
    numa: list[int],
    links: list[list[LinkClass]],
    nvlinks: list[list[int]] | None = None,
    modules: list[int] | None = None,
) -> Topology:
    size = len(numa)
    gpus = tuple(
        Gpu(
            index=index,
            uuid=f"GPU-{index:08x}-0000-4000-8000-{index:012x}",
            model=model,
            pci_address=f"00000000:{index + 16:02X}:00.0",
            numa=numa[index],
            memory_mib=81_559,
            module_id=modules[index] if modules else None,
            serial=str(index),
            iommu_group=index,
        )
        for index in range(size)
    )
    topology = Topology(
        system="",
        gpus=gpus,
        links=tuple(map(tuple, links)),
        nvlinks=tuple(map(tuple, nvlinks or [[0] * size for _ in range(size)])),
        cpu_count=128,
        memory_mib=1_048_576,
        numa_cpus=("0-31,64-95", "32-63,96-127"),
        driver_version="570.133.20",
    )
    return replace(topology, system=topology_class(topology))


def switched(model: str, size: int, nvlinks: int, modules: list[int] | None = None) -> Topology:
    """Return an NVSwitch system whose module ids follow PCI order unless given."""
    links, counts = uniform(size, LinkClass.NVSWITCH, nvlinks)
    return a_topology(
        model=model,
        numa=[index * 2 // size for index in range(size)],
        links=[list(row) for row in links],
        nvlinks=[list(row) for row in counts],
        modules=modules or list(range(1, size + 1)),
    )


def dgx1(pair_scores: list[list[int]]) -> Topology:
    """Return a DGX-1 with the NVLinks that go-gpuallocator's pair scores imply."""
    counts = [[score // 100 for score in row] for row in pair_scores]
    links = [
        [NVLINK if n else _by_points(row[j]) for j, n in enumerate(counts[i])]
        for i, row in enumerate(pair_scores)
    ]
    numa = [index * 2 // len(pair_scores) for index in range(len(pair_scores))]
    return a_topology(model="Tesla V100-SXM2-16GB", numa=numa, links=links, nvlinks=counts)


def _by_points(points: int) -> LinkClass:
    return {20: LinkClass.NODE, 30: LinkClass.PHB, 50: LinkClass.PIX}.get(points, SYS)


def pcie_tree(size: int = 16) -> Topology:
    """Return plain cards: pairs on a switch, fours behind a bridge, halves on a socket."""

    def link(i: int, j: int) -> LinkClass:
        if i // 2 == j // 2:
            return LinkClass.PIX
        if i // 4 == j // 4:
            return LinkClass.PXB
        return LinkClass.NODE if i * 2 // size == j * 2 // size else SYS

    return a_topology(
        model="NVIDIA A10",
        numa=[index * 2 // size for index in range(size)],
        links=[[link(i, j) for j in range(size)] for i in range(size)],
    )


@st.composite
def topologies(draw: st.DrawFn, *, most: int = 6) -> Topology:
    """Draw small plain systems with any links: ties and lone GPUs are common."""
    size = draw(st.integers(1, most))
    kinds = [LinkClass.PIX, LinkClass.NODE, LinkClass.SYS]
    links = [[SYS] * size for _ in range(size)]
    for i in range(size):
        for j in range(i):
            links[i][j] = links[j][i] = draw(st.sampled_from(kinds))
    numa = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    return a_topology(model="NVIDIA A10", numa=numa, links=links)


HGX_H200: Final = hgx_h200(seed="tests")


def matrix_text(topology: Topology, *, tabs: bool, underlined: bool = False) -> str:
    """Return ``nvidia-smi topo -m`` of a machine."""

    def cell(i: int, j: int) -> str:
        if i == j:
            return " X "
        link = topology.links[i][j]
        switched_or_linked = link in {LinkClass.NVSWITCH, LinkClass.NVLINK}
        return f"NV{topology.nvlinks[i][j]}" if switched_or_linked else link.name

    size = len(topology.gpus)
    names = [f"GPU{index}" for index in range(size)]
    gap = "\t" if tabs else "    "
    head = gap.join(["", *names, "CPU Affinity", "NUMA Affinity", "GPU NUMA ID"])
    rows = [
        gap.join(
            [
                names[i],
                *(cell(i, j) for j in range(size)),
                topology.numa_cpus[topology.gpus[i].numa],
                str(topology.gpus[i].numa),
                "\tN/A" if tabs else "N/A",
            ]
        )
        for i in range(size)
    ]
    head = f"\x1b[4m{head}\x1b[0m" if underlined else head
    return "\n".join([head, *rows, "", "Legend:", "", "  X    = Self", ""])


def report_text(topology: Topology, *, old_module_ids: bool = False) -> str:
    """Return ``nvidia-smi -q -x`` of a machine, with the elements that matter.

    Element names: telegraf's nvidia_smi samples (drivers 535 and 570), read 2026-11-22.
    """
    gpus = "".join(_gpu_text(gpu, old_module_ids=old_module_ids) for gpu in topology.gpus)
    return (
        '<?xml version="1.0" ?>\n'
        '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">\n'
        "<nvidia_smi_log>\n"
        f"<driver_version>{topology.driver_version}</driver_version>"
        f"<attached_gpus>{len(topology.gpus)}</attached_gpus>"
        f"{gpus}</nvidia_smi_log>\n"
    )


def _gpu_text(gpu: Gpu, *, old_module_ids: bool) -> str:
    module = "N/A" if gpu.module_id is None else str(gpu.module_id)
    place = (
        f"<gpu_module_id>{module}</gpu_module_id>"
        if old_module_ids
        else f"<platformInfo><module_id>{module}</module_id></platformInfo>"
    )
    return (
        f'<gpu id="{gpu.pci_address}"><product_name>{escape(gpu.model)}</product_name>'
        "<mig_mode><current_mig>Disabled</current_mig></mig_mode><mig_devices>None</mig_devices>"
        f"<serial>{gpu.serial or 'N/A'}</serial><uuid>{gpu.uuid}</uuid>{place}"
        f"<pci><pci_bus_id>{gpu.pci_address}</pci_bus_id></pci>"
        f"<fb_memory_usage><total>{gpu.memory_mib} MiB</total></fb_memory_usage>"
        "<remapped_rows><remapped_row_pending>No</remapped_row_pending>"
        "<remapped_row_failure>No</remapped_row_failure></remapped_rows>"
        "<fabric><state>Completed</state><status>Success</status></fabric></gpu>"
    )


def outputs_of(topology: Topology, **given: str) -> dict[str, str]:
    """Return every output that discovery reads, as this machine would give them."""
    cpus = [
        {"field": "CPU(s):", "data": str(topology.cpu_count)},
        *(
            {"field": f"NUMA node{number} CPU(s):", "data": cpulist}
            for number, cpulist in enumerate(topology.numa_cpus)
        ),
    ]
    listing = "".join(f"GPU {gpu.index}: {gpu.model} (UUID: {gpu.uuid})\n" for gpu in topology.gpus)
    return {
        "nvidia-smi -q -x": report_text(topology),
        "nvidia-smi topo -m": matrix_text(topology, tabs=True),
        "nvidia-smi -L": listing,
        "lspci -vmm -D": bus_texts.functions(topology),
        "grep -rs --include=numa_node . /sys/devices": bus_texts.numa_files(topology),
        DISKS: bus_texts.disks(topology),
        NETDEVS: bus_texts.netdevs(topology),
        "lscpu -J": json.dumps({"lscpu": cpus}),
        "cat /proc/meminfo": f"MemTotal: {topology.memory_mib * 1024:>14} kB\nMemFree: 1 kB\n",
        **given,
    }
