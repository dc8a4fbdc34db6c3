"""Which nodes a gang gets: all of its members or none, as near to each other as there is room.

Fabrics are trees, so the worst distance of a gang is that of the smallest subtree it fits into. Of
the subtrees with the least worst distance, the one that allows the least sum of distances (and so
the least mean) is taken; within it, members are dealt out by dynamic programming over its parts.
Equals are told apart by how good the nodes are for everyone else, then by name.

It looks at every node that could take a member: unlike that of single launches, its cost grows
with the fleet.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.nodes.interconnect import ALL_LEVELS, NODE, UNKNOWN, Level, subtrees
from gpucloud_core.placement.model import Within


class Room(NamedTuple):
    """A node that could take ``capacity`` members; of equals, less ``goodness`` is better."""

    node_id: NodeId
    path: str  # its place in a fabric
    capacity: int
    goodness: tuple[int, ...] = ()


class Gang(NamedTuple):
    """How many members each node gets, and how far they are apart at worst."""

    counts: tuple[tuple[NodeId, int], ...]
    level: Level


class _Dealt(NamedTuple):
    """The least sum of distances of so many members in a subtree, and where they are."""

    cost: int
    counts: tuple[tuple[NodeId, int], ...]


@dataclass(slots=True)
class _Subtree:
    name: str
    level: Level
    rooms: list[Room]

    @property
    def capacity(self) -> int:
        return sum(room.capacity for room in self.rooms)


_NOTHING: Final = _Dealt(0, ())


def nearest(
    rooms: Iterable[Room],
    wanted: int,
    *,
    held: Sequence[str] = (),
    within: Within = Within.FABRIC,
) -> Gang | None:
    """Return where ``wanted`` members go, or None where they do not fit into one fabric.

    Args:
        rooms: every node that could take one.
        wanted: how many members, at least one.
        held: the places in a fabric of members that stand already; the others go to the same
            fabric, but how far each is from these counts at worst only.
        within: the farthest level that is allowed.
    """
    able = [room for room in rooms if room.capacity > 0]
    best: tuple[tuple[int, int, tuple[tuple[int, ...], ...], str], Gang] | None = None
    for subtree in _in_reach(able, wanted, held, within):
        if best is not None and subtree.level.distance > best[0][0]:
            break
        dealt = _deal(subtree, wanted)[wanted]
        good = {room.node_id: room.goodness for room in subtree.rooms}
        rank = (
            subtree.level.distance,
            dealt.cost,
            tuple(good[node_id] for node_id, _ in dealt.counts),
            subtree.name,
        )
        if best is None or rank < best[0]:
            best = rank, Gang(dealt.counts, subtree.level)
    return best[1] if best else None


def most_together(rooms: Iterable[Room], *, within: Within = Within.FABRIC) -> tuple[int, Level]:
    """Return how many members at most fit together so, and the level that allows them."""
    found = [*_trees([room for room in rooms if room.capacity > 0], within)]
    most = max(found, key=lambda tree: (tree.capacity, -tree.level.distance), default=None)
    return (most.capacity, most.level) if most else (0, NODE)


def figures(gang: Gang, machines: int) -> dict[str, int]:
    """Return what an explanation keeps of a gang."""
    return {
        "gang_machines": machines,
        "gang_nodes": len(gang.counts),
        "gang_level": ALL_LEVELS.index(gang.level),
    }


def words(explanation: Mapping[str, int]) -> str:
    """Return the sentence about its gang of a claim's figures; empty where there was none."""
    machines = explanation.get("gang_machines", 0)
    position = explanation.get("gang_level", 0)
    if not machines or position >= len(ALL_LEVELS):
        return ""
    nodes, level = explanation.get("gang_nodes", 0), ALL_LEVELS[position]
    where = "one node" if nodes == 1 else f"{nodes} nodes {level.words}"
    return f"The {machines} machines of its launch stand together: {where}."


def _in_reach(
    rooms: list[Room], wanted: int, held: Sequence[str], within: Within
) -> list[_Subtree]:
    """Return the subtrees that have room and hold what stands already, the nearest first."""
    found = [
        tree
        for tree in _trees(rooms, within)
        if tree.capacity >= wanted and all(_holds(tree, path) for path in held)
    ]
    return sorted(found, key=lambda tree: (tree.level.distance, tree.name))


def _holds(tree: _Subtree, path: str) -> bool:
    return any(name == tree.name and level == tree.level for name, level in subtrees(path))


def _trees(rooms: list[Room], within: Within) -> Iterable[_Subtree]:
    """Yield every subtree with its rooms: single nodes, groups, pods, fabrics."""
    found: dict[tuple[str, str], _Subtree] = {}
    for room in rooms:
        yield _Subtree(room.node_id, NODE, [room])
        for name, level in subtrees(room.path):
            key = level.name, name
            tree = found.setdefault(key, _Subtree(name, level, []))
            tree.rooms.append(room)
            if level.name == within:
                break
    for tree in found.values():
        if within is Within.FABRIC or tree.level is not UNKNOWN:
            yield tree


def _deal(tree: _Subtree, wanted: int) -> list[_Dealt]:
    """Return for 0 to ``wanted`` members (or as many as fit) how they are best dealt out."""
    parts = _parts(tree)
    if all(part.level is NODE for part in parts):
        return [_filled(tree, n) for n in range(min(tree.capacity, wanted) + 1)]
    dealt = [_NOTHING]
    for part in parts:
        dealt = _merged(dealt, _deal(part, wanted), tree.level.distance, wanted)
    return dealt


def _filled(tree: _Subtree, wanted: int) -> _Dealt:
    """Return how members are best dealt out to nodes that are all equally far from each other.

    The more of them share a node, the better; so the roomiest nodes are filled first.
    """
    counts: list[tuple[NodeId, int]] = []
    left, cost = wanted, 0
    for room in sorted(tree.rooms, key=lambda r: (-min(r.capacity, wanted), r.goodness, r.node_id)):
        if not left:
            break
        count = min(room.capacity, left)
        cost += tree.level.distance * count * (wanted - left)
        counts.append((room.node_id, count))
        left -= count
    return _Dealt(cost, tuple(counts))


def _parts(tree: _Subtree) -> list[_Subtree]:
    """Return a subtree's parts, the best for what is equally near first."""
    found: dict[str, _Subtree] = {}
    for room in tree.rooms:
        inner = NODE
        name = str(room.node_id)
        for nearer, level in subtrees(room.path):
            if level.distance >= tree.level.distance:
                break
            name, inner = nearer, level
        found.setdefault(name, _Subtree(name, inner, [])).rooms.append(room)
    return sorted(
        found.values(),
        key=lambda part: (-part.capacity, min(room.goodness for room in part.rooms), part.name),
    )


def _merged(one: list[_Dealt], other: list[_Dealt], distance: int, wanted: int) -> list[_Dealt]:
    """Return the best ways to deal members out to two parts that are ``distance`` apart."""
    return [
        min(
            (
                _Dealt(
                    one[n - k].cost + other[k].cost + distance * (n - k) * k,
                    one[n - k].counts + other[k].counts,
                )
                for k in range(max(0, n - len(one) + 1), min(n, len(other) - 1) + 1)
            ),
            key=lambda dealt: dealt.cost,
        )
        for n in range(min(wanted, len(one) + len(other) - 2) + 1)
    ]
