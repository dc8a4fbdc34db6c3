from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.kernel.ids import SlotId
from gpucloud_core.nodes.discovery import read_topology
from gpucloud_core.nodes.model import Findings, Node, NodeMode, Slot, SlotState, Topology
from gpucloud_core.nodes.slots import (
    CpuListInvalid,
    HostReserve,
    SlotsUnplaced,
    conditions,
    format_cpus,
    is_ready,
    parse_cpus,
    propose_slots,
    shares,
)
from node_builders import HGX_H200, outputs_of, pcie_tree, report_text, topologies
from row_builders import NOW, a_node


def a_real_node(**given: Any) -> Node:
    return a_node(**{"topology": HGX_H200, **given})


def proposed(node: Node) -> tuple[Slot, ...]:
    count = len(node.topology.gpus)
    return propose_slots(
        node,
        slot_ids=[SlotId(f"slt_{number}") for number in range(count)],
        endpoints=[("192.0.2.1", 2200 + number) for number in range(count)],
        at=NOW,
    )


def unmet(node: Node, slot: Slot) -> set[str]:
    return {condition.code for condition in conditions(node, slot) if not condition.holds}


class TestCpuLists:
    @given(cpus=st.sets(st.integers(0, 300)))
    def test_survive_being_written_and_read(self, cpus: set[int]) -> None:
        assert parse_cpus(format_cpus(tuple(cpus))) == tuple(sorted(cpus))

    @given(text=st.text(alphabet="0123456789,-x \t٣", max_size=20))
    def test_are_read_or_refused(self, text: str) -> None:
        try:
            cpus = parse_cpus(text)
        except CpuListInvalid:
            return
        assert all(0 <= cpu < 65_536 for cpu in cpus)

    @pytest.mark.parametrize("text", ["3-1", "-1", "1-", "0-65536", "0-60000,0-60000", "a", "1,,2"])
    def test_are_refused_when_no_machine_has_them(self, text: str) -> None:
        with pytest.raises(CpuListInvalid):
            parse_cpus(text)


class TestShares:
    @given(topology=topologies(), cores=st.integers(0, 40), memory=st.integers(0, 2_000_000))
    def test_never_overlap_nor_exceed_the_machine(
        self, topology: Topology, cores: int, memory: int
    ) -> None:
        found = shares(topology, HostReserve(cores_per_numa=cores, memory_mib=memory))

        given_out = [cpu for share in found for cpu in parse_cpus(share.cpus)]
        assert len(set(given_out)) == len(given_out)
        assert sum(share.memory_mib for share in found) <= topology.memory_mib

    def test_keep_the_threads_of_a_core_together_and_in_the_gpus_domain(self) -> None:
        for gpu, share in zip(HGX_H200.gpus, shares(HGX_H200), strict=True):
            cpus = set(parse_cpus(share.cpus))

            assert len(cpus) == 22
            assert cpus <= set(parse_cpus(HGX_H200.numa_cpus[gpu.numa]))
            assert {cpu % 96 for cpu in cpus} == {cpu for cpu in cpus if cpu < 96}

    def test_leave_the_host_the_first_cores_of_each_domain_and_some_memory(self) -> None:
        found = shares(HGX_H200)

        given_out = {cpu for share in found for cpu in parse_cpus(share.cpus)}
        assert {0, 1, 48, 49, 96, 97, 144, 145} & given_out == set()
        assert HGX_H200.memory_mib - 8 * found[0].memory_mib >= 65_536

    def test_are_the_same_for_a_machine_with_a_few_mebibytes_less(self) -> None:
        less = replace(HGX_H200, memory_mib=HGX_H200.memory_mib - 17)

        assert shares(less)[0].memory_mib % 1024 == 0


class TestProposeSlots:
    def test_makes_one_per_gpu_that_nobody_may_claim_yet(self) -> None:
        node = a_real_node()

        slots = proposed(node)

        assert [slot.gpu_uuid for slot in slots] == [gpu.uuid for gpu in HGX_H200.gpus]
        assert {slot.state for slot in slots} == {SlotState.PROPOSED}
        assert len({(slot.ssh_host, slot.ssh_port) for slot in slots}) == 8
        assert all(is_ready(node, slot) for slot in slots)

    def test_gives_each_its_disk_and_its_port(self) -> None:
        slots = proposed(a_real_node())

        assert [slot.disk for slot in slots] == [f"nvme{number}n1" for number in range(1, 9)]
        assert len({slot.nic for slot in slots}) == 8

    def test_refuses_to_share_an_endpoint(self) -> None:
        with pytest.raises(SlotsUnplaced):
            propose_slots(
                a_real_node(),
                slot_ids=[SlotId(str(number)) for number in range(8)],
                endpoints=[("192.0.2.1", 22)] * 8,
                at=NOW,
            )


