"""One process's view of the fleet, brought up to date before each decision.

The image is shared by everything the process does at once, so it may only ever hold rows that are
committed. Inside a transaction that has claims of its own, the database shows those as well:
their nodes are kept out of the shared image and handed back to the caller alone, and the mark
stays where it was, so that nothing committed on those nodes is missed. A transaction that is
rolled back therefore leaves no trace here.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.once import when_ended
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import NodeCapacity
from gpucloud_core.placement.ports import PlacementUnit
from gpucloud_core.placement.promises import Promise


class Errand:
    """The nodes that one launch is busy with until its transaction has ended.

    What it has claimed there is in no image yet; others of the same process keep off these nodes
    while there is another place, so that they neither wait for it nor lose a race against it.
    """

    def __init__(self, busy: Counter[NodeId]) -> None:
        self._busy = busy  # of everyone in the process
        self._nodes: Counter[NodeId] = Counter()

    def begin(self, node_id: NodeId) -> None:
        self._nodes[node_id] += 1
        self._busy[node_id] += 1

    def end(self, node_id: NodeId) -> None:
        self._nodes[node_id] -= 1
        self._busy -= Counter((node_id,))  # drops those that have come to nothing

    def end_all(self) -> None:
        self._busy -= self._nodes
        self._nodes.clear()

    def others(self) -> set[NodeId]:
        """Return the nodes that other launches are busy with."""
        return {node_id for node_id in self._busy if not self._nodes[node_id] > 0}


class Fresh(NamedTuple):
    """What a refresh found that is not in the image."""

    own: tuple[NodeCapacity, ...]
    promises: tuple[Promise, ...]


class FleetView:
    """The image and how far it has been read. One per process; safe among its tasks."""

    def __init__(self) -> None:
        self.image = FleetImage()
        self.busy: Counter[NodeId] = Counter()
        self._mark: str | None = None
        self._turn = asyncio.Lock()  # one reader at a time, so that no older row overtakes

    @contextmanager
    def errand(self) -> Iterator[Errand]:
        """Keep others of this process off the nodes of one launch; outlives its transaction."""
        errand = Errand(self.busy)
        try:
            yield errand
        finally:
            when_ended(errand.end_all)

    async def refresh(
        self, unit: PlacementUnit, *, own: Collection[NodeId] = (), promised_in: str = ""
    ) -> Fresh:
        """Read what changed: one statement, and one more for a class seen for the first time.

        ``own`` are the nodes that this very transaction has changed. Their rows are returned,
        for the caller to lay over the image, and are not kept. ``promised_in`` is the pool whose
        promises are wanted as well.
        """
        async with self._turn:
            changes = await unit.fleet.changes(self._mark, promised_in=promised_in)
            for row in changes.rows:
                if not self.image.knows(row.system):
                    await self._learn(unit, row)
            for row in changes.rows:
                if row.node_id not in own:
                    self.image.put(row)
            if not own:
                self._mark = changes.mark
        rows = tuple(row for row in changes.rows if row.node_id in own)
        return Fresh(rows, changes.promises)

    async def _learn(self, unit: PlacementUnit, row: NodeCapacity) -> None:
        node = await unit.nodes.get(row.node_id)
        if node is not None and node.topology.system == row.system:
            self.image.learn(node.topology)
