"""The people who run the platform: they reconcile, mend, and end what sticks, always with a reason.

They vouch for nothing that they have not seen: what they force-clean is clean on its node.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.memory.simulation.dice import Dice
from gpucloud_adapters.memory.simulation.trouble import exposed
from gpucloud_adapters.stored.kinds import ALLOCATIONS, NODES
from gpucloud_core.allocations.force import ForceCleanAllocation, ForceRelease
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.nodes.holdings import Stage

_HOUR: Final = 3600.0
_WHY: Final = "Seen on the node."


class Operators:
    """Act now and then, or on everything that sticks.

    Args:
        cloud: what they run.
        dice: what they get round to.
        log: told what they do.
    """

    def __init__(self, cloud: MemoryCloud, *, dice: Dice, log: Callable[[str], None]) -> None:
        self._cloud = cloud
        self._dice = dice
        self._log = log

    async def work(self) -> None:
        """Look round every few hours, and end this or that."""
        while True:
            await asyncio.sleep(self._dice.wait(8 * _HOUR))
            rows = self._cloud.transactions.database.rows(ALLOCATIONS)
            stuck = [row for row in rows if row.state is AllocationState.RELEASE_FAILED]
            for row in stuck:
                if self._dice.chance(0.5):
                    await self.mend(row)
            running = [row for row in rows if row.state is AllocationState.ACTIVE]
            if running and self._dice.chance(0.1):
                await self._force(self._dice.pick(running))

    async def mend(self, row: Allocation) -> None:
        """Free capacity whose release failed, if nothing of it is on its node any more."""
        if not self._is_clean(row):
            return
        clean = ForceCleanAllocation(transactions=self._cloud.transactions, ids=self._cloud.ids)
        act = partial(clean, allocation_id=row.id, reason=_WHY, runtime_verified_absent=True)
        try:
            with exposed():
                await act(actor=self._cloud.operator(row.tenant_id))
            self._log(f"operator: vouched for {row.id}")
        except DomainError as error:
            self._log(f"operator: {error.code}")

    async def _force(self, row: Allocation) -> None:
        release = ForceRelease(transactions=self._cloud.transactions, ids=self._cloud.ids)
        actor = self._cloud.operator(row.tenant_id)
        try:
            with exposed():
                await release(actor=actor, allocation_id=row.id, reason="The node is needed.")
            self._log(f"operator: forced the end of {row.id}")
        except DomainError as error:
            self._log(f"operator: {error.code}")

    def _is_clean(self, row: Allocation) -> bool:
        """Look on the node itself."""
        node = self._cloud.transactions.database.table(NODES).rows[row.node_id]
        left = self._cloud.driver.holdings(node.access.host).records.get(row.claim_id)
        return left is None or left.stage is Stage.WIPED
