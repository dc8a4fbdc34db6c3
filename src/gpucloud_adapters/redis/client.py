"""The client: connections that are shared, and replaced when they broke while they waited.

After a restart of the server every waiting connection is a broken one, and nobody who comes next
is to pay for that.
"""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def create_client(redis_url: str) -> Redis:
    """Return a client; it connects when first used. Close it in the end."""
    client: Redis = Redis.from_url(redis_url, retry=Retry(NoBackoff(), retries=1))
    return client
