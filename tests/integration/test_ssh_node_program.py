"""``gpucloud-node`` itself: one file that needs nothing, and holds when it is killed half way."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.installer import NodeProgramInstaller
from gpucloud_adapters.ssh.node import config, disk
from gpucloud_adapters.ssh.node.commands import Refused
from gpucloud_adapters.ssh.node_driver import SshNodeDriver
from gpucloud_adapters.ssh.node_program import NODE_PATH, program_bytes, program_sha256
from gpucloud_core.nodes import wire
from gpucloud_core.nodes.ports import NodeRefused, NodeUnreachable
from slice_builders import ALICE
from world.nodes import RealNode, real_node


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "gpucloud-node"
    path.write_bytes(program_bytes())
    return path


def run(
    program: Path, *words: str, stdin: bytes = b"{}", command: str = ""
) -> "subprocess.CompletedProcess[bytes]":
    """Run it as a node would: isolated, in an empty environment, from elsewhere."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(program), *words],
        input=stdin,
        capture_output=True,
        check=False,
        cwd="/",
        env={"SSH_ORIGINAL_COMMAND": command} if command else {},
    )


class TestTheProgram:
    def test_is_one_file_that_needs_nothing_but_python(self, program: Path) -> None:
        done = run(program, "list")

        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["error"] == "not_configured"

    def test_is_the_same_however_often_it_is_packed(self) -> None:
        program_bytes.cache_clear()
        again = hashlib.sha256(program_bytes()).hexdigest()

        assert again == program_sha256()

    def test_answers_a_document_it_does_not_understand(self, program: Path) -> None:
        for raw in (b"", b"nonsense", b"[" * 300_000, b'{"claim_id": "x"}'):
            done = run(program, "release", stdin=raw)

            assert done.returncode == 0
            assert json.loads(done.stdout)["error"] == "invalid_document"

    @pytest.mark.parametrize("words", [(), ("reboot",), ("list", "x"), ("shell",), ("--help",)])
    def test_does_nothing_it_was_not_made_for(self, program: Path, words: tuple[str, ...]) -> None:
        assert run(program, *words).returncode == 126


class TestTheGate:
    def test_lets_the_verbs_through(self, program: Path) -> None:
        done = run(program, "gate", command="gpucloud-node list")

        assert json.loads(done.stdout)["error"] == "not_configured"

    def test_lets_the_tools_of_discovery_through(self, program: Path) -> None:
        assert b"MemTotal" in run(program, "gate", command="cat /proc/meminfo").stdout
        assert run(program, "gate", command="nvidia-smi -L").returncode in {0, 127}

    @pytest.mark.parametrize(
        "command",
        [
            "",
            "bash",
            "cat /etc/shadow",
            "cat /proc/meminfo /etc/shadow",
            "gpucloud-node gate",
            "/usr/local/bin/gpucloud-node list",
            "gpucloud-node list; id",
            "nvidia-smi -L -x",
            "'",
        ],
    )
    def test_lets_nothing_else_through(self, program: Path, command: str) -> None:
        done = run(program, "gate", command=command)

        assert done.returncode == 126
        assert done.stdout == b""


class TestTheConfiguration:
    def test_says_what_is_wrong_with_it(self, tmp_path: Path) -> None:
        path = tmp_path / "node.json"
        for text, words in (
            ("", "is wrong"),
            ("[]", "is not an object"),
            ("{}", "lacks cgroup_parent"),
        ):
            path.write_text(text)
            with pytest.raises(Refused, match=words):
                config.load(path)


class TestADisk:
    def test_is_overwritten_wherever_something_was_written(self, tmp_path: Path) -> None:
        path = tmp_path / "disk.img"
        with path.open("wb") as file:
            file.truncate(64 << 20)
            for offset in (0, 5 << 20, (64 << 20) - 4096):
                file.seek(offset)
                file.write(b"secret" * 600)

        done = disk.overwrite(path)

        assert done.clean
        assert len(done.reads) >= 3
        assert {digest for _, digest in done.reads} == {hashlib.sha256(bytes(4096)).hexdigest()}
        assert b"secret" not in path.read_bytes()
        assert path.stat().st_blocks * 512 < 16 << 20  # what was never written costs no time

    def test_that_nobody_wrote_to_has_nothing_to_overwrite(self, tmp_path: Path) -> None:
        path = tmp_path / "disk.img"
        path.touch()
        os.truncate(path, 1 << 20)

        assert disk.overwrite(path) == disk.Overwritten("", (), clean=True)


