"""Reading what real tools print, and what broken or hostile ones might.

Seen to fail when the matrix was read by position without leaving out the columns of NICs, when a
GPU's bit followed the report's order instead of PCI order, and when a blank affinity shifted the
columns behind it.
"""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.nodes.discovery import (
    Discovered,
    DiscoveryUnreadable,
    read_topology,
)
from gpucloud_core.nodes.fabric import partition_masks
from gpucloud_core.nodes.host import parse_lscpu, parse_meminfo
from gpucloud_core.nodes.links import parse_links
from gpucloud_core.nodes.model import LinkClass, Topology
from gpucloud_core.nodes.smi import parse_listing, parse_report, pci_address
from gpucloud_core.nodes.systems import L40S_X8, SYSTEMS
from node_builders import (
    DATA,
    HGX_H200,
    dgx1,
    gpuallocator_vectors,
    matrix_text,
    outputs_of,
    pcie_tree,
    report_text,
    switched,
    topologies,
)

NVLINK, NVSWITCH = LinkClass.NVLINK, LinkClass.NVSWITCH


def sample(name: str) -> str:
    return (DATA / "nvidia_smi" / name).read_text()


def codes(found: Discovered) -> set[str]:
    return {fault.code for fault in found.faults}


def a_dgx1() -> Topology:
    return dgx1(gpuallocator_vectors()["pair_scores"]["DGX1-Volta"])


def as_compared(topology: Topology) -> Topology:
    """Return the topology with its diagonal, which means nothing, made the same everywhere."""
    links = tuple(
        tuple(LinkClass.SYS if i == j else link for j, link in enumerate(row))
        for i, row in enumerate(topology.links)
    )
    return replace(topology, links=links)


def found_again(topology: Topology) -> Discovered:
    found = read_topology(outputs_of(topology))
    return replace(found, topology=as_compared(found.topology))


