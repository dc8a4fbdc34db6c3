"""Ends the children when their parent is gone, however it went.

A parent that is killed with SIGKILL cannot stop anyone. So it keeps a pipe open to this small
process and tells it what it started; when the pipe closes, the guardian asks every child that is
left to stop, and soon kills it. This holds on every POSIX system, and reaches the children's own
children, as each child leads a process group.

Standard library only: it has to be there at once, and to stay small.

The protocol is a line each way of life: ``+ PID SIGNAL`` (started; stop it with SIGNAL) and
``- PID`` (it ended).
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

GRACE_SECONDS: Final = 4.0
_MODULE: Final = "gpucloud_adapters.embedded.guardian"


class Guardian:
    """The parent's end: starts the guardian, and starts it anew if it is killed."""

    def __init__(self) -> None:
        self._children: dict[int, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.ensure()

    def ensure(self) -> None:
        """See to it that a guardian lives and knows every child."""
        if self._process is not None and self._process.poll() is None:
            return
        self._process = subprocess.Popen(
            (sys.executable, "-P", "-m", _MODULE),
            stdin=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C meant for us must not end it
        )
        for pid, stop_signal in self._children.items():
            self._tell(f"+ {pid} {stop_signal}")

    def watch(self, pid: int, stop_signal: int) -> None:
        self._children[pid] = stop_signal
        self._tell(f"+ {pid} {stop_signal}")

    def forget(self, pid: int) -> None:
        self._children.pop(pid, None)
        self._tell(f"- {pid}")

    def dismiss(self) -> None:
        """Let it go; whatever it still watches, it ends."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
            process.wait()

    def _tell(self, line: str) -> None:
        self.ensure()
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):  # killed just now: the next ensure() tells the next one all
                self._process.stdin.write(f"{line}\n".encode())
                self._process.stdin.flush()


def watch(pipe: IO[bytes]) -> None:
    """Follow the parent's lines until it closes the pipe or dies, then end what is left."""
    children: dict[int, int] = {}
    for line in pipe:
        match line.split():
            case [b"+", pid, stop_signal]:
                children[int(pid)] = int(stop_signal)
            case [b"-", pid]:
                children.pop(int(pid), None)
            case _:  # the parent died in the middle of a word
                break
    end_groups(children)


def end_groups(groups: dict[int, int], grace_seconds: float = GRACE_SECONDS) -> None:
    """Send each process group its signal, the youngest first; kill what remains after a while."""
    left = {pid: number for pid, number in reversed(groups.items()) if _signal(pid, number)}
    deadline = time.monotonic() + grace_seconds
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = {pid: number for pid, number in left.items() if _lives(pid)}
    for pid in left:
        _signal(pid, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Send a signal to a process group; tell whether there was one."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a zombie
        return False
    return True


def _lives(group: int) -> bool:
    """Tell whether anybody in the group still runs; the dead that nobody buried do not count."""
    if not _signal(group, 0):
        return False
    members = [_state_and_group(file) for file in Path("/proc").glob("[0-9]*/stat")]
    if not members:
        return True  # not Linux: the signal's word is all there is
    return any(number == group and state not in {"Z", "X"} for state, number in members)


def _state_and_group(stat: Path) -> tuple[str, int]:
    """Return a process's state and process group. Source: proc_pid_stat(5), fields 3 and 5."""
    try:
        fields = stat.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:  # ended meanwhile
        return "X", 0
    return fields[0], int(fields[2])


if __name__ == "__main__":
    watch(sys.stdin.buffer)
