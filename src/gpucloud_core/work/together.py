"""Gives those who ask at the same moment to one call, and each its own answer.

This is how turns of many tasks share one commit: while one call is under way, whoever asks waits
for the next, and so the more is asked, the more goes together. Nobody waits where nobody is busy.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias, TypeVar

ROOM: Final = 64  # in one call
CALLS: Final = 2  # one may wait for the disk while another is being written

W = TypeVar("W")
A = TypeVar("A")
Carry: TypeAlias = Callable[[Sequence[W]], Awaitable[Sequence[A]]]
"""Carries wishes out together; returns an answer to each, in their order."""


@dataclass(slots=True)
class Together(Generic[W, A]):
    """Collects wishes and has them carried out, at most ``room`` in a call."""

    room: int = ROOM
    calls: int = CALLS
    _waiting: list[tuple[W, asyncio.Future[A]]] = field(default_factory=list)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    async def __call__(self, wish: W, carry_out: Carry[W, A]) -> A:
        """Return the answer to ``wish``; whatever ``carry_out`` raises, all of its call get."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((wish, answer))
        if len(self._serving) < self.calls:
            serving = asyncio.create_task(self._serve(carry_out))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)
        return await answer

    async def _serve(self, carry_out: Carry[W, A]) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[: self.room], self._waiting[self.room :]
            asked = [(wish, answer) for wish, answer in taken if not answer.done()]
            try:
                said = await carry_out([wish for wish, _ in asked])
            except Exception as error:  # noqa: BLE001  each of those who asked decides
                for _, answer in asked:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            except BaseException:  # the end of the process, or of a test's worker
                for _, answer in (*asked, *self._waiting):
                    answer.cancel()
                self._waiting = []
                raise
            for (_, answer), one in zip(asked, said, strict=True):
                if not answer.done():
                    answer.set_result(one)
