"""A simulated host on the loopback, the real driver that reaches it, and its customer."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh

from gpucloud_adapters.simulated.host.faults import Fault, FaultScript
from gpucloud_adapters.simulated.host.identity import public_line
from gpucloud_adapters.simulated.host.node import SimulatedNode
from gpucloud_adapters.simulated.host.operator import Operator
from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.node_driver import SshNodeDriver
from gpucloud_core.nodes.model import NodeAccess, SliceSpec, Topology
from gpucloud_core.nodes.systems import hgx_h200
from simulated_builders import SteppedClock, a_spec

CUSTOMER = asyncssh.generate_private_key("ssh-ed25519")
STRANGER = asyncssh.generate_private_key("ssh-ed25519")
SEED = "7"
TOPOLOGY = hgx_h200(seed=SEED)


def free_port() -> int:
    """Return a port that is free, below those that outgoing connections get."""
    while True:
        port = random.randrange(10_000, 20_000)  # noqa: S311  any will do
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def spec(number: int = 1, **changes: Any) -> SliceSpec:
    """Return what is asked of the host for claim ``number``, at a free port."""
    return replace(a_spec(number, topology=TOPOLOGY, port=free_port()), **changes)


class World:
    """A simulated host, and the real driver that reaches it."""

    node: SimulatedNode
    operator: Operator
    connections: SshConnections

    def __init__(self, home: Path, topology: Topology = TOPOLOGY) -> None:
        self.home = home
        self.topology = topology
        self.port = free_port()
        self._stack = AsyncExitStack()

    async def start(self, *faults: Fault) -> None:
        self.node = SimulatedNode(
            name="hgx-h200-01",
            topology=self.topology,
            folder=self.home,
            seed=SEED,
            clock=SteppedClock(),
            port=self.port,
            faults=FaultScript(faults),
        )
        operator = self.operator = Operator(self.node)
        await self.node.start(operator.serve)
        self._stack.push_async_callback(self.node.close)
        self._stack.push_async_callback(operator.finish)
        self.connections = SshConnections(self.credential, connect_seconds=5)
        self._stack.push_async_callback(self.connections.close)

    async def stop(self) -> None:
        await self._stack.aclose()
        self._stack = AsyncExitStack()

    async def restart(self, *faults: Fault) -> None:
        """Stop the host and start it again from its folder, with these faults."""
        await self.stop()
        await self.start(*faults)

    async def credential(self, name: str) -> str:
        assert name == self.access.credential
        return self.node.operator_key_path.read_text()

    @property
    def access(self) -> NodeAccess:
        return self.node.access

    @property
    def driver(self) -> SshNodeDriver:
        return SshNodeDriver(self.connections)

    async def provisioned(self, made: SliceSpec) -> str:
        """Provision, let the customer in, and return the slice's host key."""
        endpoint = await self.driver.provision(self.access, made)
        await self.driver.set_keys(self.access, made.claim_id, [public_line(CUSTOMER)])
        return endpoint.host_key

    @asynccontextmanager
    async def customer(
        self, made: SliceSpec, host_key: str, *, key: asyncssh.SSHKey = CUSTOMER
    ) -> AsyncIterator[asyncssh.SSHClientConnection]:
        pinned = asyncssh.import_public_key(host_key)
        async with asyncssh.connect(
            made.ssh_host,
            made.ssh_port,
            username=made.username,
            client_keys=[key],
            known_hosts=([pinned], [], []),
            config=None,
            agent_path=None,
        ) as connection:
            yield connection


@asynccontextmanager
async def simulated_host(home: Path, topology: Topology = TOPOLOGY) -> AsyncIterator[World]:
    world = World(home, topology)
    await world.start()
    try:
        yield world
    finally:
        await world.stop()


class Terminal:
    """Types into a terminal and waits for what it shows."""

    def __init__(self, process: asyncssh.SSHClientProcess[str]) -> None:
        self.process = process
        self.shown = ""

    async def until(self, text: str) -> str:
        """Return what was shown up to and with ``text``."""
        async with asyncio.timeout(5):
            while text not in self.shown:
                part = await self.process.stdout.read(4096)
                assert part, f"ended without {text!r}, after {self.shown!r}"
                self.shown += part
        before, _, self.shown = self.shown.partition(text)
        return before + text

    async def type(self, keys: str, *, until: str) -> str:
        self.process.stdin.write(keys)
        return await self.until(until)


async def terminal(connection: asyncssh.SSHClientConnection) -> Terminal:
    process = await connection.create_process(term_type="xterm-256color", term_size=(100, 30))
    opened = Terminal(process)
    await opened.until("$ ")
    return opened
