"""What an earlier run left behind: who it started, and which of them still lives.

The supervisor writes down every child with the instant its process began, so that a later run
can end exactly those, and never a stranger who was given the same number since.
"""

import json
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from gpucloud_adapters.embedded.guardian import end_groups
from gpucloud_adapters.embedded.private import write_private

_START_FIELD: Final = 19  # starttime, counted from the state: proc_pid_stat(5), field 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process that we started; ``began`` tells it from a later one of the same number."""

    name: str
    pid: int
    began: str
    stop_signal: int


def began(pid: int) -> str | None:
    """Return a mark of when process ``pid`` began; None if it is not alive.

    A zombie is not alive: it answers to signals, but it runs nothing and holds nothing.
    """
    if not Path("/proc/self/stat").exists():
        return _began_by_ps(pid)
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in {"Z", "X"} else fields[_START_FIELD]


def _began_by_ps(pid: int) -> str | None:
    answer = subprocess.run(
        ("ps", "-o", "state=,lstart=", "-p", str(pid)), capture_output=True, text=True, check=False
    )
    state, _, start = answer.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else start.strip()


def command_line(pid: int) -> str:
    """Return the command line of a process, empty if it cannot be read."""
    with suppress(OSError):
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    answer = subprocess.run(
        ("ps", "-o", "command=", "-p", str(pid)), capture_output=True, text=True, check=False
    )
    return answer.stdout.strip()


class Records:
    """The list of our children in a file, replaced whole at each change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._children: dict[int, Child] = {}

    def add(self, name: str, pid: int, stop_signal: int) -> None:
        mark = began(pid)
        if mark is not None:
            self._children[pid] = Child(name=name, pid=pid, began=mark, stop_signal=stop_signal)
            self._write()

    def remove(self, pid: int) -> None:
        if self._children.pop(pid, None):
            self._write()

    def end_leftovers(self) -> tuple[str, ...]:
        """End what an earlier run started and nobody stopped; return the names."""
        found = [child for child in self._read() if began(child.pid) == child.began]
        end_groups({child.pid: child.stop_signal for child in found})
        self._path.unlink(missing_ok=True)
        return tuple(child.name for child in found)

    def _read(self) -> list[Child]:
        try:
            return [Child(**row) for row in json.loads(self._path.read_text())]
        except (OSError, ValueError, TypeError):  # absent, or cut short: the guardian saw to it
            return []

    def _write(self) -> None:
        write_private(self._path, json.dumps([asdict(child) for child in self._children.values()]))
