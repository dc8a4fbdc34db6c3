"""The PCI bus of a node: what sits where, behind which switch, and in which IOMMU group.

``lspci -vmm -D`` says what each function is, and newer ones its IOMMU group, which ``/sys`` always
tells; the paths of the ``numa_node`` files below ``/sys/devices`` say through which bridges it is
reached. A device hangs on a *switch* when two bridges of one (its upstream and its downstream
port) stand below a root port.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_TEXT_MAX: Final = 4 * 1024 * 1024
_FUNCTIONS_MAX: Final = 8192
_WORDS_MAX: Final = 120
_ADDRESS: Final = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]"
_SLOT: Final = re.compile(rf"{_ADDRESS}\Z")
_FILE: Final = re.compile(
    rf"/sys/devices/pci[0-9a-f]{{4,8}}:[0-9a-f]{{2}}/(?P<path>{_ADDRESS}(?:/{_ADDRESS}){{0,15}})"
    r"(?:/nvme/(?P<nvme>nvme\d{1,4}))?/numa_node:(?P<numa>-?\d{1,4})\Z"
)
_MEMBER: Final = re.compile(rf"/sys/kernel/iommu_groups/(\d{{1,6}})/devices/({_ADDRESS})\Z")
_PORTS_OF_A_SWITCH: Final = 2
_BRIDGES: Final = frozenset({"Bridge", "Host bridge", "ISA bridge", "PCI bridge"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PciFunction:
    """One function, as lspci prints it. ``numa`` and ``iommu_group`` are None where it is mute."""

    address: str
    kind: str
    vendor: str
    device: str
    numa: int | None = None
    iommu_group: int | None = None

    @property
    def is_bridge(self) -> bool:
        return self.kind in _BRIDGES


@dataclass(frozen=True, slots=True, kw_only=True)
class PciTree:
    """Where functions hang.

    Attributes:
        bridges: addresses above each function, from the root port down.
        numa: the domain of each function; absent where the kernel does not know it.
        nvmes: the address of each NVMe controller, by its name.
    """

    bridges: Mapping[str, tuple[str, ...]]
    numa: Mapping[str, int]
    nvmes: Mapping[str, str]

    def switch_above(self, address: str) -> str:
        """Return the upstream port of the switch that a function hangs on; empty if on none."""
        above = self.bridges.get(address, ())
        return above[-_PORTS_OF_A_SWITCH] if len(above) > _PORTS_OF_A_SWITCH else ""


def parse_lspci(text: str) -> tuple[PciFunction, ...]:
    """Read ``lspci -vmm -D``: records apart by an empty line, in any order, with any fields."""
    records = re.split(r"\n\s*\n", text[:_TEXT_MAX])
    found = (_function(record) for record in records[:_FUNCTIONS_MAX])
    return tuple(sorted((each for each in found if each), key=lambda each: each.address))


def _function(record: str) -> PciFunction | None:
    facts: dict[str, str] = {}
    for line in record.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            facts.setdefault(name.strip(), value.strip())
    address = facts.get("Slot", "").lower()
    if not _SLOT.match(address):
        return None
    return PciFunction(
        address=address,
        kind=_words(facts.get("Class", "")),
        vendor=_words(facts.get("Vendor", "")),
        device=_words(facts.get("Device", "")),
        numa=_number(facts.get("NUMANode", "")),
        iommu_group=_number(facts.get("IOMMUGroup", "")),
    )


def parse_iommu_groups(text: str) -> dict[str, int]:
    """Read ``find /sys/kernel/iommu_groups -type l``: the group of each address that has one."""
    found = (_MEMBER.match(line.strip()) for line in text[:_TEXT_MAX].splitlines())
    return {each[2]: int(each[1]) for each in found if each}


def parse_pci_tree(text: str) -> PciTree:
    """Read ``grep -rs --include=numa_node . /sys/devices``; any other line is left out."""
    bridges: dict[str, tuple[str, ...]] = {}
    numa: dict[str, int] = {}
    nvmes: dict[str, str] = {}
    for path, nvme, domain in _files(text):
        *above, address = path
        bridges[address] = tuple(above)
        if domain >= 0:
            numa[address] = domain
        if nvme:
            nvmes[nvme] = address
    return PciTree(bridges=bridges, numa=numa, nvmes=nvmes)


def _files(text: str) -> Iterator[tuple[list[str], str | None, int]]:
    for line in text[:_TEXT_MAX].splitlines():
        if found := _FILE.match(line.strip()):
            yield found["path"].split("/"), found["nvme"], int(found["numa"])


def short_address(address: str) -> str:
    """Return an address as the kernel writes it, ``0000:0f:00.0``, from the driver's spelling."""
    domain, _, rest = address.lower().partition(":")
    return f"{domain[-4:] if domain.startswith('0000') else domain}:{rest}"


def iommu_mates(function: PciFunction, functions: tuple[PciFunction, ...]) -> tuple[str, ...]:
    """Return what else is in the group and is neither a bridge nor the same device.

    Whoever gets one function of a group gets them all; only bridges stay behind.
    """
    if function.iommu_group is None:
        return ()
    device = function.address.rpartition(".")[0]
    return tuple(
        other.address
        for other in functions
        if other.iommu_group == function.iommu_group
        and not other.is_bridge
        and other.address.rpartition(".")[0] != device
    )


def _number(words: str) -> int | None:
    return int(words) if re.fullmatch(r"\d{1,6}", words, re.ASCII) else None


def _words(text: str) -> str:
    return "".join(char for char in text[:_WORDS_MAX] if char.isprintable()).strip()
