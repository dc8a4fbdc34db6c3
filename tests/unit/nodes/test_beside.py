"""Disks and network ports beside the GPUs, dealt out from any inside.

Seen to fail when a device was not taken off the list once it was given (two slots had it), when
domains were asked before switches, when the devices were taken in the order of the tool's listing
(another listing gave other slots), when a mounted disk was dealt out like any other, and when what
a GPU had near was kept for a later one (a remote disk went out while a near one was left).
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.nodes.beside import Devices, beside, disk_objection, nic_objection
from gpucloud_core.nodes.model import Gpu, Nic, NodeMode, Nvme, Topology
from gpucloud_core.nodes.systems import SYSTEMS, hgx_h200

CONTAINER = NodeMode.CONTAINER
switches = st.sampled_from(["", "", "0000:0d:00.0", "0000:3f:00.0"])
domains = st.sampled_from([-1, 0, 0, 1])
in_use = st.sampled_from(["", "", "", "has an address"])


def _gpu(index: int, numa: int, switch: str) -> Gpu:
    return Gpu(
        index=index,
        uuid=f"GPU-{index}",
        model="m",
        pci_address=f"00000000:{index:02X}:00.0",
        numa=numa,
        memory_mib=1,
        pcie_switch=switch,
    )


def _disk(number: int, numa: int, switch: str, uses: tuple[bool, str, int]) -> Nvme:
    mounted, contents, size = uses
    return Nvme(
        name=f"nvme{number}n1",
        pci_address=f"0000:{0x40 + number:02x}:00.0",
        numa=numa,
        pcie_switch=switch,
        size_bytes=size,
        mounted=mounted,
        contents=contents,
    )


def _nic(number: int, numa: int, switch: str, uses: tuple[str, str]) -> Nic:
    return Nic(
        pci_address=f"0000:{0x80 + number:02x}:00.0",
        model="m",
        numa=numa,
        pcie_switch=switch,
        netdev=uses[0],
        in_use=uses[1],
    )


@st.composite
def insides(draw: st.DrawFn) -> Topology:
    places = st.lists(st.tuples(domains, switches), max_size=6)
    disk_uses = st.sampled_from(
        [(False, "", 1), (False, "", 1), (True, "", 1), (False, "xfs", 1), (False, "", 0)]
    )
    nic_uses = st.tuples(st.sampled_from(["ib0", "ib0", ""]), in_use)
    gpus = tuple(_gpu(number, *place) for number, place in enumerate(draw(places)))
    return Topology(
        system="s",
        gpus=gpus,
        links=(),
        nvlinks=(),
        cpu_count=1,
        memory_mib=1,
        nvmes=tuple(_disk(n, *place, draw(disk_uses)) for n, place in enumerate(draw(places))),
        nics=tuple(_nic(n, *place, draw(nic_uses)) for n, place in enumerate(draw(places))),
    )


def fit(topology: Topology) -> tuple[list[Nvme], list[Nic]]:
    """Say it again: which may be given away."""
    disks = [d for d in topology.nvmes if not d.mounted and not d.contents and d.size_bytes]
    return disks, [nic for nic in topology.nics if nic.netdev and not nic.in_use]


def distance(gpu: Gpu, device: Nic | Nvme) -> int:
    if gpu.pcie_switch and gpu.pcie_switch == device.pcie_switch:
        return 0
    return 1 if gpu.numa >= 0 and gpu.numa == device.numa else 2


def dealt(topology: Topology, found: Sequence[Devices]) -> list[tuple[list[int], int, list[int]]]:
    """Return for disks and ports: how far each given one is, how many are fit, and the rest."""
    disks, nics = fit(topology)
    kinds = (
        ({disk.name: disk for disk in disks}, [each.disk for each in found]),
        ({nic.pci_address: nic for nic in nics}, [each.nic for each in found]),
    )
    told = []
    for by_name, names in kinds:
        pairs = zip(topology.gpus, names, strict=True)
        told.append(
            (
                sorted(distance(gpu, by_name[name]) for gpu, name in pairs if name),
                len(by_name),
                [index for index, name in enumerate(names) if not name],
            )
        )
    return told


class TestBeside:
    @given(topology=insides())
    def test_gives_nothing_twice_and_only_what_the_host_does_not_use(
        self, topology: Topology
    ) -> None:
        found = beside(topology, CONTAINER)

        disks, nics = fit(topology)
        for names, known in (
            ([each.disk for each in found if each.disk], {disk.name for disk in disks}),
            ([each.nic for each in found if each.nic], {nic.pci_address for nic in nics}),
        ):
            assert len(set(names)) == len(names)
            assert set(names) <= known

    @given(topology=insides())
    def test_leaves_nobody_without_while_there_is_one(self, topology: Topology) -> None:
        for given_, fit_, without in dealt(topology, beside(topology, CONTAINER)):
            assert len(given_) == min(fit_, len(topology.gpus))
            assert len(without) == len(topology.gpus) - len(given_)

    @given(topology=insides())
    def test_gives_as_many_near_ones_as_can_be_given(self, topology: Topology) -> None:
        """The most pairs on one switch, and then the most in one domain, by trying them all."""
        found = beside(topology, CONTAINER)

        for devices, names in (
            (fit(topology)[0], [each.disk for each in found]),
            (fit(topology)[1], [each.nic for each in found]),
        ):
            near = [
                distance(gpu, device)
                for gpu, name in zip(topology.gpus, names, strict=True)
                for device in devices
                if name == (device.name if isinstance(device, Nvme) else device.pci_address)
            ]
            assert near.count(0) == _most_on_a_switch(topology.gpus, devices)
            idle = [d for d in devices if _name(d) not in names]
            for gpu, name in zip(topology.gpus, names, strict=True):
                own = next((d for d in devices if _name(d) == name), None)
                nearest = min((distance(gpu, d) for d in idle), default=9)
                assert own is None or distance(gpu, own) <= nearest, "a nearer one lies idle"

    @given(topology=insides(), order=st.randoms(use_true_random=False))
    def test_does_not_depend_on_the_order_of_any_list(
        self, topology: Topology, order: Random
    ) -> None:
        disks, nics = list(topology.nvmes), list(topology.nics)
        order.shuffle(disks)
        order.shuffle(nics)

        other = replace(topology, nvmes=tuple(disks), nics=tuple(nics))

        assert beside(other, CONTAINER) == beside(topology, CONTAINER)

    def test_gives_each_gpu_of_an_hgx_its_own_disk_and_its_own_rail(self) -> None:
        node = hgx_h200(seed="x")

        found = beside(node, CONTAINER)

        assert [each.disk for each in found] == [f"nvme{number}n1" for number in range(1, 9)]
        nics = {nic.pci_address: nic for nic in node.nics}
        assert [nics[each.nic].pcie_switch for each in found] == [
            gpu.pcie_switch for gpu in node.gpus
        ]

    def test_leaves_half_of_an_a100_without_a_disk(self) -> None:
        found = beside(SYSTEMS["hgx-a100"].topology(seed="x"), CONTAINER)

        assert sum(bool(each.disk) for each in found) == 4

    @pytest.mark.parametrize(
        ("disk", "words"),
        [
            (_disk(1, 0, "", (True, "", 1)), "is mounted"),
            (_disk(1, 0, "", (True, "partitions", 1)), "is mounted"),
            (_disk(1, 0, "", (False, "partitions", 1)), "holds partitions"),
            (_disk(1, 0, "", (False, "LVM2_member", 1)), "holds LVM2_member"),
            (_disk(1, 0, "", (False, "", 0)), "does not tell its size"),
            (_disk(1, 0, "", (False, "", 1)), ""),
        ],
    )
    def test_says_why_a_disk_is_not_given(self, disk: Nvme, words: str) -> None:
        assert disk_objection(disk) == words

    def test_asks_a_container_nodes_port_for_its_network_device(self) -> None:
        port = _nic(1, 0, "", ("", ""))

        assert nic_objection(port, CONTAINER) == "has no network device on the host"
        assert nic_objection(port, NodeMode.VM) == ""


def _name(device: Nic | Nvme) -> str:
    return device.name if isinstance(device, Nvme) else device.pci_address


def _most_on_a_switch(gpus: Sequence[Gpu], devices: Sequence[Nic | Nvme]) -> int:
    names = {gpu.pcie_switch for gpu in gpus} - {""}
    return sum(
        min(
            sum(gpu.pcie_switch == name for gpu in gpus),
            sum(device.pcie_switch == name for device in devices),
        )
        for name in names
    )
