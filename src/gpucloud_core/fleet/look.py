"""What the steps of a probe and of a discovery do: ask the node, then write what it said."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor, PlatformRole
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.fleet.actions import LeavesNothing
from gpucloud_core.fleet.held import holdings_on, in_use
from gpucloud_core.fleet.operate import move_node, said
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.fleet.rows import keep_node, lock_node
from gpucloud_core.fleet.slots import new_endpoints
from gpucloud_core.fleet.tasks import CHANGE_MODE, DISCOVER_NODE, PROBE_NODE, queue_on_node
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import Ids, NodeId, TaskId
from gpucloud_core.kernel.unit import AuditFact, Event, Json, Scope, Transactions
from gpucloud_core.nodes.lifecycle import NodeEvent
from gpucloud_core.nodes.model import Node, NodeMode, NodeStatus
from gpucloud_core.nodes.ports import NodeDriver
from gpucloud_core.nodes.review import NodeReview, review
from gpucloud_core.placement.change_mode import ChangeNodeMode
from gpucloud_core.placement.rediscover import AcceptFindings, RediscoverNode
from gpucloud_core.work.model import Step, Task, TaskStatus
from gpucloud_core.work.plan import Finish, Saga

_TOLD = 20  # differences that an attention row names


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAtNode:
    """Queue a probe or a discovery of a node."""

    transactions: Transactions[FleetUnit]
    ids: Ids

    async def __call__(
        self,
        *,
        actor: Actor,
        node_id: NodeId,
        saga: Saga,
    ) -> TaskId:
        """Return the task to follow; one of the same kind under way is joined.

        Raises:
            Forbidden: the actor is no operator of the platform.
            NotFound: there is no such node.
        """
        require(actor, Action.NODE_OPERATE)
        async with self.transactions.begin(Scope.platform()) as unit:
            node = (await lock_node(unit, node_id)).node
            task = await queue_on_node(unit, self.ids, actor, node, saga)
            await unit.audit(fact_by(actor, action=f"node.{saga.kind}", target=node_id))
        return task.id


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnFleet(LeavesNothing):
    """What the tasks on a node share."""

    transactions: Transactions[FleetUnit]
    driver: NodeDriver
    ids: Ids

    async def _node(self, task: Task) -> Node:
        async with self.transactions.begin(Scope.platform()) as unit:
            node = await unit.nodes.get(task.subject)
        if node is None or node.status is NodeStatus.DELETED:
            raise NotFound("The node is gone.")
        return node


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeNode(_OnFleet):
    """Is it there, is it the right one, and are all of its GPUs?

    A GPU that is missing from a node in service is evidence against the node: nothing more is
    sold from it until an operator has looked.
    """

    saga: Saga = PROBE_NODE

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        node = await self._node(task)
        if step.key == "reach":
            report = await self.driver.probe(node.access)
            return {
                "gpus": " ".join(report.gpu_uuids),
                "driver": report.driver_version,
                "problems": "\n".join(report.problems),
            }
        return await self._compare(task)

    async def _compare(self, task: Task) -> Mapping[str, Json]:
        seen = _result(task, "reach")
        answered = set(str(seen.get("gpus", "")).split())
        problems = str(seen.get("problems", ""))
        async with self.transactions.begin(Scope.platform()) as unit:
            locked = await lock_node(unit, NodeId(task.subject))
            missing = [gpu for gpu in locked.node.topology.gpus if gpu.uuid not in answered]
            told = [f"GPU {gpu.index} at {gpu.pci_address} is missing." for gpu in missing]
            error = " ".join([*told, *([problems] if problems else [])])
            node = replace(locked.node, reachable=True, probe_error=error)
            if missing and node.status is NodeStatus.ACTIVE:
                node = move_node(locked, node, NodeEvent.QUARANTINE, reason=" ".join(told))
                await unit.audit(
                    AuditFact(
                        action="node.quarantine",
                        target=node.id,
                        via="worker",
                        changes={
                            "status": [locked.node.status, node.status],
                            "reason": [None, node.status_reason],
                        },
                    )
                )
            await keep_node(unit, locked, node, locked.slots)
        return {"answered": len(answered), "missing": len(missing)}

    async def finished(self, unit: AllocationUnit, task: Task, finish: Finish) -> None:
        """A node that did not answer is not sold from until it does."""
        if finish.status is TaskStatus.SUCCEEDED:
            return
        node = await unit.nodes.lock(task.subject)
        capacity = await unit.fleet.lock(task.subject)
        if node is None or node.status is NodeStatus.DELETED:
            return
        await unit.nodes.put(replace(node, reachable=False, probe_error=finish.detail))
        if capacity is not None and capacity.sellable:
            reason = "not reachable"
            await unit.fleet.put(replace(capacity, sellable=False, unsellable_reason=reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMode:
    """Hand a node's GPUs out in another way from now on."""

    transactions: Transactions[FleetUnit]
    ids: Ids

    async def __call__(
        self,
        *,
        actor: Actor,
        node_id: NodeId,
        mode: NodeMode,
        reason: str = "",
    ) -> TaskId:
        """Queue the change and return the task to follow.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such node.
            NodeInUse: somebody holds it; a mode changes only when the node is empty.
        """
        require(actor, Action.NODE_MANAGE)
        why = said(reason, needed=False)
        async with self.transactions.begin(Scope.platform()) as unit:
            locked = await lock_node(unit, node_id)
            if locked.claims:
                raise in_use(locked.node.name, await holdings_on(unit, [node_id]))
            asked = {"mode": mode.value, "reason": why}
            node = locked.node
            task = await queue_on_node(unit, self.ids, actor, node, CHANGE_MODE, data=asked)
            await unit.audit(
                fact_by(
                    actor,
                    action="node.ask_mode",
                    target=node_id,
                    changes={"mode": [node.mode, mode], "reason": [None, why]},
                )
            )
        return task.id


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverNode(_OnFleet):
    """Read a node's inside with its own tools; propose slots where none was approved yet."""

    saga: Saga = DISCOVER_NODE

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        node_id = NodeId(task.subject)
        if step.key == "read":
            read = RediscoverNode(transactions=self.transactions, driver=self.driver)
            seen = await read(actor=_worker(task), node_id=node_id)
            faults = seen.node.findings.faults if seen.node.findings else ()
            return {"differences": len(seen.differences), "faults": len(faults)}
        return await self._propose(task, node_id)

    async def _propose(self, task: Task, node_id: NodeId) -> Mapping[str, Json]:
        node = await self._node(task)
        found = node.findings.found if node.findings else None
        if found is None:
            return {"outcome": "unchanged"}
        if node.status is not NodeStatus.ENROLLING:
            return await self._tell(node)
        accept = AcceptFindings(transactions=self.transactions, ids=self.ids)
        await accept(actor=_worker(task), node_id=node_id, endpoints=new_endpoints(node))
        return {"outcome": "proposed"}

    async def _tell(self, node: Node) -> Mapping[str, Json]:
        async with self.transactions.begin(Scope.platform()) as unit:
            await tell_drift(unit, review(node, await unit.slots.find(node_id=node.id)))
        return {"outcome": "drift"}

    async def finished(self, unit: AllocationUnit, task: Task, finish: Finish) -> None:
        """The node's findings say what was found; the task says why there are none."""


