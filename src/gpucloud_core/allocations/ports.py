"""Everything a launch, a release or a settlement may touch, as one narrow unit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

from gpucloud_core.access.ports import AccessUnit
from gpucloud_core.allocations.briefs import AllocationBrief
from gpucloud_core.allocations.launch_rows import LaunchNames, LaunchRows
from gpucloud_core.allocations.model import (
    Allocation,
    AllocationState,
    StateChange,
    TerminalLease,
)
from gpucloud_core.billing.ports import BillingUnit
from gpucloud_core.catalog.ports import CatalogUnit
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.rows import ListQuery, Page, Rows
from gpucloud_core.placement.ports import PlacementUnit
from gpucloud_core.work.ports import WorkUnit

MAY_EXPIRE: Final = frozenset({AllocationState.ACTIVE, AllocationState.DEGRADED})
"""States in which a timer ends an allocation: it holds its place, and nothing moves it."""
MAY_TIME: Final = MAY_EXPIRE | {
    AllocationState.REQUESTED,
    AllocationState.PROVISIONING,
    AllocationState.RESTARTING,
}
"""States in which a timer can be set: it may still run."""


class Allocations(Rows[Allocation], Protocol):
    async def expired(self, now: datetime, *, limit: int) -> Sequence[AllocationId]:
        """Return allocations in ``MAY_EXPIRE`` whose ``releases_at`` has come."""
        ...

    async def of_launch(self, names: LaunchNames) -> LaunchRows:
        """Return what a launch names and depends on, besides money and places, in one go."""
        ...

    async def briefs(self, query: ListQuery) -> Page[AllocationBrief]:
        """Return a page of briefs: what ``lists.read_briefs`` does, of one instant."""
        ...


class TerminalLeases(Rows[TerminalLease], Protocol):
    async def keep(self, names: Sequence[str], until: datetime) -> frozenset[str]:
        """Let these last until ``until``; return those that are still there."""
        ...

    async def lost(self, now: datetime, *, limit: int) -> Sequence[TerminalLease]:
        """Return leases that have run out, locked, the oldest first; skip what others hold."""
        ...


class AllocationUnit(AccessUnit, CatalogUnit, PlacementUnit, BillingUnit, WorkUnit, Protocol):
    @property
    def allocations(self) -> Allocations: ...
    @property
    def terminal_leases(self) -> TerminalLeases: ...
    @property
    def state_changes(self) -> Rows[StateChange]: ...
