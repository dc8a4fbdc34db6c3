"""Data disks on a real node: loop devices stand in for NVMe, everything else is the real thing.

Seen to fail when a disk that somebody had written to was formatted, when a half-made file system
was taken for a stranger's, when a wipe erased what its claim had never had, when it believed the
erasing instead of reading back, and when only the first disk of two was mounted.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.node_driver import SshNodeDriver
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes.model import SliceSpec, WipeEvidence
from gpucloud_core.nodes.ports import NodeRefused
from world.nodes import DISK_BYTES, RealNode, real_node

pytestmark = pytest.mark.needs_root
SECRET = "the weights of a customer"
_MARK = SECRET.encode()
_claims = count(1)


@pytest.fixture(scope="module")
def world() -> Iterator[RealNode]:
    with real_node(disks=3) as world:
        yield world


class Operator:
    """Does what the platform does to one node, and looks behind its back."""

    def __init__(self, world: RealNode, driver: SshNodeDriver) -> None:
        self.world, self.driver = world, driver
        self.access = world.node.access

    def spec(self, *slots: int) -> SliceSpec:
        disks = tuple(self.world.slots[index].disk for index in slots)
        return self.world.spec(next(_claims), *slots, disks=disks)

    async def provision(self, *slots: int) -> SliceSpec:
        spec = self.spec(*slots)
        await self.driver.provision(self.access, spec)
        return spec

    async def wipe(self, spec: SliceSpec) -> WipeEvidence:
        await self.driver.release(self.access, spec.claim_id)
        return await self.driver.wipe(self.access, spec.claim_id, spec.gpu_uuids, spec.disks)

    async def left(self, spec: SliceSpec) -> tuple[str, ...]:
        return await self.driver.verify_clean(
            self.access, spec.claim_id, spec.gpu_uuids, spec.disks
        )

    def inside(self, claim_id: ClaimId, script: str) -> str:
        """Run a script in a slice as its customer."""
        runc = ("runc", "--root", "/run/gpucloud-node/runc", "exec", "--user", "1000:1000")
        return self.world.run(*runc, claim_id, "sh", "-e", "-c", script).strip()

    def file(self, spec: SliceSpec, number: int = 0) -> Path:
        """Return the file that stands behind a disk."""
        serials = {disk.name: disk.serial for disk in self.world.node.topology.nvmes}
        return self.world.folder / serials[spec.disks[number]]

    def device(self, spec: SliceSpec) -> str:
        return f"/dev/disk/by-id/{self.file(spec).name}"

    def scribble(self, spec: SliceSpec, text: str = SECRET) -> None:
        """Write to a disk as somebody who is no slice."""
        script = (
            f"printf '%s' '{text}' | dd of={self.device(spec)} bs=4096 seek=3 conv=notrunc,fsync"
        )
        self.world.run("sh", "-c", f"{script} 2>/dev/null")

    def blank(self, spec: SliceSpec) -> None:
        self.world.run("blockdev", "--setrw", self.device(spec))
        self.world.run("blkdiscard", "--force", "--zeroout", self.device(spec))


@pytest.fixture
async def operator(world: RealNode) -> AsyncIterator[Operator]:
    connections = SshConnections(world.credentials)
    yield Operator(world, SshNodeDriver(connections))
    await connections.close()


class TestADataDisk:
    async def test_is_the_customers_own_folder_and_outlives_a_restart(
        self, operator: Operator
    ) -> None:
        spec = await operator.provision(0)

        assert operator.inside(spec.claim_id, "stat -c '%u %g %a' /data") == "1000 1000 755"
        assert operator.inside(spec.claim_id, "ls -A /data") == ""
        operator.inside(spec.claim_id, f"echo '{SECRET}' > /data/weights; sync /data/weights")
        await operator.driver.restart(operator.access, spec.claim_id, 1)
        assert operator.inside(spec.claim_id, "cat /data/weights") == SECRET
        assert _MARK in operator.file(spec).read_bytes()
        await operator.wipe(spec)

    async def test_of_several_are_folders_of_one(self, operator: Operator) -> None:
        spec = await operator.provision(0, 1)

        sources = operator.inside(
            spec.claim_id, "awk '$2 ~ \"^/data\" {print $2, $3}' /proc/mounts | sort"
        )
        assert sources.splitlines() == ["/data tmpfs", "/data/1 ext4", "/data/2 ext4"]
        operator.inside(spec.claim_id, "touch /data/1/a /data/2/b")
        with pytest.raises(AssertionError):
            operator.inside(spec.claim_id, "touch /data/c")
        await operator.wipe(spec)

    async def test_holds_nothing_of_its_customer_once_it_is_wiped(self, operator: Operator) -> None:
        spec = await operator.provision(0)
        script = (
            f"for n in 1 2 3 4; do yes '{SECRET}' | head -c 2M > /data/$n; done; rm /data/1; sync"
        )
        operator.inside(spec.claim_id, script)

        proof = await operator.wipe(spec)

        assert proof.clean
        (disk,) = proof.disks
        assert (disk.method, disk.size_bytes) == ("disk-discard", DISK_BYTES)
        assert disk.serial == operator.file(spec).name
        assert len(disk.reads) > 16
        assert not any(operator.file(spec).read_bytes())
        assert await operator.left(spec) == ()

    async def test_is_overwritten_where_the_first_way_does_nothing(
        self, operator: Operator
    ) -> None:
        """There is no ``nvme`` program here, as on a node that lacks it."""
        path = "/etc/gpucloud-node.json"
        operator.world.run("sed", "-i.was", 's/"erase": "discard"/"erase": "format"/', path)
        try:
            spec = await operator.provision(0)
            operator.inside(spec.claim_id, f"echo '{SECRET}' > /data/x; sync /data/x")

            proof = await operator.wipe(spec)
        finally:
            operator.world.run("mv", f"{path}.was", path)

        assert proof.clean
        assert [disk.method for disk in proof.disks] == ["disk-overwrite"]
        assert not any(operator.file(spec).read_bytes())

    async def test_that_cannot_be_erased_is_not_clean_until_it_can(
        self, operator: Operator
    ) -> None:
        spec = await operator.provision(0)
        operator.inside(spec.claim_id, f"echo '{SECRET}' > /data/x; sync /data/x")
        await operator.driver.release(operator.access, spec.claim_id)
        operator.world.run("blockdev", "--setro", operator.device(spec))

        failed = await operator.wipe(spec)

        assert not failed.clean
        assert failed.detail == f"{spec.disks[0]} does not read back as zeros"
        assert [disk.clean for disk in failed.disks] == [False]
        assert f"something on {spec.disks[0]}" in await operator.left(spec)
        with pytest.raises(NodeRefused, match="in_use"):
            await operator.provision(0)
        operator.world.run("blockdev", "--setrw", operator.device(spec))
        assert (await operator.wipe(spec)).clean

    async def test_of_a_stranger_is_neither_taken_nor_erased(self, operator: Operator) -> None:
        spec = operator.spec(0)
        operator.scribble(spec)

        with pytest.raises(NodeRefused, match="disk_not_blank"):
            await operator.driver.provision(operator.access, spec)
        proof = await operator.wipe(spec)

        assert not proof.clean
        assert [disk.method for disk in proof.disks] == ["disk-read"]
        assert _MARK in operator.file(spec).read_bytes()
        operator.blank(spec)
        assert (await operator.wipe(spec)).clean

    async def test_that_was_half_made_is_made_anew(self, operator: Operator) -> None:
        spec = operator.spec(0)
        kept = f"/run/state/slices/{spec.claim_id}"
        operator.world.run("mkdir", "-p", kept)
        operator.world.run("touch", f"{kept}/{spec.disks[0]}.begun")
        operator.scribble(spec)

        await operator.driver.provision(operator.access, spec)

        assert operator.inside(spec.claim_id, "ls -A /data") == ""
        assert (await operator.wipe(spec)).clean

    async def test_of_another_machine_at_the_same_path_is_refused(self, operator: Operator) -> None:
        spec, other = operator.spec(0), operator.spec(1)
        loops = [operator.world.run("readlink", operator.device(x)).strip() for x in (spec, other)]
        operator.world.run("ln", "-sfn", loops[1], operator.device(spec))

        try:
            with pytest.raises(NodeRefused, match="unknown_disk"):
                await operator.driver.provision(operator.access, spec)
        finally:
            operator.world.run("ln", "-sfn", loops[0], operator.device(spec))

    async def test_survives_the_machines_restart(self, operator: Operator) -> None:
        spec = await operator.provision(0)
        operator.inside(spec.claim_id, f"echo '{SECRET}' > /data/x; sync /data/x")
        operator.world.restart()

        await operator.driver.provision(operator.access, spec)

        assert operator.inside(spec.claim_id, "cat /data/x") == SECRET
        await asyncio.gather(operator.wipe(spec), return_exceptions=True)
        assert (await operator.wipe(spec)).clean
