"""Nodes, their inside, and the slots sold from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from gpucloud_core.kernel.ids import AllocationId, ClaimId, NodeId, SlotId


class NodeMode(StrEnum):
    """How a node's GPUs are handed out; changed only when it is empty."""

    BARE_METAL = "bare_metal"
    CONTAINER = "container"
    VM = "vm"
    MIG = "mig"


class NodeStatus(StrEnum):
    """What the operator decided. Never mixed with what a probe saw."""

    ENROLLING = "enrolling"
    ACTIVE = "active"
    OFFLINE = "offline"
    QUARANTINED = "quarantined"
    DRAINING = "draining"
    RETIRED = "retired"
    DELETED = "deleted"


class SlotState(StrEnum):
    PROPOSED = "proposed"
    AVAILABLE = "available"
    CLAIMED = "claimed"
    IN_USE = "in_use"
    CLEANING = "cleaning"
    CLEANUP_BLOCKED = "cleanup_blocked"
    DISABLED = "disabled"


class LinkClass(StrEnum):
    """How two GPUs of a node reach each other, best first (nvidia-smi topo's names)."""

    NVSWITCH = "nvswitch"  # every GPU to every other, through the fabric
    NVLINK = "nvlink"  # a direct bridge or mesh; the count is beside it
    XGMI = "xgmi"  # AMD's Infinity Fabric from GPU to GPU; the count is beside it
    PIX = "pix"  # one PCIe switch
    PXB = "pxb"  # several PCIe switches, one root
    PHB = "phb"  # through the host bridge
    NODE = "node"  # host bridges of one NUMA domain
    SYS = "sys"  # across NUMA domains


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU. ``index`` is PCI order and the bit in every mask of the node."""

    index: int
    uuid: str
    model: str
    pci_address: str  # "00000000:1B:00.0"
    numa: int
    memory_mib: int
    module_id: int | None = None
    serial: str = ""
    pcie_switch: str = ""  # address of the switch's upstream port; empty where there is none
    iommu_group: int | None = None
    iommu_mates: tuple[str, ...] = ()  # what else would go to a guest with it: "0000:3a:00.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network adapter's port or virtual function, as the PCI bus and the kernel know it."""

    pci_address: str
    model: str
    numa: int
    pcie_switch: str = ""
    netdev: str = ""  # ibp17s0; empty where no network device of the host belongs to it
    in_use: str = ""  # what the host does with it, such as "has an address"; empty: nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvme:
    """An NVMe disk. One that is ``in_use`` is the host's own and never a slot's."""

    name: str  # nvme1n1
    pci_address: str = ""  # empty where the node does not tell
    numa: int = -1
    size_bytes: int
    model: str = ""
    mounted: bool = False
    pcie_switch: str = ""
    serial: str = ""
    contents: str = ""  # what the host has on it, such as "partitions" or "xfs"; not a slice's

    @property
    def in_use(self) -> str:
        """Return what the host does with it, to follow its name; empty: nothing."""
        if self.mounted:
            return "is mounted"
        return f"holds {self.contents}" if self.contents else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The inside of a node. Immutable; nodes alike share ``system`` (the topology class).

    ``links[i][j]`` is the link of GPU i and GPU j, and ``nvlinks[i][j]`` how many NVLinks carry it
    (0 where none). Both are square and symmetric; the diagonal is not used.
    """

    system: str
    gpus: tuple[Gpu, ...]
    links: tuple[tuple[LinkClass, ...], ...]
    nvlinks: tuple[tuple[int, ...], ...]
    cpu_count: int
    memory_mib: int
    numa_cpus: tuple[str, ...] = ()  # cpulist per NUMA domain, such as "0-47,96-143"
    driver_version: str = ""
    nics: tuple[Nic, ...] = ()  # in PCI order
    nvmes: tuple[Nvme, ...] = ()


class FabricKind(StrEnum):
    """How a fabric between nodes is built; ``interconnect`` has the distances of each."""

    RAIL_OPTIMISED = "rail_optimised"
    LEAF_SPINE = "leaf_spine"


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricPlace:
    """Where a node hangs in a fabric between nodes. Names are the operator's own.

    ``group`` is its leaf switch, or its rail group; groups of one pod share their spines.
    """

    kind: FabricKind
    fabric: str
    pod: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAccess:
    """How to reach a node. The credential is looked up by reference, never kept here."""

    host: str
    port: int
    username: str
    host_key: str  # pinned: "ssh-ed25519 AAAA..."
    credential: str  # name of the private key in the secret box


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that is not well, or that could not be read: a stable code and a sentence.

    ``subject`` is the UUID of the GPU that it is about, where it is about one.
    """

    code: str
    detail: str
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the last discovery found besides the topology that the node is sold by.

    Attributes:
        faults: what is not well there, or could not be read.
        found: the inside as it was found, where it differs. It waits for an operator: what a node
            is sold by never changes by itself.
        mode: the mode that the node itself says it is in; None if it was never asked.
    """

    at: datetime
    faults: tuple[Fault, ...] = ()
    found: Topology | None = None
    mode: NodeMode | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    id: NodeId
    name: str
    region: str
    mode: NodeMode
    status: NodeStatus
    status_reason: str = ""
    access: NodeAccess
    topology: Topology
    simulated: bool = False
    shared_kernel: bool = False  # several tenants on one container node at a time
    slot_host: str = ""  # where its slices answer over SSH: slot i at ``slot_port`` + i
    slot_port: int = 0
    place: FabricPlace | None = None  # None: not known, so that it is far from every other
    reachable: bool | None = None  # last probe; None before the first
    probed_at: datetime | None = None  # last read in full; what was active then was seen to run
    probe_error: str = ""
    look_due_at: datetime | None = None  # next discovery by itself; None: a day after it came
    created_at: datetime
    version: int = 0
    findings: Findings | None = None  # of the last discovery; None where none was kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The approved, sellable bundle around one GPU: its place, its share and its SSH endpoint.

    The endpoint (``ssh_host``, ``ssh_port``) belongs to the slot, so that claiming the slot claims
    the port. A slice answers at its lowest slot's endpoint. So do its data disk and its network
    port, which a slice gets where its SKU comes with them.
    """

    id: SlotId
    node_id: NodeId
    index: int
    gpu_uuid: str
    numa: int
    cpus: str  # cpulist
    memory_mib: int
    ssh_host: str
    ssh_port: int
    state: SlotState
    state_since: datetime
    reason: str = ""
    disk: str = ""  # the node's name of its data disk, nvme1n1; empty: none
    nic: str = ""  # PCI address of its port or virtual function; empty: none


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSpec:
    """What a node is asked to make real. ``claim_id`` is the tag of everything it makes.

    Attributes:
        gpu_uuids: exactly the devices the slice may see.
        cpus: cpulist of its CPU set.
        ssh_host, ssh_port: where its SSH server answers.
        ssh_cidrs: sources allowed to reach SSH; empty means anywhere.
        inbound: (port, sources) allowed besides SSH.
        disks: data disks by the node's names, mounted under /data.
        nics: network ports by their PCI addresses.
        generation: a node refuses one older than it has seen for this claim.
    """

    claim_id: ClaimId
    allocation_id: AllocationId
    generation: int
    image: str
    username: str
    hostname: str
    gpu_uuids: tuple[str, ...]
    gpu_indexes: tuple[int, ...]
    cpus: str
    memory_mib: int
    pids_max: int
    ssh_host: str
    ssh_port: int
    ssh_cidrs: tuple[str, ...] = ()
    inbound: tuple[tuple[int, tuple[str, ...]], ...] = ()
    disks: tuple[str, ...] = ()
    nics: tuple[str, ...] = ()


