"""Hands committed events on: tasks to the queue, what happened to whoever must be told.

At least once: a crash between handing on and marking repeats the event, and every consumer bears
that. Behind most consumers stand due rows, so that a failure of theirs loses nothing. A keeper is
the only one to do its work: until it has, its event stays, and so do the later ones of the same
subject.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from gpucloud_core.kernel.outbox import RelayUnit, StoredEvent
from gpucloud_core.kernel.unit import Event, Scope, Transactions

log = structlog.get_logger(__name__)

BATCH: Final = 200
GIVE_UP: Final = timedelta(hours=1)
"""How old an event gets that a keeper cannot take; a poisoned one must not stop the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Take unpublished events in order and give each to its consumer and to every keeper."""

    transactions: Transactions[RelayUnit]
    consumers: Mapping[str, Callable[[Event], Awaitable[None]]]
    keepers: Sequence[Callable[[StoredEvent], Awaitable[None]]] = ()

    async def __call__(self) -> int:
        """Hand one batch on; return how many events are done with."""
        done: list[int] = []
        waiting: set[str] = set()
        async with self.transactions.begin(Scope.platform()) as unit:
            rows = await unit.outbox.pending(limit=BATCH)
            now = await unit.now()
            for row in rows:
                if row.event.subject in waiting:
                    continue
                if await self._keep(row, now):
                    await self._hand_on(row.event)
                    done.append(row.id)
                else:
                    waiting.add(row.event.subject)
            await unit.outbox.mark_published(done)
        return len(done)

    async def _keep(self, row: StoredEvent, now: datetime) -> bool:
        """Give the event to every keeper; False if one must be asked again."""
        try:
            for keeper in self.keepers:
                await keeper(row)
        except Exception:  # whatever it was: this event waits, and others must not
            is_too_old = now - row.created_at > GIVE_UP
            said = "relay.given_up" if is_too_old else "relay.keeper_failed"
            log.exception(said, kind=row.event.kind, subject=row.event.subject, event_id=row.id)
            return is_too_old
        return True

    async def _hand_on(self, event: Event) -> None:
        consumer = self.consumers.get(event.kind)
        if consumer is None:
            return
        try:
            await consumer(event)
        except Exception:  # whatever it was: due rows drive the work on, and others must not wait
            log.exception("relay.consumer_failed", kind=event.kind, subject=event.subject)
