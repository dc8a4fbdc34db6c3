"""Virtual time: an event loop that never waits, and the clocks that follow it.

Where an ordinary loop would sleep until its next timer, this one lets the time pass at once. All
that stands on timers (sleeps, timeouts, leases) thus runs as in life, only without the waiting,
and in the same order each time. Nothing here may wait for the real world; who does is told.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from gpucloud_adapters.memory.cloud import START, OwnClock
from gpucloud_core.kernel.time import microseconds_between

T = TypeVar("T")
_MICROSECONDS: Final = 1_000_000


class Stalled(Exception):
    """Everything waits, and for no timer: the world would stand still for ever."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when nothing is left to do at this instant."""

    def __init__(self) -> None:
        self._instant = 0.0
        super().__init__(_Impatient(self._pass))

    def time(self) -> float:
        return self._instant

    def _pass(self, seconds: float) -> None:
        self._instant += seconds


class _Impatient(selectors.SelectSelector):
    """Waits for no file: it only lets time pass."""

    def __init__(self, let_pass: Callable[[float], None]) -> None:
        super().__init__()
        self._let_pass = let_pass

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled("everything waits for something that no timer brings")
        if timeout > 0:
            self._let_pass(timeout)
        return []


def run_virtually(story: Coroutine[Any, Any, T]) -> T:
    """Run ``story`` from beginning to end on a virtual loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)


class WorldClock(OwnClock):
    """The database's clock: it follows the loop's time, and may be set wrong."""

    def __init__(self, start: datetime = START) -> None:
        super().__init__(start)
        self._start = start
        self._loop = asyncio.get_running_loop()
        self.error = timedelta(0)

    def now(self) -> datetime:
        return self.true_time() + self.error

    def true_time(self) -> datetime:
        """Return the instant without the error of this clock."""
        return self._start + timedelta(microseconds=round(self._loop.time() * _MICROSECONDS))

    def seconds_until(self, instant: datetime) -> float:
        """Return how long it takes until this clock shows ``instant``; not less than zero."""
        return max(0, microseconds_between(self.now(), instant)) / _MICROSECONDS

    def advance_to(self, instant: datetime) -> None:
        raise TypeError("this clock follows the loop; sleep instead")


class NodeClock:
    """A node's own clock, which runs by the true time but may be off."""

    def __init__(self, world: WorldClock) -> None:
        self._world = world
        self.error = timedelta(0)

    def now(self) -> datetime:
        return self._world.true_time() + self.error
