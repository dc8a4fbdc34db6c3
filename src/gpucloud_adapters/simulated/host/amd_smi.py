"""amd-smi's texts, rendered from a view: its table, list, static, topology and monitor.

Layouts are those of ROCm 6.4, whose ``--json`` answers are bare lists, and of the ROCm 7 table, as
its own documentation and public captures have them (read 2026-11-28). A view numbers its GPUs from
0, as inside a container.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gpucloud_adapters.simulated.host.boards import board_of
from gpucloud_adapters.simulated.host.nvidia_smi import GpuView
from gpucloud_core.nodes.model import Gpu, LinkClass
from gpucloud_core.nodes.pci import short_address

_BOTH: Final = f"+{'-' * 78}+\n"
_SPLIT: Final = f"|{'-' * 37}+{'-' * 40}|\n"
_HEAD: Final = f"""\
| BDF                        GPU-Name | Mem-Uti   Temp   UEC       Power-Usage |
| GPU  HIP-ID  OAM-ID  Partition-Mode | GFX-Uti    Fan               Mem-Usage |
|{"=" * 37}+{"=" * 40}|
"""
_NO_PROCESSES: Final = f"""\
{_BOTH}| Processes:                                                                   |
|  GPU        PID  Process Name          GTT_MEM  VRAM_MEM  MEM_USAGE     CU % |
|{"=" * 78}|
|  No running processes found                                                  |
{_BOTH}"""
_XGMI_WEIGHT: Final = 15
_PCIE_WEIGHTS: Final = {LinkClass.SYS: 72}
_SAME_SOCKET_WEIGHT: Final = 40
_HOPS: Final = {LinkClass.XGMI: 1, LinkClass.SYS: 3}
_SAME_SOCKET_HOPS: Final = 2
_RESERVED_MIB: Final = 283
_COMPUTE_UNITS: Final = 304


def table(view: GpuView) -> str:
    """Plain ``amd-smi``."""
    driver = f"amdgpu version: {view.topology.driver_version}"
    first = f"| AMD-SMI 26.0.2+39589fda      {driver:<24} ROCm version: {'7.0.2':<9}|\n"
    rows = [_table_row(index, gpu, view) for index, gpu in enumerate(view.gpus)]
    return "".join(
        [
            _BOTH,
            first,
            f"| {'Platform: Linux Baremetal':<77}|\n",
            _SPLIT,
            _HEAD,
            _SPLIT.join(rows),
            f"+{'-' * 37}+{'-' * 40}+\n",
            _NO_PROCESSES,
        ]
    )


def _table_row(index: int, gpu: Gpu, view: GpuView) -> str:
    now, cap = view.samples[gpu.uuid], board_of(gpu.model).power_watts
    memory = f"{used_mib(view, gpu)}/{gpu.memory_mib} MB"
    power = f"{round(now.power_milliwatts / 1000)}/{cap} W"
    heat = f"{now.temperature_c} °C"
    busy = f"{now.memory_utilization_percent} %"
    load = f"{now.utilization_percent} %"
    module = "N/A" if gpu.module_id is None else str(gpu.module_id)
    return (
        f"| {short_address(gpu.pci_address)}{gpu.model:>23} "
        f"| {busy:<7}{heat:>7}   0{power:>20} |\n"
        f"| {index:>3}{index:>8}{module:>8}{'SPX/NPS1':>16} "
        f"| {load:<7}{'N/A':>7}{memory:>24} |\n"
    )


def used_mib(view: GpuView, gpu: Gpu) -> int:
    """Return the memory in use, with what the driver keeps for itself."""
    return min(gpu.memory_mib, view.samples[gpu.uuid].memory_used_mib + _RESERVED_MIB)


def listing(view: GpuView) -> list[dict[str, object]]:
    """``amd-smi list``."""
    return [
        {
            "gpu": index,
            "bdf": short_address(gpu.pci_address),
            "uuid": gpu.uuid,
            "kfd_id": kfd_id(gpu),
            "node_id": gpu.index + 2,
            "partition_id": 0,
        }
        for index, gpu in enumerate(view.gpus)
    ]


def static(view: GpuView) -> list[dict[str, object]]:
    """``amd-smi static``: what does not change while the machine runs."""
    return [_static(index, gpu, view) for index, gpu in enumerate(view.gpus)]


def _static(index: int, gpu: Gpu, view: GpuView) -> dict[str, object]:
    board = board_of(gpu.model)
    return {
        "gpu": index,
        "asic": {
            "market_name": gpu.model,
            "vendor_id": "0x1002",
            "vendor_name": "Advanced Micro Devices Inc. [AMD/ATI]",
            "subvendor_id": "0x1002",
            "device_id": f"0x{board.pci_device_id[:4].lower()}",
            "subsystem_id": f"0x{board.pci_subsystem_id[:4].lower()}",
            "rev_id": "0x00",
            "asic_serial": f"0x{_digest(gpu)[:16].upper()}",
            "oam_id": gpu.module_id,
            "num_compute_units": _COMPUTE_UNITS,
            "target_graphics_version": board.gpu_part,
        },
        "bus": {
            "bdf": short_address(gpu.pci_address),
            "max_pcie_width": 16,
            "max_pcie_speed": {"value": 32, "unit": "GT/s"},
            "pcie_interface_version": f"Gen {board.pcie_generation}",
            "slot_type": "OAM",
        },
        "vbios": {
            "name": "AMD MI300X_HW_SRIOV_CVS_1VF",
            "build_date": "2024/12/05 23:37",
            "part_number": "113-M3000100-102",
            "version": board.vbios,
        },
        "limit": {
            "max_power": {"value": board.power_watts, "unit": "W"},
            "min_power": {"value": board.power_watts_min, "unit": "W"},
            "socket_power": {"value": board.power_watts, "unit": "W"},
        },
        "driver": {"name": "amdgpu", "version": view.topology.driver_version},
        "board": {
            "model_number": board.board_part,
            "product_serial": gpu.serial or "N/A",
            "fru_id": "113-AMDG302110C05-01",
            "product_name": gpu.model,
            "manufacturer_name": "AMD",
        },
        "partition": {
            "compute_partition": "SPX",
            "memory_partition": "NPS1",
            "partition_id": 0,
        },
        "numa": {"node": gpu.numa, "affinity": gpu.numa},
        "vram": {
            "type": "HBM3",
            "vendor": "N/A",
            "size": {"value": gpu.memory_mib, "unit": "MB"},
            "bit_width": 8192,
        },
    }


def topology(view: GpuView) -> list[dict[str, object]]:
    """``amd-smi topology``, as its JSON has it."""
    return [
        {
            "gpu": index,
            "bdf": short_address(gpu.pci_address),
            "links": [_link(view, gpu, number, other) for number, other in enumerate(view.gpus)],
        }
        for index, gpu in enumerate(view.gpus)
    ]


def _link(view: GpuView, one: Gpu, number: int, other: Gpu) -> dict[str, object]:
    mine = one.index == other.index
    kind = view.topology.links[one.index][other.index]
    fabric = kind is LinkClass.XGMI
    words = "SELF" if mine else "XGMI" if fabric else "PCIE"
    flags = "SELF" if mine else "T"
    return {
        "gpu": number,
        "bdf": short_address(other.pci_address),
        "weight": 0 if mine else weight(kind),
        "link_status": "ENABLED",
        "link_type": words,
        "num_hops": 0 if mine else _HOPS.get(kind, _SAME_SOCKET_HOPS),
        "bandwidth": "50000-50000" if fabric and not mine else "N/A",
        "coherent": "SELF" if mine else "C" if fabric else "NC",
        "atomics": "SELF" if mine else "64,32",
        "dma": flags,
        "bi_dir": flags,
    }


def weight(kind: LinkClass) -> int:
    if kind is LinkClass.XGMI:
        return _XGMI_WEIGHT
    return _PCIE_WEIGHTS.get(kind, _SAME_SOCKET_WEIGHT)


_TABLES: Final[Mapping[str, str]] = {
    "ACCESS TABLE": "link_status",
    "WEIGHT TABLE": "weight",
    "HOPS TABLE": "num_hops",
    "LINK TYPE TABLE": "link_type",
    "NUMA BW TABLE": "bandwidth",
    "CACHE COHERANCY TABLE": "coherent",
    "ATOMICS TABLE": "atomics",
    "DMA TABLE": "dma",
    "BI-DIRECTIONAL TABLE": "bi_dir",
}
_LEGEND: Final = """
Legend:
  SELF = Current GPU
  ENABLED / DISABLED = Link is enabled or disabled
  N/A = Not supported
  T/F = True / False
  C/NC = Coherant / Non-Coherant io links
  64,32 = 64 bit and 32 bit atomic support
  <BW from>-<BW to>
