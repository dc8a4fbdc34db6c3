"""What stands on a node's parts and where it answers: what somebody may hold in their hand."""

from gpucloud_core.nodes.model import Node


def marks_of(node: Node) -> frozenset[str]:
    """Return the node's addresses and the UUIDs and serials of what is in it."""
    inside = node.topology
    found = {
        node.access.host,
        node.slot_host,
        *(gpu.uuid for gpu in inside.gpus),
        *(gpu.serial for gpu in inside.gpus),
        *(disk.serial for disk in inside.nvmes),
    }
    return frozenset(found - {""})
