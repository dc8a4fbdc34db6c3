"""The rate limiter, the live updates and the bell of the outbox on a real Valkey."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from contracts.rate_limiter import RateLimiterContract
from gpucloud_adapters.redis.client import create_client
from gpucloud_adapters.redis.live_updates import RedisLiveUpdates
from gpucloud_adapters.redis.outbox_bell import OutboxBell
from gpucloud_adapters.redis.rate_limits import RedisRateLimiter
from gpucloud_core.kernel.errors import Unavailable
from gpucloud_core.kernel.time import MICROSECOND


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    async with create_client(redis_url) as client:
        yield client


class TestRedisRateLimiter(RateLimiterContract):
    client: Redis

    @pytest.fixture
    def limiter(self, client: Redis) -> RedisRateLimiter:
        self.client = client
        return RedisRateLimiter(client)

    async def wait(self, duration: timedelta) -> None:
        """Make every attempt older, behind the port's back, rather than sleep."""
        async for key in self.client.scan_iter():
            for attempt in await self.client.zrange(key, 0, -1):
                assert isinstance(attempt, bytes)
                await self.client.zincrby(key, -(duration // MICROSECOND), attempt)

    async def test_forgets_a_key_when_its_window_has_passed(
        self, limiter: RedisRateLimiter, client: Redis
    ) -> None:
        await limiter.take("somebody@198.51.100.7", limit=3, window=timedelta(seconds=60))

        [key] = [key async for key in client.scan_iter()]
        assert 0 < await client.pttl(key) <= 60_000
        assert b"somebody" not in key

    async def test_counts_for_every_process_together(
        self, limiter: RedisRateLimiter, redis_url: str
    ) -> None:
        window = timedelta(seconds=60)
        async with Redis.from_url(redis_url) as other:
            for one in (limiter, RedisRateLimiter(other)):
                assert await one.take("k", limit=2, window=window) is None

            assert await limiter.take("k", limit=2, window=window) is not None

    async def test_does_not_notice_connections_that_broke_while_they_waited(
        self, limiter: RedisRateLimiter, client: Redis, redis_url: str
    ) -> None:
        async def take() -> None:
            assert await limiter.take("k", limit=100, window=timedelta(seconds=60)) is None

        await asyncio.gather(*(take() for _ in range(3)))

        async with Redis.from_url(redis_url) as other:
            await other.client_kill_filter(_type="normal", skipme=True)

        await asyncio.gather(*(take() for _ in range(3)))

    async def test_keeps_the_door_shut_when_redis_does_not_answer(self) -> None:
        nowhere: Redis = Redis(port=1, socket_connect_timeout=1)

        with pytest.raises(Unavailable):
            await RedisRateLimiter(nowhere).take("k", limit=1, window=timedelta(seconds=1))

        await nowhere.aclose()


class TestRedisLiveUpdates:
    @pytest.fixture
    async def live(self, client: Redis) -> AsyncIterator[RedisLiveUpdates]:
        live = RedisLiveUpdates(client)
        async with live.running():
            async with asyncio.timeout(10):
                while not await client.pubsub_numpat():  # noqa: ASYNC110  Valkey tells nobody
                    await asyncio.sleep(0.01)
            yield live

    async def test_reach_every_listener_of_a_topic_and_no_other(
        self, live: RedisLiveUpdates, redis_url: str
    ) -> None:
        with live.listen("task:1") as one, live.listen("task:1") as two, live.listen("x") as other:
            async with Redis.from_url(redis_url) as elsewhere:
                await RedisLiveUpdates(elsewhere).publish("task:1", "changed")

            assert await one.next(timeout_seconds=10) == "changed"
            assert await two.next(timeout_seconds=10) == "changed"
            assert await other.next(timeout_seconds=0.01) is None

    async def test_drop_the_oldest_for_a_slow_listener(self, live: RedisLiveUpdates) -> None:
        with live.listen("busy") as slow, live.listen("busy") as end:
            for number in range(100):
                await live.publish("busy", str(number))
                assert await end.next(timeout_seconds=10) == str(number)

            heard = []
            while (message := await slow.next(timeout_seconds=0.01)) is not None:
                heard.append(message)

        assert heard == [str(number) for number in range(68, 100)]

    async def test_come_back_when_the_connection_was_cut(
        self, live: RedisLiveUpdates, client: Redis
    ) -> None:
        with live.listen("task:1") as listener:
            await client.client_kill_filter(_type="pubsub")

            async with asyncio.timeout(20):
                while await listener.next(timeout_seconds=0.1) != "again":
                    await live.publish("task:1", "again")

    async def test_are_forgotten_when_nobody_listens(self, live: RedisLiveUpdates) -> None:
        with live.listen("task:1"):
            pass

        assert live._listeners == {}

    async def test_never_fail_whoever_publishes(self) -> None:
        nowhere: Redis = Redis(port=1, socket_connect_timeout=1)

        await RedisLiveUpdates(nowhere).publish("task:1", "changed")

        await nowhere.aclose()


class TestOutboxBell:
    async def test_is_heard_by_every_relay_though_its_connection_was_cut(
        self, client: Redis, redis_url: str
    ) -> None:
        async with Redis.from_url(redis_url) as elsewhere:
            ringer = OutboxBell(elsewhere)
            async with OutboxBell(client).heard() as one, OutboxBell(client).heard() as two:
                for _ in range(2):
                    await asyncio.gather(rung(ringer, one), rung(ringer, two))
                    await client.client_kill_filter(_type="pubsub")
            await ringer.close()

    async def test_never_fails_and_never_waits(self) -> None:
        nowhere: Redis = Redis(port=1, socket_connect_timeout=1)
        bell = OutboxBell(nowhere)

        for _ in range(3):
            bell.ring()

        await bell.close()
        await nowhere.aclose()


async def rung(ringer: OutboxBell, event: asyncio.Event) -> None:
    """Ring until ``event`` was set anew: a ring before the line is up is nobody's."""
    event.clear()
    async with asyncio.timeout(20):
        while not event.is_set():
            ringer.ring()
            await asyncio.sleep(0.01)
