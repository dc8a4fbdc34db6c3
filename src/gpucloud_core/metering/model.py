"""Usage segments: one rate over one interval of one allocation."""

from dataclasses import dataclass
from datetime import datetime

from gpucloud_core.kernel.ids import AllocationId, ProjectId, SkuId, TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSegment:
    """A stretch of billed time at one rate. A rate change ends it and starts another.

    ``settled_micros`` is what the ledger holds for [started_at, settled_until); more is pending.
    """

    id: str
    tenant_id: TenantId
    project_id: ProjectId
    allocation_id: AllocationId
    sku_id: SkuId
    gpu_count: int
    rate_micros_per_hour: int
    currency: str
    started_at: datetime
    ended_at: datetime | None = None
    settled_until: datetime
    settled_micros: int = 0
    next_settlement_at: datetime | None = None  # None once ended and settled
