"""Tells open pages that something changed, so that they need not ask.

Messages are hints: they may be lost, so a page that matters also asks now and then. One
connection serves all listeners of a process; a slow listener loses its oldest messages, never the
newest, and slows nobody else.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

_PREFIX: Final = "gpucloud:live:"
_BACKLOG: Final = 32
_RECONNECT_SECONDS: Final = 1.0
_PUBLISH_SECONDS: Final = 0.5  # a hint is not worth a longer wait

log = structlog.get_logger()


class Listener:
    """What one page hears of one topic."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[str] = asyncio.Queue(_BACKLOG)

    async def next(self, *, timeout_seconds: float) -> str | None:
        """Return the next message, or None if there was none for so long."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._messages.get()
        except TimeoutError:
            return None

    def hear(self, message: str) -> None:
        if self._messages.full():
            self._messages.get_nowait()
        self._messages.put_nowait(message)


class RedisLiveUpdates:
    """Publishes from anywhere; listens while ``running``."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._listeners: dict[str, set[Listener]] = {}

    async def publish(self, topic: str, message: str) -> None:
        """Tell whoever listens now. Never fails: what is published has already happened."""
        try:
            async with asyncio.timeout(_PUBLISH_SECONDS):
                await self._client.publish(_PREFIX + topic, message)
        except (RedisError, TimeoutError) as error:
            log.warning("live_updates.not_published", topic=topic, error=type(error).__name__)

    @contextmanager
    def listen(self, topic: str) -> Iterator[Listener]:
        """Hear of ``topic`` until the block ends."""
        listener = Listener()
        self._listeners.setdefault(topic, set()).add(listener)
        try:
            yield listener
        finally:
            others = self._listeners[topic]
            others.discard(listener)
            if not others:
                del self._listeners[topic]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Receive messages until the block ends, also after Redis was away."""
        receiving = asyncio.create_task(self._receive(), name="live-updates")
        try:
            yield
        finally:
            receiving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await receiving

    async def _receive(self) -> None:
        while True:
            try:
                await self._receive_until_lost()
            except RedisError as error:
                log.warning("live_updates.lost", error=type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _receive_until_lost(self) -> None:
        async with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.psubscribe(f"{_PREFIX}*")
            async for message in pubsub.listen():
                topic = _text(message["channel"]).removeprefix(_PREFIX)
                for listener in tuple(self._listeners.get(topic, ())):
                    listener.hear(_text(message["data"]))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
