"""Slices made on fifty nodes at once, and commands over held connections, beside bare asyncssh.

The nodes are fifty OpenSSH servers in fifty network namespaces behind a bridge, six addresses
each where three hundred hosts are held. Behind them answers, instead of runc, a line of shell in
the place of ``gpucloud-node``: what is measured is our way to nodes, not their kernel. The bare
loop is what one would write by hand: ``asyncssh.connect`` with the same pinned key, one command,
and the connection closed; nothing is checked or kept. Needs root, iproute2 and openssh-server.

    python benchmarks/bench_provision_fanout.py [--json]
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, Final

import asyncssh
from grounds import Report, main
from node_namespaces import ADDRESSES, PORT, USER, Ground, answering, namespaces

from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.node_driver import SshNodeDriver
from gpucloud_core.kernel.ids import AllocationId, ClaimId, entity_id
from gpucloud_core.nodes.model import NodeAccess, SliceSpec
from gpucloud_core.nodes.wire_values import public_key

NODES: Final = 50
SLICES: Final = 200
AT_ONCE: Final = 16  # connections that both ways make at the same time
CONNECTS: Final = 100
HELD: Final = NODES * ADDRESSES
COMMANDS: Final = 3_000
IN_FLIGHT: Final = 64
ROUNDS: Final = 3
CONNECT_BAR: Final = 0.9
HELD_BAR: Final = 600.0


@dataclass(frozen=True, slots=True)
class Nodes:
    """Where the nodes are, and how the product and the bare loop get in."""

    ground: Ground

    async def credentials(self, name: str) -> str:
        return self.ground.key

    def access(self, number: int) -> NodeAccess:
        return NodeAccess(
            host=self.ground.addresses[number],
            port=PORT,
            username=USER,
            host_key=self.ground.host_key,
            credential="node",
        )

    def connections(self) -> SshConnections:
        return SshConnections(self.credentials, connect_seconds=60, keepalive_seconds=30)

    async def dial_by_hand(self, number: int) -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            self.ground.addresses[number],
            PORT,
            username=USER,
            client_keys=[asyncssh.import_private_key(self.ground.key)],
            known_hosts=([asyncssh.import_public_key(self.ground.host_key)], [], []),
            config=None,
            agent_path=None,
        )


def _answer() -> str:
    """Return what a node says when a slice stands."""
    line = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
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


async def bare(on: Nodes, number: int) -> None:
    """Connect, run one command, close: by hand."""
    async with await on.dial_by_hand(number) as connection:
        await connection.run("gpucloud-node list", input="{}", check=True)


async def ours(on: Nodes, number: int) -> None:
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


async def fanout(on: Nodes) -> float:
    """Return the slices per second of a launch over fifty nodes nobody has spoken to yet."""
    connections = on.connections()
    driver = SshNodeDriver(connections)
    made = await rate(
        SLICES, SLICES, lambda n: driver.provision(on.access(n % NODES), a_slice(n + 1))
    )
    await connections.close()
    return made


async def bare_fanout(on: Nodes) -> float:
    """The same by hand: a connection to each node, and its four commands over it."""

    async def node(number: int) -> None:
        async with await on.dial_by_hand(number) as connection:
            command = "gpucloud-node provision"
            runs = (connection.run(command, input="{}") for _ in range(SLICES // NODES))
            await asyncio.gather(*runs)

    return SLICES / NODES * await rate(NODES, NODES, node)


async def bare_held(on: Nodes) -> float:
    """The same by hand: three hundred open connections in a list."""
    held: list[asyncssh.SSHClientConnection] = []

    async def dial(number: int) -> None:
        held.append(await on.dial_by_hand(number))

    async def one(number: int) -> None:
        await held[number % HELD].run("gpucloud-node list", input="{}", check=True)

    await rate(HELD, AT_ONCE, dial)
    found = await rate(COMMANDS, IN_FLIGHT, one)
    for connection in held:
        connection.abort()
    return found


async def held(on: Nodes) -> float:
    """Return the commands per second over three hundred connections that are held."""
    connections = on.connections()

    async def one(number: int) -> None:
        access = on.access(number % HELD)
        await connections.run(access, ("gpucloud-node", "list"), stdin=b"{}", seconds=60)

    await rate(HELD, AT_ONCE, one)
    found = await rate(COMMANDS, IN_FLIGHT, one)
    await connections.close()
    return found


async def measured(on: Nodes) -> list[dict[str, Any]]:
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
    with namespaces(NODES, answering(_answer())) as ground:
        report.results = asyncio.run(measured(Nodes(ground)))
    rounds = report.results[:ROUNDS]
    for name in ("connects", "slices"):
        ratio = median(each[f"{name}_per_s"] / each[f"bare_{name}_per_s"] for each in rounds)
        report.ratios[f"{name}_to_bare"] = round(ratio, 2)
        report.at_least(f"{name}_to_bare", ratio, CONNECT_BAR)
    last = report.results[-1]
    to_bare = last["commands_per_s"] / last["bare_commands_per_s"]
    report.ratios["commands_to_bare"] = round(to_bare, 2)
    report.at_least("commands_to_bare", to_bare, CONNECT_BAR)
    report.at_least("commands_per_s", last["commands_per_s"], HELD_BAR)
    return report


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
