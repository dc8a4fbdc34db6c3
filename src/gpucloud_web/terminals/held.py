"""A shell that is held while sockets come and go, and the view that one socket has of it.

What the shell prints is kept in a ``Replay`` and sent from there. While somebody looks, no more is
read from the shell than they can follow, so that a slow reader slows the shell; while nobody looks
it runs on, and the oldest output makes room. What is typed waits in a queue of its own: whoever
types faster than the shell reads is slowed, and what they say besides is still heard.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from gpucloud_core.allocations.terminal import Holder
from gpucloud_core.allocations.terminal_life import NODE_LOST, SHELL_ENDED, TAKEN_OVER, Ended, Life
from gpucloud_core.allocations.terminal_replay import Replay, Resumption
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.nodes.ports import ShellSession
from gpucloud_web.terminals import frames

log = structlog.get_logger(__name__)

REPLAY_BYTES: Final = 1024 * 1024
AHEAD_BYTES: Final = 256 * 1024
"""How far the shell may be ahead of what was sent."""
UNSEEN_BYTES: Final = 512 * 1024
"""How much may be under way to a client that acknowledges; all of it is still kept."""
SEND_BYTES: Final = 128 * 1024
TYPED_BYTES: Final = 64 * 1024
"""How much typed input waits for the shell before no more is taken from the socket."""
TELL_TYPED_EVERY: Final = 16 * 1024
SAID_MAX: Final = 32


class View:
    """What one socket has been sent of a shell, and what it is still to be told."""

    __slots__ = ("_wake", "acked", "over", "said", "sent")

    def __init__(self, sent: int, *, acknowledges: bool) -> None:
        self.sent = sent
        self.acked = sent if acknowledges else None
        self.said: deque[str] = deque()
        self.over: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._wake = asyncio.Event()

    def say(self, text: str) -> None:
        """Let ``text`` be sent; one who asks much and reads nothing gets no more answers."""
        if len(self.said) < SAID_MAX:
            self.said.append(text)
        self._wake.set()

    def close(self, ended: Ended) -> None:
        """End the view now, whatever is still to be sent."""
        if not self.over.done():
            self.over.set_result(ended)

    def wake(self) -> None:
        self._wake.set()

    async def woken(self) -> None:
        """Wait until there may be something to send."""
        await self._wake.wait()
        self._wake.clear()

    @property
    def room(self) -> int:
        """How many bytes may be sent now."""
        if self.acked is None:
            return SEND_BYTES
        return min(SEND_BYTES, UNSEEN_BYTES - (self.sent - self.acked))


class HeldShell:
    """One shell, at most one view of it, and the two jobs that carry its bytes."""

    def __init__(
        self, *, name: str, holder: Holder, shell: ShellSession, clock: Callable[[], float]
    ) -> None:
        self.name = name
        self.holder = holder
        self.shell = shell
        self.replay = Replay(REPLAY_BYTES)
        self.view: View | None = None
        self.ended: Ended | None = None
        self.typed = 0  # bytes taken from sockets
        self.notice = ""
        self._clock = clock
        self._opened = self._active = clock()
        self._detached: float | None = self._opened
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = self._told = 0
        self._to_type, self._seen, self._took = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._jobs = (asyncio.create_task(self._print()), asyncio.create_task(self._type()))

    @property
    def life(self) -> Life:
        return Life(opened=self._opened, active=self._active, detached=self._detached)

    def attach(self, seen: int | None, *, acknowledges: bool) -> tuple[View, Resumption]:
        """Show the shell to a new view, and to no other."""
        if self.view is not None:
            self.view.close(TAKEN_OVER)
        found = self.replay.resume(seen)
        self.view = View(found.offset, acknowledges=acknowledges)
        self._detached = None
        self.notice = ""
        self._told = self.typed
        return self.view, found

    def detach(self, view: View) -> None:
        if self.view is view:
            self.view = None
            self._detached = self._clock()
            self._seen.set()

    def next_bytes(self, view: View) -> bytes:
        """Return what is to be sent now, if anything; the caller sends it before it asks again."""
        room = view.room
        if room <= 0 or view.sent == self.replay.end:
            return b""
        data = self.replay.read(view.sent, room)
        view.sent += len(data)
        self._seen.set()
        return data

    def is_drained(self, view: View) -> bool:
        """Whether the shell has ended and all it printed was sent."""
        return self.ended is not None and view.sent == self.replay.end

    def is_seen(self, view: View) -> bool:
        """Whether all that was sent is drawn, as far as the client tells."""
        return view.acked is None or view.acked == view.sent

    def acknowledge(self, view: View, offset: int) -> None:
        if view.acked is not None and view.acked <= offset <= view.sent:
            view.acked = offset
            view.wake()

    async def take(self, view: View, data: bytes) -> None:
        """Take what was typed; waits while too much of it waits for the shell.

        From a view that was replaced nothing is taken: its client was told what had arrived, and
        sends the rest again.
        """
        if self.view is not view:
            return
        self.typed += len(data)
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._active = self._clock()
        self._to_type.set()
        while self._waiting_bytes > TYPED_BYTES and self.ended is None:
            self._took.clear()
            await self._took.wait()

    def tell(self, words: str, seconds: int = 0) -> None:
        """Say something beside the terminal; the same thing only once."""
        if words != self.notice and self.view is not None:
            self.notice = words
            self.view.say(frames.text_of(frames.Notice(words=words, seconds=seconds)))

    def end(self, ended: Ended, *, at_once: bool = True) -> None:
        """Let it end; ``at_once`` leaves unsent what was not sent yet."""
        self.ended = self.ended or ended
        self._took.set()
        if self.view is not None:
            if at_once:
                self.view.close(ended)
            self.view.wake()

    async def close(self) -> None:
        """Hang up; again is fine."""
        for job in self._jobs:
            job.cancel()
        for outcome in await asyncio.gather(*self._jobs, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("terminal.broke", session=self.name, error=repr(outcome))
        await self.shell.close()

    async def _print(self) -> None:
        try:
            while data := await self.shell.read():
                self.replay.append(data)
                self._active = self._clock()
                if self.view is not None:
                    self.view.wake()
                while self.view is not None and self.replay.end - self.view.sent > AHEAD_BYTES:
                    self._seen.clear()
                    await self._seen.wait()
            await self.shell.close()
            self.end(SHELL_ENDED, at_once=False)
        except DomainError as lost:
            log.info("terminal.node_lost", session=self.name, reason=lost.detail)
        finally:
            self.end(NODE_LOST, at_once=False)  # the first reason stays

    async def _type(self) -> None:
        while True:
            while self._waiting:
                data = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
                self._waiting.clear()
                await self.shell.write(data)
                self._waiting_bytes -= len(data)
                self._took.set()
                self._tell_typed()
            self._to_type.clear()
            await self._to_type.wait()

    def _tell_typed(self) -> None:
        done = self.typed - self._waiting_bytes
        if self.view is not None and done - self._told >= TELL_TYPED_EVERY:
            self._told = done
            self.view.say(frames.text_of(frames.Typed(typed=done)))
