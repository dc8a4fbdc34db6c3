"""The SSH driver and shells against a real node: OpenSSH in front, runc slices behind."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from contracts.node_driver import NodeDriverContract, NodeRig, ShellsContract
from contracts.node_rig import read_to_end, read_until
from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.node_driver import SshNodeDriver
from gpucloud_adapters.ssh.shells import SshShells
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes.ports import NodeUnreachable
from gpucloud_core.nodes.wire_values import public_key
from world.nodes import IMAGE, RealNode, real_node

pytestmark = pytest.mark.needs_root


@pytest.fixture(scope="module")
def world(real_parts: dict[str, str]) -> Iterator[RealNode]:
    with real_node() as world:
        real_parts["OpenSSH"] = world.run("sh", "-c", "ssh -V 2>&1").split(",")[0]
        real_parts["runc"] = world.run("runc", "--version").split()[2]
        yield world


@pytest.fixture
async def real_rig(world: RealNode) -> AsyncIterator[NodeRig]:
    connections = SshConnections(world.credentials)

    async def let_in(claim_id: ClaimId) -> tuple[str, ...]:
        # As the slice's SSH server would read them, through the file system of its process.
        pid = world.init_of(claim_id)
        text = world.run("cat", f"/proc/{pid}/root/etc/ssh/authorized_keys")
        return tuple(public_key(line).fingerprint for line in text.splitlines())

    async def traces(claim_id: ClaimId) -> tuple[str, ...]:
        return tuple(_traces(world, claim_id))

    yield NodeRig(
        driver=SshNodeDriver(connections),
        shells=SshShells(connections),
        access=world.node.access,
        slots=world.slots,
        image=IMAGE,
        let_in=let_in,
        traces=traces,
        nobody=replace(world.node.access, host=f"{world.network}.9", port=1),
    )
    await connections.close()


def _traces(world: RealNode, claim_id: ClaimId) -> Iterator[str]:
    """Yield what is on the node beyond what every node has, whatever it is called."""
    yield from world.run("sh", "-c", "ls /run/netns").split()
    loops = world.run("losetup", "--noheadings", "--output", "BACK-FILE").split()
    yield from (loop for loop in loops if claim_id in loop)
    links = world.run("ls", "/proc/sys/net/ipv4/conf").split()
    yield from (link for link in links if link not in {"all", "default", "lo", "slices", "uplink"})
    mounts = world.run("cat", "/proc/mounts").splitlines()
    yield from (mount for mount in mounts if claim_id in mount)
    places = ("/run", "/run/state/slices", "/dev", "/home")  # it may remember, and only that
    yield from world.run("find", *places, "-xdev", "-name", f"*{claim_id}*", check=False).split()
    yield from map(str, world.cgroups())
    processes = world.run("ps", "-e", "-o", "args=").splitlines()
    yield from (each for each in processes if "/etc/ssh/sshd_config" in each or claim_id in each)


class TestSshNodeDriverOnARealNode(NodeDriverContract):
    @pytest.fixture
    def rig(self, real_rig: NodeRig) -> NodeRig:
        return real_rig


class TestSshShellsOnARealNode(ShellsContract):
    @pytest.fixture
    def rig(self, real_rig: NodeRig) -> NodeRig:
        return real_rig

    async def test_is_lost_when_the_nodes_sshd_is_killed(
        self, rig: NodeRig, world: RealNode
    ) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)
        session = await rig.shells.open(rig.access, spec.claim_id, columns=80, rows=24)
        await session.write(b"echo it is $((40 + 2)) here\r")
        await read_until(session, "it is 42")

        world.run("pkill", "-KILL", "-f", f"^sshd: {rig.access.username}")

        with pytest.raises(NodeUnreachable):
            await read_to_end(session)
        await session.close()