class TestParseLinks:
    def test_reads_an_hgx_h100(self) -> None:
        table = parse_links(sample("topo-h100-x8.txt"))

        assert (table.count, table.faults) == (8, ())
        assert set(table.pairs.values()) == {(NVSWITCH, 18)}
        assert len(table.pairs) == 56
        assert [table.numa[index] for index in range(8)] == [0] * 4 + [1] * 4
        assert table.cpus[7] == "48-95,144-191"

    def test_reads_past_a_nic_and_without_a_legend(self) -> None:
        table = parse_links(sample("topo-l40s-x8.txt"))

        assert (table.count, table.faults) == (8, ())
        assert table.pairs[0, 3] == (LinkClass.NODE, 0)
        assert table.pairs[3, 4] == (LinkClass.SYS, 0)
        assert table.cpus[4] == "90-179"

    def test_reads_the_words_of_old_drivers(self) -> None:
        table = parse_links(sample("topo-k80-x6.txt"))

        assert (table.count, table.faults) == (6, ())
        assert table.pairs[0, 2] == (LinkClass.SYS, 0)
        assert table.pairs[4, 3] == (LinkClass.PHB, 0)
        assert table.numa == {}
        assert table.cpus[0] == "0-7,16-23"

    def test_reads_tabs(self) -> None:
        table = parse_links(sample("topo-5090-x2.txt"))

        assert table.pairs == {(0, 1): (LinkClass.PHB, 0), (1, 0): (LinkClass.PHB, 0)}
        assert (table.numa, table.cpus) == ({0: 0, 1: 0}, {0: "0-63", 1: "0-63"})

    @pytest.mark.parametrize("tabs", [True, False])
    @pytest.mark.parametrize(
        "topology", [HGX_H200, pcie_tree(), a_dgx1(), switched("Tesla V100-SXM3-32GB", 16, 6)]
    )
    def test_reads_every_link_of_a_machine(self, topology: Topology, tabs: bool) -> None:
        table = parse_links(matrix_text(topology, tabs=tabs, underlined=True))

        size = range(len(topology.gpus))
        assert table.faults == ()
        assert table.pairs == {
            (i, j): (topology.links[i][j], topology.nvlinks[i][j])
            for i in size
            for j in size
            if i != j
        }

    def test_tells_four_bridged_gpus_from_a_switch(self) -> None:
        links = [[NVLINK] * 4 for _ in range(4)]
        counts = [[0 if i == j else 6 for j in range(4)] for i in range(4)]
        bridged = replace(
            HGX_H200,
            gpus=HGX_H200.gpus[:4],
            links=tuple(map(tuple, links)),
            nvlinks=tuple(map(tuple, counts)),
        )

        assert set(parse_links(matrix_text(bridged, tabs=True)).pairs.values()) == {(NVLINK, 6)}

    def test_sees_the_gpu_that_is_not_in_the_fabric_with_the_others(self) -> None:
        # The shape of a B200 box in github.com/vllm-project/vllm issue 16336, four GPUs of it.
        text = (
            "\tGPU0\tGPU1\tGPU2\tGPU3\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n"
            "GPU0\t X \tNV18\tNODE\tNV18\tPXB\t0-55,112-167\t0\t\tN/A\n"
            "GPU1\tNV18\t X \tNODE\tNV18\tNODE\t0-55,112-167\t0\t\tN/A\n"
            "GPU2\tNODE\tNODE\t X \tNODE\tNODE\t0-55,112-167\t0\t\tN/A\n"
            "GPU3\tNV18\tNV18\tNODE\t X \tNODE\t0-55,112-167\t0\t\tN/A\n"
            "NIC0\tPXB\tNODE\tNODE\tNODE\t X \t\t\t\t\n"
        )

        table = parse_links(text)

        assert table.faults == ()
        assert {table.pairs[2, other] for other in (0, 1, 3)} == {(LinkClass.NODE, 0)}
        assert {table.pairs[0, 1], table.pairs[1, 3], table.pairs[0, 3]} == {(NVSWITCH, 18)}

    def test_leaves_a_list_of_domains_to_the_cpus(self) -> None:
        # The shape of a GB200 board in github.com/sgl-project/sglang issue 11208.
        text = (
            "\tGPU0\tGPU1\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n"
            "GPU0\t X \tNV18\tSYS\t0-71\t0,3-9,11-17\t\t2\n"
            "GPU1\tNV18\t X \tSYS\t72-143\t1,19-25,27-33\t\t18\n"
        )

        table = parse_links(text)

        assert (table.numa, table.cpus) == ({}, {0: "0-71", 1: "72-143"})
        assert table.pairs[0, 1] == (NVLINK, 18)

    def test_reads_sixteen_gpus_and_their_adapters(self) -> None:
        # The shape of github.com/NVIDIA/nccl-tests issue 78: HGX-2, an old driver, no domains.
        names = [f"GPU{index}" for index in range(16)]
        nics = [f"mlx5_{index}" for index in range(10)]
        lines = ["        " + "    ".join([*names, *nics, "CPU Affinity"])]
        for row in range(16):
            cells = [" X " if row == column else "NV6" for column in range(16)]
            affinity = "0-23,48-71" if row < 8 else "24-47,72-95"
            lines.append("    ".join([names[row], *cells, *["SYS"] * 10, affinity]))

        table = parse_links("\n".join(lines))

        assert (table.count, table.faults, table.numa) == (16, (), {})
        assert set(table.pairs.values()) == {(NVSWITCH, 6)}
        assert table.cpus[15] == "24-47,72-95"

    def test_reads_a_single_gpu(self) -> None:
        text = (
            "     GPU0   CPU Affinity   NUMA Affinity   GPU NUMA ID\nGPU0  X     0-19    0    N/A\n"
        )

        table = parse_links(text)

        assert (table.count, table.pairs, table.numa) == (1, {}, {0: 0})

    def test_keeps_the_columns_apart_when_an_affinity_is_blank(self) -> None:
        text = (
            "\tGPU0\tGPU1\tmlx5_0\tCPU Affinity\tNUMA Affinity\n"
            "GPU0\t X \tSYS\tPIX\t\t1\n"
            "GPU1\tSYS\t X \tSYS\t0-7\tN/A\n"
        )

        table = parse_links(text)

        assert (table.numa, table.cpus) == ({0: 1}, {1: "0-7"})

    def test_reports_what_it_cannot_read_and_takes_the_worse_of_two_claims(self) -> None:
        text = (
            "\tGPU0\tGPU1\tGPU2\nGPU0\t X \tNV4\tERR!\nGPU1\tPHB\t X \tPIX\nGPU2\tSYS\tPIX\t X \n"
        )

        table = parse_links(text)

        assert table.pairs[0, 1] == table.pairs[1, 0] == (LinkClass.PHB, 0)
        assert table.pairs[0, 2] == (LinkClass.SYS, 0)
        assert table.faults == (
            "GPU0 to GPU2 says ERR!.",
            "GPU0 and GPU1 do not agree on their link.",
        )

    @given(text=st.text(alphabet="GPU0123456789 XNVSYPIB\t\n\x1b[4m-,/A", max_size=400))
    def test_raises_nothing(self, text: str) -> None:
        table = parse_links(text)

        assert all(0 <= i < 100 and 0 <= j < 100 for i, j in table.pairs)


