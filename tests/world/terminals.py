"""Terminals under test: the gateway over a cloud in memory, shells on strings, a careful client.

The client does what the browser's does: it counts what it has seen, acknowledges it, keeps what it
typed until that has arrived, and comes back with both.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from api_world import memory_app
from embedded_servers import free_port
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.terminal import OpenTerminal
from gpucloud_core.kernel.ids import AllocationId, ClaimId
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.ports import NodeUnreachable, Shells
from gpucloud_web.terminals.registry import Terminals
from world.page_server import answers, populated

SECONDS = 20.0
PROTOCOL = Subprotocol("gpucloud.terminal.v1")
Json = dict[str, Any]


class StringShell:
    """A shell whose output the test prints and whose input it keeps.

    Attributes:
        typed: all input so far.
        taken: how many printed bytes were read.
        reads: cleared, it takes no more input.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.typed = b""
        self.taken = 0
        self.closed = False
        self.sizes = [(columns, rows)]
        self.reads = asyncio.Event()
        self.reads.set()
        self.exit_status: int | None = None
        self._lost = False
        self._printed: asyncio.Queue[bytes] = asyncio.Queue()

    def print(self, data: bytes) -> None:
        self._printed.put_nowait(data)

    def end(self) -> None:
        self._printed.put_nowait(b"")

    def lose(self) -> None:
        """Let the connection to the node break."""
        self._lost = True
        self.end()

    async def read(self) -> bytes:
        data = await self._printed.get()
        self.taken += len(data)
        if not data and self._lost:
            raise NodeUnreachable("The connection to the shell broke.")
        return data

    async def write(self, data: bytes) -> None:
        await self.reads.wait()
        self.typed += data

    async def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    async def close(self) -> None:
        self.closed = True

    async def hears(self, size: int) -> None:
        """Wait until so many bytes were typed."""
        await level(lambda: len(self.typed) >= size)


@dataclass
class StringShells:
    opened: list[StringShell] = field(default_factory=list)

    async def open(
        self, access: NodeAccess, claim_id: ClaimId, *, columns: int, rows: int
    ) -> StringShell:
        del access, claim_id
        self.opened.append(StringShell(columns, rows))
        return self.opened[-1]


@dataclass
class Client:
    """A person at a terminal, whose connection may come and go."""

    gateway: "Gateway"
    allocation_id: AllocationId
    socket: ClientConnection | None = None
    session: str = ""
    seen: int = 0
    screen: bytes = b""
    typed: int = 0
    untold: bytes = b""
    lives: list[Json] = field(default_factory=list)
    said: list[Json] = field(default_factory=list)
    acks: bool = True

    async def connect(self, *, blank: bool = False) -> Json:
        """Open a terminal, or come back to it; return the server's first words."""
        query = f"?acks={int(self.acks)}" + (f"&session={self.session}" if self.session else "")
        if self.session and not blank:
            query += f"&seen={self.seen}"
        token = await self.gateway.token(self.allocation_id)
        self.socket = await self.gateway.connect(self.allocation_id, token, query=query)
        live = json.loads(await self.socket.recv())
        if live["state"] == "live":
            self.session, self.seen = live["session"], live["offset"]
            self.lives.append(live)
            missing = self.untold[len(self.untold) - (self.typed - live["typed"]) :]
            self.untold = missing
            if missing:
                await self.socket.send(missing)
        return dict(live)

    async def type(self, data: bytes) -> None:
        self.typed += len(data)
        self.untold += data
        if self.socket is not None:
            with suppress(ConnectionClosed):
                await self.socket.send(data)

    async def say(self, **message: object) -> None:
        assert self.socket is not None
        await self.socket.send(json.dumps(message))

    async def receive(self) -> None:
        assert self.socket is not None
        frame = await self.socket.recv()
        if isinstance(frame, str):
            self.said.append(json.loads(frame))
            return
        self.screen += frame
        self.seen += len(frame)
        if self.acks:
            await self.say(type="ack", offset=self.seen)

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not is_so():
                await self.receive()

    async def shows(self, text: bytes) -> None:
        await self.until(lambda: text in self.screen)

    async def fills(self, size: int) -> None:
        """Wait until so many bytes were shown."""
        await self.until(lambda: len(self.screen) >= size)

    async def ended(self) -> Json:
        """Wait until the server closes; return its last words and the code."""
        assert self.socket is not None
        with suppress(ConnectionClosed):
            await self.until(lambda: False)
        return self.said[-1] | {"close": self.socket.close_code}

    def drop(self) -> None:
        """Break the connection without a word."""
        assert self.socket is not None
        self.socket.transport.abort()
        self.socket = None


@dataclass(kw_only=True)
class Gateway:
    port: int
    cloud: MemoryCloud
    ada: Actor
    allocation_id: AllocationId
    app: Litestar
    sockets: list[ClientConnection] = field(default_factory=list)

    @property
    def terminals(self) -> Terminals:
        held: Terminals = self.app.state.terminals
        return held

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def token(self, allocation_id: AllocationId, origin: str = "") -> str:
        open_terminal = await self.app.state.dishka_container.get(OpenTerminal)
        minted = await open_terminal(actor=self.ada, allocation_id=allocation_id, origin=origin)
        return str(minted.token)

    async def connect(
        self,
        allocation_id: AllocationId,
        token: str,
        *,
        query: str = "",
        origin: str = "",
        **options: Any,
    ) -> ClientConnection:
        url = f"ws://127.0.0.1:{self.port}/ws/terminal/{allocation_id}{query}"
        socket = await connect(
            url,
            subprotocols=[PROTOCOL, Subprotocol(token)],
            origin=Origin(origin) if origin else None,
            compression=None,
            **options,
        )
        self.sockets.append(socket)
        return socket

    def client(self, **options: Any) -> Client:
        return Client(self, self.allocation_id, **options)


@asynccontextmanager
async def gateway(
    shells: Shells | None = None, *, populate: Callable[[], Awaitable[Any]] = populated
) -> AsyncIterator[Gateway]:
    """Serve a populated cloud until the block ends."""
    cloud, ada, known = await populate()
    app = memory_app(cloud, shells)
    port = free_port()
    server = Server(
        app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False
    )
    serving = asyncio.create_task(server.serve())
    try:
        await answers(port)
        opened = Gateway(
            port=port, cloud=cloud, ada=ada, allocation_id=AllocationId(known["active"]), app=app
        )
        yield opened
        for socket in opened.sockets:
            socket.transport.abort()
        await asyncio.gather(*(socket.wait_closed() for socket in opened.sockets))
    finally:
        server.stop()  # type: ignore[no-untyped-call]  # granian leaves it untyped
        await serving


async def level(is_so: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(SECONDS):
        while not is_so():  # noqa: ASYNC110  what is watched has no event
            await asyncio.sleep(0.01)
