"""Time is an argument. Instants are aware UTC; intervals are half-open."""

from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

MICROSECOND: Final = timedelta(microseconds=1)
HOUR_MICROSECONDS: Final = 3_600_000_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Tells the time. Only shells ask it, once per use case, after their locks."""

    def now(self) -> datetime: ...


def microseconds_between(start: datetime, end: datetime) -> int:
    """Return the whole microseconds from ``start`` up to ``end``, exactly."""
    return (end - start) // MICROSECOND


def rfc3339(instant: datetime) -> str:
    """Return ``instant`` as RFC 3339 in UTC with microseconds, ending in Z."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
