"""What a customer has of a slice on a real node: their own ``ssh``, and what they cannot reach.

The visitor here is the OpenSSH client with the customer's key, told the host key that we answered;
nothing goes through our driver once the slice is made. Seen to fail when the packet filter was
opened without its sources (``test_is_reached_only_from_where_it_was_asked``) and when the memory
limit was left out of the container's configuration (``test_cannot_take_more_memory``).
"""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.shells import SshShells
from gpucloud_core.nodes.model import NodeAccess, SliceSpec
from slice_builders import a_public_key
from world.nodes import GPU_MAJOR, RealNode, real_node
from world.visitors import Operator, Visitor, can_reach, new_key

pytestmark = pytest.mark.needs_root


@pytest.fixture(scope="module")
def world() -> Iterator[RealNode]:
    with real_node() as world:
        yield world


@pytest.fixture(scope="module")
def operator(world: RealNode) -> Operator:
    return Operator(world)


def a_spec(world: RealNode, number: int, *slots: int) -> SliceSpec:
    """Return a small slice that only the world's own address may reach."""
    return world.spec(
        number,
        *slots,
        cpus=world.slots[slots[0]].cpus,
        memory_mib=128,
        pids_max=40,
        ssh_cidrs=(f"{world.network}.254/32",),
        inbound=((8080, ()),),
    )


@pytest.fixture(scope="module")
def spec(world: RealNode) -> SliceSpec:
    return a_spec(world, 1, 1, 2)


@pytest.fixture(scope="module")
def visitor(
    operator: Operator, spec: SliceSpec, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visitor]:
    """A visitor of one slice, shared by the tests that leave it as it was."""
    with operator.slice(spec, tmp_path_factory.mktemp("visitor")) as visitor:
        yield visitor


class TestTheCustomer:
    def test_gets_in_with_their_key_and_sees_only_what_is_theirs(
        self, visitor: Visitor, spec: SliceSpec
    ) -> None:
        assert visitor.says("id -un; hostname; pwd").split() == [
            "ubuntu",
            spec.hostname,
            "/home/ubuntu",
        ]
        processes = visitor.says("ps -eo args=").splitlines()
        assert len(processes) <= 6
        assert all(each.startswith(("sshd", "bash", "ps")) for each in processes), processes
        devices = visitor.says(f"cd /dev && stat -c '%n %t' * | grep ' {GPU_MAJOR:x}$'")
        names = [line.split()[0] for line in devices.splitlines()]
        assert names == ["nvidia1", "nvidia2", "nvidiactl"]
        folders = "bin dev etc home lib lib64 proc root run sbin tmp usr var"
        assert set(visitor.says("ls -A /").split()) <= set(folders.split())
        assert visitor.says("ls -A /home; ls -A /run; ls -A /var/tmp").split() == ["ubuntu", "sshd"]

    def test_is_not_let_in_with_another_key(self, visitor: Visitor, tmp_path: Path) -> None:
        other = tmp_path / "other"
        new_key(other)

        assert "Permission denied" in visitor.run("id", key=other).stderr

    def test_would_notice_another_machine(self, visitor: Visitor) -> None:
        impostor = Visitor(
            visitor.folder, replace(visitor.endpoint, host_key=a_public_key("impostor"))
        )

        assert "Host key verification failed" in impostor.run("id").stderr

    def test_is_not_let_in_once_their_key_is_taken_out(
        self, world: RealNode, operator: Operator, tmp_path: Path
    ) -> None:
        spec = a_spec(world, 2, 0)
        with operator.slice(spec, tmp_path) as visitor:
            assert visitor.says("echo in") == "in"

            operator.set_keys(spec)

            assert "Permission denied" in visitor.run("id").stderr

    def test_cannot_let_others_in_behind_our_back(self, visitor: Visitor, tmp_path: Path) -> None:
        other = tmp_path / "other"
        line = new_key(other)

        visitor.says(f"mkdir -p ~/.ssh && echo '{line}' > ~/.ssh/authorized_keys")
        visitor.fails(f"echo '{line}' >> /etc/ssh/authorized_keys")

        assert "Permission denied" in visitor.run("id", key=other).stderr

    def test_is_cut_off_in_the_middle_of_a_session(
        self, world: RealNode, operator: Operator, tmp_path: Path
    ) -> None:
        spec = a_spec(world, 3, 0)
        with operator.slice(spec, tmp_path) as visitor:
            visitor.says("nohup sleep 1234 > /dev/null 2>&1 &")
            with visitor.session("echo here; exec sleep 5678") as session:
                assert session.stdout is not None
                assert session.stdout.readline() == b"here\n"

                operator.cut_off(spec)

                processes = world.run("ps", "-eo", "args=")
                assert "sleep 1234" not in processes
                assert "sleep 5678" not in processes
                assert visitor.run("id").returncode == 255

    def test_finds_their_files_after_a_restart_and_nothing_running(
        self, world: RealNode, operator: Operator, tmp_path: Path
    ) -> None:
        spec = a_spec(world, 8, 0)
        with operator.slice(spec, tmp_path) as visitor:
            visitor.says("echo work > ~/result; nohup sleep 4321 > /dev/null 2>&1 &")

            operator.do(lambda driver, access: driver.restart(access, spec.claim_id, 1))

            assert visitor.says("cat ~/result") == "work"
            assert "sleep 4321" not in world.run("ps", "-eo", "args=")