# ---- on a real node ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world() -> Iterator[RealNode]:
    with real_node() as world:
        yield world


@pytest.fixture
async def connections(world: RealNode) -> AsyncIterator[SshConnections]:
    connections = SshConnections(world.credentials)
    yield connections
    await connections.close()


@pytest.fixture
def driver(connections: SshConnections) -> SshNodeDriver:
    return SshNodeDriver(connections)


@pytest.mark.needs_root
class TestTheInstaller:
    async def test_puts_the_program_on_a_node(
        self, world: RealNode, connections: SshConnections, driver: SshNodeDriver
    ) -> None:
        world.run("rm", NODE_PATH)
        with pytest.raises(NodeRefused, match="not installed"):
            await driver.probe(world.node.access)

        digest = await NodeProgramInstaller(connections).install(world.onboarding)

        assert world.run("sha256sum", NODE_PATH).split()[0] == digest == program_sha256()
        assert (await driver.probe(world.node.access)).problems == ()

    async def test_has_a_key_for_that_and_nothing_more(
        self, world: RealNode, connections: SshConnections
    ) -> None:
        output = await connections.run(world.onboarding, ["gpucloud-node", "list"], seconds=10)
        assert output.status != 0
        assert b"slices" not in output.stdout

        with pytest.raises((NodeRefused, NodeUnreachable)):
            await NodeProgramInstaller(connections).install(world.node.access)

    async def test_leaves_the_operator_key_no_shell(
        self, world: RealNode, connections: SshConnections
    ) -> None:
        for argv in (["id"], ["bash", "-c", "id"], ["cat", "/etc/shadow"]):
            output = await connections.run(world.node.access, argv, seconds=10)

            assert (output.status, output.stdout) == (126, b"")


