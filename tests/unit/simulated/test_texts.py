"""The texts of a node's tools, against the layouts of real ones.

Seen to fail when ``-L`` rendered ``topology.gpus`` (all eight) instead of the view's own.
The expected lines are those of HGX H200 systems with driver 570, posted publicly.
"""

import json
from datetime import datetime
from typing import NamedTuple, cast
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_adapters.simulated.host import (
    amd_smi,
    machine_text,
    nvidia_smi,
    nvidia_xml,
    pci_text,
    rocm_smi,
)
from gpucloud_adapters.simulated.host.boards import board_of
from gpucloud_adapters.simulated.host.interior import host_view
from gpucloud_adapters.simulated.host.node import SimulatedNode
from gpucloud_adapters.simulated.host.nvidia_smi import GpuView
from gpucloud_adapters.simulated.host.operator import TOOLS
from gpucloud_adapters.simulated.host.sampler import Use, sample
from gpucloud_core.nodes.discovery import read_topology
from gpucloud_core.nodes.model import Topology
from gpucloud_core.nodes.systems import L40S_X8, SYSTEMS
from gpucloud_core.nodes.wire import DISCOVERY_COMMANDS
from simulated_builders import NODE, NOON, without_diagonal

some_gpus = st.sets(st.integers(0, 7), min_size=1).map(sorted)


def view(indexes: list[int], at: datetime = NOON) -> GpuView:
    gpus = tuple(NODE.gpus[index] for index in indexes)
    limits = board_of(gpus[0].model).limits(gpus[0].memory_mib) if gpus else None
    return GpuView(
        topology=NODE,
        gpus=gpus,
        samples={gpu.uuid: sample(Use(seed="x"), gpu.uuid, at, limits) for gpu in gpus if limits},
        at=at,
    )


class TestListing:
    @given(indexes=some_gpus)
    def test_names_exactly_the_gpus_of_the_view_from_zero(self, indexes: list[int]) -> None:
        lines = nvidia_smi.listing(view(indexes)).splitlines()

        assert lines == [
            f"GPU {number}: NVIDIA H200 (UUID: {NODE.gpus[index].uuid})"
            for number, index in enumerate(indexes)
        ]


class TestTable:
    @given(indexes=some_gpus)
    def test_keeps_its_columns(self, indexes: list[int]) -> None:
        first, *rest = nvidia_smi.table(view(indexes)).splitlines()

        assert first == "Sun Nov 22 12:00:00 2026       "
        assert {len(line) for line in rest} == {91, 89}
        assert sum(line.count("NVIDIA H200") for line in rest) == len(indexes)

    def test_looks_like_the_real_one(self) -> None:
        lines = nvidia_smi.table(view([0])).splitlines()

        assert lines[2] == (
            "| NVIDIA-SMI 570.133.20             Driver Version: 570.133.20     "
            "CUDA Version: 12.8     |"
        )
        assert lines[8] == (
            "|   0  NVIDIA H200                    On  |   00000000:0F:00.0 Off |"
            "                    0 |"
        )
        assert lines[9].startswith("| N/A   ")
        assert lines[9].endswith("%      Default |")
        assert "W /  700W |" in lines[9]
        assert "MiB / 143771MiB |" in lines[9]

    def test_says_so_when_there_are_no_gpus(self) -> None:
        assert nvidia_smi.table(view([])) == "No devices were found\n"


class TestMatrix:
    @given(indexes=some_gpus)
    def test_is_square_and_numbers_from_zero(self, indexes: list[int]) -> None:
        rows = nvidia_smi.matrix(view(indexes)).split("\n\n")[0].splitlines()

        assert rows[0].split("\t") == [
            "",
            *(f"GPU{number}" for number in range(len(indexes))),
            "CPU Affinity",
            "NUMA Affinity",
            "GPU NUMA ID",
        ]
        for number, row in enumerate(rows[1:]):
            cells = row.split("\t")
            links = cells[1 : len(indexes) + 1]
            assert cells[0] == f"GPU{number}"
            assert links[number] == " X "
            assert set(links) <= {" X ", "NV18"}
            assert cells[-1] == "N/A"

    def test_speaks_of_cpus_and_numa_domains(self) -> None:
        rows = nvidia_smi.matrix(view([3, 4])).splitlines()

        assert rows[1] == "GPU0\t X \tNV18\t0-47,96-143\t0\t\tN/A"
        assert rows[2] == "GPU1\tNV18\t X \t48-95,144-191\t1\t\tN/A"