async def tell_drift(unit: FleetUnit, seen: NodeReview) -> None:
    """Tell operators what is otherwise than it was approved; nothing is applied."""
    told: list[Json] = [f"{one.code} {one.subject}" for one in seen.differences]
    payload: dict[str, Json] = {"differences": told[:_TOLD]}
    await unit.emit(Event(kind="drift.topology", subject=seen.node.id, payload=payload))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeModeOnNode(_OnFleet):
    """Take the node off sale, change its mode, and read it back. Repeated, it goes on."""

    saga: Saga = CHANGE_MODE

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        change = ChangeNodeMode(transactions=self.transactions, driver=self.driver, ids=self.ids)
        mode = NodeMode(str(task.data["mode"]))
        seen = await change(actor=_worker(task), node_id=NodeId(task.subject), mode=mode)
        really = seen.node.findings.mode if seen.node.findings else None
        return {"mode": really or mode}

    async def finished(self, unit: AllocationUnit, task: Task, finish: Finish) -> None:
        """What the node says it is stands among its findings."""


def _worker(task: Task) -> Actor:
    """Return who carries a task out that an operator has asked for."""
    return Actor(
        user_id=None,
        username="gpucloud",
        tenant_id=task.tenant_id,
        tenant_role=None,
        platform_role=PlatformRole.ADMIN,
        via="worker",
        correlation_id=task.id,
    )


def _result(task: Task, key: str) -> Mapping[str, Json]:
    return next(step.result for step in task.steps if step.key == key)
