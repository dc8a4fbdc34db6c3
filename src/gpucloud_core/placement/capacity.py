"""A node's capacity row, made from the node, its slots and the claims that are open on it.

Claims and releases change the row in place; this is how it is first made, and made again when an
operator or a probe changes what the row rests on.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from gpucloud_core.catalog.pools import pool_name
from gpucloud_core.nodes.interconnect import path_of
from gpucloud_core.nodes.model import Node, NodeMode, NodeStatus, Slot, SlotState
from gpucloud_core.nodes.slots import parse_cpus
from gpucloud_core.placement.model import Claim, NodeCapacity

_NOT_APPROVED: Final = frozenset({SlotState.PROPOSED, SlotState.DISABLED})


def pool_of_node(node: Node) -> str:
    """Return the pool that the node's slots are sold from; see ``catalog.pools``."""
    model = node.topology.gpus[0].model if node.topology.gpus else "no GPUs"
    return pool_name(region=node.region, gpu_model=model, runtime=node.mode)


def capacity_of(
    node: Node,
    slots: Iterable[Slot],
    *,
    claims: Sequence[Claim] = (),
    pool: str | None = None,
    version: int = 0,
) -> NodeCapacity:
    """Return what the node offers now, given its open ``claims``.

    ``version`` is that of the stored row, where there is one.
    """
    approved = [slot for slot in slots if slot.state not in _NOT_APPROVED]
    held = 0
    for claim in claims:
        held |= claim.mask
    reason = unsellable_reason(node, has_approved=bool(approved))
    return NodeCapacity(
        node_id=node.id,
        pool=pool_of_node(node) if pool is None else pool,
        system=node.topology.system,
        mode=node.mode,
        gpu_count=len(node.topology.gpus),
        approved_mask=_mask(approved),
        free_mask=_mask(s for s in approved if s.state is SlotState.AVAILABLE) & ~held,
        free_vcpus=_left(
            (len(parse_cpus(slot.cpus)) for slot in approved), (claim.vcpus for claim in claims)
        ),
        free_memory_mib=_left(
            (slot.memory_mib for slot in approved), (claim.memory_mib for claim in claims)
        ),
        sellable=not reason,
        unsellable_reason=reason,
        shared=node.shared_kernel or node.mode is not NodeMode.CONTAINER,
        fabric=path_of(node.place),
        disk_mask=_mask(slot for slot in approved if slot.disk),
        nic_mask=_mask(slot for slot in approved if slot.nic),
        version=version,
    )


def unsellable_reason(node: Node, *, has_approved: bool) -> str:
    """Return why nothing new is sold from the node, or an empty string.

    Tenants read these words in refusals: they tell of no operator's business and of no name.
    """
    if node.status is not NodeStatus.ACTIVE:
        return str(node.status)
    if not has_approved:
        return "not approved yet"
    if node.reachable is False:
        return "not reachable"
    return ""


def _mask(slots: Iterable[Slot]) -> int:
    mask = 0
    for slot in slots:
        mask |= 1 << slot.index
    return mask


def _left(have: Iterable[int], taken: Iterable[int]) -> int:
    return max(0, sum(have) - sum(taken))