class TestReport:
    @given(indexes=some_gpus)
    def test_is_xml_with_every_gpu_of_the_view(self, indexes: list[int]) -> None:
        root = ET.fromstring(nvidia_xml.report(view(indexes)))  # noqa: S314  our own text

        gpus = root.findall("gpu")
        assert root.findtext("attached_gpus") == str(len(indexes))
        assert [gpu.findtext("uuid") for gpu in gpus] == [NODE.gpus[i].uuid for i in indexes]
        for gpu, index in zip(gpus, indexes, strict=True):
            assert gpu.get("id") == gpu.findtext("pci/pci_bus_id") == NODE.gpus[index].pci_address
            assert gpu.findtext("platformInfo/module_id") == str(NODE.gpus[index].module_id)
            assert gpu.findtext("fb_memory_usage/total") == "143771 MiB"
            assert gpu.findtext("serial") == NODE.gpus[index].serial
            assert gpu.findtext("minor_number") == str(index)
            assert gpu.findtext("pci/pci_device_id") == "233510DE"

    def test_adds_its_memory_up(self) -> None:
        gpu = ET.fromstring(nvidia_xml.report(view([0]))).find("gpu")  # noqa: S314  our own text
        assert gpu is not None
        parts = {
            name: int((gpu.findtext(f"fb_memory_usage/{name}") or "").removesuffix(" MiB"))
            for name in ("total", "reserved", "used", "free")
        }

        assert parts["total"] == parts["reserved"] + parts["used"] + parts["free"]


class TestQuery:
    def test_prints_values_with_their_units(self) -> None:
        text = nvidia_smi.comma_separated(view([5]), ["index", "name", "memory.total"])

        assert text == "index, name, memory.total [MiB]\n0, NVIDIA H200, 143771 MiB\n"

    def test_leaves_out_what_it_is_told_to(self) -> None:
        text = nvidia_smi.comma_separated(
            view([5]), ["index", "memory.total"], header=False, units=False
        )

        assert text == "0, 143771\n"


class TestTools:
    def test_are_those_that_discovery_runs(self) -> None:
        assert set(TOOLS) == set(DISCOVERY_COMMANDS)

    def test_lspci_has_every_gpu_and_four_switches(self) -> None:
        records = pci_text.lspci(NODE).split("\n\n")

        slots = {
            gpu: [
                record for record in records if f"Slot:\t{gpu.pci_address.lower()[4:]}\n" in record
            ]
            for gpu in NODE.gpus
        }
        assert all(len(found) == 1 for found in slots.values())
        assert sum("[H100 NVSwitch]" in record for record in records) == 4
        assert "NVSwitch" not in pci_text.lspci(L40S_X8.topology(seed=""))

    def test_lscpu_and_lsblk_are_json(self) -> None:
        processors = {
            row["field"]: row["data"] for row in json.loads(machine_text.lscpu(NODE))["lscpu"]
        }
        disks = json.loads(machine_text.lsblk(NODE))["blockdevices"]

        assert processors["CPU(s):"] == "192"
        assert processors["NUMA node1 CPU(s):"] == NODE.numa_cpus[1]
        assert {disk["type"] for disk in disks} == {"disk"}

    def test_meminfo_has_the_memory_of_the_node(self) -> None:
        first = machine_text.meminfo(NODE.memory_mib).splitlines()[0]

        assert first == "MemTotal:       2147483648 kB"

    @pytest.mark.parametrize(("text", "total"), [("3", 1), ("0-47,96-143", 96), ("0-3,8", 5)])
    def test_count_cpus(self, text: str, total: int) -> None:
        assert machine_text.cpu_total(text) == total

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_are_read_back_as_the_topology_they_came_from(self, system: str) -> None:
        topology = SYSTEMS[system].topology(seed="read back")
        seen = host_view(topology, {}, seed="1", at=NOON)
        node = cast("SimulatedNode", Shown(topology, seen))

        outputs = {" ".join(argv): tool(node, topology) for argv, tool in TOOLS.items()}
        found = read_topology({name: text for name, text in outputs.items() if text is not None})

        assert without_diagonal(found.topology) == without_diagonal(topology)
        assert found.topology.system == system
        assert found.faults == ()

    def test_of_one_vendor_are_not_on_the_nodes_of_the_other(self) -> None:
        for system, absent in (("mi300x-x8", "nvidia-smi"), ("l40s-x8", "amd-smi")):
            topology = SYSTEMS[system].topology(seed="x")
            node = cast(
                "SimulatedNode", Shown(topology, host_view(topology, {}, seed="1", at=NOON))
            )
            for argv, tool in TOOLS.items():
                assert (tool(node, topology) is None) == (argv[0] == absent)


