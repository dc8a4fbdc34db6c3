from dataclasses import replace

import pytest

from gpucloud_core.nodes.model import LinkClass
from gpucloud_core.nodes.pci import short_address
from gpucloud_core.nodes.systems import SYSTEMS, hgx_h200, topology_class
from gpucloud_core.placement.sets import NVLINK_POINTS
from node_builders import fabric_tables, gpuallocator_vectors, pcie_tree


class TestSystems:
    def test_are_the_same_machine_for_the_same_seed(self) -> None:
        assert hgx_h200(seed="a") == hgx_h200(seed="a")

    def test_share_no_serial_or_uuid_between_seeds(self) -> None:
        seen = [
            mark
            for seed in ("a", "b", "c")
            for gpu in hgx_h200(seed=seed).gpus
            for mark in (gpu.uuid, gpu.serial)
        ]

        assert len(set(seen)) == len(seen)

    @pytest.mark.parametrize("name", sorted(SYSTEMS))
    def test_are_square_symmetric_and_in_pci_order(self, name: str) -> None:
        topology = SYSTEMS[name].topology(seed="x")
        size = range(len(topology.gpus))

        assert [gpu.index for gpu in topology.gpus] == list(size)
        addresses = [gpu.pci_address for gpu in topology.gpus]
        assert addresses == sorted(addresses)
        for i in size:
            for j in size:
                assert topology.links[i][j] == topology.links[j][i]
                assert topology.nvlinks[i][j] == topology.nvlinks[j][i]

    @pytest.mark.parametrize(
        ("name", "vectors"),
        [
            ("dgx-1-volta", "DGX1-Volta"),
            ("dgx-1-pascal", "DGX1-Pascal"),
            ("rtx8000-x4", "4xRTX8000"),
        ],
    )
    def test_have_the_nvlinks_of_the_vendors_own_tests(self, name: str, vectors: str) -> None:
        scores = gpuallocator_vectors()["pair_scores"][vectors]

        assert SYSTEMS[name].nvlinks == tuple(
            tuple(points // NVLINK_POINTS for points in row) for row in scores
        )

    @pytest.mark.parametrize("name", sorted(SYSTEMS))
    def test_hang_nothing_on_a_switch_of_another_domain(self, name: str) -> None:
        topology = SYSTEMS[name].topology(seed="x")
        numa: dict[str, set[int]] = {}
        hanging = [(gpu.pcie_switch, gpu.numa) for gpu in topology.gpus]
        hanging += [(nic.pcie_switch, nic.numa) for nic in topology.nics]
        hanging += [(disk.pcie_switch, disk.numa) for disk in topology.nvmes]
        for switch, domain in hanging:
            if switch:
                numa.setdefault(switch, set()).add(domain)

        assert all(len(domains) == 1 for domains in numa.values())
        addresses = [nic.pci_address for nic in topology.nics]
        addresses += [disk.pci_address for disk in topology.nvmes]
        addresses += [short_address(gpu.pci_address) for gpu in topology.gpus]
        assert len(set(addresses)) == len(addresses)

    def test_place_the_modules_of_an_hgx_board_as_the_guide_does(self) -> None:
        known = {
            bus: module
            for bus, module in fabric_tables()["example_h100_bdf_to_module_id"].items()
            if bus.endswith(".0")
        }

        found = {
            gpu.pci_address.split(":", 1)[1].lower(): gpu.module_id
            for gpu in hgx_h200(seed="x").gpus
        }

        assert found == known


class TestTopologyClass:
    @pytest.mark.parametrize("name", sorted(SYSTEMS))
    def test_knows_every_system_by_its_name(self, name: str) -> None:
        assert topology_class(SYSTEMS[name].topology(seed="any")) == name

    def test_is_the_same_for_another_machine_of_the_same_kind(self) -> None:
        one = pcie_tree()
        other = replace(one, gpus=tuple(replace(gpu, uuid=f"other-{gpu.uuid}") for gpu in one.gpus))

        assert topology_class(one) == topology_class(other)

    def test_tells_one_different_link_apart(self) -> None:
        one = hgx_h200(seed="x")
        row = (LinkClass.NVSWITCH, LinkClass.SYS, *one.links[0][2:])

        assert topology_class(replace(one, links=(row, *one.links[1:]))) != "hgx-h200"

    def test_tells_module_ids_apart_since_partitions_name_them(self) -> None:
        one = hgx_h200(seed="x")
        first, second, *rest = one.gpus
        swapped = (
            replace(first, module_id=second.module_id),
            replace(second, module_id=first.module_id),
            *rest,
        )

        assert topology_class(replace(one, gpus=swapped)) != "hgx-h200"
