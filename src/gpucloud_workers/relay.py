"""Hands committed events on: tasks to the queue, everything to whoever listens live.

At least once: a crash between handing on and marking repeats the event, and every consumer
bears that.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from gpucloud_core.kernel.outbox import RelayUnit
from gpucloud_core.kernel.unit import Event, Scope, Transactions

log = structlog.get_logger(__name__)

BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Take unpublished events in order and give each to its consumers."""

    transactions: Transactions[RelayUnit]
    consumers: Mapping[str, Callable[[Event], Awaitable[None]]]
    everyone: Callable[[Event], Awaitable[None]]

    async def __call__(self) -> int:
        """Hand one batch on; return how many events it had."""
        async with self.transactions.begin(Scope.platform()) as unit:
            rows = await unit.outbox.pending(limit=BATCH)
            for row in rows:
                await self._hand_on(row.event)
            await unit.outbox.mark_published([row.id for row in rows])
        return len(rows)

    async def _hand_on(self, event: Event) -> None:
        try:
            if (consumer := self.consumers.get(event.kind)) is not None:
                await consumer(event)
            await self.everyone(event)
        except Exception:  # whatever it was: due rows drive the work on, and others must not wait
            log.exception("relay.consumer_failed", kind=event.kind, subject=event.subject)
