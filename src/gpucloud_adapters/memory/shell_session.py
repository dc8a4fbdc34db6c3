"""A shell in memory: what a person would type into a slice that is only its topology."""

import asyncio
from typing import Final

from gpucloud_adapters.memory import node_texts
from gpucloud_core.nodes.holdings import HeldSlice
from gpucloud_core.nodes.model import Topology

_HUNG_UP: Final = 129  # as a shell that got SIGHUP


class MemoryShellSession:
    """A terminal that echoes and knows ``nvidia-smi -L``, ``echo``, ``stty size`` and ``exit``."""

    def __init__(self, held: HeldSlice, topology: Topology) -> None:
        spec = held.spec
        self._prompt = f"{spec.username}@{spec.hostname}:~$ "
        self._gpus = tuple(gpu for gpu in topology.gpus if gpu.uuid in spec.gpu_uuids)
        self._size = (80, 24)
        self._line = ""
        self._output: asyncio.Queue[bytes] = asyncio.Queue()
        self._exit_status: int | None = None
        self._say(self._prompt)

    @property
    def exit_status(self) -> int | None:
        return self._exit_status

    async def read(self) -> bytes:
        """Return the next output; empty once the shell has ended and all was read."""
        if self._exit_status is not None and self._output.empty():
            return b""
        return await self._output.get()

    async def write(self, data: bytes) -> None:
        for character in data.decode(errors="replace"):
            if self._exit_status is not None:
                return
            if character in "\r\n":
                self._say("\r\n")
                self._run(self._line)
                self._line = ""
            elif character == "\x04" and not self._line:
                self._end(0)
            else:
                self._line += character
                self._say(character)

    async def resize(self, columns: int, rows: int) -> None:
        self._size = (columns, rows)

    async def close(self) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """End the shell from outside."""
        if self._exit_status is None:
            self._end(_HUNG_UP)

    def _run(self, line: str) -> None:
        match line.split():
            case ["exit"]:
                self._end(0)
                return
            case ["exit", status] if status.isdigit():
                self._end(int(status) & 0xFF)
                return
            case ["nvidia-smi", "-L"]:
                self._say(node_texts.listing(self._gpus).replace("\n", "\r\n"))
            case ["stty", "size"]:
                self._say(f"{self._size[1]} {self._size[0]}\r\n")
            case ["echo", *words]:
                self._say(f"{' '.join(words)}\r\n")
            case [name, *_]:
                self._say(f"{name}: not on a node in memory\r\n")
            case _:
                pass
        self._say(self._prompt)

    def _say(self, text: str) -> None:
        if text:
            self._output.put_nowait(text.encode())

    def _end(self, status: int) -> None:
        self._exit_status = status
        self._output.put_nowait(b"")  # wakes a reader that waits
