"""NVIDIA's switched baseboards, as machines that carry them report themselves.

Addresses and module ids of H100 and H200: NVIDIA HGX Shared NVSwitch GPU Passthrough
Virtualization Integration Guide (WP-12736-002). A100: the DGX A100 of github.com/NVIDIA/nccl
issue 1505. B200: github.com/sgl-project/sglang issue 9064; the module ids of that board are
counted in PCI order, for no public capture tells them. HGX-2: github.com/NVIDIA/nccl-tests issue
78. Read 2026-11-28.
"""

from typing import Final

from gpucloud_core.nodes.model import LinkClass, Nic, Nvme
from gpucloud_core.nodes.system import System, uniform

_TWO_SOCKETS: Final = (0, 0, 0, 0, 1, 1, 1, 1)
_SYSTEM_DISK_BYTES: Final = 1_920_383_410_176
_DATA_DISK_BYTES: Final = 3_840_755_982_336
_DISK: Final = "SAMSUNG MZQL23T8HCLS-00A07"


def nics(
    buses: tuple[str, ...], numa: tuple[int, ...], switches: tuple[str, ...], model: str
) -> tuple[Nic, ...]:
    """Return one port per bus; ``switches`` may be empty."""
    return tuple(
        Nic(
            pci_address=f"0000:{bus}:00.0",
            model=model,
            numa=numa[index],
            pcie_switch=switches[index] if switches else "",
            netdev=f"{'ibp' if 'ConnectX' in model else 'enp'}{int(bus, 16)}s0",
        )
        for index, bus in enumerate(buses)
    )


def nvmes(buses: tuple[str, ...], numa: tuple[int, ...]) -> tuple[Nvme, ...]:
    """Return a disk per bus; the first is the host's own."""
    return tuple(
        Nvme(
            name=f"nvme{index}n1",
            pci_address=f"0000:{bus}:00.0",
            numa=numa[index],
            size_bytes=_DATA_DISK_BYTES if index else _SYSTEM_DISK_BYTES,
            model=_DISK if index else "SAMSUNG MZ1L21T9HCLS-00A07",
            mounted=not index,
            contents="" if index else "partitions",
        )
        for index, bus in enumerate(buses)
    )


_HOPPER_ADDRESSES: Final = tuple(
    f"00000000:{bus}:00.0" for bus in ("0F", "10", "41", "44", "86", "87", "B8", "BB")
)
_HOPPER_MODULES: Final = (5, 7, 6, 8, 1, 3, 2, 4)  # not PCI order: a partition names modules
_HOPPER_SWITCHES: Final = tuple(
    f"0000:{bus}:00.0" for bus in ("0d", "0d", "3f", "3f", "84", "84", "b6", "b6")
)
_DISKS: Final = nvmes(
    ("02", "16", "17", "36", "37", "96", "97", "d6", "d7"), (0, 0, 0, 0, 0, 1, 1, 1, 1)
)
_HOPPER_NICS: Final = nics(
    ("11", "12", "42", "45", "88", "89", "b9", "bc"),
    _TWO_SOCKETS,
    _HOPPER_SWITCHES,
    "MT2910 Family [ConnectX-7]",
)
_FOURTH: Final = uniform(8, LinkClass.NVSWITCH, 18)

