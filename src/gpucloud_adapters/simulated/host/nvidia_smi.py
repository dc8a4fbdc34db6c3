"""nvidia-smi's texts, rendered from a topology: plain table, ``-L``, ``topo -m``, ``--query-gpu``.

The layouts are those of driver 570 on HGX H200 systems, column for column, as posted publicly
(read 2026-11-22). A view shows some GPUs of a node, numbered from 0 in PCI order as the driver
does inside a container, so that a slice sees its own GPUs and no trace of the others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gpucloud_adapters.simulated.host.boards import board_of, cuda_version
from gpucloud_adapters.simulated.host.sampler import GpuSample
from gpucloud_core.nodes.model import Gpu, LinkClass, Topology

_RULE: Final = "-" * 89
_COLUMNS: Final = f"{'-' * 41}+{'-' * 24}+{'-' * 22}"
_TABLE_HEAD: Final = f"""\
|{_COLUMNS}+
| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |
| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |
|                                         |                        |               MIG M. |
|{_COLUMNS.replace("-", "=")}|
"""
_NO_PROCESSES: Final = f"""\
{"":89}
+{_RULE}+
| Processes:                                                                              |
|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |
|        ID   ID                                                               Usage      |
|{"=" * 89}|
|  No running processes found                                                             |
+{_RULE}+
"""
_LEGEND: Final = """
Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  NODE = Connection traversing PCIe as well as the interconnect between PCIe Host Bridges within a NUMA node
  PHB  = Connection traversing PCIe as well as a PCIe Host Bridge (typically the CPU)
  PXB  = Connection traversing multiple PCIe bridges (without traversing the PCIe Host Bridge)
  PIX  = Connection traversing at most a single PCIe bridge
  NV#  = Connection traversing a bonded set of # NVLinks
