"""How far nodes are from each other: the levels of a fabric, and the distance at each, as data.

A node hangs under a group (a leaf switch, or the leaves of a rail group), a group in a pod, a pod
in a fabric. How much a step costs depends on the class of the fabric: in a rail-optimised one,
GPU i of every node of a group meets the others at one switch, and its upper tiers are not
oversubscribed; a leaf/spine fabric usually shares its way upwards, so that each step away costs
more. Distances count switches passed between two nodes' adapters, weighed so; only their order
and their ratio matter.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from gpucloud_core.nodes.model import FabricKind, FabricPlace


class Level(NamedTuple):
    """What two nodes have in common at least, in words, and how far apart they are then."""

    name: str
    distance: int
    words: str  # "4 nodes <words>"
    within: str  # "only 3 nodes are free <within>"


NODE: Final = Level("node", 0, "of one node", "within one node")
UNKNOWN: Final = Level("unknown", 100, "whose places in a fabric are not known", "there")
LEVELS: Final[Mapping[FabricKind, tuple[Level, Level, Level]]] = {
    FabricKind.RAIL_OPTIMISED: (
        Level("group", 1, "in one rail group", "within one rail group"),
        Level("pod", 3, "in one pod, across rail groups", "within one pod"),
        Level("fabric", 5, "in one fabric, across pods", "within one fabric"),
    ),
    FabricKind.LEAF_SPINE: (
        Level("group", 1, "under one leaf", "under one leaf"),
        Level("pod", 4, "in one pod, across leaves", "within one pod"),
        Level("fabric", 8, "in one fabric, across pods", "within one fabric"),
    ),
}
"""By class of fabric: the levels from the nearest to the farthest."""

ALL_LEVELS: Final = (
    NODE,
    UNKNOWN,
    *(level for kind in FabricKind for level in LEVELS[kind]),
)
"""Every level there is. Claims keep the position of theirs: only ever append."""


def path_of(place: FabricPlace | None) -> str:
    """Return a place as one text, ``kind/fabric/pod/group``; empty where it is not known."""
    return "" if place is None else f"{place.kind}/{place.fabric}/{place.pod}/{place.group}"


def subtrees(path: str) -> tuple[tuple[str, Level], ...]:
    """Return what a node's place lies in, nearest first: its name, and how far nodes there are."""
    if not path:
        return (("", UNKNOWN),)
    kind, fabric, pod, group = path.split("/")
    names = (path, f"{kind}/{fabric}/{pod}", f"{kind}/{fabric}")
    return tuple(zip(names, LEVELS[FabricKind(kind)], strict=True)) if group else ()