class Shown(NamedTuple):
    """As much of a node as its tools ask of it."""

    topology: Topology
    view: GpuView

    def gpu_view(self, here: Topology) -> GpuView:
        assert here == self.topology
        return self.view


class TestAmdTexts:
    """Layouts of real answers; see the sources in the modules."""

    def test_keep_the_columns_of_the_table(self) -> None:
        first, *rest = amd_smi.table(an_amd_view()).splitlines()

        assert {len(line) for line in (first, *rest)} == {80}
        assert sum(line.count("AMD Instinct MI300X") for line in rest) == 8
        assert "| 0000:0c:00.0    AMD Instinct MI300X |" in amd_smi.table(an_amd_view())

    def test_list_gpus_as_people_read_them(self) -> None:
        lines = amd_smi.VIEWS[("list",)](an_amd_view()).splitlines()

        assert lines[:2] == ["GPU: 0", "    BDF: 0000:0c:00.0"]
        assert sum(line.startswith("    UUID: ") for line in lines) == 8

    def test_tell_links_in_tables_by_address(self) -> None:
        text = amd_smi.topology_tables(an_amd_view())

        assert "LINK TYPE TABLE:\n             0000:0c:00.0 0000:22:00.0 0000:38:00.0" in text
        assert "0000:0c:00.0 SELF         XGMI         XGMI" in text
        assert "0000:22:00.0 15           0            15" in text

    def test_monitor_with_the_units_of_each_figure(self) -> None:
        head, first, *_ = amd_smi.monitor(an_amd_view()).splitlines()

        assert len(first) == len(head)
        assert first.endswith(" MB   196592 MB")

    def test_of_rocm_smi_name_product_and_links(self) -> None:
        names, links = (rocm_smi.VIEWS[(word,)] for word in ("--showproductname", "--showtopo"))

        assert "GPU[7]\t\t: Card Series: \t\tAMD Instinct MI300X\n" in names(an_amd_view())
        assert "GPU0   0            XGMI         XGMI" in links(an_amd_view())
        assert "GPU[4]\t\t: (Topology) Numa Node: 1\n" in links(an_amd_view())

    def test_of_rocm_smi_have_a_row_per_gpu(self) -> None:
        rows = [line for line in rocm_smi.table(an_amd_view()).splitlines() if "NPS1, SPX" in line]

        assert len(rows) == 8
        assert rows[0].startswith("0       2     0x74a1, ")
        assert {row.count("750.0W") for row in rows} == {1}


def an_amd_view() -> GpuView:
    topology = SYSTEMS["mi300x-x8"].topology(seed="x")
    return host_view(topology, {}, seed="1", at=NOON)
