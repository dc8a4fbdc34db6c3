"""AMD Instinct boards: eight GPUs, each with one Infinity Fabric link to every other.

Addresses, links and weights: the CLI examples of ROCm/amdsmi, CHANGELOG.md at 0ceca28. OAM ids in
PCI order: a public capture of an eight-way board of the family (they do not follow PCI order).
Memory as amd-smi prints it for MI300X. Read 2026-11-28.
"""

from typing import Final

from gpucloud_core.nodes.boards_hgx import nics, nvmes
from gpucloud_core.nodes.model import LinkClass
from gpucloud_core.nodes.system import System, uniform

_TWO_SOCKETS: Final = (0, 0, 0, 0, 1, 1, 1, 1)
_MESH: Final = uniform(8, LinkClass.XGMI, 1)
_SWITCHES: Final = tuple(
    f"0000:{bus}:00.0" for bus in ("09", "1f", "35", "59", "9c", "ac", "bc", "dc")
)

MI300X_X8: Final = System(
    name="mi300x-x8",
    gpu_model="AMD Instinct MI300X",
    gpu_memory_mib=196_592,
    pci_addresses=tuple(
        f"00000000:{bus}:00.0" for bus in ("0C", "22", "38", "5C", "9F", "AF", "BF", "DF")
    ),
    module_ids=(7, 5, 6, 2, 0, 4, 1, 3),
    numa=_TWO_SOCKETS,
    links=_MESH[0],
    nvlinks=_MESH[1],
    cpu_count=384,
    memory_mib=2_359_296,
    numa_cpus=("0-95,192-287", "96-191,288-383"),
    driver_version="6.10.5",
    switches=_SWITCHES,
    nics=nics(
        ("0d", "23", "39", "5d", "a0", "b0", "c0", "e0"),
        _TWO_SOCKETS,
        _SWITCHES,
        "BCM57608 25Gb/50Gb/100Gb/200Gb/400Gb Ethernet",
    ),
    nvmes=nvmes(("01", "73", "74", "f3", "f4"), (0, 0, 0, 1, 1)),
)

ALL: Final = (MI300X_X8,)
