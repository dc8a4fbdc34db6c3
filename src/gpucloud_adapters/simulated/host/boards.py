"""What the driver and the PCI database say of each model of GPU, beyond the topology.

Sources: nvidia-smi -q of an H200 (driver 550.90.12), of H100s, A100s and B200s, posted publicly;
pci.ids; NVIDIA L40S product brief PB-11541; the CLI examples of ROCm/amdsmi. Read 2026-11-28.
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
    cpu: str = "Intel(R) Xeon(R) Platinum 8468"  # of the machines that carry it here
    idle_watts: int = 76
    pcie_generation: int = 5
    pci_class: str = "3D controller"
    pci_vendor: str = "NVIDIA Corporation"
    nvswitches: int = 0  # that the bus shows
    nvswitch_name: str = ""
    reports_fabric: bool = False  # from Hopper on, where there is a switch

    def limits(self, memory_mib: int) -> GpuLimits:
        return GpuLimits(
            memory_mib=memory_mib,
            power_watts=self.power_watts,
            clock_mhz=self.clock_mhz,
            idle_watts=self.idle_watts,
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
    nvswitches=4,
    nvswitch_name="GH100 [H100 NVSwitch]",
    reports_fabric=True,
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
    nvswitches=4,
    nvswitch_name="GH100 [H100 NVSwitch]",
    reports_fabric=True,
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
    cpu="AMD EPYC 9354 32-Core Processor",
    idle_watts=36,
    pcie_generation=4,
)
_B200: Final = Board(
    architecture="Blackwell",
    pci_name="GB100 [B200]",
    pci_device_id="290110DE",
    pci_subsystem_id="199910DE",
    power_watts=1000,
    power_watts_min=200,
    clock_mhz=1965,
    memory_clock_mhz=3996,
    vbios="97.00.82.00.1A",
    board_part="692-2G525-0220-001",
    gpu_part="2901-886-A1",
    inforom="G525.0220.00.03",
    cpu="INTEL(R) XEON(R) PLATINUM 8570",
    idle_watts=142,
    reports_fabric=True,  # its switches are reached through adapters and not seen on the bus
)
_A100: Final = Board(
    architecture="Ampere",
    pci_name="GA100 [A100 SXM4 80GB]",
    pci_device_id="20B210DE",
    pci_subsystem_id="147F10DE",
    power_watts=400,
    power_watts_min=100,
    clock_mhz=1410,
    memory_clock_mhz=1593,
    vbios="92.00.45.00.05",
    board_part="692-2G506-0210-002",
    gpu_part="20B2-895-A1",
    inforom="G506.0210.00.04",
    cpu="AMD EPYC 7742 64-Core Processor",
    idle_watts=62,
    pcie_generation=4,
    nvswitches=6,
    nvswitch_name="GA100 [A100 NVSwitch]",
)
_MI300X: Final = Board(
    architecture="CDNA 3",
    pci_name="Aqua Vanjaram [Instinct MI300X]",
    pci_device_id="74A11002",
    pci_subsystem_id="74A11002",
    power_watts=750,
    power_watts_min=0,
    clock_mhz=2100,
    memory_clock_mhz=1300,
    vbios="022.040.003.042.000001",
    board_part="102-G30211-0C",
    gpu_part="gfx942",
    inforom="",
    cpu="AMD EPYC 9654 96-Core Processor",
    idle_watts=134,
    pci_class="Processing accelerators",
    pci_vendor="Advanced Micro Devices, Inc. [AMD/ATI]",
)
_BOARDS: Final[Mapping[str, Board]] = {
    "NVIDIA H200": _H200,
    "NVIDIA H100 80GB HBM3": _H100,
    "NVIDIA L40S": _L40S,
    "NVIDIA B200": _B200,
    "NVIDIA A100-SXM4-80GB": _A100,
    "AMD Instinct MI300X": _MI300X,
}


def board_of(model: str) -> Board:
    """Return the board of ``model``; a model without one of its own borrows the H200's figures."""
    return _BOARDS.get(model, _H200)


def cuda_version(driver_version: str) -> str:
    """Return the CUDA version that a driver branch prints."""
    branches = {"535": "12.2", "550": "12.4", "560": "12.6", "570": "12.8", "575": "12.9"}
    return branches.get(driver_version.partition(".")[0], "13.0")
