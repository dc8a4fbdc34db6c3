"""A TCP proxy on the loopback that can hold its breath, or cut the line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Gap:
    """Carries bytes while it is ``open``; what arrives meanwhile waits in the kernel's buffers."""

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.open = asyncio.Event()
        self.open.set()
        self.carried = 0
        self._target = (host, port)
        self._ends: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Break every connection without a word."""
        for end in tuple(self._ends):
            end.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._ends |= {writer, far_writer}
        with suppress(OSError):
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        for end in (writer, far_writer):
            end.close()
            self._ends.discard(end)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(64 * 1024):
            await self.open.wait()
            writer.write(data)
            self.carried += len(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def gap_to(host: str, port: int) -> AsyncIterator[Gap]:
    """Stand between somebody and ``host``:``port``."""
    gap = Gap(host, port)
    server = await asyncio.start_server(gap.serve, "127.0.0.1", 0)
    gap.port = server.sockets[0].getsockname()[1]
    try:
        yield gap
    finally:
        gap.open.set()
        gap.cut()
        server.close()
        await server.wait_closed()
