"""What every rate limiter promises."""

import asyncio
from abc import ABC, abstractmethod
from datetime import timedelta

import pytest

from gpucloud_core.access.ports import RateLimiter

WINDOW = timedelta(seconds=60)


class RateLimiterContract(ABC):
    """Subclassed for each adapter, which says how time passes for it."""

    @pytest.fixture
    @abstractmethod
    def limiter(self) -> RateLimiter: ...

    @abstractmethod
    async def wait(self, duration: timedelta) -> None:
        """Let ``duration`` pass for the limiter."""

    async def test_lets_as_many_through_as_the_limit_says(self, limiter: RateLimiter) -> None:
        answers = [await limiter.take("k", limit=3, window=WINDOW) for _ in range(5)]

        assert answers[:3] == [None, None, None]
        assert all(answer is not None for answer in answers[3:])

    async def test_says_how_long_to_wait_and_keeps_its_word(self, limiter: RateLimiter) -> None:
        await limiter.take("k", limit=1, window=WINDOW)
        await self.wait(timedelta(seconds=20))

        pause = await limiter.take("k", limit=1, window=WINDOW)

        assert pause is not None
        assert timedelta(seconds=39) <= pause <= timedelta(seconds=40)
        await self.wait(pause - timedelta(seconds=2))
        assert await limiter.take("k", limit=1, window=WINDOW) is not None
        await self.wait(timedelta(seconds=3))
        assert await limiter.take("k", limit=1, window=WINDOW) is None

    async def test_slides_rather_than_starting_afresh(self, limiter: RateLimiter) -> None:
        await limiter.take("k", limit=2, window=WINDOW)
        await self.wait(timedelta(seconds=50))
        await limiter.take("k", limit=2, window=WINDOW)
        await self.wait(timedelta(seconds=15))

        assert await limiter.take("k", limit=2, window=WINDOW) is None
        assert await limiter.take("k", limit=2, window=WINDOW) is not None

    async def test_does_not_count_what_it_refused(self, limiter: RateLimiter) -> None:
        await limiter.take("k", limit=1, window=WINDOW)
        for _ in range(4):
            await self.wait(timedelta(seconds=11))
            assert await limiter.take("k", limit=1, window=WINDOW) is not None
        await self.wait(timedelta(seconds=17))

        assert await limiter.take("k", limit=1, window=WINDOW) is None

    async def test_keeps_keys_apart(self, limiter: RateLimiter) -> None:
        await limiter.take("k", limit=1, window=WINDOW)

        assert await limiter.take("other", limit=1, window=WINDOW) is None

    async def test_lets_no_more_through_when_many_come_at_once(self, limiter: RateLimiter) -> None:
        answers = await asyncio.gather(
            *(limiter.take("k", limit=5, window=WINDOW) for _ in range(20))
        )

        assert answers.count(None) == 5