@pytest.mark.needs_root
class TestTheProgramOnANode:
    async def test_makes_one_slice_of_many_requests_at_once(
        self, world: RealNode, driver: SshNodeDriver
    ) -> None:
        spec, rival = world.spec(1), world.spec(2)
        orders = [spec, spec, rival]

        answers = await asyncio.gather(
            *(driver.provision(world.node.access, order) for order in orders),
            return_exceptions=True,
        )

        refused = [answer for answer in answers if isinstance(answer, NodeRefused)]
        made = {answer for answer in answers if not isinstance(answer, BaseException)}
        assert len(made) == 1, answers
        assert len(refused) in {1, 2}
        assert len(await driver.list_ours(world.node.access)) == 1
        for order in (spec, rival):
            await driver.release(world.node.access, order.claim_id)
            await driver.wipe(world.node.access, order.claim_id, order.gpu_uuids)

    @pytest.mark.parametrize("seconds", [0.15, 0.25, 0.35, 0.45, 0.6])
    async def test_can_be_killed_half_way_and_asked_again(
        self, world: RealNode, driver: SshNodeDriver, seconds: float
    ) -> None:
        access = world.node.access
        spec = world.spec(int(seconds * 100) + 100)
        killed(world, wire.PROVISION.verb, wire.PROVISION.request(spec), seconds)

        await driver.provision(access, spec)

        await driver.set_keys(access, spec.claim_id, [ALICE])
        assert (await driver.verify(access, spec.claim_id)).ssh_ready
        killed(
            world,
            wire.RELEASE.verb,
            wire.RELEASE.request(wire.ClaimRequest(claim_id=spec.claim_id)),
            seconds,
        )
        await driver.release(access, spec.claim_id)
        asked = wire.GpusRequest(claim_id=spec.claim_id, gpu_uuids=spec.gpu_uuids)
        killed(world, wire.WIPE.verb, wire.WIPE.request(asked), seconds)
        assert (await driver.wipe(access, spec.claim_id, spec.gpu_uuids)).clean
        assert await driver.verify_clean(access, spec.claim_id, spec.gpu_uuids) == ()
        assert world.cgroups() == []

    async def test_can_be_killed_half_way_and_told_to_clean_up(
        self, world: RealNode, driver: SshNodeDriver
    ) -> None:
        access = world.node.access
        for number, seconds in enumerate((0.15, 0.25, 0.35, 0.45)):
            spec = world.spec(300 + number)
            killed(world, wire.PROVISION.verb, wire.PROVISION.request(spec), seconds)

            await driver.release(access, spec.claim_id)
            await driver.wipe(access, spec.claim_id, spec.gpu_uuids)

            assert await driver.verify_clean(access, spec.claim_id, spec.gpu_uuids) == ()
            assert world.run("ls", "/run/netns") == ""

    async def test_removes_a_control_group_that_runc_forgot(
        self, world: RealNode, driver: SshNodeDriver
    ) -> None:
        access, spec = world.node.access, world.spec(350)
        await driver.provision(access, spec)
        await driver.release(access, spec.claim_id)
        await driver.wipe(access, spec.claim_id, spec.gpu_uuids)
        tops = world.cgroup_tops()
        forgotten = [top / spec.claim_id / "below" for top in tops if top.parent.name != "cpuset"]
        for folder in forgotten:
            folder.mkdir(parents=True)
        procs = forgotten[0] / "cgroup.procs"
        world.run("sh", "-c", f"sleep 600 > /dev/null 2>&1 & echo $! > {procs}")
        assert procs.read_text()

        await driver.release(access, spec.claim_id)

        assert await driver.verify_clean(access, spec.claim_id, spec.gpu_uuids) == ()

    async def test_lists_what_carries_our_tag_and_nothing_else(
        self, world: RealNode, driver: SshNodeDriver
    ) -> None:
        spec = world.spec(400)
        await driver.provision(world.node.access, spec)
        bundle = f"/run/gpucloud-node/slices/{spec.claim_id}/bundle"
        world.run("sh", "-e", "-c", FOREIGN.format(bundle=bundle))

        ours = await driver.list_ours(world.node.access)

        assert [each.claim_id for each in ours] == [spec.claim_id]
        world.run("runc", "--root", "/run/gpucloud-node/runc", "delete", "--force", "foreign")
        await driver.release(world.node.access, spec.claim_id)
        await driver.wipe(world.node.access, spec.claim_id, spec.gpu_uuids)

    async def test_tells_a_dead_slice_from_a_living_one(
        self, world: RealNode, driver: SshNodeDriver
    ) -> None:
        access, spec = world.node.access, world.spec(500)
        await driver.provision(access, spec)
        world.run("runc", "--root", "/run/gpucloud-node/runc", "kill", spec.claim_id, "KILL")
        world.run("sh", "-c", f"while [ -e /proc/{world.init_of(spec.claim_id)} ]; do :; done")

        assert [each.running for each in await driver.list_ours(access)] == [False]
        with pytest.raises(NodeRefused, match="not_running"):
            await driver.set_keys(access, spec.claim_id, [ALICE])
        await driver.provision(access, spec)
        assert (await driver.verify(access, spec.claim_id)).running
        await driver.release(access, spec.claim_id)
        await driver.wipe(access, spec.claim_id, spec.gpu_uuids)

    @pytest.mark.parametrize("seconds", [0.1, 0.3, 0.5])
    async def test_can_be_killed_half_way_through_a_restart(
        self, world: RealNode, driver: SshNodeDriver, seconds: float
    ) -> None:
        access, spec = world.node.access, world.spec(int(seconds * 100) + 700)
        endpoint = await driver.provision(access, spec)
        before = await driver.verify(access, spec.claim_id)
        asked = wire.RestartRequest(claim_id=spec.claim_id, generation=5)
        killed(world, wire.RESTART.verb, wire.RESTART.request(asked), seconds)
        await driver.restart(access, spec.claim_id, 5)

        assert await driver.verify(access, spec.claim_id) == before
        assert await driver.provision(access, spec) == endpoint
        await driver.release(access, spec.claim_id)
        await driver.wipe(access, spec.claim_id, spec.gpu_uuids)

    async def test_misses_a_gpu_that_is_gone(self, world: RealNode, driver: SshNodeDriver) -> None:
        access, spec = world.node.access, world.spec(600, 3)
        world.run("mv", "/dev/nvidia3", "/dev/was-nvidia3")
        try:
            report = await driver.probe(access)
            found = await driver.verify_clean(access, spec.claim_id, spec.gpu_uuids)
            with pytest.raises(NodeRefused, match="unknown_gpu"):
                await driver.provision(access, spec)
        finally:
            world.run("mv", "/dev/was-nvidia3", "/dev/nvidia3")

        assert spec.gpu_uuids[0] not in report.gpu_uuids
        assert report.problems == ("/dev/nvidia3 is not the device it should be",)
        assert found == (f"{spec.gpu_uuids[0]} is not where it was",)

    async def test_has_no_image_but_those_the_operator_gave_it(
        self, world: RealNode, driver: SshNodeDriver
    ) -> None:
        with pytest.raises(NodeRefused, match="unknown_image"):
            await driver.provision(world.node.access, replace(world.spec(700), image="other"))

    async def test_has_no_address_but_those_of_its_own_network(
        self, world: RealNode, driver: SshNodeDriver
    ) -> None:
        access = world.node.access
        others = ("192.0.2.1", f"{world.network}.254", access.host, "node.example.com")
        for number, host in enumerate(others):
            spec = replace(world.spec(800 + number), ssh_host=host)
            with pytest.raises(NodeRefused, match="address_not_here"):
                await driver.provision(access, spec)

            assert await driver.verify_clean(access, spec.claim_id, spec.gpu_uuids) == ()


