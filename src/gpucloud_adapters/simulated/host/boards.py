"""What the driver and the PCI database say of each model of GPU, beyond the topology.

Sources: nvidia-smi -q of an H200 (driver 550.90.12) and of H100s, posted publicly; pci.ids;
NVIDIA L40S product brief PB-11541. Read 2026-11-22.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gpucloud_adapters.simulated.host.sampler import GpuLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One model, as its vendor prints it."""

    architecture: str
    pci_name: str
    pci_device_id: str
    pci_subsystem_id: str
    power_watts: int
    power_watts_min: int
    clock_mhz: int
    memory_clock_mhz: int
    vbios: str
    board_part: str
    gpu_part: str
    inforom: str

    def limits(self, memory_mib: int) -> GpuLimits:
        return GpuLimits(
            memory_mib=memory_mib, power_watts=self.power_watts, clock_mhz=self.clock_mhz
        )


_H200: Final = Board(
    architecture="Hopper",
    pci_name="GH100 [H200 SXM 141GB]",
    pci_device_id="233510DE",
    pci_subsystem_id="18BE10DE",
    power_watts=700,
    power_watts_min=200,
    clock_mhz=1980,
    memory_clock_mhz=3201,
    vbios="96.00.A5.00.03",
    board_part="695-2G520-0280-000",
    gpu_part="2335-895-A1",
    inforom="G520.0280.02.02",
)
_H100: Final = Board(
    architecture="Hopper",
    pci_name="GH100 [H100 SXM5 80GB]",
    pci_device_id="233010DE",
    pci_subsystem_id="16C110DE",
    power_watts=700,
    power_watts_min=200,
    clock_mhz=1980,
    memory_clock_mhz=2619,
    vbios="96.00.74.00.01",
    board_part="692-2G520-0200-000",
    gpu_part="2330-885-A1",
    inforom="G520.0200.00.05",
)
_L40S: Final = Board(
    architecture="Ada Lovelace",
    pci_name="AD102GL [L40S]",
    pci_device_id="26B910DE",
    pci_subsystem_id="185110DE",
    power_watts=350,
    power_watts_min=100,
    clock_mhz=2520,
    memory_clock_mhz=9001,
    vbios="95.02.66.00.02",
    board_part="900-2G133-0080-000",
    gpu_part="26B9-896-A1",
    inforom="G133.0242.00.03",
)
_BOARDS: Final[Mapping[str, Board]] = {
    "NVIDIA H200": _H200,
    "NVIDIA H100 80GB HBM3": _H100,
    "NVIDIA L40S": _L40S,
}


def board_of(model: str) -> Board:
    """Return the board of ``model``; a model without one of its own borrows the H200's figures."""
    return _BOARDS.get(model, _H200)


def cuda_version(driver_version: str) -> str:
    """Return the CUDA version that a driver branch prints."""
    branches = {"535": "12.2", "550": "12.4", "560": "12.6", "570": "12.8", "575": "12.9"}
    return branches.get(driver_version.partition(".")[0], "13.0")
