"""Admin, Nodes: the list, adding one, one node with its picture, and every act on it."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.access.authorize import Action
from gpucloud_core.fleet.add import AddNode
from gpucloud_core.fleet.held import in_use
from gpucloud_core.fleet.look import ChangeMode, LookAtNode
from gpucloud_core.fleet.operate import OperateNode
from gpucloud_core.fleet.place import PlaceNode
from gpucloud_core.fleet.queries import CountNodes, ListNodes, NodeView, ReadNode
from gpucloud_core.fleet.slots import WithholdSlots, new_endpoints, slots_named
from gpucloud_core.fleet.tasks import DISCOVER_NODE, PROBE_NODE
from gpucloud_core.kernel.errors import DomainError, FieldError, ValidationFailed
from gpucloud_core.kernel.ids import NodeId, parse_id
from gpucloud_core.nodes.lifecycle import NodeEvent, SlotEvent
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.placement.onboard import ApproveSlots
from gpucloud_core.placement.rediscover import AcceptFindings
from gpucloud_web.components import FieldFault
from gpucloud_web.pages.forms import form_faults, refused, said, status_of, submitted
from gpucloud_web.pages.insiders import INSIDERS, provide_insider
from gpucloud_web.pages.node_detail import TABS, NodePage
from gpucloud_web.pages.node_forms import AddNodePage, AskPage, asked_of, place_of
from gpucloud_web.pages.node_list import NODES, NodesPage, query_of
from gpucloud_web.pages.node_words import BY_PATH, VERBS
from gpucloud_web.pages.rendered import see_other
from gpucloud_web.pages.visit import Visit, form_of, fresh_key, one

SAGAS = {"probe": PROBE_NODE, "discover": DISCOVER_NODE}
WITHHOLD = {"disable": SlotEvent.DISABLE, "enable": SlotEvent.ENABLE}


def _id(text: str) -> NodeId:
    return NodeId(parse_id("nod", text))


def _drawn(
    visit: Visit,
    view: NodeView,
    *,
    tab: str,
    errors: Sequence[FieldFault] = (),
    status: int = HTTPStatus.OK,
) -> Response[str]:
    page = NodePage.of(
        view,
        zone=visit.zone,
        tab=tab,
        may_manage=visit.may(Action.NODE_MANAGE),
        key=fresh_key(),
        errors=errors,
    )
    return visit.page("nodes/detail.html", page, status=status)


class NodePages(Controller):
    path = "/admin/nodes"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_insider)}
    exception_handlers = INSIDERS

    @get()
    async def index(
        self,
        visit: NamedDependency[Visit],
        list_nodes: FromDishka[ListNodes],
        count_nodes: FromDishka[CountNodes],
    ) -> Response[str]:
        """List the fleet."""
        asked = visit.list_state(self.path, NODES)
        state, page = await asked.read(
            lambda now: list_nodes(actor=visit.actor, query=query_of(now))
        )
        state = await state.counted(query_of, partial(count_nodes.each, actor=visit.actor))
        view = NodesPage.of(
            state=state,
            page=page,
            counts=await count_nodes(actor=visit.actor),
            zone=visit.zone,
            may_add=visit.may(Action.NODE_MANAGE),
        )
        return visit.page("nodes/index.html", view)

    @get("/new")
    async def ask_add(self, visit: NamedDependency[Visit]) -> Response[str]:
        """Ask for a node and its SSH credentials."""
        return visit.page("nodes/new.html", AddNodePage.of(key=fresh_key()))

    @post("/new", status_code=303)
    async def add(
        self, visit: NamedDependency[Visit], add_node: FromDishka[AddNode]
    ) -> Response[str] | Redirect:
        """Add the node, and follow its probe."""
        form = await form_of(visit.request)

        async def add() -> str:
            added = await add_node(actor=visit.actor, asked=asked_of(form))
            task = added.task_id
            return f"/tasks/{task}" if task else f"{self.path}/{added.node_id}"

        async def again(error: DomainError) -> Response[str]:
            page = AddNodePage.of(key=fresh_key(), form=form, errors=form_faults(error))
            return refused(visit, "nodes/new.html", page, error)

        return await submitted(visit, form, add, to=str, again=again)

    @get("/{node_id:str}")
    async def show(
        self,
        node_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_node: FromDishka[ReadNode],
    ) -> Response[str]:
        """Show one node, from the tab the address names."""
        view = await read_node(actor=visit.actor, node_id=_id(node_id))
        asked = visit.request.query_params.get("tab", "")
        return _drawn(visit, view, tab=asked if asked in TABS else "topology")

    @post([f"/{{node_id:str}}/{verb}" for verb in SAGAS], status_code=303)
    async def look(
        self,
        node_id: FromPath[str],
        visit: NamedDependency[Visit],
        look_at: FromDishka[LookAtNode],
    ) -> Redirect:
        """Probe or discover it, and follow the task."""
        form = await form_of(visit.request)
        saga = SAGAS[visit.last_part]

        async def look() -> str:
            return await look_at(actor=visit.actor, node_id=_id(node_id), saga=saga)

        task_id = await visit.once(one(form, "idempotency_key"), look)
        return see_other(f"/tasks/{task_id}")

    @post("/{node_id:str}/mode", status_code=303)
    async def mode(
        self,
        node_id: FromPath[str],
        visit: NamedDependency[Visit],
        change_mode: FromDishka[ChangeMode],
        read_node: FromDishka[ReadNode],
    ) -> Response[str] | Redirect:
        """Change how its GPUs are handed out, and follow the task."""
        form = await form_of(visit.request)

        async def change() -> str:
            return await change_mode(
                actor=visit.actor,
                node_id=_id(node_id),
                mode=_mode(one(form, "mode")),
                reason=one(form, "reason"),
            )

        async def again(error: DomainError) -> Response[str]:
            view = await read_node(actor=visit.actor, node_id=_id(node_id))
            return _refused(visit, view, "settings", error)

        return await submitted(
            visit, form, change, to=lambda task_id: f"/tasks/{task_id}", again=again
        )

    @post("/{node_id:str}/place", status_code=303)
    async def place(
        self,
        node_id: FromPath[str],
        visit: NamedDependency[Visit],
        place_node: FromDishka[PlaceNode],
        read_node: FromDishka[ReadNode],
    ) -> Response[str] | Redirect:
        """Say where it hangs in the fabric between nodes."""
        form = await form_of(visit.request)

        async def place() -> str:
            await place_node(actor=visit.actor, node_id=_id(node_id), place=place_of(form))
            return f"{self.path}/{_id(node_id)}?tab=settings"

        async def again(error: DomainError) -> Response[str]:
            view = await read_node(actor=visit.actor, node_id=_id(node_id))
            return _refused(visit, view, "settings", error)

        return await submitted(visit, form, place, to=str, again=again)


def _refused(visit: Visit, view: NodeView, tab: str, error: DomainError) -> Response[str]:
    return _drawn(visit, view, tab=tab, errors=form_faults(error), status=status_of(error))


def _mode(text: str) -> NodeMode:
    if text not in set(NodeMode):
        detail = "Choose one of the modes."
        raise ValidationFailed(detail, fields=[FieldError("/mode", "unknown", detail)])
    return NodeMode(text)


class NodeActPages(Controller):
    """What is done to a node: each act asks first; slots are approved where they are shown."""

    path = "/admin/nodes/{node_id:str}"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_insider)}
    exception_handlers = INSIDERS

    @get([f"/{path}" for path in BY_PATH])
    async def ask(
        self,
        node_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_node: FromDishka[ReadNode],
    ) -> Response[str]:
        """Say what an act will mean, before it is done."""
        view = await read_node(actor=visit.actor, node_id=_id(node_id))
        event = BY_PATH[visit.last_part]
        ends = event in {NodeEvent.RETIRE, NodeEvent.DELETE}
        error = in_use(view.node.name, view.held).detail if ends and view.held else ""
        page = AskPage.of(view, VERBS[event], key=fresh_key(), error=error)
        return visit.page("nodes/confirm.html", page)

    @post([f"/{path}" for path in BY_PATH], status_code=303)
    async def do(
        self,
        node_id: FromPath[str],
        visit: NamedDependency[Visit],
        operate: FromDishka[OperateNode],
        read_node: FromDishka[ReadNode],
    ) -> Response[str] | Redirect:
        """Do it; a refusal is shown where it was asked."""
        event = BY_PATH[visit.last_part]
        verb = VERBS[event]
        form = await form_of(visit.request)
        view = await read_node(actor=visit.actor, node_id=_id(node_id))

        async def act() -> str:
            if verb.grade == 3 and one(form, "confirm").strip() != view.node.name:  # noqa: PLR2004
                raise ValidationFailed(f"Type {view.node.name} to confirm; nothing was changed.")
            node, why = view.node.id, one(form, "reason")
            await operate(actor=visit.actor, node_id=node, event=event, reason=why)
            return node

        async def again(error: DomainError) -> Response[str]:
            words = said(error) if error.code == "validation_failed" else error.detail
            page = AskPage.of(view, verb, key=fresh_key(), error=words)
            return refused(visit, "nodes/confirm.html", page, error)

        return await submitted(
            visit, form, act, to=lambda node: f"/admin/nodes/{node}", again=again
        )

    @post("/slots", status_code=303)
    async def slots(
        self,
        node_id: FromPath[str],
        visit: NamedDependency[Visit],
        approve: FromDishka[ApproveSlots],
        withhold: FromDishka[WithholdSlots],
        read_node: FromDishka[ReadNode],
    ) -> Response[str] | Redirect:
        """Approve the slots that were ticked, or take them off sale, or put them back."""
        form = await form_of(visit.request)
        view = await read_node(actor=visit.actor, node_id=_id(node_id))
        indexes = [int(text) for text in form.get("slot", []) if text.isascii() and text.isdigit()]
        verb = one(form, "verb")
        try:
            chosen = slots_named(view.node, view.slots, indexes)
            if not chosen:
                raise ValidationFailed("Tick the slots that are meant.")
            if verb in WITHHOLD:
                await withhold(
                    actor=visit.actor,
                    node_id=view.node.id,
                    event=WITHHOLD[verb],
                    indexes=indexes,
                )
            else:
                ids = [slot.id for slot in chosen]
                await approve(actor=visit.actor, node_id=view.node.id, slot_ids=ids)
        except DomainError as error:
            return _refused(visit, view, "slots", error)
        return see_other(f"/admin/nodes/{node_id}?tab=slots")

    @post("/accept", status_code=303)
    async def accept(
        self,
        node_id: FromPath[str],
        visit: NamedDependency[Visit],
        accept_findings: FromDishka[AcceptFindings],
        read_node: FromDishka[ReadNode],
    ) -> Response[str] | Redirect:
        """Take what was found as the node's inside; every slot is then approved anew."""
        view = await read_node(actor=visit.actor, node_id=_id(node_id))
        try:
            await accept_findings(
                actor=visit.actor, node_id=view.node.id, endpoints=new_endpoints(view.node)
            )
        except DomainError as error:
            return _refused(visit, view, "discovery", error)
        return see_other(f"/admin/nodes/{node_id}?tab=slots")
