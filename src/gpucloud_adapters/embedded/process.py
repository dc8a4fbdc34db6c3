"""Starts processes, keeps them running, and stops them in order.

A *service* runs until it is stopped; one that dies is started again, at first at once and then
ever more slowly. A *job* runs to its end. Each child leads a process group of its own, so that a
Ctrl-C in the terminal reaches only the supervisor, and so that a child's own children can be
ended with it. Everything a child prints goes to a log file of its own.

Three nets hold a child: the supervisor stops it, the guardian ends it if the supervisor is
killed, and the records let the next run end it if both are.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from gpucloud_adapters.embedded.guardian import Guardian
from gpucloud_adapters.embedded.leftovers import Records
from gpucloud_adapters.embedded.private import private_opener

_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 10.0
_STEADY_SECONDS: Final = 30.0  # having lived this long, a service is forgiven its past
_POLL_SECONDS: Final = 0.1
_LOG_LIMIT: Final = 10 << 20
_TAIL_LINES: Final = 15


class ChildFailed(Exception):
    """A child did not come up, or did not finish its work; carries its last words."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        self.name = name
        self.log = log
        super().__init__(f"{name} {what}. The end of {log}:\n{tail(log)}")


async def _at_once() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How one process is started and stopped.

    Attributes:
        environment: the whole environment of the process, not an addition to ours.
        stop_signal: what asks it to stop, and ``stop_seconds`` how long that may take.
        before: runs before each start, in a thread.
        ready: tells whether it answers, asked again and again for ``ready_seconds``.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 8.0
    before: Callable[[], None] = lambda: None
    ready: Callable[[], Awaitable[bool]] = _at_once
    ready_seconds: float = 60.0


def spawn(command: Command, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start ``command`` at the head of its own process group, with its output in ``log``."""
    return subprocess.Popen(
        command.argv,
        env=dict(command.environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def open_log(path: Path) -> IO[bytes]:
    """Open a log to append to, for our eyes only; a big one is put aside first."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > _LOG_LIMIT:
            path.replace(path.with_suffix(".old.log"))
    return open(path, "ab", opener=private_opener)


def tail(log: Path) -> str:
    """Return the last lines of a log, indented."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        lines = file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join(f"    {line}" for line in lines)
    return ""


def end_group(pid: int) -> None:
    """Kill whatever is left of the process group that ``pid`` led."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


async def together(*works: Coroutine[None, None, None]) -> None:
    """Do all of ``works`` at once; when one fails, give the others up and raise what it raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Supervisor:
    """Holds services and jobs; leaving its block stops them all, the youngest first."""

    def __init__(self, *, logs: Path, records: Records, report: Callable[[str], None]) -> None:
        self._logs = logs
        self._records = records
        self._report = report
        self._services: list[_Service] = []
        self._jobs: set[_Child] = set()
        self._guardian: Guardian | None = None
        self._ensuring: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._guardian = Guardian()
        self._ensuring = asyncio.create_task(self._keep_guardian(self._guardian))
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        for job in tuple(self._jobs):
            await job.stop()
        for service in reversed(self._services):
            await service.stop()
        if self._ensuring is not None:
            self._ensuring.cancel()
        if self._guardian is not None:
            await asyncio.to_thread(self._guardian.dismiss)

    async def start(self, command: Command) -> None:
        """Start a service and return when it answers.

        Raises:
            ChildFailed: it died before that, or took too long.
        """
        service = _Service(self, command)
        self._services.append(service)
        await service.start()

    async def run(self, command: Command) -> None:
        """Run a job to its end.

        Raises:
            ChildFailed: it ended with another status than 0.
        """
        child = await self.spawn(command)
        self._jobs.add(child)
        try:
            status = await child.wait()
        finally:
            self._jobs.discard(child)
        if status != 0:
            raise ChildFailed(command.name, f"ended with status {status}", child.log)

    async def spawn(self, command: Command) -> "_Child":
        await asyncio.to_thread(command.before)
        log = self._logs / f"{command.name}.log"
        with open_log(log) as output:
            process = spawn(command, output)
        if self._guardian is not None:
            self._guardian.watch(process.pid, command.stop_signal)
        self._records.add(command.name, process.pid, command.stop_signal)
        return _Child(self, command, process, log)

    def report(self, line: str) -> None:
        self._report(line)

    def buried(self, pid: int) -> None:
        if self._guardian is not None:
            self._guardian.forget(pid)
        self._records.remove(pid)

    async def _keep_guardian(self, guardian: Guardian) -> None:
        while True:
            await asyncio.sleep(1)
            guardian.ensure()


class _Child:
    """One running process."""

    def __init__(
        self,
        supervisor: Supervisor,
        command: Command,
        process: "subprocess.Popen[bytes]",
        log: Path,
    ) -> None:
        self._supervisor = supervisor
        self._command = command
        self._process = process
        self._end = asyncio.create_task(self._await_end())
        self.log = log

    @property
    def alive(self) -> bool:
        return not self._end.done()

    async def wait(self) -> int:
        """Return the exit status; negative is the signal that killed it."""
        return await asyncio.shield(self._end)

    async def stop(self) -> None:
        if self.alive:
            with suppress(ProcessLookupError):
                self._process.send_signal(self._command.stop_signal)
            await asyncio.wait({self._end}, timeout=self._command.stop_seconds)
        if self.alive:
            end_group(self._process.pid)
        await self.wait()

    async def _await_end(self) -> int:
        while (status := self._process.poll()) is None:  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(_POLL_SECONDS)
        end_group(self._process.pid)
        self._supervisor.buried(self._process.pid)
        return status


class _Service:
    """One command, and the task that starts it again."""

    def __init__(self, supervisor: Supervisor, command: Command) -> None:
        self._supervisor = supervisor
        self._command = command
        self._child: _Child | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._child = await self._supervisor.spawn(self._command)
        await self._until_ready(self._child)
        self._keeper = asyncio.create_task(self._keep(self._child))

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        if self._child is not None:
            await self._child.stop()

    async def _until_ready(self, child: _Child) -> None:
        deadline = time.monotonic() + self._command.ready_seconds
        while not await self._command.ready():
            if not child.alive:
                status = await child.wait()
                raise ChildFailed(self._command.name, f"ended with status {status}", child.log)
            if time.monotonic() > deadline:
                seconds = self._command.ready_seconds
                raise ChildFailed(self._command.name, f"gave no answer in {seconds:g} s", child.log)
            await asyncio.sleep(_POLL_SECONDS)

    async def _keep(self, child: _Child) -> None:
        delay = _FIRST_DELAY
        while True:
            began = time.monotonic()
            status = await child.wait()
            if time.monotonic() - began > _STEADY_SECONDS:
                delay = _FIRST_DELAY
            self._supervisor.report(
                f"{self._command.name} ended with status {status}; starting it again "
                f"(its words are in {child.log})"
            )
            child = self._child = await self._again(delay)
            delay = min(2 * delay, _LONGEST_DELAY)

    async def _again(self, delay: float) -> _Child:
        while True:
            await asyncio.sleep(delay)
            try:
                return await self._supervisor.spawn(self._command)
            except OSError as error:  # such as no memory to fork with
                self._supervisor.report(f"{self._command.name} does not start: {error}")
                delay = min(2 * delay, _LONGEST_DELAY)