@pytest.mark.needs_root
class TestAWipe:
    """With another configuration of the node than the world's, put back afterwards."""

    @pytest.fixture(autouse=True)
    def own_configuration(self, world: RealNode) -> Iterator[None]:
        world.run("cp", str(config.CONFIG_FILE), "/run/as-it-was.json")
        yield
        world.run("cp", "/run/as-it-was.json", str(config.CONFIG_FILE))

    def change(self, world: RealNode, **changes: object) -> None:
        document = json.loads(world.run("cat", str(config.CONFIG_FILE)))
        (world.folder / "state" / "changed.json").write_text(json.dumps({**document, **changes}))
        world.run("cp", "/run/state/changed.json", str(config.CONFIG_FILE))

    async def test_is_not_clean_while_a_gpu_is_not_reset(
        self, world: RealNode, driver: SshNodeDriver
    ) -> None:
        access, spec = world.node.access, world.spec(900)
        await driver.provision(access, spec)
        await driver.release(access, spec.claim_id)
        self.change(world, gpu_reset=["false", "{gpu}"])

        failed = await driver.wipe(access, spec.claim_id, spec.gpu_uuids)

        assert not failed.clean
        assert "could not be reset" in failed.detail
        assert await driver.verify_clean(access, spec.claim_id, spec.gpu_uuids)
        self.change(world, gpu_reset=["true", "{gpu}"])
        assert (await driver.wipe(access, spec.claim_id, spec.gpu_uuids)).clean

    async def test_is_not_clean_while_somebody_has_a_gpu_open(
        self, world: RealNode, driver: SshNodeDriver
    ) -> None:
        access, spec = world.node.access, world.spec(901, 3)
        gpus = json.loads(world.run("cat", str(config.CONFIG_FILE)))["gpus"]
        gpus[spec.gpu_uuids[0]] |= {"path": "/dev/openable", "major": 5, "minor": 2}  # ptmx opens
        self.change(world, gpus=gpus)
        world.run("mknod", "/dev/openable", "c", "5", "2")
        holder = world.run("sh", "-c", "sleep 60 < /dev/openable > /dev/null 2>&1 & echo $!")

        held = await driver.wipe(access, spec.claim_id, spec.gpu_uuids)

        assert not held.clean
        assert held.detail == f"process {holder.strip()} has /dev/openable open"
        world.run("kill", holder.strip())
        assert (await driver.wipe(access, spec.claim_id, spec.gpu_uuids)).clean
        assert await driver.verify_clean(access, spec.claim_id, spec.gpu_uuids) == ()


FOREIGN = """
mkdir -p /run/foreign
sed -e 's/gpucloud.claim_id/other.claim_id/' {bundle}/config.json > /run/foreign/config.json
runc --root /run/gpucloud-node/runc create --bundle /run/foreign foreign \
    < /dev/null > /dev/null 2> /dev/null
"""


def killed(world: RealNode, verb: str, request: bytes, seconds: float) -> None:
    """Run a verb on the node and kill it after a while, with the tool it was running."""
    (world.folder / "state" / "request").write_bytes(request)
    line = f"timeout -s KILL {seconds} gpucloud-node {verb} < /run/state/request > /dev/null"
    world.run("sh", "-c", f"PATH=/usr/local/bin:$PATH; {line}", check=False)
