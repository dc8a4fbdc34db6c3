"""A database that fails now and then: it does not answer, undoes, or keeps and does not say so.

Trouble meets only whoever is in it, by context: workers, customers and the provider's deliveries,
as these have to live with it. Who founds the world, or looks at it, is left alone.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Final

from gpucloud_adapters.memory.database import MemoryDatabase
from gpucloud_adapters.memory.simulation.dice import Dice
from gpucloud_adapters.memory.unit import MemoryTransactions, MemoryUnit
from gpucloud_core.kernel.errors import Conflict, Unavailable
from gpucloud_core.kernel.time import Clock
from gpucloud_core.kernel.unit import Scope

NO_ANSWER: Final = "no_answer"  # nothing was begun
UNDONE: Final = "undone"  # all was done, and none of it kept: a conflict
LOST: Final = "lost"  # all is kept, and nobody heard of it
_CHANCE: Final = 0.004  # of a transaction, to meet any of these

_exposed: Final[ContextVar[bool]] = ContextVar("exposed", default=False)


@contextmanager
def exposed() -> Iterator[None]:
    """Let the database fail for whatever this context, and tasks made in it, does."""
    token = _exposed.set(True)
    try:
        yield
    finally:
        _exposed.reset(token)


class RestlessTransactions(MemoryTransactions):
    """Units of work that may fail before, in the middle, or after they are committed."""

    def __init__(
        self, clock: Clock, database: MemoryDatabase, dice: Dice, *, rough: float = 1
    ) -> None:
        super().__init__(clock, database)
        self._chance = _CHANCE * rough
        self.is_calm = False
        self.met: Final[Counter[str]] = Counter()
        self._dice = dice

    @asynccontextmanager
    async def _begin(self, scope: Scope) -> AsyncIterator[MemoryUnit]:
        fate = self._fate()
        if fate == NO_ANSWER:
            raise Unavailable("The database does not answer.")
        async with super()._begin(scope) as unit:
            yield unit
            if fate == UNDONE:
                raise Conflict("Someone else changed this at the same moment.")
        if fate == LOST:
            raise Unavailable("The database went away before it answered.")

    def _fate(self) -> str:
        if self.is_calm or not _exposed.get() or not self._dice.chance(self._chance):
            return ""
        fate = self._dice.pick((NO_ANSWER, UNDONE, LOST))
        self.met[fate] += 1
        return fate
