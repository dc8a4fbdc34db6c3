"""A node as operators read it over the API."""

from datetime import datetime

import msgspec

from gpucloud_core.fleet.held import Holding
from gpucloud_core.fleet.queries import NodeLine, NodeView
from gpucloud_core.nodes.differences import Difference
from gpucloud_core.nodes.model import FabricKind, FabricPlace, Fault, Node, Slot, SlotState
from gpucloud_core.nodes.review import NodeReview
from gpucloud_core.nodes.slots import Condition
from gpucloud_core.work.model import Task


class HoldingBody(msgspec.Struct, kw_only=True):
    """Who holds which GPUs of a node."""

    allocation_id: str
    name: str
    status: str | None
    owner: str
    tenant: str
    gpus: list[int]

    @classmethod
    def of(cls, held: Holding) -> "HoldingBody":
        mask = held.claim.mask
        return cls(
            allocation_id=held.claim.allocation_id,
            name=held.allocation.name if held.allocation else "",
            status=held.status,
            owner=held.owner,
            tenant=held.tenant,
            gpus=[index for index in range(mask.bit_length()) if mask >> index & 1],
        )


class NodeLineBody(msgspec.Struct, kw_only=True):
    """One row of the list."""

    id: str
    name: str
    region: str
    mode: str
    status: str
    status_reason: str
    reachable: bool | None
    probe_error: str
    simulated: bool
    system: str
    gpu_model: str
    gpu_count: int
    approved: int
    free: int
    sellable: bool
    unsellable_reason: str
    held: list[HoldingBody]
    created_at: datetime

    @classmethod
    def of(cls, line: NodeLine) -> "NodeLineBody":
        node, capacity = line.node, line.capacity
        gpus = node.topology.gpus
        return cls(
            id=node.id,
            name=node.name,
            region=node.region,
            mode=node.mode,
            status=node.status,
            status_reason=node.status_reason,
            reachable=node.reachable,
            probe_error=node.probe_error,
            simulated=node.simulated,
            system=node.topology.system,
            gpu_model=gpus[0].model if gpus else "",
            gpu_count=len(gpus),
            approved=capacity.approved_mask.bit_count() if capacity else 0,
            free=sum(slot.state is SlotState.AVAILABLE for slot in line.slots),
            sellable=capacity.sellable if capacity else False,
            unsellable_reason=capacity.unsellable_reason if capacity else "not approved yet",
            held=[HoldingBody.of(each) for each in line.held],
            created_at=node.created_at,
        )


class ConditionBody(msgspec.Struct):
    code: str
    ok: bool
    detail: str

    @classmethod
    def of(cls, condition: Condition) -> "ConditionBody":
        return cls(condition.code, condition.holds, condition.reason)


class SlotBody(msgspec.Struct, kw_only=True):
    """One slot; each condition must hold before it is approved."""

    index: int
    id: str
    state: str
    state_since: datetime
    reason: str
    gpu_uuid: str
    numa: int
    cpus: str
    memory_mib: int
    disk: str  # the node's name of its data disk; empty: none
    nic: str  # PCI address of its network port; empty: none
    ssh_host: str
    ssh_port: int
    conditions: list[ConditionBody]

    @classmethod
    def of(cls, slot: Slot, conditions: tuple[Condition, ...]) -> "SlotBody":
        return cls(
            index=slot.index,
            id=slot.id,
            state=slot.state,
            state_since=slot.state_since,
            reason=slot.reason,
            gpu_uuid=slot.gpu_uuid,
            numa=slot.numa,
            cpus=slot.cpus,
            memory_mib=slot.memory_mib,
            disk=slot.disk,
            nic=slot.nic,
            ssh_host=slot.ssh_host,
            ssh_port=slot.ssh_port,
            conditions=[ConditionBody.of(each) for each in conditions],
        )


class FaultBody(msgspec.Struct):
    """Something that is not well on the node, or that could not be read."""

    code: str
    detail: str

    @classmethod
    def of(cls, fault: Fault) -> "FaultBody":
        return cls(fault.code, fault.detail)


class DifferenceBody(msgspec.Struct):
    """One thing that is not as it was approved, with both sides."""

    code: str
    subject: str
    before: str
    after: str

    @classmethod
    def of(cls, one: Difference) -> "DifferenceBody":
        return cls(one.code, one.subject, one.before, one.after)


class FindingsBody(msgspec.Struct, kw_only=True):
    """What the last discovery found; differences wait for an operator to accept them."""

    at: datetime
    mode: str | None
    faults: list[FaultBody]
    differences: list[DifferenceBody]

    @classmethod
    def of(cls, review: NodeReview) -> "FindingsBody | None":
        findings = review.node.findings
        if findings is None:
            return None
        return cls(
            at=findings.at,
            mode=findings.mode,
            faults=[FaultBody.of(each) for each in findings.faults],
            differences=[DifferenceBody.of(each) for each in review.differences],
        )


class FitsBody(msgspec.Struct):
    """How many launches of each size still fit on the node, one after another."""

    sku: str
    launches: dict[str, int]


class NodeTaskBody(msgspec.Struct):
    id: str
    kind: str
    status: str
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, task: Task) -> "NodeTaskBody":
        return cls(task.id, task.kind, task.status, task.created_at, task.finished_at)


class AccessBody(msgspec.Struct):
    """How it is reached; its private key is never shown."""

    host: str
    port: int
    username: str
    host_key: str

    @classmethod
    def of(cls, node: Node) -> "AccessBody":
        access = node.access
        return cls(access.host, access.port, access.username, access.host_key)


class PlaceBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A place in a fabric: its class and names. ``group`` is a leaf switch, or a rail group."""

    kind: FabricKind
    fabric: str
    pod: str
    group: str

    @classmethod
    def of(cls, place: FabricPlace | None) -> "PlaceBody | None":
        if place is None:
            return None
        return cls(kind=place.kind, fabric=place.fabric, pod=place.pod, group=place.group)

    def place(self) -> FabricPlace:
        return FabricPlace(kind=self.kind, fabric=self.fabric, pod=self.pod, group=self.group)


class NodeBody(NodeLineBody, kw_only=True):
    """A node in full."""

    access: AccessBody
    shared_kernel: bool
    place: PlaceBody | None
    driver_version: str
    cpu_count: int
    memory_mib: int
    slots: list[SlotBody]
    fits: list[FitsBody]
    findings: FindingsBody | None
    tasks: list[NodeTaskBody]

    @classmethod
    def of_view(cls, view: NodeView) -> "NodeBody":
        node = view.node
        line = NodeLineBody.of(
            NodeLine(
                node=node,
                slots=view.slots,
                held=view.held,
                capacity=view.capacity,
                as_of=view.as_of,
            )
        )
        return cls(
            **{name: getattr(line, name) for name in NodeLineBody.__struct_fields__},
            access=AccessBody.of(node),
            shared_kernel=node.shared_kernel,
            place=PlaceBody.of(node.place),
            driver_version=node.topology.driver_version,
            cpu_count=node.topology.cpu_count,
            memory_mib=node.topology.memory_mib,
            slots=[SlotBody.of(each.slot, each.conditions) for each in view.review.slots],
            fits=[
                FitsBody(fit.sku.id, {str(size): n for size, n in fit.launches.items()})
                for fit in view.fits
            ],
            findings=FindingsBody.of(view.review),
            tasks=[NodeTaskBody.of(task) for task in view.tasks],
        )
