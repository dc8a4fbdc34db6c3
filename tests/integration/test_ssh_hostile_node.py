"""What we make of nodes that lie, flood, stall and break: bounded, named, and never a crash.

Seen to fail when the cap on output was taken out (``test_floods_us``: a gigabyte was read) and
when a command was joined with plain spaces (``test_cannot_be_made_to_run_more_than_one_command``).
"""

import asyncio
import json
import shlex
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncssh
import pytest

from gpucloud_adapters.ssh import connections as module
from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.node_driver import SshNodeDriver
from gpucloud_adapters.ssh.shells import SshShells
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import ClaimId, entity_id
from gpucloud_core.nodes import wire
from gpucloud_core.nodes.ports import HostKeyChanged, NodeRefused, NodeUnreachable
from slice_builders import a_public_key
from world.hostile_nodes import HostileNode, Script, hostile_node, plain_listener

CLAIM = ClaimId(entity_id("clm", 1))
EMPTY_LIST = b'{"ok": true, "slices": []}'


def saying(answer: bytes) -> Script:
    async def script(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        await process.stdin.read()
        process.stdout.write(answer)

    return script


@asynccontextmanager
async def driving(
    node: HostileNode, **options: Any
) -> AsyncIterator[tuple[SshNodeDriver, SshConnections]]:
    connections = SshConnections(node.credentials, **options)
    try:
        yield SshNodeDriver(connections), connections
    finally:
        await connections.close()


class TestANodeThat:
    async def test_answers_as_it_should_is_believed(self) -> None:
        async with hostile_node(saying(EMPTY_LIST)) as node, driving(node) as (driver, _):
            assert await driver.list_ours(node.access) == ()
            assert node.commands == ["gpucloud-node list"]

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"\xff\xfe\x00",
            b"Welcome to node-1!\n" + EMPTY_LIST,
            EMPTY_LIST + EMPTY_LIST,
            b"[" * 100_000,
            b'{"ok": true, "slices": [{"claim_id": "../../x"}]}',
            b'{"ok": true, "slices": ' + json.dumps(["x"] * 2000).encode() + b"}",
        ],
    )
    async def test_talks_nonsense_is_refused(self, answer: bytes) -> None:
        async with hostile_node(saying(answer)) as node, driving(node) as (driver, _):
            with pytest.raises(NodeRefused):
                await driver.list_ours(node.access)

    async def test_says_no_has_its_words_escaped_and_cut(self) -> None:
        said = json.dumps({"ok": False, "error": "no", "detail": "\x1b]0;pwned\x07" + "x" * 9999})
        async with hostile_node(saying(said.encode())) as node, driving(node) as (driver, _):
            with pytest.raises(NodeRefused) as refused:
                await driver.list_ours(node.access)

        assert refused.value.detail.isprintable()
        assert len(refused.value.detail) < 600

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    async def test_floods_us_is_hung_up_on(self, stream: str) -> None:
        async def flood(process: "asyncssh.SSHServerProcess[bytes]") -> None:
            writer = getattr(process, stream)
            for _ in range(1024 * 16):  # a gigabyte
                writer.write(bytes(64 * 1024))
                await writer.drain()
                node.sent_bytes += 64 * 1024

        async with hostile_node(flood) as node, driving(node) as (driver, _):
            with pytest.raises(NodeRefused, match="more than 256 KiB"):
                await driver.list_ours(node.access)

            assert node.sent_bytes < 8 * 1024 * 1024

    async def test_never_answers_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def stall(process: "asyncssh.SSHServerProcess[bytes]") -> None:
            await asyncio.sleep(60)

        async with hostile_node(stall) as node, driving(node) as (_, connections):
            began = time.monotonic()
            with pytest.raises(NodeUnreachable, match=r"within 0\.3 s"):
                await connections.run(node.access, ["gpucloud-node", "list"], seconds=0.3)

            assert time.monotonic() - began < 2
            with pytest.raises(NodeUnreachable):  # and the next caller is not stuck behind it
                await connections.run(node.access, ["gpucloud-node", "list"], seconds=0.3)

    async def test_ends_without_reading_is_no_fault_of_ours(self) -> None:
        async def end(process: "asyncssh.SSHServerProcess[bytes]") -> None:
            process.exit(127)

        async with hostile_node(end) as node, driving(node) as (driver, _):
            with pytest.raises(NodeRefused, match="not installed"):
                await driver.wipe(node.access, CLAIM, [])

    async def test_ends_with_a_fault_is_refused(self) -> None:
        async def end(process: "asyncssh.SSHServerProcess[bytes]") -> None:
            process.stdout.write(EMPTY_LIST)
            process.exit(1)

        async with hostile_node(end) as node, driving(node) as (driver, _):
            with pytest.raises(NodeRefused, match="ended with 1"):
                await driver.list_ours(node.access)

    async def test_is_killed_half_way_is_unknown(self) -> None:
        async def die(process: "asyncssh.SSHServerProcess[bytes]") -> None:
            process.stdout.write(EMPTY_LIST[:10])
            await process.stdout.drain()
            node.hang_up()

        async with hostile_node(die) as node, driving(node) as (driver, _):
            with pytest.raises(NodeUnreachable):
                await driver.list_ours(node.access)

    async def test_proves_the_wipe_of_another_claim_is_refused(self) -> None:
        other = entity_id("clm", 2)
        proof = (
            f'{{"ok": true, "claim_id": "{other}", "method": "m", "device_serials": [],'
            f' "command_hash": "{"0" * 64}", "random_reads": [], "clean": true, "detail": "",'
            f' "at": "2026-01-01T00:00:00Z"}}'
        )
        async with hostile_node(saying(proof.encode())) as node, driving(node) as (driver, _):
            with pytest.raises(NodeRefused, match="another claim"):
                await driver.wipe(node.access, CLAIM, [])

    async def test_paints_its_discovery_has_it_washed(self) -> None:
        async with (
            hostile_node(saying(b"MemTotal:\t1 kB\n\x1b[2J\x00")) as node,
            driving(node) as (driver, _),
        ):
            found = await driver.discover(node.access)

        assert found.outputs["cat /proc/meminfo"] == "MemTotal:\t1 kB\n[2J"
        assert sorted(node.commands) == sorted(map(shlex.join, wire.DISCOVERY_COMMANDS))

    async def test_may_tell_of_sixteen_gpus_at_length_and_no_more(self) -> None:
        report = b"<supported_clocks/>" * 32_768  # more than a verb may answer
        async with hostile_node(saying(report)) as node, driving(node) as (driver, _):
            found = await driver.discover(node.access)
        async with hostile_node(saying(report * 4)) as node, driving(node) as (driver, _):
            with pytest.raises(NodeRefused, match="more than 2048 KiB"):
                await driver.discover(node.access)

        assert len(found.outputs["nvidia-smi -q -x"]) == len(report)

    async def test_cannot_be_made_to_run_more_than_one_command(self) -> None:
        async with hostile_node(saying(b"")) as node, driving(node) as (_, connections):
            await connections.run(node.access, ["echo", "a; reboot", "$(id)", "'"], seconds=5)

        assert shlex.split(node.commands[0]) == ["echo", "a; reboot", "$(id)", "'"]


