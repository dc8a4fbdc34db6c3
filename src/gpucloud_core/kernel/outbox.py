"""The outbox as the relay reads it: what happened, in order, until it is handed on."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gpucloud_core.kernel.unit import Event, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event and its place. ``id`` increases with every event of one subject."""

    id: int
    event: Event
    created_at: datetime


class Outbox(Protocol):
    """Events not yet handed on. Platform scope only."""

    async def pending(self, *, limit: int) -> Sequence[StoredEvent]:
        """Return the oldest events not published; none while another unit reads them."""
        ...

    async def mark_published(self, ids: Sequence[int]) -> None:
        """Record that these were handed on; they are not returned again."""
        ...


class Bell(Protocol):
    """Tells a relay that there may be new events, sooner than it would look for itself."""

    def heard(self) -> AbstractAsyncContextManager[asyncio.Event]:
        """Give an event of the loop that is set at each ring, until the block ends.

        Rings may be lost, and several may be heard as one.
        """
        ...


class RelayUnit(Unit, Protocol):
    @property
    def outbox(self) -> Outbox: ...
