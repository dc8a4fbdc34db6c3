"""A rate limiter in memory, for one process: the instants of each key's latest attempts."""

from collections import deque
from datetime import datetime, timedelta

from gpucloud_core.kernel.time import Clock


class MemoryRateLimiter:
    """Counts attempts in a window that slides with the clock. A refused attempt is not counted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._attempts: dict[str, deque[datetime]] = {}

    async def take(self, key: str, *, limit: int, window: timedelta) -> timedelta | None:
        """Count one attempt under ``key``; return how long to wait if it is one too many."""
        now = self._clock.now()
        attempts = self._attempts.setdefault(key, deque())
        while attempts and attempts[0] <= now - window:
            attempts.popleft()
        if len(attempts) >= limit:
            return attempts[len(attempts) - limit] + window - now
        attempts.append(now)
        return None
