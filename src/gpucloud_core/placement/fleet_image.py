"""The fleet as one process sees it: nodes in buckets of interchangeable ones, kept by change.

A decision is the lowest node id of the kinds at the head of an order (see ``orders``), so its cost
depends on how many kinds there are, never on how many nodes. A changed row moves one node from one
bucket to another.

Bands round down. A kind whose band straddles what is asked for is searched node by node, so that
rounding never refuses what fits; shares of approved slots are alike, which makes that rare.

The image is plain memory, used from one thread. ``scratch`` plays a sequence of placements
forward and takes every change back.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.nodes.model import NodeMode, Topology
from gpucloud_core.nodes.systems import SYSTEMS
from gpucloud_core.placement.model import NodeCapacity, Place, PlacementRequest
from gpucloud_core.placement.orders import MEMORY_BAND_MIB, VCPU_BAND, Ask, Bucket, Kind, Pool
from gpucloud_core.placement.sets import FeasibleSets, feasible_sets

_STANDARD: Final = tuple(system.topology(seed="") for system in SYSTEMS.values())


class FleetImage:
    """All nodes' capacity, arranged for deciding."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self._rows: dict[NodeId, NodeCapacity] = {}
        self._where: dict[NodeId, tuple[Bucket, str]] = {}  # the string: why it is shut
        self._topologies: dict[str, Topology] = {}
        self._sets: dict[tuple[str, NodeMode], FeasibleSets] = {}
        self._undo: list[tuple[NodeId, NodeCapacity | None]] | None = None
        for topology in _STANDARD:
            self.learn(topology)

    def learn(self, topology: Topology) -> None:
        """Remember what nodes of this topology's class look like inside."""
        if topology.system in self._topologies:
            return  # a class is what its name says: nothing more can be learned of it
        self._topologies[topology.system] = topology
        waiting = [row for row in self._rows.values() if row.system == topology.system]
        for row in waiting:
            self._forget(row.node_id)
            self._place(row)

    def of_rows(self, rows: Iterable[NodeCapacity]) -> "FleetImage":
        """Return an image of nothing but these rows, with all that was learned of their insides."""
        image = FleetImage()
        for topology in self._topologies.values():
            image.learn(topology)
        for row in rows:
            image.put(row)
        return image

    def knows(self, system: str) -> bool:
        return system in self._topologies

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, node_id: NodeId) -> NodeCapacity | None:
        return self._rows.get(node_id)

    def node_ids(self) -> Iterable[NodeId]:
        return self._rows.keys()

    def row(self, node_id: NodeId) -> NodeCapacity:
        """Return the capacity of a node that the image holds."""
        return self._rows[node_id]

    def bucket_of(self, node_id: NodeId) -> Bucket | None:
        """Return the bucket of a node that is sold now, or None."""
        bucket, reason = self._where.get(node_id, (None, ""))
        return None if reason else bucket

    def put(self, row: NodeCapacity) -> None:
        """Take over the new state of one node."""
        before = self._rows.get(row.node_id)
        if before == row:
            return
        if self._undo is not None:
            self._undo.append((row.node_id, before))
        self._forget(row.node_id)
        self._place(row)

    def remove(self, node_id: NodeId) -> None:
        """Leave the node out of every further decision."""
        before = self._rows.get(node_id)
        if before is not None:
            if self._undo is not None:
                self._undo.append((node_id, before))
            self._forget(node_id)

    def take(self, place: Place, request: PlacementRequest) -> None:
        """Play one placement of ``request`` forward."""
        row = self._rows[place.node_id]
        self.put(
            replace(
                row,
                free_mask=row.free_mask & ~place.mask,
                free_vcpus=row.free_vcpus - request.vcpus,
                free_memory_mib=row.free_memory_mib - request.memory_mib,
            )
        )

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Take back every change made inside the block. May be nested."""
        outer, self._undo = self._undo, []
        try:
            yield
        finally:
            changes, self._undo = self._undo, None
            for node_id, before in reversed(changes):
                self._forget(node_id)
                if before is not None:
                    self._place(before)
            self._undo = outer

    def sets(self, system: str, mode: NodeMode) -> FeasibleSets:
        """Return the feasible sets of a class that is known."""
        key = system, mode
        if key not in self._sets:
            self._sets[key] = feasible_sets(self._topologies[system], mode)
        return self._sets[key]

    def has_share(self, node_id: NodeId, ask: Ask) -> bool:
        """Return whether the node has the CPUs and the memory, exactly."""
        row = self._rows[node_id]
        return row.free_vcpus >= ask.vcpus and row.free_memory_mib >= ask.memory_mib

    def _place(self, row: NodeCapacity) -> None:
        self._rows[row.node_id] = row
        pool = self.pools.setdefault(row.pool, Pool())
        free, sets = row.free_mask & row.approved_mask, None
        disks, nics = free & row.disk_mask, free & row.nic_mask
        both = disks & nics
        reason = self._shut_reason(row, free)
        if self.knows(row.system):
            sets = self.sets(row.system, row.mode)
            free, disks, nics, both = map(sets.canonical, (free, disks, nics, both))
        kind = Kind(
            row.system,
            row.mode,
            free,
            row.free_vcpus // VCPU_BAND,
            row.free_memory_mib // MEMORY_BAND_MIB,
            disks,
            nics,
            both,
        )
        bucket = pool.shut_bucket(kind, sets) if reason else pool.open_bucket(kind, sets)
        if reason:
            bucket.reasons[reason] += 1
        bucket.enter(row.node_id)
        self._where[row.node_id] = bucket, reason

    def _forget(self, node_id: NodeId) -> None:
        if self._rows.pop(node_id, None) is not None:
            bucket, reason = self._where.pop(node_id)
            bucket.leave(node_id)
            if reason:
                bucket.reasons -= Counter((reason,))  # drops those that have come to nothing

    def _shut_reason(self, row: NodeCapacity, free: int) -> str:
        """Return why nothing of the node is sold now; empty if it is."""
        if not row.sellable:
            return row.unsellable_reason or "not in service"
        topology = self._topologies.get(row.system)
        if topology is None:
            return "of a kind this process has not learned yet"
        if len(topology.gpus) != row.gpu_count:
            return "changed inside; to be discovered again"
        if not row.shared and free != row.approved_mask:
            return "held by one tenant at a time"
        return ""
