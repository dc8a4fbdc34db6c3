"""Slices made on fifty nodes at once, and commands over held connections, beside bare asyncssh.

OpenSSH's own server answers on fifty loopback addresses (three hundred for held connections): each
connection is a process of its own there, as on machines of their own. Behind it stands, instead of
runc, a program of three lines that answers as ``gpucloud-node`` does: what is measured is our way
to nodes, not their kernel. The bare loop is what one would write by hand: ``asyncssh.connect`` with
the same pinned key, one command, and the connection closed; nothing is checked or kept.

    python benchmarks/bench_provision_fanout.py [--json]
"""

import asyncio
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any, Final

import asyncssh
from grounds import Report, main

from embedded_servers import free_port
from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.node_driver import SshNodeDriver
from gpucloud_core.kernel.ids import AllocationId, ClaimId, entity_id
from gpucloud_core.nodes.model import NodeAccess, SliceSpec
from gpucloud_core.nodes.wire_values import public_key

NODES: Final = 50
SLICES: Final = 200
AT_ONCE: Final = 16  # connections that both ways make at the same time
CONNECTS: Final = 100
HELD: Final = 300
COMMANDS: Final = 3_000
IN_FLIGHT: Final = 64
ROUNDS: Final = 3
START_SECONDS: Final = 10.0
CONNECT_BAR: Final = 0.9
HELD_BAR: Final = 600.0
USER: Final = "gpucloud-bench"

PROGRAM: Final = """#!/bin/dash
while read -r line; do :; done
echo {answer}
"""
CONFIGURATION: Final = """
ListenAddress 0.0.0.0
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/keys
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 2000:30:4000
MaxSessions 64
ForceCommand {folder}/program
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """One server under many addresses, and the key that opens it."""

    port: int
    host_key: str
    key: str

    async def credentials(self, name: str) -> str:
        return self.key

    def access(self, number: int) -> NodeAccess:
        return NodeAccess(
            host=f"127.20.{number // 250}.{number % 250 + 1}",
            port=self.port,
            username=USER,
            host_key=self.host_key,
            credential="node",
        )

    def connections(self) -> SshConnections:
        return SshConnections(self.credentials, connect_seconds=60, keepalive_seconds=30)


@contextmanager
def ground() -> Iterator[Ground]:
    """Run the server until the block ends; needs root, for a user whose shell is short."""
    if os.geteuid() != 0:
        raise SystemExit("This needs root: it makes a user and runs sshd.")
    subprocess.run(
        [
            "useradd",
            "--system",
            "--password",
            "*",
            "--shell",
            "/bin/dash",
            "--no-create-home",
            USER,
        ],
        check=False,
        capture_output=True,
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        port, host, client = free_port(), _key(folder / "host"), _key(folder / "client")
        (folder / "keys").write_text(client)
        (folder / "program").write_text(PROGRAM.format(answer=shlex.quote(_answer(host))))
        (folder / "program").chmod(0o755)
        config = folder / "sshd_config"
        config.write_text(CONFIGURATION.format(port=port, folder=folder))
        server = subprocess.Popen(
            [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", str(config)],
            stderr=(folder / "log").open("wb"),
        )
        try:
            _await_server(port, server, folder / "log")
            yield Ground(port, " ".join(host.split()[:2]), (folder / "client").read_text())
        finally:
            server.terminate()
            server.wait()


def _await_server(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = perf_counter() + START_SECONDS
    while server.poll() is None and perf_counter() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            sleep(0.05)
        else:
            return
    raise SystemExit(f"sshd does not start: {log.read_text()}")


def _key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text()


def _answer(host: str) -> str:
    """Return what a node says when a slice stands; its key is the host's, for want of another."""
    line = " ".join(host.split()[:2])
    return json.dumps(
        {
            "ok": True,
            "host": "10.0.0.1",
            "port": 22,
            "username": "ubuntu",
            "host_key": line,
            "host_key_fingerprint": public_key(line).fingerprint,
        }
    )


def a_slice(number: int) -> SliceSpec:
    return SliceSpec(
        claim_id=ClaimId(entity_id("clm", number)),
        allocation_id=AllocationId(entity_id("alc", number)),
        generation=1,
        image="ubuntu-24.04",
        username="ubuntu",
        hostname=f"slice-{number}",
        gpu_uuids=(f"GPU-00000000-0000-0000-0000-{number:012d}",),
        gpu_indexes=(0,),
        cpus="0",
        memory_mib=1024,
        pids_max=128,
        ssh_host="10.0.0.1",
        ssh_port=22,
    )


