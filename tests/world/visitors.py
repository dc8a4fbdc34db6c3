"""Who comes to a real node: the operator through our driver, customers with their own ``ssh``."""

import asyncio
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.node_driver import SshNodeDriver
from gpucloud_core.nodes.model import NodeAccess, SliceEndpoint, SliceSpec, WipeEvidence
from world.nodes import RealNode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Operator:
    """Makes and ends slices through the driver, one loop and connection per order."""

    world: RealNode

    def do(self, work: Callable[[SshNodeDriver, NodeAccess], Awaitable[T]]) -> T:
        return self.on_connections(
            lambda connections, access: work(SshNodeDriver(connections), access)
        )

    def on_connections(self, work: Callable[[SshConnections, NodeAccess], Awaitable[T]]) -> T:
        async def order() -> T:
            connections = SshConnections(self.world.credentials)
            try:
                return await work(connections, self.world.node.access)
            finally:
                await connections.close()

        return asyncio.run(order())

    def set_keys(self, spec: SliceSpec, *keys: str) -> None:
        self.do(lambda driver, access: driver.set_keys(access, spec.claim_id, keys))

    def cut_off(self, spec: SliceSpec) -> None:
        self.do(lambda driver, access: driver.cut_off(access, spec.claim_id))

    def release(self, spec: SliceSpec) -> None:
        self.do(lambda driver, access: driver.release(access, spec.claim_id))

    def wipe(self, spec: SliceSpec) -> WipeEvidence:
        return self.do(lambda driver, access: driver.wipe(access, spec.claim_id, spec.gpu_uuids))

    @contextmanager
    def slice(self, spec: SliceSpec, folder: Path) -> Iterator["Visitor"]:
        """Have a slice made for a visitor, whose key it lets in; end it afterwards."""
        try:
            endpoint = self.do(lambda driver, access: driver.provision(access, spec))
            self.set_keys(spec, new_key(folder / "id"))
            yield Visitor(folder, endpoint)
        finally:
            self.release(spec)
            self.wipe(spec)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person with a key and an SSH client."""

    folder: Path
    endpoint: SliceEndpoint

    @property
    def key(self) -> Path:
        return self.folder / "id"

    def argv(self, *words: str, key: Path | None = None, source: str = "") -> list[str]:
        known = self.folder / "known_hosts"
        known.write_text(f"{self.endpoint.host} {self.endpoint.host_key}\n")
        options = {
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(known),
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "2",
            "LogLevel": "ERROR",
        }
        flags = [f"-o{name}={value}" for name, value in options.items()]
        place = f"{self.endpoint.username}@{self.endpoint.host}"
        port = str(self.endpoint.port)
        flags += ["-b", source] if source else []
        return ["ssh", "-F", "none", *flags, "-i", str(key or self.key), "-p", port, place, *words]

    @contextmanager
    def session(self, command: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Have a command run while the block does."""
        process = subprocess.Popen(
            self.argv(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with process:
            yield process
            process.kill()

    def run(
        self, command: str, *, key: Path | None = None, source: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        argv = self.argv(command, key=key, source=source)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    def says(self, command: str, *, source: str = "") -> str:
        done = self.run(command, source=source)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def fails(self, command: str) -> str:
        done = self.run(command)
        assert done.returncode != 0, (command, done.stdout, done.stderr)
        return done.stdout + done.stderr


def new_key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().strip()


def can_reach(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
