"""Claims and the fleet's capacity, as placement reads and changes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.kernel.unit import Unit
from gpucloud_core.nodes.ports import NodesUnit
from gpucloud_core.placement.model import Claim, NodeCapacity
from gpucloud_core.placement.promises import Promise


@dataclass(frozen=True, slots=True)
class FleetChanges:
    """Capacity rows that changed since a mark, and the next mark. A mark is opaque.

    ``promises`` are those of the pool that was asked about, as they stood at the same moment.
    """

    mark: str
    rows: tuple[NodeCapacity, ...]
    promises: tuple[Promise, ...] = ()


class Fleet(Protocol):
    """Capacity rows of all nodes. Readable from any scope: they name no tenant."""

    async def changes(self, since: str | None, *, promised_in: str = "") -> FleetChanges:
        """Return rows changed since ``since`` (all, if None); none is ever missed.

        With them the promises in one pool, if one is named.
        """
        ...

    async def take(self, claim: Claim, *, may_wait: bool = True) -> bool:
        """Bind the claim's slots if all are still free and the node sells; else change nothing.

        Unless it ``may_wait``, a node that another unit is busy with counts as a lost race.

        A node that is not ``shared`` must be wholly free (``free_mask == approved_mask``). Every
        slot must come with the claim's ``beside``.
        Clears the bits, takes CPU and memory, marks the slots claimed, stores the claim. False is
        a lost race. Slots are never waited for. The database refuses a double booking in any case.
        """
        ...

    async def set_slots(self, claim: Claim, state: str, reason: str = "") -> None:
        """Move the claim's slots to ``state`` (a ``SlotState``); their capacity stays taken."""
        ...

    async def give_back(self, claim: Claim) -> None:
        """Close the claim (``claim.released_at`` is set) and make its slots available again."""
        ...

    async def put(self, capacity: NodeCapacity) -> None:
        """Store what an operator or a probe changed: sellable, approved, shares."""
        ...

    async def get(self, node_id: str) -> NodeCapacity | None: ...

    async def get_any(self, node_ids: Sequence[NodeId]) -> Mapping[NodeId, NodeCapacity]:
        """Return the capacity of those of these nodes that have one, in one statement."""
        ...

    async def lock(self, node_id: str) -> NodeCapacity | None:
        """Return a node's row and hold its gate: nobody takes or gives back until the unit ends."""
        ...

    async def lowest(
        self, *, pool: str, masks: Sequence[int], beside: Beside = Beside.NOTHING, limit: int
    ) -> Sequence[NodeCapacity]:
        """Return nodes of ``pool`` with one of ``masks`` free, locked, skipping locked rows.

        Each of its slots comes with ``beside``.
        """
        ...


class PlacementUnit(NodesUnit, Unit, Protocol):
    @property
    def fleet(self) -> Fleet: ...
    @property
    def claims(self) -> Rows[Claim]: ...
    @property
    def promises(self) -> Rows[Promise]: ...
