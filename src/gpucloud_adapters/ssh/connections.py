"""Held SSH connections to nodes: pinned, bounded, and errors in the port's own words.

A node is another machine and may be hostile: nothing of its answers is trusted, their size and
time are capped, nothing of ours is forwarded to it, and neither configuration files nor agents
have a say. One connection per node carries short commands; it closes when nothing used it for a
while, and is made anew when it broke. A command that broke with its connection may or may not
have run: that is what ``NodeUnreachable`` means.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import asyncssh

from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.nodes import wire_values as check
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.ports import HostKeyChanged, NodeRefused, NodeUnreachable

OUTPUT_BYTES_MAX: Final = 256 * 1024
_CHUNK: Final = 32 * 1024
_WINDOW: Final = 256 * 1024  # what a node may send before we read; asyncssh buffers no more
_SESSIONS_MAX: Final = 8  # OpenSSH lets ten run on one connection
_CIPHERS: Final = [  # the first two run on the processor's own AES, at half the cost here
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
]
_SIGNATURES: Final = {"ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256"]}  # never SHA-1


class Credentials(Protocol):
    """Looks a private key up by the name that ``NodeAccess.credential`` gives; NotFound if none."""

    async def __call__(self, name: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Output:
    """What a command wrote, and how it ended; ``status`` is None if a signal ended it."""

    stdout: bytes
    status: int | None


@dataclass(slots=True)
class _Held:
    """The connection to one node, and who uses it."""

    sessions: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_SESSIONS_MAX))
    connection: asyncssh.SSHClientConnection | None = None
    dialling: asyncio.Task[asyncssh.SSHClientConnection] | None = None
    users: int = 0
    idle: asyncio.TimerHandle | None = None


class SshConnections:
    """Connections to any number of nodes. Belongs to one event loop."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        connect_seconds: float = 15.0,
        idle_seconds: float = 60.0,
        keepalive_seconds: float = 10.0,
    ) -> None:
        self._credentials = credentials
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._keepalive_seconds = keepalive_seconds
        self._held: dict[NodeAccess, _Held] = {}

    async def run(
        self,
        access: NodeAccess,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        seconds: float,
        bytes_max: int = OUTPUT_BYTES_MAX,
    ) -> Output:
        """Run a command on a node, over the held connection.

        Raises:
            NodeUnreachable: no connection, it broke, or ``seconds`` passed.
            NodeRefused: our key is not let in, or the output is longer than it may be.
            HostKeyChanged: not the machine we know.
        """
        async with self._borrowed(access) as connection:
            try:
                async with asyncio.timeout(seconds):
                    return await _run(connection, shlex.join(argv), stdin, bytes_max)
            except TimeoutError as error:
                raise NodeUnreachable(
                    f"The node did not finish {argv[0]} within {seconds:g} s."
                ) from error
            except (asyncssh.Error, OSError) as error:
                raise NodeUnreachable("The connection to the node broke.") from error

    async def dial(self, access: NodeAccess, *, silences: int = 3) -> asyncssh.SSHClientConnection:
        """Return a connection of the caller's own, for what lasts long; the caller closes it.

        It breaks when ``silences`` questions in a row, ten seconds apart, had no answer.

        Raises:
            NodeUnreachable, NodeRefused, HostKeyChanged: as for ``run``.
        """
        pinned = _pinned(access)
        key = await self._client_key(access)
        try:
            async with asyncio.timeout(self._connect_seconds):
                return await asyncssh.connect(
                    access.host,
                    access.port,
                    username=access.username,
                    client_keys=[key],
                    known_hosts=([pinned], [], []),
                    server_host_key_algs=_algorithms(pinned),
                    preferred_auth="publickey",
                    agent_path=None,
                    agent_forwarding=False,
                    config=None,
                    compression_algs=None,
                    encryption_algs=_CIPHERS,
                    keepalive_interval=self._keepalive_seconds,
                    keepalive_count_max=silences,
                    login_timeout=self._connect_seconds,
                )
        except asyncssh.HostKeyNotVerifiable as error:
            raise _changed(access) from error
        except asyncssh.PermissionDenied as error:
            raise NodeRefused("The node does not let our key in.") from error
        except TimeoutError as error:
            raise NodeUnreachable("The node does not answer in time.") from error
        except (asyncssh.Error, OSError) as error:
            if isinstance(error, asyncssh.Error) and await self._shows_another(access, pinned):
                raise _changed(access) from error
            raise NodeUnreachable("The node does not answer.") from error

    async def close(self) -> None:
        """Close every connection."""
        for held in self._held.values():
            if held.idle:
                held.idle.cancel()
            if held.dialling:
                held.dialling.cancel()
            if held.connection:
                held.connection.abort()
                await held.connection.wait_closed()
        self._held.clear()

    async def _client_key(self, access: NodeAccess) -> asyncssh.SSHKey:
        try:
            return asyncssh.import_private_key(await self._credentials(access.credential))
        except NotFound as error:
            raise NodeRefused(error.detail) from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
            # Without its cause: the words of an import error may quote the key.
            raise NodeRefused(f"The key {access.credential} cannot be read.") from None

    async def _shows_another(self, access: NodeAccess, pinned: asyncssh.SSHKey) -> bool:
        """Whether the node has no key of the pinned type and shows one of another.

        A server that shares no type with us hangs up without a word; this tells that apart from a
        connection that merely broke.
        """
        try:
            async with asyncio.timeout(self._connect_seconds):
                shown = await asyncssh.get_server_host_key(access.host, access.port, config=None)
        except (asyncssh.Error, OSError, TimeoutError):
            return False
        return shown is not None and shown.public_data != pinned.public_data

    @asynccontextmanager
    async def _borrowed(self, access: NodeAccess) -> AsyncIterator[asyncssh.SSHClientConnection]:
        held = self._held.setdefault(access, _Held())
        held.users += 1
        if held.idle:
            held.idle.cancel()
            held.idle = None
        try:
            connection = await self._connected(access, held)
            async with held.sessions:
                yield connection
        finally:
            held.users -= 1
            if held.users == 0:
                loop = asyncio.get_running_loop()
                held.idle = loop.call_later(self._idle_seconds, self._drop, access, held)

    async def _connected(self, access: NodeAccess, held: _Held) -> asyncssh.SSHClientConnection:
        """Return the held connection; all who wait for a new one share its outcome."""
        if held.connection and not held.connection.is_closed():
            return held.connection
        if held.dialling is None:
            held.dialling = asyncio.create_task(self.dial(access))
            held.dialling.add_done_callback(lambda done: self._dialled(access, held, done))
        return await asyncio.shield(held.dialling)

    def _dialled(
        self, access: NodeAccess, held: _Held, done: "asyncio.Task[asyncssh.SSHClientConnection]"
    ) -> None:
        held.dialling = None
        if done.cancelled() or done.exception():
            return
        if self._held.get(access) is held:
            held.connection = done.result()
        else:
            done.result().abort()  # whoever wanted it has gone

    def _drop(self, access: NodeAccess, held: _Held) -> None:
        """Close what nobody used for a while."""
        if held.users == 0 and self._held.get(access) is held:
            del self._held[access]
            if held.connection:
                held.connection.close()


