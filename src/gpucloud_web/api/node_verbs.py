"""The verbs that move a node from one status to another: one handler for each row of a table."""

from dataclasses import dataclass
from typing import Final

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from gpucloud_core.access.model import Actor
from gpucloud_core.fleet.operate import OperateNode
from gpucloud_core.nodes.lifecycle import NodeEvent
from gpucloud_core.nodes.model import Node
from gpucloud_web.api.nodes import node_id_of


class WhyBody(msgspec.Struct, forbid_unknown_fields=True):
    """Why; it stands in the audit log."""

    reason: str = ""


class MovedBody(msgspec.Struct):
    """The node as it is now."""

    id: str
    name: str
    status: str
    status_reason: str

    @classmethod
    def of(cls, node: Node) -> "MovedBody":
        return cls(node.id, node.name, node.status, node.status_reason)


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb's place in the address, its operation, the event it is, and what it means."""

    path: str
    operation_id: str
    event: NodeEvent
    says: str


VERBS: Final = (
    Verb(
        "drain",
        "drainNode",
        NodeEvent.DRAIN,
        "Sell nothing more of it; those who hold it may stay.",
    ),
    Verb(
        "undrain",
        "undrainNode",
        NodeEvent.UNDRAIN,
        "Put a draining node back into service.",
    ),
    Verb(
        "offline",
        "takeNodeOffline",
        NodeEvent.TAKE_OFFLINE,
        "Take it out for planned work.",
    ),
    Verb(
        "online",
        "bringNodeBack",
        NodeEvent.BRING_BACK,
        "Bring it back from planned work.",
    ),
    Verb(
        "quarantine",
        "quarantineNode",
        NodeEvent.QUARANTINE,
        "Do not trust it; needs a reason.",
    ),
    Verb("clear", "clearNode", NodeEvent.CLEAR, "Trust it again."),
    Verb(
        "retire",
        "retireNode",
        NodeEvent.RETIRE,
        "Take an empty node out of service for good; needs a reason.",
    ),
    Verb(
        "enroll",
        "enrollNodeAgain",
        NodeEvent.ENROLL_AGAIN,
        "Begin anew with a retired node.",
    ),
)


def _handler(verb: Verb) -> HTTPRouteHandler:
    @post(
        f"/admin/nodes/{{node_id:str}}/{verb.path}",
        operation_id=verb.operation_id,
        description=verb.says,
        status_code=200,
        tags=["admin"],
    )
    async def move(
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        operate: FromDishka[OperateNode],
        data: JSONBody[WhyBody | None] = None,
    ) -> MovedBody:
        node = await operate(
            actor=actor,
            node_id=node_id_of(node_id),
            event=verb.event,
            reason=data.reason if data else "",
        )
        return MovedBody.of(node)

    return move


NODE_VERBS: Final = tuple(_handler(verb) for verb in VERBS)