"""


def topology_tables(view: GpuView) -> str:
    """``amd-smi topology``, as people read it."""
    rows = topology(view)
    names = [str(row["bdf"]) for row in rows]
    parts: list[str] = []
    for title, fact in _TABLES.items():
        lines = [f"{title}:", f"{'':12} {' '.join(names)}"]
        for name, row in zip(names, rows, strict=True):
            links: Sequence[Mapping[str, object]] = row["links"]  # type: ignore[assignment]  # as made above
            cells = [f"{link[fact]!s:<12}" for link in links]
            lines.append(f"{name:<12} {' '.join(cells)}".rstrip())
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts) + "\n" + _LEGEND


def monitor(view: GpuView) -> str:
    """``amd-smi monitor``: one line per GPU."""
    lines = [_MONITOR]
    for index, gpu in enumerate(view.gpus):
        now, board = view.samples[gpu.uuid], board_of(gpu.model)
        cells = (
            (f"{index}", 3),
            (f"{round(now.power_milliwatts / 1000)} W", 7),
            (f"{now.temperature_c} °C", 10),
            (f"{now.memory_temperature_c} °C", 10),
            (f"{now.utilization_percent} %", 10),
            (f"{now.sm_clock_mhz} MHz", 11),
            (f"{now.memory_utilization_percent} %", 10),
            (f"{board.memory_clock_mhz} MHz", 11),
            (f"{used_mib(view, gpu)} MB", 11),
            (f"{gpu.memory_mib} MB", 12),
        )
        lines.append("".join(text.rjust(width) for text, width in cells))
    return "".join(f"{line}\n" for line in lines)


def as_json(rows: Sequence[object]) -> str:
    return json.dumps(rows, indent=4) + "\n"


def as_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as amd-smi prints them for people: names in capitals, four spaces a level."""
    blocks = []
    for row in rows:
        first, *rest = row.items()
        lines = [f"{first[0].upper()}: {first[1]}"]
        for name, value in rest:
            lines += _lines(name, value, "    ")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _lines(name: str, value: object, indent: str) -> list[str]:
    match value:
        case {"value": figure, "unit": unit}:
            return [f"{indent}{name.upper()}: {figure} {unit}"]
        case dict():
            inner = [_lines(each, value[each], indent + "    ") for each in value]
            return [f"{indent}{name.upper()}:", *(line for lines in inner for line in lines)]
        case _:
            return [f"{indent}{name.upper()}: {value}"]


def kfd_id(gpu: Gpu) -> int:
    """Return the number that the kernel's driver knows a GPU by."""
    return int(_digest(gpu)[:4], 16)


def _digest(gpu: Gpu) -> str:
    return hashlib.sha256(gpu.uuid.encode()).hexdigest()


_MONITOR: Final = (
    "GPU  POWER  GPU_TEMP  MEM_TEMP  GFX_UTIL  GFX_CLOCK  MEM_UTIL  MEM_CLOCK"
    "  VRAM_USED  VRAM_TOTAL"
)
Render = Callable[[GpuView], str]

VIEWS: Final[Mapping[tuple[str, ...], Render]] = {
    (): table,
    ("list",): lambda view: as_text(listing(view)),
    ("list", "--json"): lambda view: as_json(listing(view)),
    ("static",): lambda view: as_text(static(view)),
    ("static", "--json"): lambda view: as_json(static(view)),
    ("topology",): topology_tables,
    ("topology", "--json"): lambda view: as_json(topology(view)),
    ("monitor",): monitor,
}
"""Arguments to what is printed."""
