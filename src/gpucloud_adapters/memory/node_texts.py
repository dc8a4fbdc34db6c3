"""The outputs of a node's own tools, in the few lines that discovery reads, from its topology."""

import json
from xml.sax.saxutils import escape, quoteattr

from gpucloud_adapters.memory import amd_texts, bus_texts
from gpucloud_core.nodes.discovery import DISKS, NETDEVS
from gpucloud_core.nodes.model import Gpu, LinkClass, Topology
from gpucloud_core.nodes.system import is_amd


def outputs(topology: Topology) -> dict[str, str]:
    """Return what each tool prints, by command; a tool not here is not installed."""
    host = {
        "lspci -vmm -D": bus_texts.functions(topology),
        "grep -rs --include=numa_node . /sys/devices": bus_texts.numa_files(topology),
        DISKS: bus_texts.disks(topology),
        NETDEVS: bus_texts.netdevs(topology),
        "cat /proc/meminfo": f"MemTotal: {topology.memory_mib * 1024:>14} kB\n",
        "lscpu -J": _processors(topology),
    }
    if any(is_amd(gpu.model) for gpu in topology.gpus):
        return host | amd_texts.outputs(topology)
    return host | {
        "nvidia-smi -L": listing(topology.gpus),
        "nvidia-smi topo -m": _matrix(topology),
        "nvidia-smi -q -x": _report(topology),
    }


def listing(gpus: tuple[Gpu, ...]) -> str:
    return "".join(
        f"GPU {index}: {gpu.model} (UUID: {gpu.uuid})\n" for index, gpu in enumerate(gpus)
    )


def _matrix(topology: Topology) -> str:
    names = [f"GPU{index}" for index, _ in enumerate(topology.gpus)]
    lines = ["\t".join(["", *names, "CPU Affinity", "NUMA Affinity", "GPU NUMA ID"])]
    for name, gpu in zip(names, topology.gpus, strict=True):
        cpus = topology.numa_cpus[gpu.numa] if topology.numa_cpus else "N/A"
        links = [_link(topology, gpu, other) for other in topology.gpus]
        lines.append("\t".join([name, *links, cpus, str(gpu.numa), "\tN/A"]))
    return "\n".join(lines) + "\n"


def _link(topology: Topology, one: Gpu, other: Gpu) -> str:
    if one.index == other.index:
        return " X "
    link = topology.links[one.index][other.index]
    if link in {LinkClass.NVSWITCH, LinkClass.NVLINK}:
        return f"NV{topology.nvlinks[one.index][other.index]}"
    return link.upper()


def _report(topology: Topology) -> str:
    lines = [
        '<?xml version="1.0" ?>',
        "<nvidia_smi_log>",
        f"\t<driver_version>{escape(topology.driver_version)}</driver_version>",
        f"\t<attached_gpus>{len(topology.gpus)}</attached_gpus>",
        *(_gpu(gpu) for gpu in topology.gpus),
        "</nvidia_smi_log>",
    ]
    return "\n".join(lines) + "\n"


def _gpu(gpu: Gpu) -> str:
    module = "N/A" if gpu.module_id is None else gpu.module_id
    return (
        f"\t<gpu id={quoteattr(gpu.pci_address)}>\n"
        f"\t\t<product_name>{escape(gpu.model)}</product_name>\n"
        f"\t\t<serial>{escape(gpu.serial or 'N/A')}</serial>\n"
        f"\t\t<uuid>{gpu.uuid}</uuid>\n"
        f"\t\t<minor_number>{gpu.index}</minor_number>\n"
        f"\t\t<platformInfo>\n\t\t\t<module_id>{module}</module_id>\n\t\t</platformInfo>\n"
        f"\t\t<pci>\n\t\t\t<pci_bus_id>{gpu.pci_address}</pci_bus_id>\n\t\t</pci>\n"
        "\t\t<fb_memory_usage>\n"
        f"\t\t\t<total>{gpu.memory_mib} MiB</total>\n"
        "\t\t</fb_memory_usage>\n"
        "\t</gpu>"
    )


def _processors(topology: Topology) -> str:
    rows = {
        "CPU(s):": str(topology.cpu_count),
        "NUMA node(s):": str(max(1, len(topology.numa_cpus))),
        **{f"NUMA node{number} CPU(s):": cpus for number, cpus in enumerate(topology.numa_cpus)},
    }
    fields = [{"field": name, "data": value} for name, value in rows.items()]
    return json.dumps({"lscpu": fields}) + "\n"