class TestTheHostKey:
    async def test_of_another_machine_ends_it_before_a_word_is_said(self) -> None:
        async with hostile_node(saying(EMPTY_LIST)) as node, driving(node) as (driver, _):
            with pytest.raises(HostKeyChanged):
                await driver.list_ours(replace(node.access, host_key=a_public_key("other")))

        assert node.commands == []

    async def test_of_another_type_is_another_key(self) -> None:
        async with (
            hostile_node(saying(EMPTY_LIST), host_key_type="ssh-rsa") as node,
            driving(node) as (driver, _),
        ):
            with pytest.raises(HostKeyChanged):
                await driver.list_ours(replace(node.access, host_key=a_public_key("pinned")))

        assert node.commands == []

    @pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp256"])
    async def test_may_be_of_any_type_that_was_pinned(self, kind: str) -> None:
        async with (
            hostile_node(saying(EMPTY_LIST), host_key_type=kind) as node,
            driving(node) as (driver, _),
        ):
            assert await driver.list_ours(node.access) == ()

    async def test_that_was_pinned_badly_is_our_own_fault_and_said(self) -> None:
        async with hostile_node(saying(EMPTY_LIST)) as node, driving(node) as (driver, _):
            with pytest.raises(NodeRefused, match="pinned host key"):
                await driver.list_ours(replace(node.access, host_key="ssh-ed25519 AAAA"))


class TestOurKey:
    async def test_that_is_not_let_in_is_said(self) -> None:
        async with (
            hostile_node(saying(EMPTY_LIST), lets_in=False) as node,
            driving(node) as (driver, _),
        ):
            with pytest.raises(NodeRefused, match="does not let our key in"):
                await driver.list_ours(node.access)

    async def test_that_is_missing_or_damaged_is_said_without_showing_it(self) -> None:
        async def missing(name: str) -> str:
            raise NotFound(f"There is no credential called {name}.")

        async def damaged(name: str) -> str:
            return "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n"

        async with hostile_node(saying(EMPTY_LIST)) as node:
            for credentials, words in ((missing, "no credential"), (damaged, "cannot be read")):
                driver = SshNodeDriver(SshConnections(credentials))
                with pytest.raises(NodeRefused, match=words) as refused:
                    await driver.list_ours(node.access)
                assert "hunter2" not in str(refused.value)