class TestParseReport:
    @pytest.mark.parametrize("old", [True, False])
    def test_finds_module_ids_where_each_driver_puts_them(self, old: bool) -> None:
        report = parse_report(report_text(HGX_H200, old_module_ids=old))

        assert [gpu.module_id for gpu in report.gpus] == [5, 7, 6, 8, 1, 3, 2, 4]
        assert (report.driver_version, report.faults) == (HGX_H200.driver_version, ())

    def test_keeps_what_answers_when_a_gpu_is_lost(self) -> None:
        text = report_text(HGX_H200).replace(HGX_H200.gpus[2].uuid, "[Unknown Error]")
        said = "Unable to determine the device handle for GPU 0000:BA:00.0: Unknown Error\n"

        report = parse_report(said + text)

        assert len(report.gpus) == 7
        assert [fault.code for fault in report.faults] == ["gpu_lost", "gpu_lost", "gpus_missing"]
        assert "00000000:BA:00.0" in report.faults[0].detail
        assert "00000000:41:00.0" in report.faults[1].detail

    @pytest.mark.parametrize(
        "said",
        [
            "Unable to determine the device handle for GPU0: 0000:01:00.0: GPU is lost.  Reboot",
            "Unable to determine the device handle for GPU0000:07:00.0: Unknown Error",
            "Unable to determine the device handle for gpu 0000:08:00.0: GPU is lost.",
        ],
    )
    def test_names_a_lost_gpu_however_the_driver_spells_it(self, said: str) -> None:
        report = parse_report(f"{said}\n{report_text(HGX_H200)}")

        assert [fault.code for fault in report.faults] == ["gpu_lost"]
        assert "00000000:0" in report.faults[0].detail

    @pytest.mark.parametrize(
        ("good", "bad", "code"),
        [
            ("<current_mig>Disabled", "<current_mig>Enabled", "gpu_in_mig_mode"),
            ("failure>No", "failure>Yes", "gpu_memory_failing"),
            ("pending>No", "pending>Yes", "gpu_reset_pending"),
            ("<state>Completed", "<state>In Progress", "gpu_fabric_not_ready"),
            ("143771 MiB", "N/A", "gpu_memory_unknown"),
        ],
    )
    def test_passes_on_what_the_driver_complains_of(self, good: str, bad: str, code: str) -> None:
        report = parse_report(report_text(HGX_H200).replace(good, bad, 1))

        assert [fault.code for fault in report.faults] == [code]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            "No devices were found",
            "<nvidia_smi_log><gpu></nvidia_smi_log>",
            "<nvidia_smi_log>\x00</nvidia_smi_log>",
            "<nvidia_smi_log>\ud800</nvidia_smi_log>",
            "<nvidia_smi_log>&lol;</nvidia_smi_log>",
        ],
    )
    def test_refuses_what_is_no_report(self, text: str) -> None:
        with pytest.raises(DiscoveryUnreadable):
            parse_report(text)

    def test_reads_no_declaration(self) -> None:
        bomb = '<!DOCTYPE nvidia_smi_log [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
        text = f"{bomb}<nvidia_smi_log><driver_version>&b;</driver_version></nvidia_smi_log>"

        with pytest.raises(DiscoveryUnreadable):
            parse_report(text)

    def test_is_not_slowed_by_a_machine_that_means_ill(self) -> None:
        with pytest.raises(DiscoveryUnreadable):
            parse_report("<nvidia_smi_log>" * 250_000)
        with pytest.raises(DiscoveryUnreadable):
            parse_report("<nvidia_smi_log>" + "<a>" * 200_000 + "</nvidia_smi_log>")

    @given(cut=st.integers(0, 3000), noise=st.text(max_size=30))
    def test_raises_nothing_of_its_own(self, cut: int, noise: str) -> None:
        text = report_text(HGX_H200)

        for damaged in (text[:cut] + noise + text[cut:], text[:cut], text[cut:] + noise):
            try:
                report = parse_report(damaged)
            except DiscoveryUnreadable:
                continue
            assert len({gpu.uuid for gpu in report.gpus}) == len(report.gpus)


class TestPciAddress:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("00000000:0F:00.0", "00000000:0F:00.0"),
            ("0000:b8:00.0", "00000000:B8:00.0"),
            ("0:1:0.0", "00000000:01:00.0"),
            ("0:1:0", None),
            ("N/A", None),
        ],
    )
    def test_is_written_one_way(self, text: str, address: str | None) -> None:
        assert pci_address(text) == address


