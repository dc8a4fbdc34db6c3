"""Rows for tests of stores: complete, valid, each with an id of its own."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gpucloud_core.access.model import (
    OneTimeToken,
    Project,
    SavedView,
    Session,
    SessionKind,
    SshKey,
    Tenant,
    TenantKind,
    User,
)
from gpucloud_core.allocations.model import Allocation, AllocationState, TerminalLease
from gpucloud_core.billing.model import BillingAccount, Transfer, TransferKind, WebhookEvent
from gpucloud_core.catalog.model import Shape
from gpucloud_core.kernel.ids import (
    AllocationId,
    ClaimId,
    ImageId,
    NodeId,
    ProjectId,
    SessionId,
    SkuId,
    SlotId,
    SshKeyId,
    TaskId,
    TenantId,
    UserId,
)
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.nodes.model import (
    Gpu,
    LinkClass,
    Node,
    NodeAccess,
    NodeMode,
    NodeStatus,
    Slot,
    SlotState,
    Topology,
)
from gpucloud_core.placement.model import Claim, NodeCapacity
from gpucloud_core.work.model import Task

NOW: Final = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
_numbers: Final = itertools.count(1)


class FixedClock:
    """A clock that moves when it is told to."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


def fresh(prefix: str) -> str:
    """Return an id that no other row has."""
    return f"{prefix}_{next(_numbers):026d}"


def a_tenant(**given: Any) -> Tenant:
    facts = {"id": TenantId(fresh("ten")), "name": "Acme", "kind": TenantKind.WORK}
    return Tenant(**{**facts, "created_at": NOW, **given})


def a_user(**given: Any) -> User:
    user_id = UserId(fresh("usr"))
    facts = {"id": user_id, "username": user_id, "username_key": user_id, "password_hash": None}
    return User(**{**facts, "created_at": NOW, **given})


def a_project(tenant_id: TenantId, **given: Any) -> Project:
    project_id = ProjectId(fresh("prj"))
    facts = {"id": project_id, "tenant_id": tenant_id, "name": "Default", "slug": project_id}
    return Project(**{**facts, "created_at": NOW, **given})


def a_session(tenant_id: TenantId, user_id: UserId, **given: Any) -> Session:
    session_id = SessionId(fresh("ses"))
    facts = {
        "id": session_id,
        "user_id": user_id,
        "tenant_id": tenant_id,
        "kind": SessionKind.API,
        "access_hash": f"hash of {session_id}",
        "access_expires_at": NOW + SECOND,
        "created_at": NOW,
        "last_seen_at": NOW,
        "ends_at": NOW + SECOND,
    }
    return Session(**{**facts, **given})


def an_ssh_key(tenant_id: TenantId, user_id: UserId, **given: Any) -> SshKey:
    key_id = SshKeyId(fresh("key"))
    facts = {
        "id": key_id,
        "tenant_id": tenant_id,
        "user_id": user_id,
        "name": "laptop",
        "type": "ssh-ed25519",
        "public_key": "ssh-ed25519 AAAA",
        "fingerprint": f"SHA256:{key_id}",
        "created_at": NOW,
    }
    return SshKey(**{**facts, **given})


def a_lease(allocation: Allocation, **given: Any) -> TerminalLease:
    facts = {
        "id": fresh("trm"),
        "tenant_id": allocation.tenant_id,
        "allocation_id": allocation.id,
        "project_id": allocation.project_id,
        "user_id": None,
        "actor": "ada",
        "via": "ui",
        "ip": "192.0.2.1",
        "user_agent": "",
        "correlation_id": "",
        "opened_at": NOW,
        "until": NOW,
    }
    return TerminalLease(**{**facts, **given})


def a_view(tenant_id: TenantId, user_id: UserId, **given: Any) -> SavedView:
    facts = {"list": "workloads", "name": "Mine", "name_key": "mine", "query": {"q": "x"}}
    ids = {"id": fresh("v"), "tenant_id": tenant_id, "user_id": user_id}
    return SavedView(**{**ids, **facts, "created_at": NOW, **given})


def a_token(tenant_id: TenantId, user_id: UserId, **given: Any) -> OneTimeToken:
    facts = {"id": fresh("tok"), "tenant_id": tenant_id, "user_id": user_id}
    facts |= {"purpose": "terminal", "subject": "alc_1"}
    return OneTimeToken(**{**facts, "expires_at": NOW + SECOND, **given})