class TestASlice:
    def test_cannot_take_more_memory(self, visitor: Visitor) -> None:
        visitor.fails("python3 -c 'x = bytearray(400 << 20)'")
        visitor.fails("head -c 400M /dev/zero > /dev/shm/x")

        assert visitor.says("echo still here") == "still here"

    def test_cannot_start_more_processes(self, visitor: Visitor) -> None:
        done = visitor.run("for i in $(seq 60); do sleep 1 & done; wait")

        assert "Resource temporarily unavailable" in done.stderr

    def test_runs_on_its_own_cpus(self, visitor: Visitor, spec: SliceSpec) -> None:
        allowed = visitor.says("grep Cpus_allowed_list /proc/self/status").split()[1]

        assert allowed == spec.cpus

    def test_cannot_fill_the_nodes_disk(self, visitor: Visitor) -> None:
        assert "No space left" in visitor.fails("head -c 200M /dev/zero > ~/x")

    def test_may_open_its_gpus_and_no_other_device(self, visitor: Visitor) -> None:
        # No driver answers for the stand-ins: "no such device" means that the kernel let us try.
        assert "No such device" in visitor.fails("cat /dev/nvidia1")
        visitor.fails("mknod /tmp/nvidia0 c 4001 0")
        visitor.fails("ls /dev/nvidia0")

    def test_has_no_power_over_the_machine(self, visitor: Visitor) -> None:
        assert visitor.says("grep -h -e NoNewPrivs -e '^Seccomp:' /proc/self/status").split() == [
            "NoNewPrivs:",
            "1",
            "Seccomp:",
            "2",
        ]
        assert set(visitor.says("grep -h CapEff /proc/self/status").split()[1]) == {"0"}
        assert visitor.says("cat /proc/self/uid_map").split()[1] != "0"
        tried = "\n".join(f"( {each} ) && echo 'could: {each}'" for each in FORBIDDEN)
        assert visitor.says(f"{{ {tried}\n}} 2> /dev/null; true") == ""

    def test_is_reached_only_from_where_it_was_asked(
        self, world: RealNode, operator: Operator, tmp_path: Path
    ) -> None:
        spec = replace(a_spec(world, 4, 3), ssh_cidrs=("192.0.2.0/24",))
        with operator.slice(spec, tmp_path) as visitor:
            assert "timed out" in visitor.run("id").stderr

            # From a source that is allowed it answers: only the address differs.
            address = ["192.0.2.7/32", "dev", world.cable]
            subprocess.run(["ip", "address", "add", *address], check=True)
            assert visitor.says("echo in", source="192.0.2.7") == "in"

    def test_reaches_neither_its_node_nor_its_neighbours(
        self, world: RealNode, operator: Operator, visitor: Visitor, tmp_path: Path
    ) -> None:
        neighbour = replace(a_spec(world, 5, 3), ssh_cidrs=())
        with operator.slice(neighbour, tmp_path):
            assert can_reach(neighbour.ssh_host, 22)
            for host in (world.node.access.host, neighbour.ssh_host):
                visitor.fails(f"timeout 1 bash -c 'echo < /dev/tcp/{host}/22'")

    def test_opens_the_ports_it_asked_for_and_no_other(self, visitor: Visitor) -> None:
        listen = "socket.create_server(('', {}))"
        both = f"import socket; both = {listen.format(8080)}, {listen.format(8081)}"
        with visitor.session(f'python3 -c "{both}; print(1, flush=True); input()"') as servers:
            assert servers.stdout is not None
            assert servers.stdout.readline() == b"1\n"

            assert can_reach(visitor.endpoint.host, 8080)
            assert not can_reach(visitor.endpoint.host, 8081)

    def test_leaves_no_byte_of_itself(
        self, world: RealNode, operator: Operator, tmp_path: Path
    ) -> None:
        spec, canary = a_spec(world, 6, 0), "canary-7f3a9c"
        disk, another_name = f"/run/state/slices/{spec.claim_id}/disk.img", "/run/state/kept"
        with operator.slice(spec, tmp_path) as visitor:
            visitor.says(f"for i in 1 2 3; do echo {canary}-$i > ~/$i; done; rm ~/2; sync")
            operator.release(spec)
            assert int(world.run("grep", "-a", "-c", canary, disk)) > 0
            world.run("ln", disk, another_name)

            assert operator.wipe(spec).clean

            assert world.run("ls", disk, check=False) == ""
            assert world.run("grep", "-a", "-c", canary, another_name, check=False) == "0\n"
            world.run("rm", another_name)


