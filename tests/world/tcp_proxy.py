"""A TCP proxy between us and a server, with the faults that networks have.

Faults are set while it runs and hold until they are cleared: what is open is cut, what is new is
refused, bytes are swallowed one way or both, or each answer may be the last of its connection.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_CHUNK: Final = 65_536


class Fault(StrEnum):
    NONE = "none"
    REFUSE = "refuse"  # nobody new gets in, and whoever is in is thrown out
    SWALLOW_ANSWERS = "swallow_answers"  # it is done, and nobody hears of it
    SWALLOW_ALL = "swallow_all"  # a half-open line: nothing arrives, nothing is closed
    CUT_SOME = "cut_some"  # an answer may be cut off, and its connection with it


@dataclass(kw_only=True)
class TcpProxy:
    """One proxy; ``port`` is where it listens."""

    to_port: int
    port: int = 0
    fault: Fault = Fault.NONE
    cut_chance: float = 0.02
    chance: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311  faults
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    def cut_all(self) -> None:
        """Cut every connection, as a restart would."""
        for each in self._open:
            each.cancel()

    def become(self, fault: Fault) -> None:
        self.fault = fault
        if fault is Fault.REFUSE:
            self.cut_all()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        with suppress(OSError, asyncio.CancelledError):
            if self.fault is not Fault.REFUSE:
                await self._join(reader, writer)
        self._open.discard(task)
        writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
        try:
            ways = {
                asyncio.ensure_future(self._carry(reader, server_writer, is_answer=False)),
                asyncio.ensure_future(self._carry(server_reader, writer, is_answer=True)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            server_writer.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        while data := await reader.read(_CHUNK):
            if self.fault is Fault.SWALLOW_ALL:
                continue
            if is_answer and self.fault is Fault.SWALLOW_ANSWERS:
                continue
            cuts = is_answer and self.fault is Fault.CUT_SOME
            if cuts and self.chance.random() < self.cut_chance:
                return
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def tcp_proxy(to_port: int) -> AsyncIterator[TcpProxy]:
    """Run a proxy in front of a loopback port until the block ends."""
    proxy = TcpProxy(to_port=to_port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut_all()
        await asyncio.gather(*proxy._open, return_exceptions=True)
