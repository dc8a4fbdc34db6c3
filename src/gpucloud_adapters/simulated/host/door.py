"""An SSH listener on the loopback: who may come in, with which key, from where.

The host's operator account and every slice have a door each. A door never offers more than a
session: no forwarding of ports, agents or displays, no files.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import asyncssh

from gpucloud_adapters.simulated.host.faults import FaultKind
from gpucloud_core.nodes.holdings import Refused

_LOGIN_SECONDS: Final = 20
_NO_FORWARDING: Final = "a simulated node forwards nothing"

Serve = Callable[["asyncssh.SSHServerProcess[str]"], Awaitable[None]]


class Door:
    """One listener and the connections that came through it.

    Args:
        host, port: where it listens; only the loopback will do.
        host_key: its identity. ``impostor_key`` is shown instead when a fault says so.
        username: the only account.
        keys: reads the public keys let in, as ``type base64``, at each login.
        sources: networks let in; empty means all.
        serve: runs each session.
        fault: asked at each connection.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        host_key: asyncssh.SSHKey,
        impostor_key: asyncssh.SSHKey,
        username: str,
        keys: Callable[[], Iterable[str]],
        sources: tuple[str, ...] = (),
        serve: Serve,
        fault: Callable[[], FaultKind | None] = lambda: None,
    ) -> None:
        self.host = host
        self.port = port
        self._host_key = host_key
        self._impostor_key = impostor_key
        self._username = username
        self._keys = keys
        self._sources = tuple(ipaddress.ip_network(source) for source in sources)
        self._serve = serve
        self._fault = fault
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._next_fault: FaultKind | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()

    @property
    def is_open(self) -> bool:
        return self._acceptor is not None

    async def open(self) -> None:
        """Start listening; open already is fine.

        Raises:
            Refused: address_in_use; it is not of the loopback, or taken.
        """
        if self._acceptor:
            return
        if not is_loopback(self.host):
            raise Refused("address_in_use", f"{self.host} is not of this node's loopback.")
        try:
            self._acceptor = await asyncssh.listen(
                self.host,
                self.port,
                server_factory=lambda: _Guard(self),
                server_host_keys=[self._host_key],
                process_factory=self._serve,
                errors="replace",
                login_timeout=_LOGIN_SECONDS,
                agent_forwarding=False,
                x11_forwarding=False,
                gss_host=None,
            )
        except OSError as error:
            raise Refused(
                "address_in_use", f"Nothing can listen on {self.host} port {self.port}: {error}."
            ) from error
        self._arm()

    async def close(self) -> None:
        """Stop listening and break every connection; closed already is fine."""
        if self._acceptor:
            self._acceptor.close()
            for connection in tuple(self._connections):
                connection.abort()
            await self._acceptor.wait_closed()
            self._acceptor = None

    def admits(self, address: str) -> bool:
        peer = ipaddress.ip_address(address)
        return not self._sources or any(peer in network for network in self._sources)

    def knows(self, username: str, key: asyncssh.SSHKey) -> bool:
        kind, blob, *_ = key.export_public_key().decode().split()
        return username == self._username and f"{kind} {blob}" in set(self._keys())

    def entered(self, connection: asyncssh.SSHServerConnection) -> None:
        """Count a connection in, or break it before a word is said."""
        fault = self._next_fault
        self._arm()
        peer = connection.get_extra_info("peername")
        if fault is FaultKind.RESET or not self.admits(peer[0]):
            connection.abort()
        else:
            self._connections.add(connection)

    def left(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connections.discard(connection)

    def _arm(self) -> None:
        """Decide what meets the next connection: its key is chosen before it comes."""
        self._next_fault = self._fault()
        impostor = self._next_fault is FaultKind.WRONG_HOST_KEY
        if self._acceptor:
            self._acceptor.update(
                server_host_keys=[self._impostor_key if impostor else self._host_key]
            )


class _Guard(asyncssh.SSHServer):
    """asyncssh's view of a door, one per connection."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._door.entered(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._connection:
            self._door.left(self._connection)

    def begin_auth(self, username: str) -> bool:
        del username
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._door.knows(username, key)

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        del dest_host, dest_port, orig_host, orig_port
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, _NO_FORWARDING)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
