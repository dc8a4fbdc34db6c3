"""Entries of the waitlist."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.kernel.ids import ProjectId, TaskId, TenantId, UserId, WaitlistId


class WaitKind(StrEnum):
    LAUNCH = "launch"  # launch it as soon as it fits
    NOTIFY = "notify"  # say so as soon as it would fit, and keep the turn for ten minutes


class WaitState(StrEnum):
    WAITING = "waiting"
    OFFERED = "offered"
    LAUNCHED = "launched"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitEntry:
    """One launch that waits for capacity.

    Attributes:
        pool: what it waits for; one queue each.
        turn: its place among tenants: a tenant's entries take turns one apart, so that nobody
            who asks for much keeps others from their turn.
        price_max_micros: per GPU and hour; dearer, and it is passed over. None: any price.
        expires_at: it waits no longer than this.
        due_at: when it is looked at next; None once it has ended.
        reason: why it was passed over last, or why it ended.
        task_id: of the launch that it became.
    """

    id: WaitlistId
    tenant_id: TenantId
    project_id: ProjectId
    user_id: UserId
    kind: WaitKind
    request: LaunchRequest
    sku_id: str
    gpu_count: int
    pool: str
    turn: int
    price_max_micros: int | None = None
    state: WaitState = WaitState.WAITING
    state_since: datetime
    expires_at: datetime
    due_at: datetime | None
    reason: str = ""
    reason_code: str = ""
    task_id: TaskId | None = None
    created_at: datetime
