"""Drift in words: each thing that is not as it was approved, with both sides."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from gpucloud_core.nodes.differences import differences
from gpucloud_core.nodes.model import LinkClass, Topology
from gpucloud_core.nodes.systems import SYSTEMS, hgx_h200
from node_builders import topologies

NODE = hgx_h200(seed="x")
FIRST, *REST = NODE.gpus


def with_first(**given_: Any) -> Topology:
    return replace(NODE, gpus=(replace(FIRST, **given_), *REST))


def with_disk(**given_: Any) -> Topology:
    return replace(NODE, nvmes=(replace(NODE.nvmes[0], **given_), *NODE.nvmes[1:]))


def with_nic(**given_: Any) -> Topology:
    return replace(NODE, nics=(replace(NODE.nics[0], **given_), *NODE.nics[1:]))


def codes(after: Topology) -> list[str]:
    return [difference.code for difference in differences(NODE, after)]


class TestDifferences:
    @given(topology=topologies())
    def test_are_none_between_a_machine_and_itself(self, topology: Topology) -> None:
        assert differences(topology, topology) == ()

    @pytest.mark.parametrize(
        ("after", "found"),
        [
            (replace(NODE, gpus=NODE.gpus[:7]), ["gpu_gone"]),
            (with_first(uuid="GPU-new"), ["gpu_gone", "gpu_new"]),
            (with_first(module_id=None), ["gpu_moved"]),
            (with_first(numa=1), ["gpu_moved"]),
            (with_first(memory_mib=1), ["gpu_memory_changed"]),
            (with_first(iommu_mates=("0000:11:00.0",)), ["gpu_isolation_changed"]),
            (with_first(iommu_group=7), []),  # numbers come and go with the kernel
            (replace(NODE, memory_mib=NODE.memory_mib - 100), []),
            (replace(NODE, memory_mib=NODE.memory_mib // 2), ["memory_changed"]),
            (replace(NODE, driver_version="580.1"), ["driver_changed"]),
            (replace(NODE, numa_cpus=("0-191",)), ["cpus_changed"]),
            (replace(NODE, nics=NODE.nics[1:]), ["nic_gone"]),
            (with_disk(size_bytes=1), ["disk_changed"]),
            (with_disk(serial="another"), ["disk_changed"]),
            (with_disk(mounted=False, contents=""), ["disk_changed"]),
            (with_nic(in_use="has an address"), ["nic_changed"]),
            (with_nic(netdev=""), []),  # a slice has taken it with it
        ],
    )
    def test_are_each_named_once(self, after: Topology, found: list[str]) -> None:
        assert codes(after) == found

    def test_are_none_where_only_a_serial_is_told_for_the_first_time(self) -> None:
        untold = replace(NODE, nvmes=tuple(replace(disk, serial="") for disk in NODE.nvmes))

        assert differences(untold, NODE) == ()

    def test_of_links_name_the_pair_and_both_links(self) -> None:
        links = [list(row) for row in NODE.links]
        counts = [list(row) for row in NODE.nvlinks]
        for i, j in ((2, 5), (5, 2), (3, 3)):
            links[i][j], counts[i][j] = LinkClass.SYS, 0
        after = replace(NODE, links=tuple(map(tuple, links)), nvlinks=tuple(map(tuple, counts)))

        (only,) = differences(NODE, after)

        assert (only.code, only.before, only.after) == ("link_changed", "nvswitch x18", "sys")
        assert only.subject == f"{NODE.gpus[2].pci_address} to {NODE.gpus[5].pci_address}"

    def test_from_nothing_known_are_all_that_is_there(self) -> None:
        nothing = Topology(
            system="unknown", gpus=(), links=(), nvlinks=(), cpu_count=0, memory_mib=0
        )
        found = differences(nothing, SYSTEMS["l40s-x8"].topology(seed="x"))

        assert [each.code for each in found].count("gpu_new") == 8
        assert {each.before for each in found if each.code == "gpu_new"} == {"nothing"}
