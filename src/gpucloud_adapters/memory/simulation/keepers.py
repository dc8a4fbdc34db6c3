"""Those who keep records: the relay that tells people, the sweep for operators, the audit chain.

The relay hands each event on in order until it was told, dying over it at times, so that whoever
tells is asked again. The chain is sealed now and then, as everywhere behind the writers.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from gpucloud_adapters.memory.anchors import MemoryAnchors
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.memory.simulation.dice import Dice
from gpucloud_core.audit.seal import AnchorAudit, SealAudit
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.notices.overdue import SweepAttention
from gpucloud_core.notices.rules import DRIFT, RULES
from gpucloud_core.notices.tell import TellPeople

Begun: TypeAlias = asyncio.Task[None] | None
_LATEST: Final = 1.0  # seconds until an event is handed on, if a worker is there
_SWEEP_SECONDS: Final = 1800.0  # far apart: in life it is half a minute


class Start(Protocol):
    def __call__(self, name: str, job: Callable[[], Awaitable[object]], /) -> Begun:
        """Have a worker do it; None if there is none."""
        ...


class Keepers:
    """Start what keeps records.

    Args:
        cloud: of which records are kept.
        dice: how long an event waits.
        start: finds a worker for a job.
    """

    def __init__(self, cloud: MemoryCloud, dice: Dice, start: Start) -> None:
        transactions = cloud.transactions
        self.anchors = MemoryAnchors()
        self._tell = TellPeople(transactions=transactions, ids=cloud.ids)
        self._attention = SweepAttention(transactions=transactions, ids=cloud.ids)
        self._seal = SealAudit(transactions=transactions)
        self._anchor = AnchorAudit(transactions=transactions, anchors=self.anchors)
        self._dice = dice
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._untold: deque[StoredEvent] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def has_untold(self) -> bool:
        return bool(self._untold)

    def happened(self, stored: StoredEvent) -> None:
        """Take an event that was committed."""
        if stored.event.kind in RULES or stored.event.kind.startswith(DRIFT):
            self._untold.append(stored)
            self._wake()

    async def sweep(self) -> None:
        """Look after the lists and the chain, for ever."""
        while True:
            await asyncio.sleep(self._dice.between(0.5, 1.5) * _SWEEP_SECONDS)
            self._start("keepers", self.look_round)

    async def look_round(self) -> None:
        """Bring the attention list and the audit chain up to date."""
        await self._attention()
        while await self._seal():
            pass
        await self._anchor()

    def _wake(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._dice.between(0.05, _LATEST), self._relay)

    def _relay(self) -> None:
        self._timer = None
        job = self._start("relay", self._tell_all)
        if job is None:
            self._wake()
        else:
            job.add_done_callback(lambda _: self._wake() if self._untold else None)

    async def _tell_all(self) -> None:
        """Tell everything that waits; what was told and not noted is told again."""
        while self._untold:
            stored = self._untold[0]
            await self._tell(stored)
            if self._untold and self._untold[0] is stored:
                self._untold.popleft()