class TestConditions:
    def test_tell_of_a_gpu_that_is_gone(self) -> None:
        node = a_real_node()
        slot = replace(proposed(node)[0], gpu_uuid="GPU-gone")

        assert unmet(node, slot) == {"gpu_present"}

    def test_tell_of_everything_that_is_wrong_at_once(self) -> None:
        gpus = HGX_H200.gpus
        odd = replace(gpus[0], memory_mib=0, numa=-1, model="NVIDIA H100")
        node = a_real_node(mode=NodeMode.MIG, topology=replace(HGX_H200, gpus=(odd, *gpus[1:])))
        slot = replace(proposed(node)[0], cpus="", index=3)

        assert unmet(node, slot) == {
            "gpu_index",
            "gpu_memory",
            "one_model",
            "numa_domain",
            "cpu_share",
            "node_mode",
        }

    def test_ask_for_a_gpu_that_discovery_found_well(self) -> None:
        text = report_text(HGX_H200).replace("<state>Completed", "<state>In Progress", 1)
        text = text.replace("<current_mig>Disabled", "<current_mig>Enabled", 2)
        faults = read_topology(outputs_of(HGX_H200, **{"nvidia-smi -q -x": text})).faults
        node = a_real_node(findings=Findings(at=NOW, faults=faults))
        slots = proposed(node)

        assert [unmet(node, slot) for slot in slots[:3]] == [{"gpu_health"}, {"gpu_health"}, set()]
        reasons = [each.reason for each in conditions(node, slots[0]) if not each.holds]
        assert "is in MIG mode. The GPU at" in reasons[0]
        mig = replace(node, mode=NodeMode.MIG)
        assert unmet(mig, slots[0]) == {"gpu_health", "node_mode"}
        assert unmet(mig, slots[1]) == {"node_mode"}

    def test_ask_for_a_disk_and_a_port_that_the_host_leaves_alone(self) -> None:
        node = a_real_node()
        slot = proposed(node)[0]
        disks, nics = list(HGX_H200.nvmes), list(HGX_H200.nics)
        for code, found, words in (
            ("data_disk", {"nvmes": (disks[0],)}, "Disk nvme1n1 is not among those"),
            (
                "data_disk",
                {"nvmes": (disks[0], replace(disks[1], mounted=True))},
                "Disk nvme1n1 is mounted.",
            ),
            (
                "data_disk",
                {"nvmes": (disks[0], replace(disks[1], contents="partitions"))},
                "Disk nvme1n1 holds partitions.",
            ),
            ("network_port", {"nics": ()}, "Port 0000:11:00.0 is not among those"),
            (
                "network_port",
                {"nics": (replace(nics[0], in_use="has an address"),)},
                "Port 0000:11:00.0 has an address.",
            ),
        ):
            findings = Findings(at=NOW, found=replace(HGX_H200, **found))
            seen = replace(node, findings=findings)

            assert unmet(seen, slot) == {code}
            reasons = [each.reason for each in conditions(seen, slot) if not each.holds]
            assert reasons[0].startswith(words)

    def test_say_why_nothing_comes_with_it(self) -> None:
        last = HGX_H200.nvmes[1]
        used = replace(HGX_H200, nvmes=(HGX_H200.nvmes[0], replace(last, mounted=True)), nics=())
        node = a_real_node(topology=used)
        slot = proposed(node)[0]

        reasons = {each.code: each.reason for each in conditions(node, slot)}
        assert is_ready(node, slot)
        assert reasons["data_disk"] == (
            "No data disk comes with it: nvme0n1 is mounted; nvme1n1 is mounted."
        )
        assert reasons["network_port"] == "No network port comes with it."

    def test_leave_a_port_alone_that_a_slice_has_taken_with_it(self) -> None:
        taken = tuple(replace(nic, netdev="") for nic in HGX_H200.nics)
        node = a_real_node()
        findings = Findings(at=NOW, found=replace(HGX_H200, nics=taken))

        assert not unmet(replace(node, findings=findings), proposed(node)[0])

    def test_ask_for_a_guests_gpu_to_be_alone_in_its_iommu_group(self) -> None:
        first, *rest = HGX_H200.gpus
        for gpu, words in (
            (replace(first, iommu_group=None), "not known"),
            (replace(first, iommu_mates=("0000:3d:00.0",)), "also holds 0000:3d:00.0"),
        ):
            topology = replace(HGX_H200, gpus=(gpu, *rest))
            node = a_real_node(mode=NodeMode.VM, topology=topology)
            slot = proposed(node)[0]

            reasons = [each.reason for each in conditions(node, slot) if not each.holds]
            assert len(reasons) == 1
            assert words in reasons[0]
            assert not unmet(replace(node, mode=NodeMode.CONTAINER), slot)

    def test_ask_for_the_fabrics_partitions_of_a_switched_vm_node_only(self) -> None:
        unknown = replace(HGX_H200, gpus=tuple(replace(g, module_id=None) for g in HGX_H200.gpus))
        for mode, topology, missing in (
            (NodeMode.VM, unknown, {"fabric_partitions"}),
            (NodeMode.CONTAINER, unknown, set()),
            (NodeMode.VM, HGX_H200, set()),
            (NodeMode.VM, pcie_tree(8), set()),
        ):
            node = a_real_node(mode=mode, topology=topology)

            assert unmet(node, proposed(node)[0]) == missing
