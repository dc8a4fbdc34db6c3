"""Every shell that this web process holds: who may have one more, who may stay, and what is over.

A shell lives in the process that opened it. All sockets of an allocation have one path, so a proxy
in front of several processes that chooses by path (``docs/operations/terminals.md``) brings people
back to their shell; where it does not, they are told so and can open a new one.
"""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import structlog

from gpucloud_core.access.session_life import Client
from gpucloud_core.allocations.terminal import Admission, Holder, JudgeTerminals
from gpucloud_core.allocations.terminal_life import (
    SHELL_ENDED,
    STOPPING,
    UNCHECKED,
    Ended,
    TerminalGone,
    TerminalLimits,
    TooManyTerminals,
    overdue,
    warning,
)
from gpucloud_core.allocations.terminal_record import RecordTerminal
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import UserId
from gpucloud_core.nodes.ports import ShellSession
from gpucloud_web.terminals.held import HeldShell

log = structlog.get_logger(__name__)

TICK_SECONDS: Final = 1.0
JUDGE_EVERY: Final = 2
HOLD_EVERY: Final = 20
"""Ticks between two words to the database that our terminals are held: a fraction of ``LEASE``."""
UNCHECKED_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 5.0
RECORD_PAUSES: Final = (1.0, 3.0, 0.0)
PAST_MAX: Final = 1000


class Terminals:
    """The shells held here; belongs to one event loop while it holds any.

    Attributes:
        clock: seconds that never go back; the lives of terminals are counted by it.
    """

    def __init__(
        self, limits: TerminalLimits | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self.limits = limits or TerminalLimits()
        self.clock = clock or (lambda: asyncio.get_running_loop().time())
        self._past: deque[tuple[str, Holder, Ended]] = deque(maxlen=PAST_MAX)
        self._held: dict[str, HeldShell] = {}
        self._records: dict[str, Callable[[Ended | None], Awaitable[None]]] = {}
        self._opening: Counter[UserId] = Counter()
        self._watching: asyncio.Task[None] | None = None
        self._judged_at = 0.0

    def shells(self) -> tuple[HeldShell, ...]:
        """Return every shell that is held, oldest first."""
        return tuple(self._held.values())

    @contextmanager
    def place(self, holder: Holder) -> Iterator[None]:
        """Keep a place for a shell that is being opened.

        Raises:
            TooManyTerminals: they have as many as one person may.
        """
        user = holder.user_id
        open_ = sum(
            1 for held in self._held.values() if held.ended is None and held.holder.user_id == user
        )
        if open_ + self._opening[user] >= self.limits.per_person:
            raise TooManyTerminals(f"You have {open_} terminals open, as many as one may.")
        self._opening[user] += 1
        try:
            yield
        finally:
            self._opening[user] -= 1
            if not self._opening[user]:
                del self._opening[user]

    async def hold(
        self,
        admission: Admission,
        shell: ShellSession,
        client: Client,
        *,
        judge: JudgeTerminals,
        record: RecordTerminal,
    ) -> HeldShell:
        """Hold a shell from now on, once it is recorded; what cannot be recorded is not held."""
        name = f"trm_{secrets.token_hex(16)}"
        try:
            lease = await record.opened(admission, name=name, client=client)
        except BaseException:
            await shell.close()
            raise
        held = HeldShell(name=name, holder=admission.holder, shell=shell, clock=self.clock)
        self._held[name] = held
        self._records[name] = partial(record.closed, lease)
        if self._watching is None or self._watching.done():
            self._judged_at = self.clock()
            self._watching = asyncio.create_task(self._watch(judge, record))
        return held

    def find(self, name: str, holder: Holder) -> HeldShell:
        """Return a shell that is held here for the same person and allocation.

        Raises:
            TerminalGone: there is none such.
        """
        held = self._held.get(name)
        if held is None or not _is_theirs(held.holder, holder):
            raise TerminalGone
        held.holder = holder  # whoever signed in again goes on under the new sign-in
        return held

    def past(self, name: str, holder: Holder) -> Ended | None:
        """Return why a terminal of theirs that was held here ended, if that is not long ago."""
        theirs = (end for was, who, end in self._past if was == name and _is_theirs(who, holder))
        return next(theirs, None)

    async def let_go(self, held: HeldShell) -> None:
        """Hang a shell up, and remember of it why it ended."""
        if self._held.pop(held.name, None) is not None:
            self._past.append((held.name, held.holder, held.ended or SHELL_ENDED))
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await held.close()
        except TimeoutError:
            log.warning("terminal.hangs", session=held.name)
        await self._note_end(held)

    async def _note_end(self, held: HeldShell) -> None:
        """Record the end; what a database that is away leaves unrecorded, its lease tells."""
        record = self._records.pop(held.name, None)
        if record is None:
            return
        for pause in RECORD_PAUSES:
            try:
                await record(held.ended)
            except DomainError as error:
                log.warning("terminal.unrecorded", session=held.name, error=error.detail)
                await asyncio.sleep(pause)
            else:
                return

    async def close(self) -> None:
        """End every shell, saying why."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
        held = list(self._held.values())
        for each in held:
            each.end(STOPPING)
        await asyncio.gather(*(self.let_go(each) for each in held))

    async def _watch(self, judge: JudgeTerminals, record: RecordTerminal) -> None:
        ticks = 0
        while self._held:
            await asyncio.sleep(TICK_SECONDS)
            ticks += 1
            over = dict(self._overdue(self.clock()))
            if ticks % JUDGE_EVERY == 0:
                over |= await self._judged(judge, self.clock())
            if ticks % HOLD_EVERY == 0:
                over |= await self._disowned(record)
            for held, ended in over.items():
                held.end(ended)
            await asyncio.gather(*(self.let_go(held) for held in over))

    def _overdue(self, now: float) -> Iterator[tuple[HeldShell, Ended]]:
        """Give the shells whose time is over, and announce the end of those whose nearly is."""
        for held in self._held.values():
            if (ended := overdue(held.life, self.limits, now)) is not None:
                yield held, ended
            elif (warned := warning(held.life, self.limits, now)) is not None:
                held.tell(warned.words, warned.seconds)
            else:
                held.tell("")

    async def _judged(self, judge: JudgeTerminals, now: float) -> dict[HeldShell, Ended]:
        """Return the shells whose holders may not stay."""
        alive = [held for held in self._held.values() if held.ended is None]
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                verdicts = await judge([held.holder for held in alive])
        except Exception as error:  # noqa: BLE001  a database away for a moment ends nobody's work
            log.warning("terminal.unchecked", error=repr(error))
            is_long = now - self._judged_at > UNCHECKED_SECONDS
            return dict.fromkeys(alive, UNCHECKED) if is_long else {}
        self._judged_at = now
        return {held: verdicts[held.holder] for held in alive if held.holder in verdicts}

    async def _disowned(self, record: RecordTerminal) -> dict[HeldShell, Ended]:
        """Say what is held here; return the shells whose end others recorded, we were so silent."""
        alive = [held for held in self._held.values() if held.ended is None]
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                kept = await record.held([held.name for held in alive])
        except Exception as error:  # noqa: BLE001  as long as the lease lasts, nobody minds
            log.warning("terminal.unchecked", error=repr(error))
            return {}
        return {held: UNCHECKED for held in alive if held.name not in kept}


def _is_theirs(holder: Holder, who: Holder) -> bool:
    return (holder.user_id, holder.allocation_id) == (who.user_id, who.allocation_id)
