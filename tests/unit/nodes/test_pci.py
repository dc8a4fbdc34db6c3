"""The PCI bus as real tools print it, and as broken or hostile ones might.

Seen to fail when bridges counted among the mates of an IOMMU group, and when any bridge above a
device was taken for a switch.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.nodes.bus import read_bus
from gpucloud_core.nodes.disks import parse_lsblk
from gpucloud_core.nodes.host import parse_cpulists
from gpucloud_core.nodes.netdevs import Netdev, parse_netdevs
from gpucloud_core.nodes.pci import (
    iommu_mates,
    parse_iommu_groups,
    parse_lspci,
    parse_pci_tree,
    short_address,
)

LSPCI = """\
Slot:\t0000:3a:00.0
Class:\tPCI bridge
Vendor:\tBroadcom / LSI
Device:\tPEX890xx PCIe Gen 5 Switch
NUMANode:\t0
IOMMUGroup:\t12

Slot:\t0000:3c:00.0
Class:\t3D controller
Vendor:\tNVIDIA Corporation
Device:\tGH100 [H100 SXM5 80GB]
SVendor:\tNVIDIA Corporation
Rev:\ta1
NUMANode:\t0
IOMMUGroup:\t12

Slot:\t0000:3d:00.0
Class:\tInfiniband controller
Vendor:\tMellanox Technologies
Device:\tMT2910 Family [ConnectX-7]
NUMANode:\t0
IOMMUGroup:\t12

Slot:\t0000:3c:00.1
Class:\tAudio device
Vendor:\tNVIDIA Corporation
Device:\tsomething beside it
IOMMUGroup:\t12

