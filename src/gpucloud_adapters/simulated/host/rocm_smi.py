"""rocm-smi's texts, rendered from a view: its table, the product names and ``--showtopo``.

Layouts are those of ROCm 6, as posted publicly (read 2026-11-28).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gpucloud_adapters.simulated.host.amd_smi import kfd_id, topology, used_mib
from gpucloud_adapters.simulated.host.boards import board_of
from gpucloud_adapters.simulated.host.nvidia_smi import GpuView
from gpucloud_core.nodes.model import Gpu

_WIDE: Final = 124
_NARROW: Final = 90
_COLUMNS: Final = (
    "Device  Node  IDs              Temp        Power     Partitions          "
    "SCLK     MCLK     Fan  Perf  PwrCap  VRAM%  GPU%  \n"
    "              (DID,     GUID)  (Junction)  (Socket)  (Mem, Compute, ID)  "
    f"{'':50}\n"
)


def _title(words: str, width: int) -> str:
    return f"{f' {words} ':=^{width}}\n"


def _page(sections: Sequence[tuple[str, str]], width: int) -> str:
    rule = "=" * width + "\n"
    parts = [_title("ROCm System Management Interface", width)]
    for title, body in sections:
        parts += [_title(title, width), body]
    return "\n" + "".join([*parts, rule, _title("End of ROCm SMI Log", width)]) + "\n"


def table(view: GpuView) -> str:
    """Plain ``rocm-smi``."""
    rule = "=" * _WIDE + "\n"
    rows = [_row(index, gpu, view) for index, gpu in enumerate(view.gpus)]
    return _page([("Concise Info", "".join([_COLUMNS, rule, *rows]))], _WIDE)


def _row(index: int, gpu: Gpu, view: GpuView) -> str:
    now, board = view.samples[gpu.uuid], board_of(gpu.model)
    full = round(100 * used_mib(view, gpu) / gpu.memory_mib)
    cells = (
        (str(index), 8),
        (str(gpu.index + 2), 6),
        (f"0x{board.pci_device_id[:4].lower()}, {kfd_id(gpu):>7}", 17),
        (f"{now.temperature_c:.1f}°C", 12),
        (f"{now.power_milliwatts / 1000:.1f}W", 10),
        ("NPS1, SPX, 0", 20),
        (f"{now.sm_clock_mhz}Mhz", 9),
        (f"{board.memory_clock_mhz}Mhz", 9),
        ("0%", 5),
        ("auto", 6),
        (f"{board.power_watts:.1f}W", 8),
        (f"{full}%", 7),
        (f"{now.utilization_percent}%", 6),
    )
    return "".join(text.ljust(width) for text, width in cells) + "\n"


def product_names(view: GpuView) -> str:
    """``rocm-smi --showproductname``."""
    lines: list[str] = []
    for index, gpu in enumerate(view.gpus):
        board = board_of(gpu.model)
        facts = {
            "Card Series": gpu.model,
            "Card Model": f"0x{board.pci_device_id[:4].lower()}",
            "Card Vendor": board.pci_vendor,
            "Card SKU": "M3000100",
            "Subsystem ID": f"0x{board.pci_subsystem_id[:4].lower()}",
            "Device Rev": "0x00",
            "Node ID": str(gpu.index + 2),
            "GUID": str(kfd_id(gpu)),
            "GFX Version": board.gpu_part,
        }
        lines += [f"GPU[{index}]\t\t: {name}: \t\t{value}\n" for name, value in facts.items()]
    return _page([("Product Info", "".join(lines))], _NARROW)


def topology_tables(view: GpuView) -> str:
    """``rocm-smi --showtopo``."""
    numa = "".join(
        f"GPU[{index}]\t\t: (Topology) Numa {word}: {gpu.numa}\n"
        for index, gpu in enumerate(view.gpus)
        for word in ("Node", "Affinity")
    )
    sections = [
        ("Weight between two GPUs", _matrix(view, "weight")),
        ("Hops between two GPUs", _matrix(view, "num_hops")),
        ("Link Type between two GPUs", _matrix(view, "link_type")),
        ("Numa Nodes", numa),
    ]
    return _page(sections, _NARROW)


def _matrix(view: GpuView, fact: str) -> str:
    names = [f"GPU{index}" for index in range(len(view.gpus))]
    lines = ["".join([" " * 7, *(name.ljust(13) for name in names)]).rstrip()]
    for name, row in zip(names, topology(view), strict=True):
        links: Sequence[Mapping[str, object]] = row["links"]  # type: ignore[assignment]  # as made there
        cells = ["0" if link[fact] == "SELF" else str(link[fact]) for link in links]
        lines.append("".join([name.ljust(7), *(cell.ljust(13) for cell in cells)]).rstrip())
    return "".join(f"{line}\n" for line in lines) + "\n"


VIEWS: Final[Mapping[tuple[str, ...], Callable[[GpuView], str]]] = {
    (): table,
    ("--showproductname",): product_names,
    ("--showtopo",): topology_tables,
}
"""Arguments to what is printed."""
