"""Wakes the relays as soon as an event is committed, so that nobody waits for their next look.

A ring is a hint: it may be lost, and several at once may be heard as one. Relays look by
themselves anyway, only later. Ringing never waits and never fails: what is rung for has already
happened.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

_CHANNEL: Final = "gpucloud:outbox"
_RECONNECT_SECONDS: Final = 1.0
_RING_SECONDS: Final = 0.5  # a hint is not worth a longer wait

log = structlog.get_logger(__name__)


class OutboxBell:
    """Rung where events are committed, heard where they are handed on."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._ringing: asyncio.Task[None] | None = None
        self._again = False

    def ring(self) -> None:
        """Say that there are new events; what is said while the last ring is out is one more."""
        if self._ringing is not None and not self._ringing.done():
            self._again = True
            return
        self._ringing = asyncio.create_task(self._ring(), name="outbox-bell")

    async def close(self) -> None:
        """Let the last ring end."""
        if self._ringing is not None:
            await self._ringing

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[asyncio.Event]:
        """Set the event at each ring until the block ends, also after Redis was away."""
        event = asyncio.Event()
        listening = asyncio.create_task(self._listen(event), name="outbox-bell-heard")
        try:
            yield event
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    async def _ring(self) -> None:
        while True:
            self._again = False
            try:
                async with asyncio.timeout(_RING_SECONDS):
                    await self._client.publish(_CHANNEL, "")
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("outbox_bell.not_rung", error=type(error).__name__)
            if not self._again:
                return

    async def _listen(self, event: asyncio.Event) -> None:
        while True:
            try:
                await self._listen_until_lost(event)
            except (RedisError, OSError) as error:
                log.warning("outbox_bell.lost", error=type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen_until_lost(self, event: asyncio.Event) -> None:
        async with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(_CHANNEL)
            event.set()  # whatever was rung before the line was up
            async for _ in pubsub.listen():
                event.set()
