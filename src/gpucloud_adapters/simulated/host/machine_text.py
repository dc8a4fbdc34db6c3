"""The other tools of a node: lspci, lsblk, lscpu and /proc/meminfo, rendered from its topology."""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from gpucloud_adapters.simulated.host.boards import board_of
from gpucloud_core.nodes.model import LinkClass, Topology

CPU_MODEL: Final = "Intel(R) Xeon(R) Platinum 8468"
_SYSTEM_DISK_BYTES: Final = 1_920_383_410_176
_DATA_DISK_BYTES: Final = 3_840_755_982_336
_DATA_DISKS: Final = 8
_SWITCH_BUSES: Final = ("05", "06", "07", "08")
_NVME_BUSES: Final = ("16", "17", "36", "37", "96", "97", "D6", "D7")


def lspci(topology: Topology) -> str:
    """``lspci -vmm -D``: GPUs, NVSwitches and NVMe disks, in bus order."""
    return "\n".join(record for _, record in sorted(_pci_records(topology)))


def _pci_records(topology: Topology) -> Iterator[tuple[str, str]]:
    for gpu in topology.gpus:
        board = board_of(gpu.model)
        slot = gpu.pci_address.lower()[4:]
        yield (
            slot,
            _pci_record(
                slot,
                "3D controller",
                "NVIDIA Corporation",
                board.pci_name,
                f"Device {board.pci_subsystem_id[:4].lower()}",
                gpu.numa,
            ),
        )
    if any(LinkClass.NVSWITCH in row for row in topology.links):
        for bus in _SWITCH_BUSES:
            slot = f"0000:{bus.lower()}:00.0"
            name = "GH100 [H100 NVSwitch]"
            yield slot, _pci_record(slot, "Bridge", "NVIDIA Corporation", name, "Device 1796", 0)
    domains = max(1, len(topology.numa_cpus))
    for index, bus in enumerate(_NVME_BUSES[:_DATA_DISKS]):
        slot = f"0000:{bus.lower()}:00.0"
        yield (
            slot,
            _pci_record(
                slot,
                "Non-Volatile memory controller",
                "Samsung Electronics Co Ltd",
                "NVMe SSD Controller PM9A3",
                "Device a902",
                index * domains // _DATA_DISKS,
            ),
        )


def _pci_record(
    slot: str, device_class: str, vendor: str, device: str, subsystem: str, numa: int
) -> str:
    rows = {
        "Slot": slot,
        "Class": device_class,
        "Vendor": vendor,
        "Device": device,
        "SVendor": vendor,
        "SDevice": subsystem,
        "Rev": "a1",
        "NUMANode": str(numa),
    }
    return "".join(f"{name}:\t{value}\n" for name, value in rows.items())


def lsblk() -> str:
    """``lsblk -J -b``: a system disk and the data disks."""
    partitions = [
        _block("nvme0n1p1", "259:1", 1_127_219_200, "part", "/boot/efi"),
        _block("nvme0n1p2", "259:2", _SYSTEM_DISK_BYTES - 1_128_267_776, "part", "/"),
    ]
    disks: list[dict[str, object]] = [
        {
            **_block("nvme0n1", "259:0", _SYSTEM_DISK_BYTES, "disk", None),
            "children": partitions,
        }
    ]
    disks += [
        _block(f"nvme{number}n1", f"259:{number + 2}", _DATA_DISK_BYTES, "disk", None)
        for number in range(1, _DATA_DISKS + 1)
    ]
    return json.dumps({"blockdevices": disks}, indent=3) + "\n"


def _block(name: str, numbers: str, size: int, kind: str, mount: str | None) -> dict[str, object]:
    return {
        "name": name,
        "maj:min": numbers,
        "rm": False,
        "size": size,
        "ro": False,
        "type": kind,
        "mountpoints": [mount],
    }


def lscpu(topology: Topology) -> str:
    """``lscpu -J``."""
    sockets = max(1, len(topology.numa_cpus))
    rows = [
        ("Architecture:", "x86_64"),
        ("CPU op-mode(s):", "32-bit, 64-bit"),
        ("Byte Order:", "Little Endian"),
        ("CPU(s):", str(topology.cpu_count)),
        ("On-line CPU(s) list:", f"0-{topology.cpu_count - 1}"),
        ("Vendor ID:", "GenuineIntel"),
        ("Model name:", CPU_MODEL),
        ("Thread(s) per core:", "2"),
        ("Core(s) per socket:", str(topology.cpu_count // sockets // 2)),
        ("Socket(s):", str(sockets)),
        ("NUMA node(s):", str(sockets)),
        *((f"NUMA node{number} CPU(s):", cpus) for number, cpus in enumerate(topology.numa_cpus)),
    ]
    fields = [{"field": name, "data": value} for name, value in rows]
    return json.dumps({"lscpu": fields}, indent=3) + "\n"


def meminfo(memory_mib: int) -> str:
    """``/proc/meminfo`` of a machine, or of a slice within its limit."""
    total = memory_mib * 1024
    rows = {
        "MemTotal": total,
        "MemFree": total * 91 // 100,
        "MemAvailable": total * 95 // 100,
        "Buffers": total // 1000,
        "Cached": total * 4 // 100,
        "SwapCached": 0,
        "SwapTotal": 0,
        "SwapFree": 0,
        "Dirty": 1024,
        "Shmem": total // 2000,
        "Hugepagesize": 2048,
    }
    return "".join(f"{name + ':':<16}{value:>8} kB\n" for name, value in rows.items())


def cpu_total(cpulist: str) -> int:
    """Return how many CPUs a cpulist names."""
    return sum(_range_size(part) for part in cpulist.split(","))


def _range_size(part: str) -> int:
    low, _, high = part.partition("-")
    return int(high or low) - int(low) + 1


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return ``rows`` with their cells left-aligned in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join(
        " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in rows
    )
