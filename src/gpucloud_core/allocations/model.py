"""Allocations as rows: what was asked (config) and what is so (status)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from gpucloud_core.catalog.model import Shape
from gpucloud_core.kernel.ids import (
    AllocationId,
    ClaimId,
    ImageId,
    NodeId,
    ProjectId,
    SkuId,
    SshKeyId,
    TaskId,
    TenantId,
    UserId,
)
from gpucloud_core.kernel.unit import Json


class AllocationState(StrEnum):
    REQUESTED = "requested"
    PROVISIONING = "provisioning"
    ACTIVE = "active"
    RESTARTING = "restarting"
    DEGRADED = "degraded"
    UNWINDING = "unwinding"
    RELEASING = "releasing"
    RELEASED = "released"
    CANCELLED = "cancelled"
    FAILED = "failed"
    RELEASE_FAILED = "release_failed"


class EndOfBalance(StrEnum):
    RELEASE = "release"
    RUN_ON_RESERVE = "run_on_reserve"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundRule:
    port: int
    cidrs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    ssh_cidrs: tuple[str, ...] = ()  # empty: from anywhere
    inbound: tuple[InboundRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedKey:
    """A key the tenant chose, and when the slice was read back with it (None: not yet)."""

    id: SshKeyId
    fingerprint: str
    public_key: str
    name: str
    applied_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    host: str
    port: int
    username: str
    host_key: str
    host_key_fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Up to ``currency`` the config: what was asked. From ``state`` on the status: what is so."""

    id: AllocationId
    tenant_id: TenantId
    project_id: ProjectId
    user_id: UserId
    name: str
    sku_id: SkuId
    shape: Shape
    region: str
    gpu_count: int
    image_id: ImageId
    network: Network = Network()
    keys: tuple[AppliedKey, ...] = ()
    end_of_balance: EndOfBalance = EndOfBalance.RELEASE
    ttl_seconds: int | None = None
    rate_micros_per_hour: int
    currency: str
    state: AllocationState
    state_since: datetime
    generation: int = 0
    claim_id: ClaimId
    node_id: NodeId
    mask: int
    task_id: TaskId  # the task that moves it now, or moved it last
    connection: Connection | None = None
    cause: str = ""  # why it unwinds: cancelled or failed
    failure_reason: str | None = None
    release_failed_reason: str | None = None
    requested_at: datetime
    active_at: datetime | None = None
    release_requested_at: datetime | None = None
    billing_stopped_at: datetime | None = None
    ended_at: datetime | None = None  # released, cancelled or failed: capacity proven free
    releases_at: datetime | None = None  # when a timer ends it; of a TTL, once it is active
    receipt: Mapping[str, Json] = field(default_factory=dict)  # wipe evidence, once there

    def expires_after(self, active_at: datetime) -> datetime | None:
        """Return when its timer ends it; a time to live counts from ``active_at``."""
        if self.ttl_seconds is None:
            return self.releases_at
        return active_at + timedelta(seconds=self.ttl_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalLease:
    """An open terminal, and until when the process that holds it has answered for it.

    It is there while the terminal is open. Who opened it stands here as in the audit, so that
    whoever closes the books of a process that died can write the end for it.
    """

    id: str  # the terminal's own name
    tenant_id: TenantId
    allocation_id: AllocationId
    project_id: ProjectId
    user_id: UserId | None
    actor: str
    via: str
    ip: str
    user_agent: str
    correlation_id: str
    opened_at: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """One line of an allocation's timeline."""

    id: str
    tenant_id: TenantId
    allocation_id: AllocationId
    at: datetime
    state: AllocationState
    event: str
    actor: str
    reason: str = ""