class TestSomethingThatIsNoSsh:
    async def test_and_floods_lines_is_not_listened_to_for_long(self) -> None:
        async def shout(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(b"not SSH at all\r\n" * 1000)
                await writer.drain()

        await _unreachable(shout)

    async def test_and_says_one_endless_line_is_not_listened_to_for_long(self) -> None:
        async def shout(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()

        await _unreachable(shout)

    async def test_and_says_nothing_is_given_up(self) -> None:
        async def be_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        await _unreachable(be_silent)


async def _unreachable(answer: Any) -> None:
    async with plain_listener(answer) as port, hostile_node(saying(b"")) as node:
        access = replace(node.access, port=port)
        async with driving(node, connect_seconds=0.5) as (driver, _):
            began = time.monotonic()
            with pytest.raises(NodeUnreachable):
                await driver.list_ours(access)
            assert time.monotonic() - began < 4


class TestTheHeldConnection:
    async def test_is_one_for_many_commands(self) -> None:
        async with hostile_node(saying(EMPTY_LIST)) as node, driving(node) as (driver, _):
            await asyncio.gather(*(driver.list_ours(node.access) for _ in range(20)))
            await driver.list_ours(node.access)

            assert node.connections == 1
            assert len(node.commands) == 21

    async def test_carries_no_more_sessions_than_openssh_lets_it(self) -> None:
        open_now = most = 0

        async def count(process: "asyncssh.SSHServerProcess[bytes]") -> None:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            await asyncio.sleep(0.02)
            open_now -= 1
            process.stdout.write(EMPTY_LIST)

        async with hostile_node(count) as node, driving(node) as (driver, _):
            await asyncio.gather(*(driver.list_ours(node.access) for _ in range(30)))

        assert 1 < most <= module._SESSIONS_MAX

    async def test_is_made_anew_after_it_broke(self) -> None:
        async with hostile_node(saying(EMPTY_LIST)) as node, driving(node) as (driver, _):
            await driver.list_ours(node.access)
            node.hang_up()
            await node.alone.wait()
            await asyncio.sleep(0.05)  # for the news to arrive

            assert await driver.list_ours(node.access) == ()
            assert node.connections == 2

    async def test_closes_when_nobody_needs_it(self) -> None:
        async with (
            hostile_node(saying(EMPTY_LIST)) as node,
            driving(node, idle_seconds=0.05) as (driver, _),
        ):
            await driver.list_ours(node.access)
            async with asyncio.timeout(5):
                await node.alone.wait()

            assert await driver.list_ours(node.access) == ()

    async def test_that_cannot_be_made_fails_all_who_wait_at_once(self) -> None:
        async def be_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        async with plain_listener(be_silent) as port, hostile_node(saying(b"")) as node:
            access = replace(node.access, port=port)
            async with driving(node, connect_seconds=0.5) as (driver, _):
                began = time.monotonic()
                answers = await asyncio.gather(
                    *(driver.list_ours(access) for _ in range(20)), return_exceptions=True
                )

        assert all(isinstance(answer, NodeUnreachable) for answer in answers)
        assert time.monotonic() - began < 4

    async def test_survives_a_caller_who_gives_up_while_it_is_made(self) -> None:
        async with hostile_node(saying(EMPTY_LIST)) as node, driving(node) as (driver, _):
            hasty = asyncio.create_task(driver.list_ours(node.access))
            patient = asyncio.create_task(driver.list_ours(node.access))
            await asyncio.sleep(0)
            hasty.cancel()

            assert await patient == ()
            assert node.connections == 1


class TestAShell:
    async def test_slows_down_for_a_reader_who_does_not_read(self) -> None:
        async def flood(process: "asyncssh.SSHServerProcess[bytes]") -> None:
            if process.command == "gpucloud-node verify":
                process.stdout.write(_RUNNING)
                return
            for _ in range(1024):  # 64 MiB
                process.stdout.write(bytes(64 * 1024))
                await process.stdout.drain()
                node.sent_bytes += 64 * 1024

        async with hostile_node(flood) as node, driving(node) as (_, connections):
            shells = SshShells(connections)
            session = await shells.open(node.access, CLAIM, columns=80, rows=24)
            await asyncio.sleep(0.3)
            held_back = node.sent_bytes
            got = [len(await session.read()) for _ in range(50)]
            await session.close()

        assert held_back < 1024 * 1024
        assert max(got) <= 64 * 1024

    async def test_that_breaks_is_not_taken_for_one_that_ended(self) -> None:
        async def die(process: "asyncssh.SSHServerProcess[bytes]") -> None:
            if process.command == "gpucloud-node verify":
                process.stdout.write(_RUNNING)
                return
            process.stdout.write(b"$ ")
            await process.stdout.drain()
            await process.stdin.read(1)
            node.hang_up()

        async with hostile_node(die) as node, driving(node) as (_, connections):
            session = await SshShells(connections).open(node.access, CLAIM, columns=80, rows=24)
            assert await session.read() == b"$ "
            await session.write(b"x")
            with pytest.raises(NodeUnreachable):
                await session.read()
            await session.close()


_RUNNING = (
    b'{"ok": true, "exists": true, "running": true, "ssh_ready": true, "gpu_uuids": [],'
    b' "key_fingerprints": [], "ssh_cidrs": [], "detail": ""}'
)
