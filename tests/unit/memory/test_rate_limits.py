"""The memory rate limiter keeps the contract, on a clock that the test moves."""

from datetime import timedelta

import pytest

from access_builders import StandingClock
from contracts.rate_limiter import RateLimiterContract
from gpucloud_adapters.memory.rate_limits import MemoryRateLimiter
from gpucloud_core.access.ports import RateLimiter


class TestMemoryRateLimiter(RateLimiterContract):
    clock: StandingClock

    @pytest.fixture
    def limiter(self) -> RateLimiter:
        self.clock = StandingClock()
        return MemoryRateLimiter(self.clock)

    async def wait(self, duration: timedelta) -> None:
        self.clock.pass_(duration)