class TestTheBrowserShell:
    def test_has_no_more_power_than_ssh(
        self, operator: Operator, spec: SliceSpec, visitor: Visitor
    ) -> None:
        inside = "{ id; grep -h -e NoNewPrivs -e '^Seccomp:' -e Cap /proc/self/status; }"

        async def typed(connections: SshConnections, access: NodeAccess) -> str:
            shells = SshShells(connections)
            session = await shells.open(access, spec.claim_id, columns=200, rows=50)
            await session.write(f"{inside} | tr '\\n' '|'; echo; exit\r".encode())
            seen = b""
            while data := await session.read():
                seen += data
            await session.close()
            return seen.decode()

        said = operator.on_connections(typed)

        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert f"{name}:\t{'0' * 16}" in said
        assert "NoNewPrivs:\t1" in said
        assert "Seccomp:\t2" in said
        assert "uid=1000(ubuntu) gid=1000(ubuntu) groups=1000(ubuntu)" in said


class TestANodeThatRestarts:
    def test_has_its_slices_back_as_they_were(self, tmp_path: Path) -> None:
        with real_node() as world:
            operator, spec = Operator(world), a_spec(world, 7, 0)
            with operator.slice(spec, tmp_path) as visitor:
                visitor.says("echo work > ~/result; sync")
                world.restart()
                evidence = operator.do(lambda driver, access: driver.verify(access, spec.claim_id))
                assert evidence.exists
                assert not evidence.running

                again = operator.do(lambda driver, access: driver.provision(access, spec))

                assert again == visitor.endpoint
                assert visitor.says("cat ~/result") == "work"


FORBIDDEN: Final = (
    "unshare --user true",
    "mount -t tmpfs x /tmp",
    "cat /etc/ssh/host_key",
    "cat /proc/kcore",
    "echo 1 > /proc/sys/net/ipv4/ip_forward",
    "echo b > /proc/sysrq-trigger",
    "ip address add 192.0.2.1/32 dev eth0",
    "ip link set eth0 down",
    "nft list ruleset | grep table",
    "dmesg",
    "su -c id",
    "touch /usr/bin/x",
    "kill -9 1",
)
