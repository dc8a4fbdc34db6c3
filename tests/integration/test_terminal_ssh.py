"""Terminals over real SSH: floods, gaps and cuts on either side of the gateway.

The node is an SSH server on the loopback whose shell the test writes. Seen to fail when the
gateway gave its SSH connections up after one unanswered question.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncssh
import pytest

from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.shells import SshShells, SshShellSession
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes.model import NodeAccess
from world.gaps import Gap, gap_to
from world.hostile_nodes import HostileNode, hostile_node
from world.terminals import Client, Gateway, gateway, level

pytestmark = pytest.mark.timeout(120)
RUNNING = (
    b'{"ok": true, "exists": true, "running": true, "ssh_ready": true, "gpu_uuids": [], '
    b'"key_fingerprints": [], "ssh_cidrs": [], "detail": ""}'
)
LINE = b"step 18240  loss 1.0412  lr 8.1e-06  tok/s 21,480  mfu 0.47\r\n"
FLOOD = 20_000_000 // len(LINE)


async def node(process: "asyncssh.SSHServerProcess[bytes]") -> None:
    """Answer like a node's program; the shell echoes, and floods when asked to."""
    if "verify" in (process.command or ""):
        await process.stdin.read()
        process.stdout.write(RUNNING)
        return
    process.stdout.write(b"$ ")
    while True:
        try:
            data = await process.stdin.read(4096)
        except asyncssh.TerminalSizeChanged:
            continue
        if not data:
            return
        if data != b"flood":
            process.stdout.write(data)
            continue
        for _ in range(FLOOD // 500 + 1):
            process.stdout.write(LINE * 500)
            await process.stdout.drain()
        process.stdout.write(b"done")


class ThroughAGap(SshShells):
    """Dials the node by way of the proxy, if there is one."""

    access: NodeAccess

    async def open(
        self, access: NodeAccess, claim_id: ClaimId, *, columns: int, rows: int
    ) -> SshShellSession:
        del access
        return await super().open(self.access, claim_id, columns=columns, rows=rows)


@asynccontextmanager
async def terminal() -> AsyncIterator[tuple[Gateway, Client, Gap, HostileNode]]:
    async with hostile_node(node) as far, gap_to("127.0.0.1", far.access.port) as gap:
        connections = SshConnections(far.credentials, keepalive_seconds=0.3)
        shells = ThroughAGap(connections)
        shells.access = replace(far.access, port=gap.port)
        async with gateway(shells) as gate:
            client = gate.client()
            await client.connect()
            await client.shows(b"$ ")
            yield gate, client, gap, far
            client.drop()
            await gate.terminals.close()
            await connections.close()


class TestTheGateway:
    async def test_carries_a_flood_whole_while_its_reader_comes_and_goes(self) -> None:
        async with terminal() as (_, client, _, _):
            client.screen = b""
            await client.type(b"flood")
            for turn in range(4):
                await client.until(lambda turn=turn: len(client.screen) > (turn + 1) * 3_000_000)  # type: ignore[misc]
                client.drop()
                live = await client.connect()
                if live["lost"]:
                    client.screen += b"\0" * live["lost"]
            await client.until(lambda: client.screen.endswith(b"done"))
            size = len(client.screen)

            assert size == (FLOOD // 500 + 1) * 500 * len(LINE) + 4
            for at in range(0, size - 4, len(LINE)):
                line = client.screen[at : at + len(LINE)]
                assert line == LINE or b"\0" in line or at + len(LINE) > size - 4

    async def test_waits_out_a_gap_to_the_node(self) -> None:
        async with terminal() as (gate, client, gap, _):
            gap.open.clear()
            await client.type(b"through the gap")
            await asyncio.sleep(1.5)  # five questions without an answer
            (held,) = gate.terminals.shells()
            assert held.ended is None
            gap.open.set()

            await client.shows(b"through the gap")

    async def test_says_that_the_node_is_lost_when_the_line_is_cut(self) -> None:
        async with terminal() as (_, client, gap, _):
            gap.cut()

            ended = await client.ended()

            assert (ended["code"], ended["close"]) == ("node_lost", 4503)
            client.session, client.typed, client.untold = "", 0, b""
            await client.connect()
            await client.shows(b"$ ")

    async def test_leaves_nothing_on_the_node_when_it_stops(self) -> None:
        async with terminal() as (gate, client, _, far):
            await gate.terminals.close()

            assert (await client.ended())["code"] == "stopping"
            await level(lambda: far.live == [] or len(far.live) == 1)

    async def test_puts_no_token_into_any_log(
        self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level("DEBUG", logger="granian")
        async with terminal() as (gate, _, gap, _):
            token = await gate.token(gate.allocation_id)
            socket = await gate.connect(gate.allocation_id, token)
            await socket.recv()
            again = await gate.connect(gate.allocation_id, token)
            await again.recv()
            gap.cut()
        out, err = capfd.readouterr()

        ours = [r.getMessage() for r in caplog.records if not r.name.startswith("websockets")]
        assert token not in "".join([out, err, *ours])
