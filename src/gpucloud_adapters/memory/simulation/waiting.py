"""Customers who wait for what is sold out: they take turns, change their minds, take offers."""

from dataclasses import dataclass
from typing import Final

from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.memory.simulation.dice import Dice
from gpucloud_adapters.stored.kinds import WAITLIST as ENTRIES
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.waitlist.join import JoinWaitlist, LeaveWaitlist, WaitAsked
from gpucloud_core.waitlist.lifecycle import WAITLIST
from gpucloud_core.waitlist.model import WaitEntry, WaitKind, WaitState

_JOINS: Final = 0.4  # how often one who finds it sold out waits for it
_LEAVES: Final = 0.15  # how often one who waits does something else instead, at each look
_TAKES: Final = 0.7  # how often an offer is taken, at each look
_LONGEST: Final = (600, 7200, 86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One customer's turns. The dice are of their own: nobody else's stream is moved."""

    cloud: MemoryCloud
    dice: Dice

    async def sold_out(self, actor: Actor, request: LaunchRequest) -> bool:
        """Wait for it, perhaps; tell whether."""
        if not self.dice.chance(_JOINS):
            return False
        join = JoinWaitlist(transactions=self.cloud.transactions, ids=self.cloud.ids)
        asked = WaitAsked(
            kind=self.dice.pick(tuple(WaitKind)),
            request=request,
            wait_seconds=self.dice.pick(_LONGEST),
        )
        await join(actor=actor, project_id=self.cloud.project_of(actor), asked=asked)
        return True

    async def look(self, actor: Actor) -> LaunchRequest | None:
        """Leave a queue, perhaps; return what was offered and is to be launched now."""
        for entry in self._mine(actor):
            if entry.state is WaitState.OFFERED and self.dice.chance(_TAKES):
                return entry.request
            if self.dice.chance(_LEAVES):
                await self._withdraw(actor, entry)
        return None

    async def leave(self, actor: Actor) -> None:
        """Leave every queue."""
        for entry in self._mine(actor):
            await self._withdraw(actor, entry)

    def launched(self, actor: Actor) -> int:
        """Return how many launches came of turns."""
        entries = self.cloud.transactions.database.rows(ENTRIES)
        return sum(each.tenant_id == actor.tenant_id and bool(each.task_id) for each in entries)

    def _mine(self, actor: Actor) -> list[WaitEntry]:
        entries = self.cloud.transactions.database.table(ENTRIES)
        mine = entries.candidates({"project_id": self.cloud.project_of(actor)})
        return [entry for entry in mine if not WAITLIST.is_final(entry.state)]

    async def _withdraw(self, actor: Actor, entry: WaitEntry) -> None:
        leave = LeaveWaitlist(transactions=self.cloud.transactions)
        await leave(actor=actor, entry_id=entry.id)