"""  # noqa: E501  the program's own words


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuView:
    """What the driver shows at one instant.

    Attributes:
        topology: of the whole node.
        gpus: those that can be seen, in PCI order.
        samples: one per GPU seen, by UUID.
    """

    topology: Topology
    gpus: tuple[Gpu, ...]
    samples: Mapping[str, GpuSample]
    at: datetime

    @property
    def cuda(self) -> str:
        return cuda_version(self.topology.driver_version)


def listing(view: GpuView) -> str:
    """``nvidia-smi -L``."""
    return "".join(
        f"GPU {index}: {gpu.model} (UUID: {gpu.uuid})\n" for index, gpu in enumerate(view.gpus)
    )


def table(view: GpuView) -> str:
    """Plain ``nvidia-smi``."""
    if not view.gpus:
        return "No devices were found\n"
    driver = view.topology.driver_version
    return "".join(
        [
            f"{view.at:%a %b %e %H:%M:%S %Y}       \n",
            f"+{_RULE}+\n",
            f"| NVIDIA-SMI {driver:<23}Driver Version: {driver:<15}CUDA Version: {view.cuda:<9}|\n",
            _TABLE_HEAD,
            *(_table_row(index, gpu, view) for index, gpu in enumerate(view.gpus)),
            _NO_PROCESSES,
        ]
    )


def _table_row(index: int, gpu: Gpu, view: GpuView) -> str:
    now, cap = view.samples[gpu.uuid], board_of(gpu.model).power_watts
    watts = round(now.power_milliwatts / 1000)
    name = f"{index:>4}  {gpu.model:<31.31}{'On':<3} "
    heat = f" N/A{now.temperature_c:>5}C    P0{watts:>15}W /{cap:>5}W "
    memory = f"{now.memory_used_mib:>8}MiB / {gpu.memory_mib:>6}MiB "
    load = f"{now.utilization_percent:>7}%      Default "
    return (
        f"|{name}|   {gpu.pci_address} Off |{0:>21} |\n"
        f"|{heat}|{memory}|{load}|\n"
        f"|{'':41}|{'':24}|{'Disabled':>21} |\n"
        f"+{_COLUMNS}+\n"
    )


def matrix(view: GpuView) -> str:
    """``nvidia-smi topo -m``."""
    names = [f"GPU{index}" for index in range(len(view.gpus))]
    head = "\t".join(["", *names, "CPU Affinity", "NUMA Affinity", "GPU NUMA ID"])
    rows = [
        "\t".join(
            [
                name,
                *(_link(view.topology, gpu, other) for other in view.gpus),
                view.topology.numa_cpus[gpu.numa] if view.topology.numa_cpus else "N/A",
                str(gpu.numa),
                "\tN/A",
            ]
        )
        for name, gpu in zip(names, view.gpus, strict=True)
    ]
    return "\n".join([head, *rows]) + "\n" + _LEGEND


def _link(topology: Topology, one: Gpu, other: Gpu) -> str:
    if one.index == other.index:
        return " X "
    link = topology.links[one.index][other.index]
    if link in {LinkClass.NVSWITCH, LinkClass.NVLINK}:
        return f"NV{topology.nvlinks[one.index][other.index]}"
    return link.upper()


_Read = Callable[[int, Gpu, GpuSample, GpuView], tuple[str, str]]

FIELDS: Final[Mapping[str, _Read]] = {
    "index": lambda index, _gpu, _now, _view: (str(index), ""),
    "name": lambda _index, gpu, _now, _view: (gpu.model, ""),
    "uuid": lambda _index, gpu, _now, _view: (gpu.uuid, ""),
    "serial": lambda _index, gpu, _now, _view: (gpu.serial or "[N/A]", ""),
    "count": lambda _index, _gpu, _now, view: (str(len(view.gpus)), ""),
    "pci.bus_id": lambda _index, gpu, _now, _view: (gpu.pci_address, ""),
    "driver_version": lambda _index, _gpu, _now, view: (view.topology.driver_version, ""),
    "pstate": lambda _index, _gpu, _now, _view: ("P0", ""),
    "utilization.gpu": lambda _index, _gpu, now, _view: (str(now.utilization_percent), "%"),
    "utilization.memory": (
        lambda _index, _gpu, now, _view: (str(now.memory_utilization_percent), "%")
    ),
    "memory.total": lambda _index, gpu, _now, _view: (str(gpu.memory_mib), "MiB"),
    "memory.used": lambda _index, _gpu, now, _view: (str(now.memory_used_mib), "MiB"),
    "memory.free": (
        lambda _index, gpu, now, _view: (str(gpu.memory_mib - now.memory_used_mib), "MiB")
    ),
    "temperature.gpu": lambda _index, _gpu, now, _view: (str(now.temperature_c), ""),
    "temperature.memory": lambda _index, _gpu, now, _view: (str(now.memory_temperature_c), ""),
    "power.draw": lambda _index, _gpu, now, _view: (f"{now.power_milliwatts / 1000:.2f}", "W"),
    "power.limit": (
        lambda _index, gpu, _now, _view: (f"{board_of(gpu.model).power_watts:.2f}", "W")
    ),
    "clocks.sm": lambda _index, _gpu, now, _view: (str(now.sm_clock_mhz), "MHz"),
}
"""Fields of ``--query-gpu``: value and unit."""


def comma_separated(
    view: GpuView, names: Sequence[str], *, header: bool = True, units: bool = True
) -> str:
    """``nvidia-smi --query-gpu=… --format=csv``; each of ``names`` is in ``FIELDS``."""
    lines: list[str] = []
    rows = [
        [FIELDS[name](index, gpu, view.samples[gpu.uuid], view) for name in names]
        for index, gpu in enumerate(view.gpus)
    ]
    if header and rows:
        lines.append(
            ", ".join(
                f"{name} [{unit}]" if unit else name
                for name, (_, unit) in zip(names, rows[0], strict=True)
            )
        )
    lines += [
        ", ".join(f"{value} {unit}" if unit and units else value for value, unit in row)
        for row in rows
    ]
    return "".join(f"{line}\n" for line in lines)