async def bare(on: Ground, number: int) -> None:
    """Connect, run one command, close: by hand."""
    access = on.access(number)
    async with asyncssh.connect(
        access.host,
        access.port,
        username=USER,
        client_keys=[asyncssh.import_private_key(on.key)],
        known_hosts=([asyncssh.import_public_key(on.host_key)], [], []),
        config=None,
        agent_path=None,
    ) as connection:
        await connection.run("gpucloud-node list", input="{}", check=True)


async def ours(on: Ground, number: int) -> None:
    """Connect, run one command, close: as the product does."""
    connections = on.connections()
    await connections.run(on.access(number), ("gpucloud-node", "list"), stdin=b"{}", seconds=60)
    await connections.close()


async def rate(count: int, at_once: int, act: Any) -> float:
    """Return how many per second of ``act(0..count-1)``, so many at once."""
    gate = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with gate:
            await act(number)

    begun = perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))
    return count / (perf_counter() - begun)


async def fanout(on: Ground) -> float:
    """Return the slices per second of a launch over fifty nodes nobody has spoken to yet."""
    connections = on.connections()
    driver = SshNodeDriver(connections)
    made = await rate(
        SLICES, SLICES, lambda n: driver.provision(on.access(n % NODES), a_slice(n + 1))
    )
    await connections.close()
    return made


async def bare_fanout(on: Ground) -> float:
    """The same by hand: a connection to each node, and its four commands over it."""

    async def node(number: int) -> None:
        access = on.access(number)
        async with asyncssh.connect(
            access.host,
            access.port,
            username=USER,
            client_keys=[asyncssh.import_private_key(on.key)],
            known_hosts=([asyncssh.import_public_key(on.host_key)], [], []),
            config=None,
            agent_path=None,
        ) as connection:
            command = "gpucloud-node provision"
            runs = (connection.run(command, input="{}") for _ in range(SLICES // NODES))
            await asyncio.gather(*runs)

    return SLICES / NODES * await rate(NODES, NODES, node)


async def bare_held(on: Ground) -> float:
    """The same by hand: three hundred open connections in a list."""
    held: list[asyncssh.SSHClientConnection] = []

    async def dial(number: int) -> None:
        access = on.access(number)
        held.append(
            await asyncssh.connect(
                access.host,
                access.port,
                username=USER,
                client_keys=[asyncssh.import_private_key(on.key)],
                known_hosts=([asyncssh.import_public_key(on.host_key)], [], []),
                config=None,
                agent_path=None,
            )
        )

    async def one(number: int) -> None:
        await held[number % HELD].run("gpucloud-node list", input="{}", check=True)

    await rate(HELD, AT_ONCE, dial)
    found = await rate(COMMANDS, IN_FLIGHT, one)
    for connection in held:
        connection.abort()
    return found


async def held(on: Ground) -> float:
    """Return the commands per second over three hundred connections that are held."""
    connections = on.connections()

    async def one(number: int) -> None:
        access = on.access(number % HELD)
        await connections.run(access, ("gpucloud-node", "list"), stdin=b"{}", seconds=60)

    await rate(HELD, AT_ONCE, one)
    found = await rate(COMMANDS, IN_FLIGHT, one)
    await connections.close()
    return found


async def measured(on: Ground) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for _ in range(ROUNDS):
        by_hand = await rate(CONNECTS, AT_ONCE, lambda n: bare(on, n % NODES))
        product = await rate(CONNECTS, AT_ONCE, lambda n: ours(on, n % NODES))
        spread_by_hand, spread = await bare_fanout(on), await fanout(on)
        results.append(
            {
                "bare_connects_per_s": round(by_hand, 1),
                "connects_per_s": round(product, 1),
                "bare_slices_per_s": round(spread_by_hand, 1),
                "slices_per_s": round(spread, 1),
            }
        )
    by_hand, product = await bare_held(on), await held(on)
    results.append(
        {
            "held_hosts": HELD,
            "bare_commands_per_s": round(by_hand, 1),
            "commands_per_s": round(product, 1),
        }
    )
    return results


def measure() -> Report:
    report = Report(benchmark="provision_fanout")
    with ground() as on:
        report.results = asyncio.run(measured(on))
    rounds = report.results[:ROUNDS]
    for name in ("connects", "slices"):
        ratio = median(each[f"{name}_per_s"] / each[f"bare_{name}_per_s"] for each in rounds)
        report.ratios[f"{name}_to_bare"] = round(ratio, 2)
        report.at_least(f"{name}_to_bare", ratio, CONNECT_BAR)
    last = report.results[-1]
    to_bare = last["commands_per_s"] / last["bare_commands_per_s"]
    report.ratios["commands_to_bare"] = round(to_bare, 2)
    report.at_least("commands_per_s", last["commands_per_s"], HELD_BAR)
    return report


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
