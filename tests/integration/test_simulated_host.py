"""The simulated host over real SSH: its operator account, its slices, its restart.

Seen to fail when ``nvidia-smi -L`` listed all eight GPUs instead of the slice's, when ``_shut``
left the sessions of a slice that was cut off alone, and when ``keep`` answered before it wrote.
"""

import asyncio
import json
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from contracts.node_driver import NodeDriverContract, NodeRig, ShellsContract
from gpucloud_adapters.simulated.host.identity import public_line
from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.node_driver import SshNodeDriver
from gpucloud_adapters.ssh.shells import SshShells
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes.discovery import read_topology
from gpucloud_core.nodes.ports import HostKeyChanged, NodeRefused, NodeUnreachable
from gpucloud_core.nodes.systems import SYSTEMS
from gpucloud_core.nodes.wire import DISCOVERY_COMMANDS
from gpucloud_core.nodes.wire_values import public_key
from simulated_builders import a_spec, claim, slots_of, without_diagonal
from world.simulated_host import (
    STRANGER,
    TOPOLOGY,
    World,
    free_port,
    simulated_host,
    spec,
    terminal,
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with simulated_host(tmp_path) as running:
        yield running


@pytest.fixture
async def simulated_rig(world: World) -> NodeRig:
    def record(claim_id: ClaimId) -> dict[str, Any]:
        """Read what the host wrote down, not what it says."""
        path = world.home / "holdings.json"
        rows = json.loads(path.read_text())["records"] if path.exists() else []
        return next((row for row in rows if row["spec"]["claim_id"] == claim_id), {})

    async def let_in(claim_id: ClaimId) -> tuple[str, ...]:
        return tuple(public_key(key).fingerprint for key in record(claim_id).get("keys", ()))

    async def traces(claim_id: ClaimId) -> tuple[str, ...]:
        stage = record(claim_id).get("stage", "wiped")
        files = [path.name for path in world.home.rglob(f"*{claim_id}*")]
        doors = ["a door"] if world.node.is_open(claim_id) else []
        return (*files, *doors, *([] if stage == "wiped" else [stage]))

    return NodeRig(
        driver=world.driver,
        shells=SshShells(world.connections),
        access=world.access,
        slots=slots_of(TOPOLOGY, [free_port() for _ in TOPOLOGY.gpus]),
        image="ubuntu-24.04",
        let_in=let_in,
        traces=traces,
        nobody=replace(world.access, port=free_port()),
    )


class TestSshNodeDriverOnASimulatedHost(NodeDriverContract):
    @pytest.fixture
    def rig(self, simulated_rig: NodeRig) -> NodeRig:
        return simulated_rig


class TestSshShellsOnASimulatedHost(ShellsContract):
    @pytest.fixture
    def rig(self, simulated_rig: NodeRig) -> NodeRig:
        return simulated_rig


class TestOperatorAccount:
    async def test_answers_discovery_from_its_topology(self, world: World) -> None:
        found = await world.driver.discover(world.access)

        here = {" ".join(argv) for argv in DISCOVERY_COMMANDS if argv[0] != "amd-smi"}
        assert set(found.outputs) == here
        for gpu in TOPOLOGY.gpus:
            assert gpu.uuid in found.outputs["nvidia-smi -L"]
            assert gpu.pci_address in found.outputs["nvidia-smi -q -x"]

    async def test_probes(self, world: World) -> None:
        report = await world.driver.probe(world.access)

        assert report.gpu_uuids == tuple(gpu.uuid for gpu in TOPOLOGY.gpus)
        assert report.problems == ()

    async def test_has_nothing_else(self, world: World) -> None:
        started: list[str] = []
        watching = True

        def watch(event: str, _: object) -> None:
            if watching and event.startswith(("subprocess", "os.exec", "os.system", "os.fork")):
                started.append(event)

        sys.addaudithook(watch)
        connection = await world.connections.dial(world.access)
        async with connection:
            for command in ("sh -c id", "bash", "$(id)", "nvidia-smi", "cat /etc/passwd", "'", ""):
                result = await connection.run(command or None, stdin=asyncssh.DEVNULL)
                assert result.exit_status == 127, command
                assert "not on a simulated node" in str(result.stderr)
        watching = False

        assert started == []

    async def test_lets_only_its_key_in(self, world: World) -> None:
        wrong = SshConnections(_a_strangers_key, connect_seconds=5)
        try:
            with pytest.raises(NodeRefused):
                await SshNodeDriver(wrong).probe(world.access)
        finally:
            await wrong.close()

    async def test_is_known_by_its_host_key(self, world: World) -> None:
        another = replace(world.access, host_key=public_line(STRANGER))

        with pytest.raises(HostKeyChanged):
            await world.driver.probe(another)

    async def test_refuses_a_document_that_is_not_one(self, world: World) -> None:
        async with await world.connections.dial(world.access) as connection:
            for text in (" ", "[]", '{"claim_id": "x"}', "x" * 300_000):
                result = await connection.run("gpucloud-node verify", input=text)
                answer = json.loads(str(result.stdout))
                assert (answer["ok"], answer["error"]) == (False, "invalid_document")


async def _a_strangers_key(name: str) -> str:
    del name
    return STRANGER.export_private_key().decode()


class TestEverySystem:
    """Hosts of other vendors and buses: their own tools' words, over SSH, and nothing else."""

    @pytest.mark.parametrize("system", ["hgx-b200", "hgx-a100", "l40s-x8", "mi300x-x8"])
    async def test_is_discovered_as_the_class_it_is_of(self, system: str, tmp_path: Path) -> None:
        topology = SYSTEMS[system].topology(seed="over SSH")
        async with simulated_host(tmp_path, topology) as world:
            found = read_topology((await world.driver.discover(world.access)).outputs)

        assert found.faults == ()
        assert found.topology.system == system
        assert without_diagonal(found.topology) == without_diagonal(topology)

    async def test_of_amd_shows_a_customer_their_own_gpus(self, tmp_path: Path) -> None:
        topology = SYSTEMS["mi300x-x8"].topology(seed="over SSH")
        made = a_spec(topology=topology, port=free_port())
        async with simulated_host(tmp_path, topology) as world:
            host_key = await world.provisioned(made)
            async with world.customer(made, host_key) as customer:
                listed = await customer.run("amd-smi list", check=True)
                absent = await customer.run("nvidia-smi")

        assert all(uuid in str(listed.stdout) for uuid in made.gpu_uuids)
        assert topology.gpus[0].uuid not in str(listed.stdout)
        assert absent.exit_status == 127


class TestSlice:
    async def test_lets_exactly_its_keys_in(self, world: World) -> None:
        made = spec()
        host_key = await world.provisioned(made)

        async with world.customer(made, host_key) as connection:
            assert (await connection.run("whoami")).stdout == "ubuntu\n"
        with pytest.raises(asyncssh.PermissionDenied):
            async with world.customer(made, host_key, key=STRANGER):
                pass
        with pytest.raises(asyncssh.PermissionDenied):
            async with world.customer(replace(made, username="root"), host_key):
                pass
        await world.driver.set_keys(world.access, made.claim_id, [public_line(STRANGER)])
        with pytest.raises(asyncssh.PermissionDenied):
            async with world.customer(made, host_key):
                pass

    async def test_answers_only_the_networks_it_is_open_to(self, world: World) -> None:
        closed, opened = (
            spec(1, gpu_uuids=(), gpu_indexes=(), ssh_cidrs=("203.0.113.0/24",)),
            spec(2, gpu_uuids=(), gpu_indexes=(), ssh_cidrs=("203.0.113.0/24", "127.0.0.0/8")),
        )
        keys = [await world.provisioned(each) for each in (closed, opened)]

        with pytest.raises((asyncssh.ConnectionLost, ConnectionResetError)):
            async with world.customer(closed, keys[0]):
                pass
        async with world.customer(opened, keys[1]) as connection:
            assert (await connection.run("whoami")).exit_status == 0

    async def test_sees_only_its_own_gpus(self, world: World) -> None:
        made = spec()
        host_key = await world.provisioned(made)

        async with world.customer(made, host_key) as connection:
            listed = str((await connection.run("nvidia-smi -L")).stdout)

        assert listed.splitlines() == [
            f"GPU {index}: NVIDIA H200 (UUID: {uuid})" for index, uuid in enumerate(made.gpu_uuids)
        ]

    async def test_serves_commands_and_piped_lines(self, world: World) -> None:
        made = spec()
        host_key = await world.provisioned(made)

        async with world.customer(made, host_key) as connection:
            missing = await connection.run("vim x")
            piped = await connection.run(None, input="cd /etc\npwd\nexit 3\n")

        assert (missing.exit_status, missing.stderr) == (127, "vim: not on a simulated node\n")
        assert (piped.exit_status, piped.stdout) == (3, "/etc\n")

    async def test_forwards_nothing_and_has_no_files_to_send(self, world: World) -> None:
        made = spec()
        host_key = await world.provisioned(made)

        async with world.customer(made, host_key) as connection:
            with pytest.raises(asyncssh.ChannelOpenError, match="forwards nothing"):
                await connection.open_connection("127.0.0.1", world.port)
            with pytest.raises(asyncssh.ChannelListenError):
                await connection.forward_remote_port("", 0, "127.0.0.1", 22)
            with pytest.raises(asyncssh.Error):
                await connection.start_sftp_client()

    async def test_is_cut_off_with_its_sessions(self, world: World) -> None:
        made = spec()
        host_key = await world.provisioned(made)
        shell = await SshShells(world.connections).open(
            world.access, made.claim_id, columns=80, rows=24
        )
        async with world.customer(made, host_key) as connection:
            session = await terminal(connection)
            await world.driver.cut_off(world.access, made.claim_id)

            async with asyncio.timeout(5):
                await connection.wait_closed()
                await session.process.wait_closed()
                with suppress(NodeUnreachable):
                    while await shell.read():
                        pass
            await shell.close()
        with pytest.raises(OSError, match="Connect call failed"):
            async with world.customer(made, host_key):
                pass
        assert not (await world.driver.verify(world.access, made.claim_id)).ssh_ready

    async def test_takes_no_address_that_is_taken_or_not_of_the_loopback(
        self, world: World
    ) -> None:
        with socket.socket() as squatter:
            squatter.bind(("127.0.0.1", 0))
            squatter.listen()
            for changes in (
                {"ssh_port": squatter.getsockname()[1]},
                {"ssh_host": "0.0.0.0"},  # noqa: S104  to see it refused
                {"ssh_host": "192.0.2.1"},
            ):
                with pytest.raises(NodeRefused, match="address_in_use"):
                    await world.driver.provision(world.access, spec(**changes))
        assert await world.driver.list_ours(world.access) == ()


class TestTerminal:
    async def test_edits_lines(self, world: World) -> None:
        made = spec()
        host_key = await world.provisioned(made)
        async with world.customer(made, host_key) as connection:
            screen = await terminal(connection)

            assert "hello\r\n" in await screen.type("echo hello\r", until="$ ")
            assert "echo hello" in await screen.type("\x1b[A", until="hello")
            assert "hi hello" in await screen.type("\x01\x1b[C\x1b[C\x1b[C\x1b[C hi\r", until="$ ")
            assert "^C" in await screen.type("echo lost\x03", until="$ ")
            assert "left\r\n" in await screen.type("echo left righ\x7f\x17\r", until="$ ")
            assert "\x1b[2J" in await screen.type("\x0c", until="$ ")
            assert "nvidia-smi" in await screen.type("\t", until="$ ")
            assert "os-release" in await screen.type("cat /etc/o\t\r", until="$ ")
            await screen.type("\x04", until="logout")
            await screen.process.wait_closed()
            assert screen.process.exit_status == 0

    async def test_refreshes_top_until_q_and_follows_the_window(self, world: World) -> None:
        made = spec()
        host_key = await world.provisioned(made)
        async with world.customer(made, host_key) as connection:
            screen = await terminal(connection)

            await screen.type("top\r", until="press q to quit")
            screen.process.change_terminal_size(60, 6)
            await screen.until("MiB Swap")
            await screen.until("MiB Swap")
            assert "\x1b[?1049l" in await screen.type("q", until="$ ")
            assert "ubuntu\r\n" in await screen.type("whoami\r", until="$ ")

    async def test_is_the_same_through_the_node(self, world: World) -> None:
        made = spec()
        await world.driver.provision(world.access, made)

        shell = await SshShells(world.connections).open(
            world.access, made.claim_id, columns=80, rows=24
        )
        await shell.write(b"nvidia-smi -L\rexit 5\r")
        shown = b""
        while part := await shell.read():
            shown += part
        await shell.close()

        assert shown.count(b"UUID: ") == len(made.gpu_uuids)
        assert b"[simulated]" in shown
        assert shell.exit_status == 5

    async def test_is_not_opened_without_a_slice(self, world: World) -> None:
        with pytest.raises(NodeRefused):
            await SshShells(world.connections).open(world.access, claim(9), columns=80, rows=24)


class TestRestart:
    async def test_brings_slices_back_as_they_were(self, world: World) -> None:
        running, cut, wiped = spec(1), spec(2, gpu_uuids=(), gpu_indexes=()), spec(3)
        host_key = await world.provisioned(running)
        await world.provisioned(cut)
        await world.driver.cut_off(world.access, cut.claim_id)
        await world.driver.release(world.access, running.claim_id)
        await world.driver.wipe(world.access, running.claim_id, running.gpu_uuids)
        host_key = await world.provisioned(wiped)
        access = world.access

        await world.restart()

        assert world.access == access
        assert [(each.claim_id, each.running) for each in await world.driver.list_ours(access)] == [
            (cut.claim_id, False),
            (wiped.claim_id, True),
        ]
        async with world.customer(wiped, host_key) as connection:
            assert (await connection.run("whoami")).exit_status == 0
        with pytest.raises(NodeRefused, match="stale_generation"):
            await world.driver.provision(access, running)

    async def test_comes_up_though_a_port_was_taken_meanwhile(self, world: World) -> None:
        made = spec()
        await world.provisioned(made)
        await world.stop()
        with socket.socket() as squatter:
            squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            squatter.bind(("127.0.0.1", made.ssh_port))
            squatter.listen()
            await world.start()

            there = await world.driver.verify(world.access, made.claim_id)
            assert (there.running, there.ssh_ready) == (True, False)
        await world.driver.provision(world.access, made)
        assert (await world.driver.verify(world.access, made.claim_id)).ssh_ready

    async def test_forgets_nothing_that_was_answered(self, world: World) -> None:
        made = spec()
        await world.driver.provision(world.access, made)

        saved = json.loads((world.home / "holdings.json").read_text())

        assert [row["spec"]["claim_id"] for row in saved["records"]] == [made.claim_id]
        assert stat.S_IMODE((world.home / "holdings.json").stat().st_mode) == 0o600