class TestHost:
    def test_reads_nested_answers(self) -> None:
        numa = {"field": "NUMA:", "data": None, "children": [
            {"field": "NUMA node(s):", "data": "2"},
            {"field": "NUMA node0 CPU(s):", "data": "0-47,96-143"},
            {"field": "NUMA node252 CPU(s):", "data": ""},
        ]}  # fmt: skip
        text = json.dumps({"lscpu": [{"field": "CPU(s):", "data": "192"}, numa]})

        cpus = parse_lscpu(text)

        assert cpus is not None
        assert (cpus.count, cpus.numa) == (192, {0: "0-47,96-143"})

    @given(text=st.text(max_size=60) | st.just("[" * 100_000) | st.just('{"lscpu": [[]]}'))
    def test_raises_nothing(self, text: str) -> None:
        parse_lscpu(text)
        parse_meminfo(text)
        parse_listing(text)

    @given(
        document=st.recursive(
            st.none() | st.text(max_size=5) | st.sampled_from(["CPU(s):", "0-9,4", "99999999"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["lscpu", "field", "data", "children"]), inner, max_size=4
                )
            ),
        )
    )
    def test_raises_nothing_for_any_document(self, document: object) -> None:
        parse_lscpu(json.dumps(document))


class TestReadTopology:
    @pytest.mark.parametrize(
        "topology", [HGX_H200, L40S_X8.topology(seed="x"), pcie_tree(), a_dgx1()]
    )
    def test_finds_the_machine_again(self, topology: Topology) -> None:
        assert found_again(topology) == Discovered(topology=as_compared(topology))

    @given(topology=topologies())
    def test_finds_any_machine_again(self, topology: Topology) -> None:
        assert found_again(topology) == Discovered(topology=as_compared(topology))

    def test_counts_in_pci_order_whatever_order_the_tools_have(self) -> None:
        gpus = HGX_H200.gpus
        order = [3, 0, 7, 1, 2, 6, 5, 4]
        shuffled = replace(
            HGX_H200, gpus=tuple(replace(gpus[old], index=new) for new, old in enumerate(order))
        )

        found = read_topology(outputs_of(shuffled)).topology

        assert [gpu.uuid for gpu in found.gpus] == [gpu.uuid for gpu in gpus]
        assert [gpu.numa for gpu in found.gpus] == [gpu.numa for gpu in gpus]

    def test_makes_do_with_the_report_alone_and_says_what_is_missing(self) -> None:
        found = read_topology({"nvidia-smi -q -x": report_text(HGX_H200)})

        assert len(found.topology.gpus) == 8
        assert found.topology.links[0][1] is LinkClass.SYS
        assert codes(found) >= {"links_unknown", "cpus_unknown", "memory_unknown", "numa_unknown"}

    def test_takes_the_domain_from_the_cpus_that_are_near(self) -> None:
        text = matrix_text(HGX_H200, tabs=False)
        without_numa = "\n".join(
            line.replace(" NUMA Affinity    GPU NUMA ID", "").rsplit("    ", 2)[0]
            if line.startswith("GPU")
            else line
            for line in text.splitlines()
        )

        found = read_topology(outputs_of(HGX_H200, **{"nvidia-smi topo -m": without_numa}))

        assert [gpu.numa for gpu in found.topology.gpus] == [0] * 4 + [1] * 4

    def test_sees_a_listing_that_differs(self) -> None:
        listing = outputs_of(HGX_H200)["nvidia-smi -L"].splitlines()[0]

        found = read_topology(outputs_of(HGX_H200, **{"nvidia-smi -L": listing}))

        assert codes(found) == {"listing_differs"}

    @given(
        outputs=st.dictionaries(
            st.sampled_from(list(outputs_of(HGX_H200))), st.text(max_size=200), max_size=5
        ),
        kept=st.sets(st.sampled_from(list(outputs_of(HGX_H200)))),
    )
    def test_raises_nothing_but_its_own_error(
        self, outputs: dict[str, str], kept: set[str]
    ) -> None:
        whole = outputs_of(HGX_H200)
        try:
            read_topology({**outputs, **{name: whole[name] for name in kept}})
        except DiscoveryUnreadable:
            assert "nvidia-smi -q -x" not in kept


class TestModules:
    """Seen to fail when the module ids were taken to follow PCI order."""

    @given(order=st.permutations(range(1, 9)))
    def test_are_the_machines_own_whatever_its_board_is(self, order: list[int]) -> None:
        standard = SYSTEMS["hgx-b200"].topology(seed="b200")
        gpus = tuple(
            replace(gpu, module_id=module) for gpu, module in zip(standard.gpus, order, strict=True)
        )
        machine = replace(standard, gpus=gpus)

        found = read_topology(outputs_of(machine)).topology

        assert [gpu.module_id for gpu in found.gpus] == order
        assert (found.system == "hgx-b200") == (order == sorted(order))
        pair = sum(1 << order.index(module) for module in (1, 2))
        assert partition_masks(found)[pair].modules == (1, 2)
