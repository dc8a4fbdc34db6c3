"""Rows of metering."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from gpucloud_core.kernel.ids import AllocationId, TenantId
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.kernel.unit import Unit
from gpucloud_core.metering.model import UsageSegment


class UsageSegments(Rows[UsageSegment], Protocol):
    async def tenants_due(self, now: datetime, *, limit: int) -> Sequence[TenantId]:
        """Return tenants with a segment whose settlement is due, oldest first, none twice."""
        ...

    async def running_after(
        self, tenant_id: TenantId, since: datetime, *, limit: int
    ) -> Sequence[UsageSegment]:
        """Return the tenant's segments that run or ended after ``since``: the last to end first.

        Those that run come before all others.
        """
        ...

    async def costs(
        self, allocation_ids: Sequence[AllocationId], until: datetime
    ) -> Mapping[AllocationId, int]:
        """Return what each allocation's segments cost up to ``until``, each rounded down once.

        The same micro-units as ``charge.cost_of``, however many segments there are; one that has
        none is left out.
        """
        ...


class MeteringUnit(Unit, Protocol):
    @property
    def usage_segments(self) -> UsageSegments: ...
