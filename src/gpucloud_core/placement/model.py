"""Requests, capacity, claims and decisions. A set of GPUs is a bitmask over PCI order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.ids import AllocationId, ClaimId, NodeId, SkuId, TenantId
from gpucloud_core.nodes.model import NodeMode


class Spread(StrEnum):
    ANY = "any"
    DISTINCT_NODES = "distinct_nodes"


class Within(StrEnum):
    """How near the slices of a launch that is together must be."""

    GROUP = "group"  # under one leaf, or in one rail group
    POD = "pod"
    FABRIC = "fabric"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCapacity:
    """What placement needs to know of a node; kept in its own row, changed with every claim.

    ``pool`` groups what one SKU can use: region, GPU model and shape. ``sellable`` is false while
    the node is not active, not healthy or not approved. Masks: bit i is the slot with index i.
    ``shared`` is false where one claim at a time may hold the node (a container node whose
    operator does not allow tenants to share its kernel). ``disk_mask`` and ``nic_mask`` are the
    approved slots that a data disk, or a network port, comes with.
    """

    node_id: NodeId
    pool: str
    system: str  # topology class
    mode: NodeMode
    gpu_count: int
    approved_mask: int
    free_mask: int
    free_vcpus: int
    free_memory_mib: int
    sellable: bool
    unsellable_reason: str = ""
    shared: bool = True
    fabric: str = ""  # its place in a fabric between nodes; see ``interconnect.path_of``
    disk_mask: int = 0
    nic_mask: int = 0
    version: int = 0

    def free_with(self, beside: Beside) -> int:
        """Return the mask of the free slots that come with all of ``beside``."""
        free = self.free_mask & self.approved_mask
        if beside is Beside.NOTHING:
            return free
        if beside.has_disk:
            free &= self.disk_mask
        return free & self.nic_mask if beside.has_nic else free

    def spare(self, beside: Beside) -> int:
        """Return the mask of the slots that have something that is not asked for."""
        if beside is Beside.NOTHING:
            return self.disk_mask | self.nic_mask
        disk = 0 if beside.has_disk else self.disk_mask
        return disk if beside.has_nic else disk | self.nic_mask


class Demand(NamedTuple):
    """One sort of launch to come: how often, beside the others, and what each takes."""

    gpu_count: int
    weight: int
    vcpus: int = 0
    memory_mib: int = 0
    systems: frozenset[str] = frozenset()  # topology classes that will do; any, if empty


DemandMix = tuple[Demand, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRequest:
    """``count`` slices of ``gpu_count`` GPUs each."""

    sku_id: SkuId
    pool: str
    gpu_count: int
    vcpus: int  # per slice
    memory_mib: int  # per slice
    whole_node: bool = False
    count: int = 1
    spread: Spread = Spread.ANY
    together: bool = False
    within: Within = Within.FABRIC  # how near its slices must be, if they are together
    systems: frozenset[str] = frozenset()  # topology classes that will do; any, if empty
    beside: Beside = Beside.NOTHING  # with each GPU
    demand_mix: DemandMix = ()  # launches to come; they want the same beside their GPUs


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One node and the set of its slots."""

    node_id: NodeId
    mask: int
    node_version: int


class RefusalCode(StrEnum):
    NONE_IN_REGION = "none_in_region"  # no node of this kind is sold here
    SOLD_OUT = "sold_out"  # nothing is free
    NO_SINGLE_NODE = "no_single_node"  # enough is free, but not on one node
    TOPOLOGY = "topology"  # enough on one node, but not as a set its fabric allows
    NODES_UNAVAILABLE = "nodes_unavailable"  # the free ones are drained, offline or unhealthy
    SHARE = "share"  # GPUs are free, their CPU or memory share is not
    SPREAD = "spread"  # enough is free, but not on so many different nodes
    APART = "apart"  # enough is free, but not near each other
    STORAGE = "storage"  # GPUs are free, but too few with a local disk
    NETWORK = "network"  # GPUs are free, but too few with a network port
    COUNT_NOT_ALLOWED = "count_not_allowed"  # this SKU is not sold in this size


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason that holds, in a sentence, with the figures it rests on."""

    code: RefusalCode
    detail: str
    facts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Nothing fits: every reason that holds, how many would fit now, and the nearest that would."""

    reasons: tuple[Reason, ...]
    fits_now: int = 0  # of the count asked for
    nearest: str = ""  # "2 GPUs fit now, up to 3 times"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where each slice goes, and what the decision rested on."""

    places: tuple[Place, ...]
    candidates: int
    scores: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The durable binding of an allocation to slots of a node, or to the whole node."""

    id: ClaimId
    tenant_id: TenantId
    allocation_id: AllocationId
    node_id: NodeId
    mask: int
    whole_node: bool = False
    vcpus: int
    memory_mib: int
    beside: Beside = Beside.NOTHING  # what it has of each of its slots, besides CPUs and memory
    claimed_at: datetime
    released_at: datetime | None = None  # open until capacity is proven free
    explanation: Mapping[str, int] = field(default_factory=dict)
