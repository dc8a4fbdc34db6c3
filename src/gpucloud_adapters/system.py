"""What the operating system gives: the wall clock, ids nobody else makes, and secrets.

The only module that asks for the time or for randomness; everyone else is handed these.
"""

import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from gpucloud_core.kernel.ids import entity_id, uuid7

_NOISE_BITS: Final = 74  # what a UUIDv7 holds besides its time, version and variant
_STEP_BITS: Final = 32  # room between two ids of one millisecond, so that neither tells the other


class SystemClock:
    """The wall clock, aware UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


class SystemIds:
    """UUIDv7 ids that increase within the process, also when the clock stands or steps back.

    Within one millisecond the next id is the last one plus a random step (RFC 9562 section 6.2,
    method 2, read 2026-11-22).
    """

    def __init__(self, milliseconds: Callable[[], int] = _milliseconds) -> None:
        self._milliseconds = milliseconds
        self._lock = threading.Lock()  # ids are made on worker threads too
        self._last = (0, 0)

    def new(self, prefix: str) -> str:
        with self._lock:
            self._last = self._next()
            instant, noise = self._last
        return entity_id(prefix, uuid7(instant, noise.to_bytes(10)))

    def _next(self) -> tuple[int, int]:
        last_instant, last_noise = self._last
        instant = self._milliseconds()
        if instant <= last_instant:
            noise = last_noise + 1 + secrets.randbits(_STEP_BITS)
            if noise < 1 << _NOISE_BITS:
                return last_instant, noise
            instant = last_instant + 1  # used up: borrow the next millisecond
        return instant, secrets.randbits(_NOISE_BITS)


class SystemSecrets:
    """Randomness from the operating system."""

    def token(self) -> str:
        return secrets.token_urlsafe(32)

    def jitter(self) -> float:
        """Return a number in [0, 1), so that those who wait do not all come back at once."""
        return secrets.randbelow(1 << 30) / (1 << 30)