HGX_H200: Final = System(
    name="hgx-h200",
    gpu_model="NVIDIA H200",
    gpu_memory_mib=143_771,
    pci_addresses=_HOPPER_ADDRESSES,
    module_ids=_HOPPER_MODULES,
    numa=_TWO_SOCKETS,
    links=_FOURTH[0],
    nvlinks=_FOURTH[1],
    cpu_count=192,
    memory_mib=2_097_152,
    numa_cpus=("0-47,96-143", "48-95,144-191"),
    driver_version="570.133.20",
    switches=_HOPPER_SWITCHES,
    nics=_HOPPER_NICS,
    nvmes=_DISKS,
)
HGX_H100: Final = System(
    name="hgx-h100",
    gpu_model="NVIDIA H100 80GB HBM3",
    gpu_memory_mib=81_559,
    pci_addresses=_HOPPER_ADDRESSES,
    module_ids=_HOPPER_MODULES,
    numa=_TWO_SOCKETS,
    links=_FOURTH[0],
    nvlinks=_FOURTH[1],
    cpu_count=192,
    memory_mib=2_097_152,
    numa_cpus=("0-47,96-143", "48-95,144-191"),
    driver_version="570.133.20",
    switches=_HOPPER_SWITCHES,
    nics=_HOPPER_NICS,
    nvmes=_DISKS,
)
HGX_B200: Final = System(
    name="hgx-b200",
    gpu_model="NVIDIA B200",
    gpu_memory_mib=183_359,
    pci_addresses=tuple(
        f"00000000:{bus}:00.0" for bus in ("1B", "43", "52", "61", "9D", "C3", "D1", "DF")
    ),
    module_ids=(1, 2, 3, 4, 5, 6, 7, 8),  # an example's; a machine's own are read from it
    numa=_TWO_SOCKETS,
    links=_FOURTH[0],
    nvlinks=_FOURTH[1],
    cpu_count=224,
    memory_mib=2_097_152,
    numa_cpus=("0-55,112-167", "56-111,168-223"),
    driver_version="575.57.08",
    switches=tuple(f"0000:{bus}:00.0" for bus in ("19", "41", "50", "5f", "9b", "c1", "cf", "dd")),
    nics=nics(
        ("1c", "44", "53", "62", "9e", "c4", "d2", "e0"),
        _TWO_SOCKETS,
        tuple(f"0000:{bus}:00.0" for bus in ("19", "41", "50", "5f", "9b", "c1", "cf", "dd")),
        "MT2910 Family [ConnectX-7]",
    ),
    nvmes=_DISKS,
)

_A100_NUMA: Final = (3, 3, 1, 1, 7, 7, 5, 5)
_A100_SWITCHES: Final = tuple(
    f"0000:{bus}:00.0" for bus in ("05", "05", "45", "45", "85", "85", "b5", "b5")
)
_THIRD: Final = uniform(8, LinkClass.NVSWITCH, 12)

HGX_A100: Final = System(
    name="hgx-a100",
    gpu_model="NVIDIA A100-SXM4-80GB",
    gpu_memory_mib=81_920,
    pci_addresses=tuple(
        f"00000000:{bus}:00.0" for bus in ("07", "0F", "47", "4E", "87", "90", "B7", "BD")
    ),
    module_ids=(3, 4, 1, 2, 7, 8, 5, 6),
    numa=_A100_NUMA,
    links=_THIRD[0],
    nvlinks=_THIRD[1],
    cpu_count=256,
    memory_mib=2_097_152,
    numa_cpus=tuple(f"{16 * n}-{16 * n + 15},{128 + 16 * n}-{143 + 16 * n}" for n in range(8)),
    driver_version="550.163.01",
    switches=_A100_SWITCHES,
    nics=nics(
        ("0c", "12", "4b", "54", "8d", "94", "ba", "c0"),
        _A100_NUMA,
        _A100_SWITCHES,
        "MT28908 Family [ConnectX-6]",
    ),
    nvmes=nvmes(("22", "23", "24", "a4", "a5"), (2, 2, 2, 6, 6)),
)

_SECOND: Final = uniform(16, LinkClass.NVSWITCH, 6)

HGX_2: Final = System(
    name="hgx-2",
    gpu_model="Tesla V100-SXM3-32GB",
    gpu_memory_mib=32_768,
    pci_addresses=tuple(
        f"00000000:{bus}:00.0"
        for bus in (
            *("34", "36", "39", "3B", "57", "59", "5C", "5E"),
            *("B7", "B9", "BC", "BE", "E0", "E2", "E5", "E7"),
        )
    ),
    module_ids=tuple(range(1, 17)),
    numa=(0,) * 8 + (1,) * 8,
    links=_SECOND[0],
    nvlinks=_SECOND[1],
    cpu_count=96,
    memory_mib=1_572_864,
    numa_cpus=("0-23,48-71", "24-47,72-95"),
    driver_version="535.183.06",
    nvmes=nvmes(("01", "2e", "2f", "b1", "b2"), (0, 0, 0, 1, 1)),
)

ALL: Final = (HGX_H200, HGX_H100, HGX_B200, HGX_A100, HGX_2)
