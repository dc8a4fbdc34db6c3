"""The verbs that move a node from one status to another."""

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, post
from litestar.di import NamedDependency
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


class NodeVerbs(Controller):
    """The verbs that move a node from one status to another; all have the same shape."""

    path = "/admin/nodes/{node_id:str}"
    tags = ["admin"]

    @post("/drain", operation_id="drainNode", status_code=200)
    async def drain(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        operate: FromDishka[OperateNode],
        data: JSONBody[WhyBody | None] = None,
    ) -> MovedBody:
        """Sell nothing more of it; those who hold it may stay."""
        why = data.reason if data else ""
        node = await operate(
            actor=actor,
            node_id=node_id_of(node_id),
            event=NodeEvent.DRAIN,
            reason=why,
        )
        return MovedBody.of(node)

    @post("/undrain", operation_id="undrainNode", status_code=200)
    async def undrain(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        operate: FromDishka[OperateNode],
        data: JSONBody[WhyBody | None] = None,
    ) -> MovedBody:
        """Put a draining node back into service."""
        why = data.reason if data else ""
        node = await operate(
            actor=actor,
            node_id=node_id_of(node_id),
            event=NodeEvent.UNDRAIN,
            reason=why,
        )
        return MovedBody.of(node)

    @post("/offline", operation_id="takeNodeOffline", status_code=200)
    async def offline(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        operate: FromDishka[OperateNode],
        data: JSONBody[WhyBody | None] = None,
    ) -> MovedBody:
        """Take it out for planned work."""
        why = data.reason if data else ""
        node = await operate(
            actor=actor,
            node_id=node_id_of(node_id),
            event=NodeEvent.TAKE_OFFLINE,
            reason=why,
        )
        return MovedBody.of(node)

    @post("/online", operation_id="bringNodeBack", status_code=200)
    async def online(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        operate: FromDishka[OperateNode],
        data: JSONBody[WhyBody | None] = None,
    ) -> MovedBody:
        """Bring it back from planned work."""
        why = data.reason if data else ""
        node = await operate(
            actor=actor,
            node_id=node_id_of(node_id),
            event=NodeEvent.BRING_BACK,
            reason=why,
        )
        return MovedBody.of(node)

    @post("/quarantine", operation_id="quarantineNode", status_code=200)
    async def quarantine(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        operate: FromDishka[OperateNode],
        data: JSONBody[WhyBody | None] = None,
    ) -> MovedBody:
        """Do not trust it; needs a reason."""
        why = data.reason if data else ""
        node = await operate(
            actor=actor,
            node_id=node_id_of(node_id),
            event=NodeEvent.QUARANTINE,
            reason=why,
        )
        return MovedBody.of(node)

    @post("/clear", operation_id="clearNode", status_code=200)
    async def clear(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        operate: FromDishka[OperateNode],
        data: JSONBody[WhyBody | None] = None,
    ) -> MovedBody:
        """Trust it again."""
        why = data.reason if data else ""
        node = await operate(
            actor=actor,
            node_id=node_id_of(node_id),
            event=NodeEvent.CLEAR,
            reason=why,
        )
        return MovedBody.of(node)

    @post("/retire", operation_id="retireNode", status_code=200)
    async def retire(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        operate: FromDishka[OperateNode],
        data: JSONBody[WhyBody | None] = None,
    ) -> MovedBody:
        """Take an empty node out of service for good; needs a reason."""
        why = data.reason if data else ""
        node = await operate(
            actor=actor,
            node_id=node_id_of(node_id),
            event=NodeEvent.RETIRE,
            reason=why,
        )
        return MovedBody.of(node)

    @post("/enroll", operation_id="enrollNodeAgain", status_code=200)
    async def enroll(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        operate: FromDishka[OperateNode],
        data: JSONBody[WhyBody | None] = None,
    ) -> MovedBody:
        """Begin anew with a retired node."""
        why = data.reason if data else ""
        node = await operate(
            actor=actor,
            node_id=node_id_of(node_id),
            event=NodeEvent.ENROLL_AGAIN,
            reason=why,
        )
        return MovedBody.of(node)