DATA_FOLDER: Final = "/data"
"""Where a slice finds its data disks."""


def data_targets(disks: Sequence[str]) -> Mapping[str, str]:
    """Return where each disk is mounted: alone it is the folder, of several each is a part."""
    if len(disks) == 1:
        return {disks[0]: DATA_FOLDER}
    return {name: f"{DATA_FOLDER}/{number}" for number, name in enumerate(disks, start=1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEndpoint:
    """Where the slice answers and how to know it is the right one."""

    host: str
    port: int
    username: str
    host_key: str
    host_key_fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEvidence:
    """What the node itself reads back about a slice."""

    exists: bool
    running: bool = False
    ssh_ready: bool = False
    gpu_uuids: tuple[str, ...] = ()
    key_fingerprints: tuple[str, ...] = ()
    ssh_cidrs: tuple[str, ...] = ()
    detail: str = ""
    disks: tuple[str, ...] = ()  # data disks that are mounted in it
    nics: tuple[str, ...] = ()  # network ports that are in its network


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskWipe:
    """Proof that a data disk was erased: how, and what was read back from where on it.

    ``reads`` are (offset, hash of the block there) pairs; ``clean`` says that all were zeros.
    """

    name: str
    serial: str
    method: str
    size_bytes: int
    reads: tuple[tuple[str, str], ...]
    clean: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WipeEvidence:
    """Proof that nothing of the last holder is left, bound to the claim.

    ``random_reads`` are (offset or name, hash) pairs read back after the wipe.
    """

    claim_id: ClaimId
    method: str
    device_serials: tuple[str, ...]
    command_hash: str  # SHA-256 of the wipe command's whole output
    random_reads: tuple[tuple[str, str], ...]
    at: datetime
    clean: bool
    detail: str = ""
    disks: tuple[DiskWipe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedSlice:
    """A slice on a node that carries our tag, or what one left behind."""

    claim_id: ClaimId
    allocation_id: AllocationId
    running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """Is the node there, is it the right one, and does it look well."""

    reachable: bool
    gpu_uuids: tuple[str, ...] = ()
    driver_version: str = ""
    problems: tuple[str, ...] = ()
    clock: datetime | None = None  # what the node's own clock shows; None: its program is older
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The raw outputs of a node's own tools, by command; parsed by pure functions."""

    outputs: Mapping[str, str] = field(default_factory=dict)
