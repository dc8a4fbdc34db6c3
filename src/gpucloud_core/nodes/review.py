"""What an operator looks at before anything of a node is sold: slots, conditions, differences."""

from collections.abc import Iterable
from dataclasses import dataclass

from gpucloud_core.nodes.differences import Difference, differences
from gpucloud_core.nodes.model import Node, Slot
from gpucloud_core.nodes.slots import Condition, conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotReview:
    """One slot, and every readiness condition with its reason."""

    slot: Slot
    conditions: tuple[Condition, ...]

    @property
    def is_ready(self) -> bool:
        return all(condition.holds for condition in self.conditions)

    @property
    def wanting(self) -> tuple[Condition, ...]:
        """The conditions that do not hold."""
        return tuple(condition for condition in self.conditions if not condition.holds)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReview:
    """One node: its slots in PCI order, and what its last discovery found otherwise."""

    node: Node
    slots: tuple[SlotReview, ...]
    differences: tuple[Difference, ...]


def review(node: Node, slots: Iterable[Slot]) -> NodeReview:
    """Lay everything side by side. Pure: what is shown is what approval asks."""
    found = node.findings.found if node.findings else None
    return NodeReview(
        node=node,
        slots=tuple(
            SlotReview(slot=slot, conditions=conditions(node, slot))
            for slot in sorted(slots, key=lambda slot: slot.index)
        ),
        differences=() if found is None else differences(node.topology, found),
    )
