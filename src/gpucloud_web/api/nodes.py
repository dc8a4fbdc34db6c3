"""Operators on nodes: add, look, approve, put out of service, and see who holds what."""

from typing import Annotated

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from gpucloud_core.access.model import Actor
from gpucloud_core.fleet.add import AddNode, NodeAsked
from gpucloud_core.fleet.look import ChangeMode, LookAtNode
from gpucloud_core.fleet.operate import OperateNode
from gpucloud_core.fleet.place import PlaceNode
from gpucloud_core.fleet.queries import ListNodes, ReadNode
from gpucloud_core.fleet.slots import WithholdSlots, new_endpoints, slots_named
from gpucloud_core.fleet.tasks import DISCOVER_NODE, PROBE_NODE
from gpucloud_core.kernel.ids import NodeId, SlotId, parse_id
from gpucloud_core.nodes.lifecycle import NodeEvent, SlotEvent
from gpucloud_core.nodes.model import NodeMode, NodeStatus
from gpucloud_core.placement.onboard import ApproveSlots
from gpucloud_core.placement.rediscover import AcceptFindings
from gpucloud_web.api.lists import Cursor, Limit, Listing, Sort, list_query, listing
from gpucloud_web.api.node_bodies import NodeBody, NodeLineBody, PlaceBody

Search = Annotated[str, QueryParameter(description="Text in the id, the name or the region.")]
Statuses = Annotated[list[NodeStatus] | None, QueryParameter(description="Only these.")]
Why = Annotated[str, QueryParameter(description="Why; it stands in the audit log.")]


class WhereBody(msgspec.Struct, forbid_unknown_fields=True):
    """Where a node hangs in a fabric between nodes; null where that is not known."""

    place: PlaceBody | None = None


class AddNodeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A node with its SSH credentials.

    ``host_key`` is pinned; ``private_key`` is sealed and never shown again. Slot i answers at
    ``slot_host`` (else ``host``), port ``slot_port`` + i.
    """

    name: str
    region: str
    host: str
    port: int = 22
    username: str
    host_key: str
    private_key: str
    mode: NodeMode = NodeMode.CONTAINER
    slot_host: str = ""
    slot_port: int = 22_000
    shared_kernel: bool = False
    place: PlaceBody | None = None
    probe: bool = True

    def asked(self) -> NodeAsked:
        place = self.place.place() if self.place else None
        return NodeAsked(**{**msgspec.structs.asdict(self), "place": place})


class NodeAddedBody(msgspec.Struct):
    """The node, and the task that probes it, if that was asked for."""

    id: str
    task_id: str | None


class LookBody(msgspec.Struct):
    """The task to follow."""

    task_id: str


class SlotsBody(msgspec.Struct, forbid_unknown_fields=True):
    """Slot indexes; left out, every slot that can be moved so."""

    slots: list[int] | None = None


class ModeBody(msgspec.Struct, forbid_unknown_fields=True):
    """How the GPUs are handed out from now on."""

    mode: NodeMode
    reason: str = ""


def node_id_of(text: str) -> NodeId:
    return NodeId(parse_id("nod", text))


class AdminNodes(Controller):
    path = "/admin/nodes"
    tags = ["admin"]

    @get(operation_id="listNodes")
    async def index(
        self,
        actor: NamedDependency[Actor],
        list_nodes: FromDishka[ListNodes],
        status: Statuses = None,
        q: Search = "",
        sort: Sort = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Listing[NodeLineBody]:
        """List nodes with who holds them, newest first."""
        query = list_query(limit=limit, cursor=cursor, sort=sort, search=q, status=status)
        return listing(await list_nodes(actor=actor, query=query), NodeLineBody.of)

    @post(operation_id="addNode", status_code=201)
    async def add(
        self,
        data: JSONBody[AddNodeBody],
        actor: NamedDependency[Actor],
        add_node: FromDishka[AddNode],
    ) -> NodeAddedBody:
        """Add a node and, unless told otherwise, probe it. Nothing is sold before approval."""
        added = await add_node(actor=actor, asked=data.asked())
        return NodeAddedBody(added.node_id, added.task_id)

    @get("/{node_id:str}", operation_id="getNode")
    async def show(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        read_node: FromDishka[ReadNode],
    ) -> NodeBody:
        """Read a node: slots with their conditions, holders, what still fits, the last review."""
        return NodeBody.of_view(await read_node(actor=actor, node_id=node_id_of(node_id)))

    @post("/{node_id:str}/probe", operation_id="probeNode", status_code=202)
    async def probe(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        look: FromDishka[LookAtNode],
    ) -> LookBody:
        """Sign in to the node and compare its GPUs with what is known."""
        task_id = await look(actor=actor, node_id=node_id_of(node_id), saga=PROBE_NODE)
        return LookBody(task_id)

    @post("/{node_id:str}/discover", operation_id="discoverNode", status_code=202)
    async def discover(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        look: FromDishka[LookAtNode],
    ) -> LookBody:
        """Read the node's inside and propose slots; on a node in service, tell what differs."""
        task_id = await look(actor=actor, node_id=node_id_of(node_id), saga=DISCOVER_NODE)
        return LookBody(task_id)

    @post("/{node_id:str}/slots/approve", operation_id="approveSlots", status_code=200)
    async def approve(
        self,
        node_id: FromPath[str],
        data: JSONBody[SlotsBody],
        actor: NamedDependency[Actor],
        approve_slots: FromDishka[ApproveSlots],
        read_node: FromDishka[ReadNode],
    ) -> NodeBody:
        """Put proposed slots on sale; refused, slot by slot, where a condition does not hold."""
        found = node_id_of(node_id)
        chosen: tuple[SlotId, ...] = ()
        if data.slots is not None:
            view = await read_node(actor=actor, node_id=found)
            chosen = tuple(slot.id for slot in slots_named(view.node, view.slots, data.slots))
        await approve_slots(actor=actor, node_id=found, slot_ids=chosen)
        return NodeBody.of_view(await read_node(actor=actor, node_id=found))

    @post("/{node_id:str}/accept", operation_id="acceptFindings", status_code=200)
    async def accept(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        accept_findings: FromDishka[AcceptFindings],
        read_node: FromDishka[ReadNode],
    ) -> NodeBody:
        """Take what the last discovery found as the node's inside; every slot waits again."""
        found = node_id_of(node_id)
        view = await read_node(actor=actor, node_id=found)
        await accept_findings(actor=actor, node_id=found, endpoints=new_endpoints(view.node))
        return NodeBody.of_view(await read_node(actor=actor, node_id=found))

    @post("/{node_id:str}/slots/disable", operation_id="disableSlots", status_code=200)
    async def disable(
        self,
        node_id: FromPath[str],
        data: JSONBody[SlotsBody],
        actor: NamedDependency[Actor],
        change: FromDishka[WithholdSlots],
        read_node: FromDishka[ReadNode],
    ) -> NodeBody:
        """Take free slots off sale."""
        await change(
            actor=actor,
            node_id=node_id_of(node_id),
            event=SlotEvent.DISABLE,
            indexes=data.slots,
        )
        return NodeBody.of_view(await read_node(actor=actor, node_id=node_id_of(node_id)))

    @post("/{node_id:str}/slots/enable", operation_id="enableSlots", status_code=200)
    async def enable(
        self,
        node_id: FromPath[str],
        data: JSONBody[SlotsBody],
        actor: NamedDependency[Actor],
        change: FromDishka[WithholdSlots],
        read_node: FromDishka[ReadNode],
    ) -> NodeBody:
        """Put slots that were taken off sale back on sale."""
        await change(
            actor=actor,
            node_id=node_id_of(node_id),
            event=SlotEvent.ENABLE,
            indexes=data.slots,
        )
        return NodeBody.of_view(await read_node(actor=actor, node_id=node_id_of(node_id)))

    @post("/{node_id:str}/mode", operation_id="changeNodeMode", status_code=202)
    async def mode(
        self,
        node_id: FromPath[str],
        data: JSONBody[ModeBody],
        actor: NamedDependency[Actor],
        change_mode: FromDishka[ChangeMode],
    ) -> LookBody:
        """Hand the GPUs out in another way; the node must be empty and is discovered anew."""
        task_id = await change_mode(
            actor=actor,
            node_id=node_id_of(node_id),
            mode=data.mode,
            reason=data.reason,
        )
        return LookBody(task_id)

    @post("/{node_id:str}/place", operation_id="placeNode", status_code=200)
    async def place(
        self,
        node_id: FromPath[str],
        data: JSONBody[WhereBody],
        actor: NamedDependency[Actor],
        place_node: FromDishka[PlaceNode],
        read_node: FromDishka[ReadNode],
    ) -> NodeBody:
        """Say where the node hangs in a fabric, so that launches together are put near it."""
        found = node_id_of(node_id)
        place = data.place.place() if data.place else None
        await place_node(actor=actor, node_id=found, place=place)
        return NodeBody.of_view(await read_node(actor=actor, node_id=found))

    @delete("/{node_id:str}", operation_id="deleteNode")
    async def delete(
        self,
        node_id: FromPath[str],
        actor: NamedDependency[Actor],
        operate: FromDishka[OperateNode],
        reason: Why = "",
    ) -> None:
        """Forget an empty node; refused while anybody holds it, with who and the way out."""
        await operate(
            actor=actor,
            node_id=node_id_of(node_id),
            event=NodeEvent.DELETE,
            reason=reason,
        )
