"""An operator of a cloud in memory, and a customer who is in the way."""

from dataclasses import replace
from typing import Self

from customer import Customer
from gpucloud_adapters.memory.cloud import REGION, MemoryCloud
from gpucloud_adapters.memory.secret_box import MemorySecretBox
from gpucloud_core.access.model import Actor, PlatformRole
from gpucloud_core.fleet.add import AddNode, NodeAdded, NodeAsked
from gpucloud_core.fleet.look import ChangeMode, LookAtNode
from gpucloud_core.fleet.operate import OperateNode
from gpucloud_core.fleet.queries import NodeView, ReadNode
from gpucloud_core.fleet.slots import WithholdSlots
from gpucloud_core.fleet.tasks import DISCOVER_NODE, PROBE_NODE
from gpucloud_core.kernel.ids import NodeId, TaskId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.lifecycle import NodeEvent, SlotEvent
from gpucloud_core.nodes.model import Node, NodeMode, Slot, Topology
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.placement.onboard import ApproveSlots
from gpucloud_core.placement.rediscover import AcceptFindings

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
PRIVATE_KEY = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\nbm90IGEga2V5\n-----END OPENSSH PRIVATE KEY-----\n"
)
NEW_HOST = "10.9.0.4"


def asked(**changes: object) -> NodeAsked:
    plain = NodeAsked(
        name="hgx-h200-09",
        region=REGION,
        host=NEW_HOST,
        username="gpucloud",
        host_key=HOST_KEY,
        private_key=PRIVATE_KEY,
        shared_kernel=True,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # a test's shorthand


class Operator:
    """Olga, who runs the cloud that Ada is a customer of."""

    def __init__(self, ada: Customer, actor: Actor) -> None:
        self.ada, self.actor = ada, actor
        self.transactions = ada.cloud.transactions

    @property
    def cloud(self) -> MemoryCloud:
        return self.ada.cloud

    @classmethod
    async def arrive(cls, *, nodes: int = 1, dollars: int = 100) -> Self:
        ada = await Customer.arrive(nodes=nodes, dollars=dollars)
        olga = await ada.cloud.sign_up("olga")
        async with ada.cloud.transactions.begin(Scope.platform()) as unit:
            user = await unit.users.lock(olga.user_id or "")
            assert user is not None
            await unit.users.put(replace(user, platform_role=PlatformRole.ADMIN))
        return cls(ada, replace(olga, platform_role=PlatformRole.ADMIN))

    async def add(self, topology: Topology | None = None, **changes: object) -> NodeAdded:
        self.cloud.driver.plug(NEW_HOST, topology or hgx_h200(seed="new"))
        use_case = AddNode(
            transactions=self.transactions, ids=self.cloud.ids, box=MemorySecretBox()
        )
        return await use_case(actor=self.actor, asked=asked(**changes))

    async def discover(self, node_id: NodeId) -> TaskId:
        return await self._look(node_id, DISCOVER_NODE)

    async def probe(self, node_id: NodeId) -> TaskId:
        return await self._look(node_id, PROBE_NODE)

    async def _look(self, node_id: NodeId, saga: object) -> TaskId:
        look = LookAtNode(transactions=self.transactions, ids=self.cloud.ids)
        task_id = await look(actor=self.actor, node_id=node_id, saga=saga)  # type: ignore[arg-type]  # one of two
        await self.cloud.work()
        return task_id

    async def move_slots(
        self, node_id: NodeId, event: SlotEvent, indexes: list[int] | None = None
    ) -> tuple[Slot, ...]:
        change = WithholdSlots(transactions=self.transactions)
        return await change(actor=self.actor, node_id=node_id, event=event, indexes=indexes)

    async def approve(self, node_id: NodeId, indexes: list[int] | None = None) -> None:
        view = await self.read(node_id)
        chosen = [slot.id for slot in view.slots if indexes is not None and slot.index in indexes]
        approve = ApproveSlots(transactions=self.transactions)
        await approve(actor=self.actor, node_id=node_id, slot_ids=chosen)

    async def accept(self, node_id: NodeId) -> None:
        accept = AcceptFindings(transactions=self.transactions, ids=self.cloud.ids)
        await accept(actor=self.actor, node_id=node_id)

    async def move(self, node_id: NodeId, event: NodeEvent, reason: str = "a test") -> Node:
        operate = OperateNode(transactions=self.transactions)
        return await operate(actor=self.actor, node_id=node_id, event=event, reason=reason)

    async def change_mode(self, node_id: NodeId, mode: NodeMode) -> None:
        change = ChangeMode(transactions=self.transactions, ids=self.cloud.ids)
        await change(actor=self.actor, node_id=node_id, mode=mode)
        await self.cloud.work()

    async def read(self, node_id: NodeId) -> NodeView:
        return await ReadNode(transactions=self.transactions)(actor=self.actor, node_id=node_id)

    async def only_node(self) -> NodeId:
        async with self.transactions.begin(Scope.platform()) as unit:
            return (await unit.nodes.find())[0].id