Slot:\t0000:86:00.0
Class:\tNon-Volatile memory controller
Device:\tNVMe SSD Controller PM9A3
"""
TREE = """\
/sys/devices/pci0000:37/0000:37:01.0/numa_node:0
/sys/devices/pci0000:37/0000:37:01.0/0000:38:00.0/numa_node:0
/sys/devices/pci0000:37/0000:37:01.0/0000:38:00.0/0000:39:00.0/0000:3c:00.0/numa_node:0
/sys/devices/pci0000:37/0000:37:01.0/0000:38:00.0/0000:39:01.0/0000:3d:00.0/numa_node:0
/sys/devices/pci0000:80/0000:80:01.0/0000:86:00.0/numa_node:1
/sys/devices/pci0000:80/0000:80:01.0/0000:86:00.0/nvme/nvme3/numa_node:1
/sys/devices/pci0000:80/0000:80:02.0/0000:87:00.0/numa_node:-1
/sys/devices/pci0000:90/0000:90:01.0/0000:91:00.0/0000:92:00.0/numa_node:1
/sys/devices/virtual/misc/numa_node:0
/sys/devices/pci0000:80/0000:80:02.0/../../../etc/numa_node:0
"""
LSBLK = {
    "blockdevices": [
        {
            "name": "nvme3n1",
            "type": "disk",
            "size": 3_840_755_982_336,
            "model": "SAMSUNG MZQL23T8HCLS-00A07   ",
            "mountpoints": [None],
        },
        {
            "name": "nvme0n1",
            "type": "disk",
            "size": "1920383410176",
            "children": [{"name": "nvme0n1p1", "type": "part", "mountpoint": "/boot/efi"}],
        },
        {"name": "loop0", "type": "loop", "size": 4096},
        {"name": "sr0; reboot", "type": "disk"},
        "nonsense",
    ]
}


class TestParseLspci:
    def test_reads_records_with_whatever_fields_they_have(self) -> None:
        found = {function.address: function for function in parse_lspci(LSPCI)}

        assert len(found) == 5
        gpu, disk = found["0000:3c:00.0"], found["0000:86:00.0"]
        assert (gpu.kind, gpu.numa, gpu.iommu_group) == ("3D controller", 0, 12)
        assert (disk.numa, disk.iommu_group, disk.vendor) == (None, None, "")

    def test_finds_who_shares_a_group_but_bridges_and_itself(self) -> None:
        functions = parse_lspci(LSPCI)
        gpu = next(function for function in functions if function.address == "0000:3c:00.0")

        assert iommu_mates(gpu, functions) == ("0000:3d:00.0",)

    @given(text=st.text(alphabet="Slot:\tNUMADevice0123456789abcdef.\n ", max_size=300))
    def test_raises_nothing(self, text: str) -> None:
        for function in parse_lspci(text + LSPCI):
            assert function.address == function.address.lower()

    @given(cut=st.integers(0, len(LSPCI)), noise=st.text(max_size=20))
    def test_raises_nothing_for_damage(self, cut: int, noise: str) -> None:
        parse_lspci(LSPCI[:cut] + noise + LSPCI[cut:])
        parse_lspci(LSPCI[:cut])


class TestParsePciTree:
    def test_knows_a_switch_from_a_root_port(self) -> None:
        tree = parse_pci_tree(TREE)

        assert tree.switch_above("0000:3c:00.0") == "0000:38:00.0"
        assert tree.switch_above("0000:3d:00.0") == "0000:38:00.0"
        assert tree.switch_above("0000:86:00.0") == ""
        assert tree.switch_above("0000:38:00.0") == ""
        assert tree.switch_above("0000:92:00.0") == ""  # a bridge alone is no switch

    def test_leaves_out_what_the_kernel_does_not_know_and_what_is_no_device(self) -> None:
        tree = parse_pci_tree(TREE)

        assert "0000:87:00.0" not in tree.numa
        assert tree.numa["0000:86:00.0"] == 1
        assert tree.nvmes == {"nvme3": "0000:86:00.0"}
        assert len(tree.bridges) == 7

    @given(cut=st.integers(0, len(TREE)), noise=st.text(max_size=20))
    def test_raises_nothing(self, cut: int, noise: str) -> None:
        parse_pci_tree(TREE[:cut] + noise + TREE[cut:])


class TestParseLsblk:
    def test_reads_whole_disks_and_which_the_host_lives_on(self) -> None:
        disks = parse_lsblk(json.dumps(LSBLK))

        assert [(disk.name, disk.mounted) for disk in disks] == [
            ("nvme3n1", False),
            ("nvme0n1", True),
        ]
        assert disks[0].model == "SAMSUNG MZQL23T8HCLS-00A07"
        assert disks[1].size_bytes == 1_920_383_410_176

    @pytest.mark.parametrize(
        ("row", "mounted", "contents"),
        [
            ({"mountpoints": [None]}, False, ""),
            ({"fstype": "xfs", "mountpoints": ["/srv"]}, True, "xfs"),
            ({"fstype": "LVM2_member", "children": [{"type": "lvm"}]}, False, "lvm"),
            ({"children": [{"type": "part", "mountpoints": [None]}]}, False, "partitions"),
            ({"children": [{"type": "raid1", "mountpoints": ["/"]}]}, True, "raid1"),
            ({"children": ["nonsense"]}, False, "something"),
            ({"fstype": "ext4", "label": "gc0123456789ab", "mountpoints": ["/run/x"]}, False, ""),
            ({"fstype": "ext4", "label": "gc0123456789abc"}, False, "ext4"),
            ({"label": "gc0123456789ab", "children": [{"type": "part"}]}, False, "partitions"),
        ],
    )
    def test_tells_what_is_the_hosts_from_what_is_a_slices(
        self, row: dict[str, object], mounted: bool, contents: str
    ) -> None:
        whole = {"name": "nvme1n1", "type": "disk", "size": 1, **row}

        (disk,) = parse_lsblk(json.dumps({"blockdevices": [whole]}))

        assert (disk.mounted, disk.contents) == (mounted, contents)

    @pytest.mark.parametrize("text", ["", "lsblk: not found", "[" * 100_000, "{}", "[]", "\x00"])
    def test_finds_no_disk_in_what_is_no_answer(self, text: str) -> None:
        assert parse_lsblk(text) == ()

    @given(
        document=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["blockdevices", "name", "type", "size", "children", "mountpoints", "model"]
                    ),
                    inner | st.sampled_from(["disk", "nvme0n1"]),
                    max_size=5,
                )
            ),
        )
    )
    def test_raises_nothing_for_any_document(self, document: object) -> None:
        parse_lsblk(json.dumps(document))
        parse_lsblk(json.dumps({"blockdevices": [document, {"name": "a", "type": "disk"}]}))


def _netdev(address: str = "0000:3d:00.0", /, **facts: object) -> dict[str, object]:
    return {"ifname": "ibp61s0", "parentbus": "pci", "parentdev": address, **facts}


ADDRESS = {"family": "inet", "local": "192.0.2.7", "scope": "global"}
OF_THE_LINK = {"family": "inet6", "local": "fe80::1", "scope": "link"}


class TestParseNetdevs:
    @pytest.mark.parametrize(
        ("facts", "in_use"),
        [
            ({}, ""),
            ({"addr_info": []}, ""),
            ({"addr_info": [OF_THE_LINK]}, ""),
            ({"addr_info": [OF_THE_LINK, ADDRESS]}, "has an address"),
            ({"master": "bond0"}, "is part of bond0"),
            ({"vfinfo_list": [{"vf": 0}]}, "is divided into virtual functions"),
            ({"vfinfo_list": []}, ""),
        ],
    )
    def test_tells_what_the_host_does_with_a_port(
        self, facts: dict[str, object], in_use: str
    ) -> None:
        found = parse_netdevs(json.dumps([{"ifname": "lo"}, _netdev(**facts)]))

        assert found == {"0000:3d:00.0": Netdev("ibp61s0", in_use)}

    def test_lets_a_function_be_used_that_is_used_by_any_of_its_devices(self) -> None:
        rows = [_netdev(), _netdev(addr_info=[ADDRESS]), _netdev()]

        assert parse_netdevs(json.dumps(rows))["0000:3d:00.0"].in_use == "has an address"

    @given(
        document=st.recursive(
            st.none() | st.integers() | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["ifname", "parentbus", "parentdev", "addr_info", "scope"]),
                    inner | st.just("pci"),
                    max_size=5,
                )
            ),
        )
    )
    def test_raises_nothing_for_any_document(self, document: object) -> None:
        parse_netdevs(json.dumps(document))
        parse_netdevs(json.dumps([document, _netdev(addr_info=document)]))

    @pytest.mark.parametrize("text", ["", "ip: not found", "[" * 100_000, "{}", "\x00"])
    def test_finds_nothing_in_what_is_no_answer(self, text: str) -> None:
        assert parse_netdevs(text) == {}


class TestReadBus:
    def test_puts_adapters_and_disks_behind_their_switches(self) -> None:
        bus = read_bus(lspci=LSPCI, tree=TREE, lsblk=json.dumps(LSBLK))

        assert [(nic.pci_address, nic.numa, nic.pcie_switch) for nic in bus.nics] == [
            ("0000:3d:00.0", 0, "0000:38:00.0")
        ]
        first, own = bus.nvmes
        assert (first.pci_address, first.numa, first.pcie_switch) == ("0000:86:00.0", 1, "")
        assert (own.pci_address, own.numa, own.mounted) == ("", -1, True)
        assert (first.in_use, own.in_use, own.contents) == ("", "is mounted", "partitions")
        assert bus.switch_of("00000000:3C:00.0") == "0000:38:00.0"
        assert bus.iommu_of("00000000:3C:00.0") == (12, ("0000:3d:00.0",))
        assert bus.iommu_of("00000000:99:00.0") == (None, ())

    def test_puts_network_devices_to_their_ports(self) -> None:
        netdevs = json.dumps([_netdev(master="br0"), _netdev("0000:99:00.0")])

        (nic,) = read_bus(lspci=LSPCI, tree=TREE, lsblk="", netdevs=netdevs).nics

        assert (nic.netdev, nic.in_use) == ("ibp61s0", "is part of br0")

    def test_takes_the_groups_that_the_kernel_tells_before_those_of_lspci(self) -> None:
        groups = (
            "/sys/kernel/iommu_groups/40/devices/0000:3c:00.0\n"
            "/sys/kernel/iommu_groups/41/devices/0000:3d:00.0\n"
            "/sys/kernel/iommu_groups/x/devices/0000:3d:00.0\n"
            "/sys/kernel/iommu_groups/42/devices/../../../etc/passwd\n"
        )

        bus = read_bus(lspci=LSPCI, tree=TREE, lsblk="", groups=groups)

        assert bus.iommu_of("00000000:3C:00.0") == (40, ())
        assert parse_iommu_groups(groups) == {"0000:3c:00.0": 40, "0000:3d:00.0": 41}

    @given(text=st.text(max_size=80))
    def test_raises_nothing_for_groups(self, text: str) -> None:
        parse_iommu_groups(text)
        parse_iommu_groups(f"/sys/kernel/iommu_groups/{text}/devices/0000:3c:00.0")

    def test_is_empty_where_no_tool_answers(self) -> None:
        bus = read_bus(lspci="", tree="", lsblk="")

        assert (bus.nics, bus.nvmes, bus.switch_of("00000000:3C:00.0")) == ((), (), "")


class TestParseCpulists:
    def test_reads_the_domains(self) -> None:
        text = (
            "/sys/devices/system/node/node0/cpulist:0-47,96-143\n"
            "/sys/devices/system/node/node1/cpulist:48-95,144-191\n"
            "/sys/devices/system/node/node2/cpulist:\n"
            "/sys/devices/system/node/node3/cpulist:9-1\n"
        )

        cpus = parse_cpulists(text)

        assert cpus is not None
        assert (cpus.count, cpus.numa) == (192, {0: "0-47,96-143", 1: "48-95,144-191"})

    @given(text=st.text(max_size=80))
    def test_raises_nothing(self, text: str) -> None:
        parse_cpulists(text)
        parse_cpulists(f"/sys/devices/system/node/node0/cpulist:{text}")


class TestShortAddress:
    @pytest.mark.parametrize(
        ("given_", "short"),
        [
            ("00000000:0F:00.0", "0000:0f:00.0"),
            ("00000001:B8:00.0", "0001:b8:00.0"),
            ("0000:b8:00.0", "0000:b8:00.0"),
            ("10000:01:00.0", "10000:01:00.0"),
        ],
    )
    def test_is_as_the_kernel_writes_it(self, given_: str, short: str) -> None:
        assert short_address(given_) == short
