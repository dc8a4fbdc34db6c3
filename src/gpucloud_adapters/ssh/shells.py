"""``Shells`` over SSH: a terminal in a slice, opened through its node.

Each shell has a connection of its own: terminals last long, and one connection carries only ten
sessions. Nothing is read ahead of the caller beyond SSH's window, so that a slow reader slows the
shell down instead of filling memory. Closing the connection hangs the shell up.
"""

import asyncio
import shlex
from contextlib import suppress
from typing import Final

import asyncssh

from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.node_driver import ask
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes import wire
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.ports import NodeRefused, NodeUnreachable

READ_BYTES_MAX: Final = 64 * 1024
_WINDOW: Final = 256 * 1024
_PACKET: Final = 32 * 1024
_OPEN_SECONDS: Final = 15.0
_END_SECONDS: Final = 5.0
_TERM: Final = "xterm-256color"
_SILENCES: Final = 30  # five minutes: work in a shell is dearer than knowing soon that it is lost
_SIDE_MAX: Final = 1000  # columns or rows


class SshShellSession:
    """One shell, and the connection that is only for it."""

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        process: asyncssh.SSHClientProcess[bytes],
    ) -> None:
        self._connection = connection
        self._process = process
        self._closed = False

    @property
    def exit_status(self) -> int | None:
        return self._process.exit_status

    async def read(self) -> bytes:
        """Return the next bytes; empty when the shell has ended.

        Raises:
            NodeUnreachable: the connection broke.
        """
        if self._hung_up():
            return b""
        try:
            data = await self._process.stdout.read(READ_BYTES_MAX)
            if not data:
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait_closed()
        except TimeoutError:
            return b""  # its status never came
        except (asyncssh.Error, OSError) as error:
            if self._hung_up():
                return b""
            raise NodeUnreachable("The connection to the shell broke.") from error
        if not data and self._process.exit_status is None and self._connection.is_closed():
            raise NodeUnreachable("The connection to the shell broke.")
        return data

    def _hung_up(self) -> bool:
        return self._closed

    async def write(self, data: bytes) -> None:
        """Send what was typed; after the end it goes nowhere."""
        with suppress(asyncssh.Error, OSError):  # reading tells how it ended
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    async def resize(self, columns: int, rows: int) -> None:
        with suppress(asyncssh.Error, OSError):  # likewise
            self._process.change_terminal_size(*_size(columns, rows))

    async def close(self) -> None:
        """Hang up; again is fine."""
        self._closed = True
        self._process.close()
        self._connection.abort()
        await self._connection.wait_closed()


class SshShells:
    """Opens shells in slices on nodes that run ``gpucloud-node``."""

    def __init__(self, connections: SshConnections) -> None:
        self._connections = connections

    async def open(
        self, access: NodeAccess, claim_id: ClaimId, *, columns: int, rows: int
    ) -> SshShellSession:
        """Open a login shell for the slice's own user.

        Raises:
            NodeUnreachable, NodeRefused, HostKeyChanged: as for the driver.
        """
        command = shlex.join(wire.shell_argv(claim_id))
        asked = wire.ClaimRequest(claim_id=claim_id)
        evidence = await ask(self._connections, access, wire.VERIFY, asked)
        if not evidence.running:
            raise NodeRefused("There is no running slice of this claim on the node.")
        connection = await self._connections.dial(access, silences=_SILENCES)
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                process = await connection.create_process(
                    command,
                    encoding=None,
                    term_type=_TERM,
                    term_size=_size(columns, rows),
                    window=_WINDOW,
                    max_pktsize=_PACKET,
                )
        except (asyncssh.Error, OSError, TimeoutError) as error:
            connection.abort()
            raise NodeUnreachable("The node does not open a shell.") from error
        return SshShellSession(connection, process)


def _size(columns: int, rows: int) -> tuple[int, int]:
    return min(max(columns, 1), _SIDE_MAX), min(max(rows, 1), _SIDE_MAX)