def a_node(*, gpus: int = 8, **given: Any) -> Node:
    node_id = NodeId(fresh("nod"))
    facts: dict[str, Any] = {
        "id": node_id,
        "name": node_id,
        "region": "eu-1",
        "mode": NodeMode.CONTAINER,
        "status": NodeStatus.ACTIVE,
        "access": NodeAccess(
            host="127.0.0.1", port=22, username="root", host_key="ssh-ed25519 A", credential="c"
        ),
        "topology": Topology(
            system="hgx-h200-8",
            gpus=tuple(
                Gpu(
                    index=index,
                    uuid=f"GPU-{index}",
                    model="H200",
                    pci_address=f"00000000:{index:02X}:00.0",
                    numa=index // 4,
                    memory_mib=143_771,
                )
                for index in range(gpus)
            ),
            links=((LinkClass.NVSWITCH,) * gpus,) * gpus,
            nvlinks=((18,) * gpus,) * gpus,
            cpu_count=192,
            memory_mib=2_000_000,
            numa_cpus=("0-47,96-143", "48-95,144-191"),
        ),
        "created_at": NOW,
    }
    return Node(**{**facts, **given})


def a_slot(node_id: NodeId, index: int, **given: Any) -> Slot:
    facts = {
        "id": SlotId(fresh("slt")),
        "node_id": node_id,
        "index": index,
        "gpu_uuid": f"GPU-{index}",
        "numa": index // 4,
        "cpus": f"{index * 8}-{index * 8 + 7}",
        "memory_mib": 65_536,
        "ssh_host": f"{node_id}.example",
        "ssh_port": 2200 + index,
        "state": SlotState.AVAILABLE,
        "state_since": NOW,
    }
    return Slot(**{**facts, **given})


def a_capacity(node_id: NodeId, *, gpus: int = 8, **given: Any) -> NodeCapacity:
    full = (1 << gpus) - 1
    facts = {
        "node_id": node_id,
        "pool": "eu-1/h200/gpu_slice",
        "system": "hgx-h200-8",
        "mode": NodeMode.CONTAINER,
        "gpu_count": gpus,
        "approved_mask": full,
        "free_mask": full,
        "free_vcpus": 8 * gpus,
        "free_memory_mib": 65_536 * gpus,
        "sellable": True,
    }
    return NodeCapacity(**{**facts, **given})


def a_claim(tenant_id: TenantId, node_id: NodeId, mask: int, **given: Any) -> Claim:
    facts = {
        "id": ClaimId(fresh("clm")),
        "tenant_id": tenant_id,
        "allocation_id": AllocationId(fresh("alc")),
        "node_id": node_id,
        "mask": mask,
        "vcpus": 8 * mask.bit_count(),
        "memory_mib": 65_536 * mask.bit_count(),
        "claimed_at": NOW,
    }
    return Claim(**{**facts, **given})


def a_task(tenant_id: TenantId, project_id: ProjectId, **given: Any) -> Task:
    facts = {
        "id": TaskId(fresh("tsk")),
        "tenant_id": tenant_id,
        "project_id": project_id,
        "kind": "provision",
        "subject": "alc_1",
        "due_at": NOW,
        "created_at": NOW,
    }
    return Task(**{**facts, **given})


def an_allocation(claim: Claim, task: Task, user_id: UserId, **given: Any) -> Allocation:
    facts = {
        "id": claim.allocation_id,
        "tenant_id": claim.tenant_id,
        "project_id": task.project_id,
        "user_id": user_id,
        "name": "training",
        "sku_id": SkuId("h200"),
        "shape": Shape.GPU_SLICE,
        "region": "eu-1",
        "gpu_count": claim.mask.bit_count(),
        "image_id": ImageId("img_ubuntu"),
        "rate_micros_per_hour": 3_500_000,
        "currency": "USD",
        "state": AllocationState.REQUESTED,
        "state_since": NOW,
        "claim_id": claim.id,
        "node_id": claim.node_id,
        "mask": claim.mask,
        "task_id": task.id,
        "requested_at": NOW,
    }
    return Allocation(**{**facts, **given})


def a_segment(project: Project, **given: Any) -> UsageSegment:
    facts = {
        "id": fresh("seg"),
        "tenant_id": project.tenant_id,
        "project_id": project.id,
        "allocation_id": AllocationId(fresh("alc")),
        "sku_id": SkuId("h200"),
        "gpu_count": 1,
        "rate_micros_per_hour": 3_500_000,
        "currency": "USD",
        "started_at": NOW,
        "settled_until": NOW,
    }
    return UsageSegment(**{**facts, **given})


def a_billing_account(tenant_id: TenantId, **given: Any) -> BillingAccount:
    facts = {"tenant_id": tenant_id, "currency": "USD", "created_at": NOW}
    return BillingAccount(**{**facts, **given})


def a_transfer(tenant_id: TenantId, **given: Any) -> Transfer:
    transfer_id = fresh("trf")
    facts = {
        "id": transfer_id,
        "tenant_id": tenant_id,
        "kind": TransferKind.PAYMENT,
        "idempotency_key": transfer_id,
        "entries": {},
        "at": NOW,
    }
    return Transfer(**{**facts, **given})


def a_webhook_event(**given: Any) -> WebhookEvent:
    facts = {"id": fresh("evt"), "kind": "checkout.session.completed", "object_id": "cs_1"}
    return WebhookEvent(**{**facts, "payload": "{}", "received_at": NOW, **given})
