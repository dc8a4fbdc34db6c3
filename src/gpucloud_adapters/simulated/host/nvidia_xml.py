"""``nvidia-smi -q -x``: the driver's whole report as XML, rendered from a view.

Element names and order are those of driver 575's ``nvsmi_device_v12`` report, values those of an
H200's ``-q``, both as posted publicly (read 2026-11-22). Elements that carry no fact about a
board here (application clocks, supported clocks, retired pages) say N/A or are left out.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias
from xml.sax.saxutils import escape, quoteattr

from gpucloud_adapters.simulated.host.boards import Board, board_of
from gpucloud_adapters.simulated.host.nvidia_smi import GpuView
from gpucloud_adapters.simulated.host.sampler import GpuSample
from gpucloud_core.nodes.model import Gpu, LinkClass

Tree: TypeAlias = "list[tuple[str, str | int | Tree]]"

_NONE: Final = "N/A"
_RESERVED_MIB: Final = 700
_REASONS: Final = (
    "applications_clocks_setting",
    "sw_power_cap",
    "hw_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "display_clocks_setting",
)
_SRAM: Final = ("sram_correctable", "sram_uncorrectable_parity", "sram_uncorrectable_secded")
_DRAM: Final = ("dram_correctable", "dram_uncorrectable")


def report(view: GpuView) -> str:
    """Return the whole document."""
    lines = [
        '<?xml version="1.0" ?>',
        '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">',
        "<nvidia_smi_log>",
        f"\t<timestamp>{view.at:%a %b %e %H:%M:%S %Y}</timestamp>",
        f"\t<driver_version>{escape(view.topology.driver_version)}</driver_version>",
        f"\t<cuda_version>{view.cuda}</cuda_version>",
        f"\t<attached_gpus>{len(view.gpus)}</attached_gpus>",
    ]
    for gpu in view.gpus:
        lines.append(f"\t<gpu id={quoteattr(gpu.pci_address)}>")
        lines += _lines(_gpu(gpu, view), depth=2)
        lines.append("\t</gpu>")
    return "\n".join([*lines, "</nvidia_smi_log>"]) + "\n"


def _lines(tree: Tree, *, depth: int) -> Iterator[str]:
    indent = "\t" * depth
    for name, value in tree:
        if isinstance(value, list):
            yield f"{indent}<{name}>"
            yield from _lines(value, depth=depth + 1)
            yield f"{indent}</{name}>"
        else:
            yield f"{indent}<{name}>{escape(str(value))}</{name}>"


def _gpu(gpu: Gpu, view: GpuView) -> Tree:
    board, now = board_of(gpu.model), view.samples[gpu.uuid]
    return [
        *_identity(gpu, board, view),
        ("pci", _pci(gpu, board)),
        ("fan_speed", _NONE),
        ("performance_state", "P0"),
        *_clock_events(now),
        *_memory(gpu, now),
        ("compute_mode", "Default"),
        ("utilization", _utilization(now)),
        *_errors(),
        ("temperature", _temperature(now)),
        ("gpu_power_readings", _power(board, now)),
        *_clocks(board, now),
        ("fabric", _fabric(gpu, view)),
        ("processes", ""),
    ]


def _identity(gpu: Gpu, board: Board, view: GpuView) -> Tree:
    driver = view.topology.driver_version
    module = str(gpu.module_id) if gpu.module_id is not None else _NONE
    return [
        ("product_name", gpu.model),
        ("product_brand", "NVIDIA"),
        ("product_architecture", board.architecture),
        ("display_mode", "Enabled"),
        ("display_active", "Disabled"),
        ("persistence_mode", "Enabled"),
        ("addressing_mode", "None"),
        ("mig_mode", [("current_mig", "Disabled"), ("pending_mig", "Disabled")]),
        ("mig_devices", "None"),
        ("accounting_mode", "Disabled"),
        ("accounting_mode_buffer_size", 4000),
        ("driver_model", [("current_dm", _NONE), ("pending_dm", _NONE)]),
        ("serial", gpu.serial or _NONE),
        ("uuid", gpu.uuid),
        ("minor_number", gpu.index),
        ("vbios_version", board.vbios),
        ("multigpu_board", "No"),
        ("board_id", f"0x{_bus(gpu).lower().lstrip('0') or '0'}00"),
        ("board_part_number", board.board_part),
        ("gpu_part_number", board.gpu_part),
        ("gpu_fru_part_number", _NONE),
        (
            "platformInfo",
            [
                ("chassis_serial_number", _NONE),
                ("slot_number", _NONE),
                ("tray_index", _NONE),
                ("host_id", _NONE),
                ("peer_type", _NONE),
                ("module_id", module),
                ("gpu_fabric_guid", _NONE),
            ],
        ),
        (
            "inforom_version",
            [
                ("img_version", board.inforom),
                ("oem_object", "2.1"),
                ("ecc_object", "7.16"),
                ("pwr_object", _NONE),
            ],
        ),
        ("c2c_mode", "Disabled"),
        (
            "gpu_virtualization_mode",
            [
                ("virtualization_mode", "None"),
                ("host_vgpu_mode", _NONE),
                ("vgpu_heterogeneous_mode", _NONE),
            ],
        ),
        ("gpu_recovery_action", "None"),
        ("gsp_firmware_version", driver),
    ]


def _bus(gpu: Gpu) -> str:
    return gpu.pci_address.split(":")[1]


def _pci(gpu: Gpu, board: Board) -> Tree:
    generation: Tree = [
        (name, board.pcie_generation)
        for name in (
            "max_link_gen",
            "current_link_gen",
            "device_current_link_gen",
            "max_device_link_gen",
            "max_host_link_gen",
        )
    ]
    widths: Tree = [("max_link_width", "16x"), ("current_link_width", "16x")]
    return [
        ("pci_bus", _bus(gpu)),
        ("pci_device", "00"),
        ("pci_domain", "0000"),
        ("pci_base_class", "3"),
        ("pci_sub_class", "2"),
        ("pci_device_id", board.pci_device_id),
        ("pci_bus_id", gpu.pci_address),
        ("pci_sub_system_id", board.pci_subsystem_id),
        ("pci_gpu_link_info", [("pcie_gen", generation), ("link_widths", widths)]),
        ("replay_counter", 0),
        ("replay_rollover_counter", 0),
        ("tx_util", "657 KB/s"),
        ("rx_util", "619 KB/s"),
        ("atomic_caps_outbound", _NONE),
        ("atomic_caps_inbound", _NONE),
    ]


def _clock_events(now: GpuSample) -> Tree:
    idle = "Active" if now.utilization_percent == 0 else "Not Active"
    flags: Tree = [("clocks_event_reason_gpu_idle", idle)]
    flags += [(f"clocks_event_reason_{name}", "Not Active") for name in _REASONS]
    return [("clocks_event_reasons", flags), ("sparse_operation_mode", "Disabled")]


def _memory(gpu: Gpu, now: GpuSample) -> Tree:
    free = gpu.memory_mib - now.memory_used_mib - _RESERVED_MIB
    return [
        (
            "fb_memory_usage",
            [
                ("total", f"{gpu.memory_mib} MiB"),
                ("reserved", f"{_RESERVED_MIB} MiB"),
                ("used", f"{now.memory_used_mib} MiB"),
                ("free", f"{free} MiB"),
            ],
        ),
        (
            "bar1_memory_usage",
            [("total", "262144 MiB"), ("used", "1 MiB"), ("free", "262143 MiB")],
        ),
    ]


def _utilization(now: GpuSample) -> Tree:
    busy: Tree = [
        ("gpu_util", f"{now.utilization_percent} %"),
        ("memory_util", f"{now.memory_utilization_percent} %"),
    ]
    return busy + [(f"{name}_util", "0 %") for name in ("encoder", "decoder", "jpeg", "ofa")]


def _errors() -> Tree:
    counts: Tree = [(name, 0) for name in (*_SRAM, *_DRAM)]
    return [
        ("ecc_mode", [("current_ecc", "Enabled"), ("pending_ecc", "Enabled")]),
        (
            "ecc_errors",
            [("volatile", counts), ("aggregate", [*counts, ("sram_threshold_exceeded", "No")])],
        ),
        (
            "remapped_rows",
            [
                ("remapped_row_corr", 0),
                ("remapped_row_unc", 0),
                ("remapped_row_pending", "No"),
                ("remapped_row_failure", "No"),
            ],
        ),
    ]


def _temperature(now: GpuSample) -> Tree:
    return [
        ("gpu_temp", f"{now.temperature_c} C"),
        ("gpu_temp_tlimit", f"{87 - now.temperature_c} C"),
        ("gpu_temp_max_tlimit_threshold", "-8 C"),
        ("gpu_temp_slow_tlimit_threshold", "-2 C"),
        ("gpu_temp_max_gpu_tlimit_threshold", "0 C"),
        ("gpu_target_temperature", _NONE),
        ("memory_temp", f"{now.memory_temperature_c} C"),
        ("gpu_temp_max_mem_tlimit_threshold", "0 C"),
    ]


def _power(board: Board, now: GpuSample) -> Tree:
    draw = f"{now.power_milliwatts / 1000:.2f} W"
    return [
        ("power_state", "P0"),
        ("average_power_draw", draw),
        ("instant_power_draw", draw),
        ("current_power_limit", f"{board.power_watts:.2f} W"),
        ("requested_power_limit", f"{board.power_watts:.2f} W"),
        ("default_power_limit", f"{board.power_watts:.2f} W"),
        ("min_power_limit", f"{board.power_watts_min:.2f} W"),
        ("max_power_limit", f"{board.power_watts:.2f} W"),
    ]


def _clocks(board: Board, now: GpuSample) -> Tree:
    return [
        (
            "clocks",
            [
                ("graphics_clock", f"{now.sm_clock_mhz} MHz"),
                ("sm_clock", f"{now.sm_clock_mhz} MHz"),
                ("mem_clock", f"{board.memory_clock_mhz} MHz"),
                ("video_clock", "765 MHz"),
            ],
        ),
        (
            "max_clocks",
            [
                ("graphics_clock", f"{board.clock_mhz} MHz"),
                ("sm_clock", f"{board.clock_mhz} MHz"),
                ("mem_clock", f"{board.memory_clock_mhz} MHz"),
                ("video_clock", "1545 MHz"),
            ],
        ),
    ]


def _fabric(gpu: Gpu, view: GpuView) -> Tree:
    is_switched = LinkClass.NVSWITCH in view.topology.links[gpu.index]
    switched = is_switched and board_of(gpu.model).reports_fabric
    return [
        ("state", "Completed" if switched else _NONE),
        ("status", "Success" if switched else _NONE),
        ("cliqueId", "0" if switched else _NONE),
        ("clusterUuid", "00000000-0000-0000-0000-000000000000" if switched else _NONE),
        ("health", [("bandwidth", _NONE)]),
    ]
