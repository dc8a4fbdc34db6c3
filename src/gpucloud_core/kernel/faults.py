"""Named points where a test may break the program; inert otherwise.

A point stands where dying, sleeping or doing a thing twice would hurt most: just before and just
after a call to the outside. Points are values, declared where they are used, so that a misspelt
one cannot exist and a test can enumerate them all and demand that each was tried. Arming belongs
to the present context, as a worker's own: what others do at the same time is not touched. An
unarmed point costs one look at a context variable.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeAlias

Strike: TypeAlias = Callable[[str], Awaitable[None]]
"""What a test does at a point, given its name: raise, sleep, or only take note."""

POINTS: Final[dict[str, "Point"]] = {}
"""Every point in the program by name, filled as the modules that declare them are imported."""

_armed: Final[ContextVar[Strike | None]] = ContextVar("armed", default=None)


@dataclass(frozen=True, slots=True)
class Point:
    """One place in the program: its name, and what is so whenever it is reached."""

    name: str
    meaning: str

    async def reached(self) -> None:
        """Let an armed test strike here."""
        strike = _armed.get()
        if strike is not None:
            await strike(self.name)


@dataclass(frozen=True, slots=True)
class Outside:
    """The two points around one call to the outside; ``async with`` stands where the call does.

    The second is reached only if the call came back without an error: an error is an answer that
    the program deals with anyway.
    """

    before: Point
    after: Point

    async def __aenter__(self) -> None:
        await self.before.reached()

    async def __aexit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            await self.after.reached()


def point(name: str, meaning: str) -> Point:
    """Declare a point; once per name, when its module is loaded."""
    if name in POINTS:
        raise ValueError(f"there are two fault points called {name}")
    POINTS[name] = declared = Point(name, meaning)
    return declared


def outside(area: str, call: str, *, before: str, after: str) -> Outside:
    """Declare the points around a call: ``area.before_call`` and ``area.after_call``."""
    return Outside(point(f"{area}.before_{call}", before), point(f"{area}.after_{call}", after))


@contextmanager
def armed(strike: Strike) -> Iterator[None]:
    """Let ``strike`` be awaited at every point that this context, and tasks made in it, reach."""
    token = _armed.set(strike)
    try:
        yield
    finally:
        _armed.reset(token)
