"""A sliding window in a sorted set, counted in one step by a script.

Redis's own clock decides, so that processes whose clocks differ count alike. A refused attempt is
not counted, and a key is forgotten when its window has passed.
"""

import hashlib
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gpucloud_core.kernel.errors import Unavailable
from gpucloud_core.kernel.time import MICROSECOND

_PREFIX: Final = "gpucloud:limit:"

_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - window))
local count = redis.call('ZCARD', KEYS[1])
if count >= limit then
  local blocking = redis.call('ZRANGE', KEYS[1], count - limit, count - limit, 'WITHSCORES')
  return tonumber(blocking[2]) + window - now
end
local attempt = time[1] .. '.' .. time[2] .. '.' .. count
redis.call('ZADD', KEYS[1], string.format('%.0f', now), attempt)
redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
return 0
"""
"""Returns 0, or the microseconds to wait. A double holds microseconds exactly until 2255."""


class RedisRateLimiter:
    """Counts attempts for all processes together."""

    def __init__(self, client: Redis) -> None:
        self._take = client.register_script(_TAKE)

    async def take(self, key: str, *, limit: int, window: timedelta) -> timedelta | None:
        """Count one attempt under ``key``; return how long to wait if it is one too many.

        Raises:
            Unavailable: Redis does not answer. Whoever guards a door with this keeps it shut.
        """
        stored = _PREFIX + hashlib.sha256(key.encode()).hexdigest()
        try:
            wait = await self._take(keys=[stored], args=[limit, window // MICROSECOND])
        except RedisError as error:
            raise Unavailable("Attempts cannot be counted right now.") from error
        return timedelta(microseconds=int(wait)) if wait else None
