"""Rows of the waitlist, beside everything that a launch may touch."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.waitlist.model import WaitEntry


class Waitlist(Rows[WaitEntry], Protocol):
    async def pools_due(self, now: datetime, *, limit: int) -> Sequence[str]:
        """Return pools with an entry that is due, longest due first."""
        ...


class WaitlistUnit(AllocationUnit, Protocol):
    @property
    def waitlist(self) -> Waitlist: ...
