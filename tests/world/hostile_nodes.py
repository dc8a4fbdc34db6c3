"""Nodes that answer as they please: an SSH server on the loopback that a test scripts.

It speaks SSH properly, up to the point where the script says otherwise, and keeps what it was
asked, so that tests can see what reached it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import asyncssh

from gpucloud_core.nodes.model import NodeAccess

Script = Callable[["asyncssh.SSHServerProcess[bytes]"], Awaitable[None]]

OPERATOR = "operator"


@dataclass(slots=True)
class HostileNode:
    """One of them, and what it saw.

    Attributes:
        commands: every command line that arrived, in order.
        connections: how many were made.
        sent_bytes: for scripts to count what they could send.
        alone: set while nobody is connected.
    """

    access: NodeAccess
    key: str
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    sent_bytes: int = 0
    alone: asyncio.Event = field(default_factory=asyncio.Event)
    live: list[asyncssh.SSHServerConnection] = field(default_factory=list)

    async def credentials(self, name: str) -> str:
        assert name == self.access.credential
        return self.key

    def hang_up(self) -> None:
        """Break every connection."""
        for connection in tuple(self.live):
            connection.abort()


class _Server(asyncssh.SSHServer):
    """One connection of a node, which it counts."""

    def __init__(self, node: HostileNode, client_key: asyncssh.SSHKey, *, lets_in: bool) -> None:
        self._node = node
        self._client_key = client_key
        self._lets_in = lets_in

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._node.connections += 1
        self._node.live.append(conn)
        self._node.alone.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._node.live.remove(self._connection)
        if not self._node.live:
            self._node.alone.set()

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        known = key.public_data == self._client_key.public_data
        return self._lets_in and known and username == OPERATOR


@asynccontextmanager
async def hostile_node(
    script: Script, *, host_key_type: str = "ssh-ed25519", lets_in: bool = True
) -> AsyncIterator[HostileNode]:
    """Run one. ``script`` gets each session; what it leaves undone is ended with status 0."""
    host_key = asyncssh.generate_private_key(host_key_type)
    client_key = asyncssh.generate_private_key("ssh-ed25519")
    line = " ".join(host_key.export_public_key().decode().split()[:2])
    access = NodeAccess(
        host="127.0.0.1", port=1, username=OPERATOR, host_key=line, credential="operator"
    )
    node = HostileNode(access=access, key=client_key.export_private_key().decode())

    async def serve(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        node.commands.append(process.command or "")
        try:
            await script(process)
            await process.stdout.drain()
            process.exit(0)
        except (asyncssh.Error, OSError):
            pass  # the visitor had enough

    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=lambda: _Server(node, client_key, lets_in=lets_in),
        server_host_keys=[host_key],
        process_factory=serve,
        encoding=None,
    )
    node.access = replace(access, port=server.get_port())
    try:
        yield node
    finally:
        node.hang_up()
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def plain_listener(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Listen with something that may not be SSH at all; yield the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await answer(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
