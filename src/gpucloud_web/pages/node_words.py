"""Words for nodes: modes, what was observed, and an operator's verbs with their consequences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gpucloud_core.nodes.lifecycle import NodeEvent
from gpucloud_core.nodes.model import Node, NodeMode
from gpucloud_web.components import Consequence

MODES: Final[Mapping[NodeMode, str]] = {
    NodeMode.BARE_METAL: "Bare metal",
    NodeMode.CONTAINER: "Containers",
    NodeMode.VM: "Virtual machines",
    NodeMode.MIG: "MIG instances",
}

LOOKS: Final[Mapping[str, str]] = {
    "probe_node": "Probe",
    "discover_node": "Discovery",
    "change_mode": "Change of mode",
}
"""Kinds of tasks on nodes."""


def observed(node: Node) -> str | None:
    """Return what was seen of the node last, as a state; None if it was never probed."""
    if node.reachable is None:
        return None
    return "reachable" if node.reachable else "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One act on a node: its address, its words, and how it asks.

    Attributes:
        grade: 2 asks; 3 has the name typed and a reason given.
        points: what it means, an icon and a sentence each.
    """

    path: str
    title: str
    verb: str
    icon: str
    operation: str
    grade: int = 2
    danger: bool = False
    points: tuple[Consequence, ...] = ()


def _points(*pairs: tuple[str, str]) -> tuple[Consequence, ...]:
    return tuple(Consequence(icon=icon, text=text) for icon, text in pairs)


VERBS: Final[Mapping[NodeEvent, Verb]] = {
    NodeEvent.DRAIN: Verb(
        path="drain",
        title="Drain",
        verb="Drain",
        icon="hourglass",
        operation="drainNode",
        points=_points(
            ("ban", "Nothing new is sold from it from now on."),
            ("users", "Whoever holds a part of it stays, and is billed as before."),
            ("arrow-back-up", "Undrain puts it back on sale at any time."),
        ),
    ),
    NodeEvent.UNDRAIN: Verb(
        path="undrain",
        title="Undrain",
        verb="Undrain",
        icon="circle-check",
        operation="undrainNode",
        points=_points(("circle-check", "Its free slots are sold again at once.")),
    ),
    NodeEvent.TAKE_OFFLINE: Verb(
        path="offline",
        title="Take offline",
        verb="Take offline",
        icon="cloud-off",
        operation="takeNodeOffline",
        points=_points(
            ("ban", "Nothing new is sold from it."),
            ("users", "Holders stay as they are: this says that work on it is planned."),
        ),
    ),
    NodeEvent.BRING_BACK: Verb(
        path="online",
        title="Bring back",
        verb="Bring back",
        icon="circle-check",
        operation="bringNodeBack",
        points=_points(("circle-check", "Its free slots are sold again at once.")),
    ),
    NodeEvent.QUARANTINE: Verb(
        path="quarantine",
        title="Quarantine",
        verb="Quarantine",
        icon="shield-lock",
        operation="quarantineNode",
        grade=3,
        danger=True,
        points=_points(
            ("shield-lock", "It is not trusted: nothing new is sold until it is cleared."),
            ("users", "Holders stay; release them yourself if their work is in danger."),
        ),
    ),
    NodeEvent.CLEAR: Verb(
        path="clear",
        title="Clear the quarantine of",
        verb="Clear",
        icon="shield-check",
        operation="clearNode",
        points=_points(("circle-check", "It is trusted again and its free slots are sold.")),
    ),
    NodeEvent.RETIRE: Verb(
        path="retire",
        title="Retire",
        verb="Retire node",
        icon="archive",
        operation="retireNode",
        grade=3,
        danger=True,
        points=_points(
            ("archive", "It leaves service; its slots give up their SSH endpoints."),
            ("key", "Its sealed key stays, so that it can be enrolled again."),
        ),
    ),
    NodeEvent.ENROLL_AGAIN: Verb(
        path="enroll",
        title="Enroll again",
        verb="Enroll again",
        icon="refresh",
        operation="enrollNodeAgain",
        points=_points(("circle-dashed", "Every slot waits to be approved anew.")),
    ),
    NodeEvent.DELETE: Verb(
        path="delete",
        title="Delete",
        verb="Delete node",
        icon="trash",
        operation="deleteNode",
        grade=3,
        danger=True,
        points=_points(
            ("trash", "It is forgotten but for its history. No undo."),
            ("key", "Its sealed key is destroyed."),
            ("file-text", "Kept: its audit rows, and every allocation that it held."),
        ),
    ),
}
"""Every verb that an operator has for a node."""

BY_PATH: Final = {verb.path: event for event, verb in VERBS.items()}
