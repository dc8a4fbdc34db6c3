"""What befalls a world from outside: nodes, workers and clocks in a bad way for a while."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final

from gpucloud_adapters.memory.simulation.dice import Dice
from gpucloud_adapters.memory.simulation.nodes import Mood, RestlessNodes
from gpucloud_adapters.memory.simulation.virtual import WorldClock
from gpucloud_adapters.memory.simulation.workers import Workers

_MINUTE: Final = 60.0
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

_SPELLS: Final = {
    "is_down": 30.0,
    "has_lost_gpu": 15.0,
    "is_impostor": 10.0,
    "is_bad_tempered": 30.0,
    "clock_error": 15.0,
}
"""What may be wrong with a whole node, and how often against each other."""


class Mischief:
    """Decides when something befalls whom, and for how long. ``calm`` ends it all."""

    def __init__(
        self,
        nodes: RestlessNodes,
        workers: Workers,
        clock: WorldClock,
        *,
        dice: Callable[[str], Dice],
        log: Callable[[str], None],
    ) -> None:
        self.met: Final[Counter[str]] = Counter()
        self._nodes = nodes
        self._workers = workers
        self._clock = clock
        self._dice = dice
        self._log = log

    def all(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return everything that goes on until it is stopped."""
        return (
            self._killing(self._dice("killer")),
            self._absences(self._dice("absences")),
            self._clock_steps(self._dice("clock")),
            self._losses(self._dice("losses")),
            *(self._spells(host, self._dice(f"moods of {host}")) for host in self._nodes.moods),
        )

    def calm(self) -> None:
        """Make nodes and workers well again. The database's clock stays as it is."""
        self._workers.calm()
        self._nodes.is_calm = True
        for host in self._nodes.moods:
            self._nodes.moods[host] = Mood()

    async def _spells(self, host: str, dice: Dice) -> None:
        """Let one node have something for a while, and be well again."""
        while True:
            await asyncio.sleep(dice.wait(12 * _HOUR))
            mood, what = self._nodes.moods[host], dice.weighed(_SPELLS)
            seconds = dice.pick((dice.between(_MINUTE, _HOUR), dice.between(_HOUR, 8 * _HOUR)))
            self.met[f"node {what}"] += 1
            self._log(f"{host}: {what} for {seconds:.0f} s")
            if what == "clock_error":
                far = dice.pick((30.0, 280.0, 1200.0))
                mood.clock_error = timedelta(seconds=dice.between(-far, far))
            else:
                setattr(mood, what, True)
            await asyncio.sleep(seconds)
            self._nodes.moods[host] = Mood()
            self._log(f"{host}: well again")

    async def _losses(self, dice: Dice) -> None:
        """Let single slices die on their nodes, for no reason that anybody will find."""
        while True:
            await asyncio.sleep(dice.wait(18 * _HOUR))
            lost = self._nodes.lose_one(dice)
            if lost:
                self.met["slice lost"] += 1
                self._log(f"{lost} died")

    async def _killing(self, dice: Dice) -> None:
        while True:
            await asyncio.sleep(dice.wait(3 * _HOUR))
            self._workers.kill_one()

    async def _absences(self, dice: Dice) -> None:
        """Let there be no worker at all for minutes, and now and then for more than a day."""
        while True:
            await asyncio.sleep(dice.wait(3 * _DAY))
            longest = dice.pick((20 * _MINUTE, 6 * _HOUR, 27 * _HOUR))
            seconds = dice.between(_MINUTE, longest)
            self._workers.send_all_away(seconds)
            await asyncio.sleep(seconds)

    async def _clock_steps(self, dice: Dice) -> None:
        """Set the database's clock wrong by seconds, as a standby's may be that takes over."""
        while True:
            await asyncio.sleep(dice.wait(10 * _HOUR))
            error = timedelta(microseconds=round(dice.between(-2_000_000, 2_000_000)))
            self.met["clock stepped"] += 1
            self._log(f"clock: off by {error / timedelta(seconds=1):+.6f} s")
            self._clock.error = error
