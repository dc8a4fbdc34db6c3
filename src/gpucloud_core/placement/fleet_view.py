"""One process's view of the fleet, brought up to date before each decision.

The image is shared by everything the process does at once, so it may only ever hold rows that are
committed. Inside a transaction that has claims of its own, the database shows those as well:
their nodes are kept out of the shared image and handed back to the caller alone, and the mark
stays where it was, so that nothing committed on those nodes is missed. A transaction that is
rolled back therefore leaves no trace here.
"""

import asyncio
from collections.abc import Collection

from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import NodeCapacity
from gpucloud_core.placement.ports import PlacementUnit


class FleetView:
    """The image and how far it has been read. One per process; safe among its tasks."""

    def __init__(self) -> None:
        self.image = FleetImage()
        self._mark: str | None = None
        self._turn = asyncio.Lock()  # one reader at a time, so that no older row overtakes

    async def refresh(
        self, unit: PlacementUnit, *, own: Collection[NodeId] = ()
    ) -> tuple[NodeCapacity, ...]:
        """Read what changed: one statement, and one more for a class seen for the first time.

        ``own`` are the nodes that this very transaction has changed. Their rows are returned,
        for the caller to lay over the image, and are not kept.
        """
        async with self._turn:
            changes = await unit.fleet.changes(self._mark)
            for row in changes.rows:
                if not self.image.knows(row.system):
                    await self._learn(unit, row)
            for row in changes.rows:
                if row.node_id not in own:
                    self.image.put(row)
            if not own:
                self._mark = changes.mark
        return tuple(row for row in changes.rows if row.node_id in own)

    async def _learn(self, unit: PlacementUnit, row: NodeCapacity) -> None:
        node = await unit.nodes.get(row.node_id)
        if node is not None and node.topology.system == row.system:
            self.image.learn(node.topology)
