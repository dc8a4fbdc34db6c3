"""NVIDIA GPUs on PCIe: plain cards, cards bridged in pairs, and the DGX-1 meshes.

NVLinks of the meshes and the bridges: NVIDIA/go-gpuallocator's own test topologies at 876e7b7.
L40S: its product brief PB-11541 and the matrix under tests/data/nvidia_smi. Read 2026-11-28.
"""

from typing import Final

from gpucloud_core.nodes.boards_hgx import nics, nvmes
from gpucloud_core.nodes.model import LinkClass
from gpucloud_core.nodes.system import CountMatrix, System, by_numa, mesh

_TWO_SOCKETS: Final = (0, 0, 0, 0, 1, 1, 1, 1)
_PLAIN_CARDS: Final = by_numa(_TWO_SOCKETS, inside=LinkClass.NODE)

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
    nics=nics(("2a", "a8"), (0, 1), (), "MT2892 Family [ConnectX-6 Dx]"),
    nvmes=nvmes(("02", "45", "46", "c5", "c6"), (0, 0, 0, 1, 1)),
)


def _counts(rows: tuple[str, ...]) -> CountMatrix:
    return tuple(tuple(int(digit) for digit in row) for row in rows)


_DGX_ADDRESSES: Final = tuple(
    f"00000000:{bus}:00.0" for bus in ("06", "07", "0A", "0B", "85", "86", "89", "8A")
)
_DGX_SWITCHES: Final = tuple(
    f"0000:{bus}:00.0" for bus in ("04", "04", "08", "08", "83", "83", "87", "87")
)
_VOLTA: Final = mesh(
    _counts(
        (
            *("01122000", "10210200", "12020010", "21200001"),
            *("20000112", "02001021", "00101202", "00012120"),
        )
    ),
    by_numa(_TWO_SOCKETS, inside=LinkClass.PHB)[0],
)
_PASCAL: Final = mesh(
    _counts(
        (
            *("01111000", "10110100", "11010010", "11100001"),
            *("10000111", "01001011", "00101101", "00011110"),
        )
    ),
    by_numa(_TWO_SOCKETS, inside=LinkClass.PHB)[0],
)
_DGX_NICS: Final = nics(
    ("05", "0c", "84", "8b"),
    (0, 0, 1, 1),
    ("0000:04:00.0", "0000:08:00.0", "0000:83:00.0", "0000:87:00.0"),
    "MT27700 Family [ConnectX-4]",
)

DGX_1_VOLTA: Final = System(
    name="dgx-1-volta",
    gpu_model="Tesla V100-SXM2-32GB",
    gpu_memory_mib=32_768,
    pci_addresses=_DGX_ADDRESSES,
    numa=_TWO_SOCKETS,
    links=_VOLTA[0],
    nvlinks=_VOLTA[1],
    cpu_count=80,
    memory_mib=524_288,
    numa_cpus=("0-19,40-59", "20-39,60-79"),
    driver_version="535.183.06",
    switches=_DGX_SWITCHES,
    nics=_DGX_NICS,
)
DGX_1_PASCAL: Final = System(
    name="dgx-1-pascal",
    gpu_model="Tesla P100-SXM2-16GB",
    gpu_memory_mib=16_384,
    pci_addresses=_DGX_ADDRESSES,
    numa=_TWO_SOCKETS,
    links=_PASCAL[0],
    nvlinks=_PASCAL[1],
    cpu_count=80,
    memory_mib=524_288,
    numa_cpus=("0-19,40-59", "20-39,60-79"),
    driver_version="535.183.06",
    switches=_DGX_SWITCHES,
    nics=_DGX_NICS,
)
_BRIDGED: Final = mesh(
    _counts(("0002", "0020", "0200", "2000")), by_numa((0, 0, 1, 1), inside=LinkClass.NODE)[0]
)
RTX_8000_X4: Final = System(
    name="rtx8000-x4",
    gpu_model="Quadro RTX 8000",
    gpu_memory_mib=49_152,
    pci_addresses=tuple(f"00000000:{bus}:00.0" for bus in ("15", "2D", "99", "B3")),
    numa=(0, 0, 1, 1),
    links=_BRIDGED[0],
    nvlinks=_BRIDGED[1],
    cpu_count=48,
    memory_mib=393_216,
    numa_cpus=("0-11,24-35", "12-23,36-47"),
    driver_version="535.183.06",
)

ALL: Final = (L40S_X8, DGX_1_VOLTA, DGX_1_PASCAL, RTX_8000_X4)
