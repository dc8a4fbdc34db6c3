"""The other tools of a node: lsblk, ip, lscpu and /proc/meminfo, rendered from its topology."""

import json
from collections.abc import Sequence
from typing import Final

from gpucloud_adapters.simulated.host.boards import board_of
from gpucloud_core.nodes.model import Topology

_SOCKETS: Final = 2


def lsblk(topology: Topology) -> str:
    """``lsblk -J -b``, with all columns: the node's disks; the one it lives on has partitions."""
    disks: list[dict[str, object]] = []
    for number, disk in enumerate(topology.nvmes):
        row = _block(disk.name, f"259:{3 * number}", disk.size_bytes, "disk", None)
        row |= {"model": disk.model, "serial": disk.serial, "fstype": None, "label": None}
        if disk.mounted:
            rest = disk.size_bytes - 1_128_267_776
            row["children"] = [
                _block(f"{disk.name}p1", "259:1", 1_127_219_200, "part", "/boot/efi"),
                _block(f"{disk.name}p2", "259:2", rest, "part", "/"),
            ]
        disks.append(row)
    return json.dumps({"blockdevices": disks}, indent=3) + "\n"


def ip_address(topology: Topology) -> str:
    """``ip -d -j address``: a device per port, and the one that the host is reached by."""
    rows: list[dict[str, object]] = [_netdev("lo", "127.0.0.1", "host")]
    rows += [
        {**_netdev(nic.netdev), "parentbus": "pci", "parentdev": nic.pci_address}
        for nic in topology.nics
        if nic.netdev
    ]
    rows.append(_netdev("eno1", "10.11.0.7", "global"))
    return json.dumps(rows) + "\n"


def _netdev(name: str, address: str = "", scope: str = "") -> dict[str, object]:
    addresses = [{"family": "inet", "local": address, "scope": scope}] if address else []
    return {"ifname": name, "operstate": "UP", "addr_info": addresses}


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
    domains = max(1, len(topology.numa_cpus))
    sockets = min(_SOCKETS, domains)
    model = board_of(topology.gpus[0].model if topology.gpus else "").cpu
    vendor = "AuthenticAMD" if model.startswith("AMD") else "GenuineIntel"
    rows = [
        ("Architecture:", "x86_64"),
        ("CPU op-mode(s):", "32-bit, 64-bit"),
        ("Byte Order:", "Little Endian"),
        ("CPU(s):", str(topology.cpu_count)),
        ("On-line CPU(s) list:", f"0-{topology.cpu_count - 1}"),
        ("Vendor ID:", vendor),
        ("Model name:", model),
        ("Thread(s) per core:", "2"),
        ("Core(s) per socket:", str(topology.cpu_count // sockets // 2)),
        ("Socket(s):", str(sockets)),
        ("NUMA node(s):", str(domains)),
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
