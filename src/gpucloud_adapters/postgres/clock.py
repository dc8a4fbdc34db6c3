"""The database's wall clock, known without asking each time.

A reading says what the time was somewhere between the question and its answer; how much goes by
after that, both machines agree on. So a reading serves for a while, and one that was answered
quickly is better than a later one that was not, until the two may have drifted apart.
"""

import time
from datetime import datetime, timedelta
from typing import Final

READ_EVERY: Final = timedelta(seconds=5)
_DRIFT: Final = 2e-4  # seconds a second, at most, between two machines' clocks


class ServerClock:
    """Reckons with the best reading so far. Seconds are those of a monotonic clock."""

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._middle = 0.0
        self._doubt = 0.0
        self._read = 0.0

    def is_due(self, second: float) -> bool:
        """Tell whether it is time for another reading."""
        return self._at is None or second - self._read >= READ_EVERY.total_seconds()

    def note(self, at: datetime, asked: float, answered: float) -> None:
        """Take a reading in: ``at`` was the time when it was asked, or answered, or between."""
        self._read = answered
        middle, doubt = (asked + answered) / 2, (answered - asked) / 2
        if self._at is not None:
            known = self._doubt + _DRIFT * (middle - self._middle)
            apart = abs((at - self.time(middle)).total_seconds())
            if known <= doubt and apart <= known + doubt:
                return
        self._at, self._middle, self._doubt = at, middle, doubt

    def time(self, second: float) -> datetime:
        """Return what the database's clock shows at a second of ours."""
        if self._at is None:
            raise AssertionError("the clock was not read yet")
        return self._at + timedelta(seconds=second - self._middle)

    def now(self) -> datetime:
        return self.time(time.monotonic())