def _pinned(access: NodeAccess) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(check.host_key(access.host_key))
    except (check.Wrong, asyncssh.KeyImportError) as error:
        raise NodeRefused("The pinned host key of the node cannot be read.") from error


def _algorithms(key: asyncssh.SSHKey) -> list[str]:
    """Return the signatures that a key of the pinned type makes: no other type is accepted."""
    kind = key.get_algorithm()
    return _SIGNATURES.get(kind, [kind])


def _changed(access: NodeAccess) -> HostKeyChanged:
    return HostKeyChanged(f"{access.host} shows another host key than the one we pinned.")


async def _run(
    connection: asyncssh.SSHClientConnection, command: str, stdin: bytes, bytes_max: int
) -> Output:
    process = await connection.create_process(
        command, encoding=None, window=_WINDOW, max_pktsize=_CHUNK
    )
    readers = [
        asyncio.ensure_future(_capped(stream, bytes_max))
        for stream in (process.stdout, process.stderr)
    ]
    try:
        try:
            process.stdin.write(stdin)
            process.stdin.write_eof()
        except OSError:
            pass  # it ended without reading; its status says how
        stdout, _ = await asyncio.gather(*readers)
        await process.wait_closed()
    finally:
        for reader in readers:
            reader.cancel()
        process.close()
    return Output(stdout, process.exit_status)


async def _capped(stream: asyncssh.SSHReader[bytes], bytes_max: int) -> bytes:
    """Read to the end, or refuse."""
    chunks = bytearray()
    while chunk := await stream.read(_CHUNK):
        chunks += chunk
        if len(chunks) > bytes_max:
            raise NodeRefused(f"The node answered more than {bytes_max // 1024} KiB.")
    return bytes(chunks)
