"""Say where a node hangs in the fabric between nodes, so that gangs are put near each other."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.fleet.rows import keep_node, lock_node
from gpucloud_core.kernel.errors import FieldError, ValidationFailed
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.interconnect import path_of
from gpucloud_core.nodes.model import FabricPlace, Node

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


def place_errors(place: FabricPlace | None) -> Iterator[FieldError]:
    """Yield what is wrong with a place's names."""
    if place is None:
        return
    for name in ("fabric", "pod", "group"):
        if not _NAME.fullmatch(getattr(place, name)):
            detail = "Use 1 to 63 lower-case letters, digits, dots and hyphens, such as leaf-7."
            yield FieldError(f"/place/{name}", "invalid_name", detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceNode:
    """Set a node's place. Whoever holds a part of it stays; what is launched next goes by it."""

    transactions: Transactions[FleetUnit]

    async def __call__(self, *, actor: Actor, node_id: NodeId, place: FabricPlace | None) -> Node:
        """Set it; None says that it is not known.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such node.
            ValidationFailed: a name makes no sense.
        """
        require(actor, Action.NODE_MANAGE)
        if faults := list(place_errors(place)):
            raise ValidationFailed("The place needs another look.", fields=faults)
        async with self.transactions.begin(Scope.platform()) as unit:
            locked = await lock_node(unit, node_id)
            before = locked.node.place
            if before == place:
                return locked.node
            node = await keep_node(unit, locked, replace(locked.node, place=place), locked.slots)
            await unit.audit(
                fact_by(
                    actor,
                    action="node.place",
                    target=node_id,
                    changes={"place": [path_of(before), path_of(place)]},
                )
            )
        return node
