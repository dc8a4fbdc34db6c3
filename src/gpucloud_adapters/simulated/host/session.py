"""A slice's shell on an SSH channel: exec, piped lines, or a terminal with line editing.

The line editor (arrows, history, Home, End, backspace, resize) is asyncssh's own; what it lacks
is added here as keys: Tab, Ctrl-C, Ctrl-L and Ctrl-W as a shell handles them.
"""

import asyncio
from contextlib import suppress
from typing import Final, cast

import asyncssh

from gpucloud_adapters.simulated.host.outcome import Frame
from gpucloud_adapters.simulated.host.shell import Completion, Shell

_REFRESH_SECONDS: Final = 2.0
_SMALLEST: Final = (80, 24)  # what to draw for a terminal that does not tell its size
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[m"  # the editor takes the first m as the end of every escape
_ENTER_SCREEN: Final = "\x1b[?1049h\x1b[?25l\x1b[m"
_LEAVE_SCREEN: Final = "\x1b[?25h\x1b[?1049l\x1b[m"
_INTERRUPTS: Final = (asyncssh.BreakReceived, asyncssh.SignalReceived)
_GONE: Final = (OSError, asyncssh.Error)

Process = asyncssh.SSHServerProcess[str]


def _editor(process: Process) -> asyncssh.SSHLineEditorChannel:
    """Return the editor that asyncssh puts around the channel of every session."""
    return cast("asyncssh.SSHLineEditorChannel", process.channel)


class Session:
    """One channel of a customer (or of the platform on a customer's behalf) in a slice."""

    def __init__(self, process: Process, shell: Shell, *, command: str | None) -> None:
        self._process = process
        self._shell = shell
        self._command = command

    async def run(self) -> None:
        """Serve until the shell ends, then report its status. A client that is gone is fine."""
        with suppress(*_GONE):
            if self._command is not None:
                await self._run_line(self._command)
            elif self._process.term_type is None:
                await self._run_piped()
            else:
                await self._run_terminal()
            await self._process.stdout.drain()
            self._process.exit(self._shell.status)

    def end(self, reason: str) -> None:
        """Close the channel at once, saying why."""
        with suppress(*_GONE):
            self._process.stdout.write(f"\n{reason}\n")
            self._process.exit_with_signal("HUP", msg=reason)

    async def _run_piped(self) -> None:
        while not self._shell.ended and (line := await self._read_line()) is not None:
            await self._run_line(line)

    async def _run_terminal(self) -> None:
        self._shell.columns = self._size()[0]
        self._register_keys()
        self._write(
            "\x1b[2mThis is a simulated node: nothing here runs on a GPU. "
            "Type help for what it has.\x1b[0m\n"
        )
        while not self._shell.ended:
            self._write(self._shell.prompt)
            line = await self._read_line()
            if line is None:
                self._write("logout\n")
                return
            await self._run_line(line)

    async def _read_line(self) -> str | None:
        """Return the next line without its end; None when there will be none."""
        while True:
            try:
                line = await self._process.stdin.readline()
            except asyncssh.TerminalSizeChanged as change:
                self._shell.columns = change.width
            except _INTERRUPTS:
                continue
            else:
                return line.rstrip("\r\n") if line else None

    async def _run_line(self, line: str) -> None:
        for outcome in self._shell.run(line):
            self._write(outcome.text)
            if self._process.term_type is None:
                self._process.stderr.write(outcome.error)
            else:
                self._write(outcome.error)
            if outcome.live:
                await self._run_live(outcome.live)
            await self._process.stdout.drain()

    async def _run_live(self, draw: Frame) -> None:
        """Redraw until q, Ctrl-C or the end of input."""
        _editor(self._process).set_line_mode(False)
        self._write(_ENTER_SCREEN)
        try:
            while True:
                self._write(_CLEAR + draw(*self._size()))
                key = await self._read_key()
                if key is not None and (not key or set(key) & {"q", "Q", "\x03", "\x04"}):
                    return
        finally:
            self._write(_LEAVE_SCREEN)
            _editor(self._process).set_line_mode(True)

    async def _read_key(self) -> str | None:
        """Return what was typed before the next refresh: None if nothing, empty at the end."""
        try:
            async with asyncio.timeout(_REFRESH_SECONDS):
                return await self._process.stdin.read(16)
        except TimeoutError:
            return None
        except asyncssh.TerminalSizeChanged as change:
            self._shell.columns = change.width
            return None
        except _INTERRUPTS:
            return ""

    def _size(self) -> tuple[int, int]:
        width, height, *_ = self._process.term_size
        return width or _SMALLEST[0], height or _SMALLEST[1]

    def _write(self, text: str) -> None:
        if text:
            self._process.stdout.write(text)

    def _register_keys(self) -> None:
        for key, handler in {
            "\t": self._complete,
            "\x03": self._interrupt,
            "\x0c": self._clear,
            "\x17": self._erase_word,
        }.items():
            _editor(self._process).register_key(key, handler)

    def _complete(self, line: str, cursor: int) -> tuple[str, int]:
        completion: Completion = self._shell.complete(line, cursor)
        if completion.choices:
            self._write(f"{line}\n{'  '.join(completion.choices)}\n{self._shell.prompt}")
        return completion.line, completion.cursor

    def _interrupt(self, line: str, _cursor: int) -> tuple[str, int]:
        self._write(f"{line}^C\n{self._shell.prompt}")
        return "", 0

    def _clear(self, line: str, cursor: int) -> tuple[str, int]:
        self._write(_CLEAR + self._shell.prompt)
        return line, cursor

    @staticmethod
    def _erase_word(line: str, cursor: int) -> tuple[str, int]:
        kept = line[:cursor].rstrip().rpartition(" ")
        start = len(kept[0] + kept[1])
        return line[:start] + line[cursor:], start
