"""A real node in namespaces of its own: Debian's OpenSSH in front, runc slices behind.

A node is one process tree with its own processes, mounts and network; killing its first process
ends all of it, with every slice and mount, and so does the death of the test run itself. What the
kernel does not take back (its folder, its control groups) is swept when a node of the same number
starts.
GPUs are character devices that no driver answers for. The world reaches a node and its slices at
10.213.N.0/24, over a cable that exists only as long as the node.

    with real_node(gpus=4) as world:
        driver = SshNodeDriver(SshConnections(world.credentials))
        await driver.probe(world.node.access)
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gpucloud_adapters.ssh.node_program import program_bytes
from gpucloud_core.kernel.ids import ClaimId, NodeId, SlotId, entity_id
from gpucloud_core.nodes.beside import beside
from gpucloud_core.nodes.model import (
    Gpu,
    LinkClass,
    Node,
    NodeAccess,
    NodeMode,
    NodeStatus,
    Nvme,
    SliceSpec,
    Slot,
    SlotState,
    Topology,
)
from slice_builders import a_slice

IMAGE: Final = "ubuntu-24.04"
SLOT_MEMORY_MIB: Final = 192
DISK_BYTES: Final = 48 << 20
GPU_MAJOR: Final = 4001  # beyond every driver's: opening one says "no such device", if allowed
ONBOARDING: Final = "node-onboarding"
OPERATOR: Final = "node-operator"
_PLACE: Final = Path("/var/lib/gpucloud-test-nodes")  # a folder and a lock for each number
_NODES_MAX: Final = 200
_START_SECONDS: Final = 15.0
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealNode:
    """What a test needs of a node: its rows, the keys to reach it, and a way behind the port."""

    node: Node
    slots: tuple[Slot, ...]
    keys: dict[str, str]
    folder: Path
    network: str
    number: int
    pid: int

    async def credentials(self, name: str) -> str:
        """Return a private key by its name; what bootstrap's secret box does."""
        return self.keys[name]

    @property
    def onboarding(self) -> NodeAccess:
        """How an operator reaches the node to put files on it."""
        return replace(self.node.access, credential=ONBOARDING)

    def spec(self, number: int, *slots: int, **changes: Any) -> SliceSpec:
        """Return what is asked of the node for claim ``number`` on these slots."""
        chosen = [self.slots[index] for index in slots or (0,)]
        return a_slice(number, chosen, image=IMAGE, **changes)

    def run(self, *argv: str, check: bool = True) -> str:
        """Run a command on the node, behind every port's back."""
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--uts", "--ipc"]
        done = subprocess.run(
            [*inside, *argv], capture_output=True, text=True, check=False, env=_ENVIRONMENT
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
        return done.stdout

    @property
    def cable(self) -> str:
        """The world's end of the cable to the node."""
        return _cable(self.number)

    def restart(self) -> None:
        """Take away all that a restart of a machine takes: processes, mounts, networks, /run."""
        script = """
            for claim in $(runc --root /run/gpucloud-node/runc list --quiet); do
                runc --root /run/gpucloud-node/runc delete --force "$claim"
            done
            for name in $(ls /run/netns); do ip netns delete "$name"; done
            for at in $(awk '/gpucloud-node.slices/ {print $2}' /proc/mounts | sort -r); do
                umount "$at"
            done
            rm -r /run/gpucloud-node
        """
        self.run("sh", "-e", "-c", script)

    def init_of(self, claim_id: ClaimId) -> int:
        """Return the first process of a slice, as the node numbers it."""
        return int(self.run("cat", f"/run/gpucloud-node/slices/{claim_id}/bundle/pid"))

    def cgroup_tops(self) -> list[Path]:
        """Return the control group that stands for the node, in each hierarchy that has one."""
        return _cgroup_tops(self.number)

    def cgroups(self) -> list[Path]:
        """Return every control group that the node's slices have."""
        return [
            folder for top in self.cgroup_tops() for folder in top.glob("clm_*") if folder.is_dir()
        ]


@contextmanager
def real_node(
    *, gpus: int = 4, disks: int = 4, name: str = "real-1", images: Sequence[str] = (IMAGE,)
) -> Iterator[RealNode]:
    """Start a node, and end it with all that is on it.

    ``images`` are the ids under which its one image is known. As many of its slots come with a
    data disk as it has ``disks``.
    """
    with _number() as number:
        _sweep(number)
        topology = _topology(gpus, disks)
        world = _lay_out(_PLACE / f"node-{number}", number, topology, name, images)
        process = _start(world)
        try:
            first = _first_process(process)
            _plug_in(world, first)
            _await_ssh(world, process)
            yield replace(world, pid=first)
        finally:
            _end(world, process)
            _sweep(number)


def _end(world: RealNode, process: "subprocess.Popen[bytes]") -> None:
    for child in _children(process.pid):
        os.kill(child, signal.SIGKILL)
    process.kill()
    process.wait()
    deadline = time.monotonic() + _START_SECONDS
    while Path(f"/sys/class/net/{_cable(world.number)}").exists():  # the kernel takes it back
        if time.monotonic() > deadline:
            raise AssertionError("the node did not end")
        time.sleep(0.01)


@contextmanager
def _number() -> Iterator[int]:
    """Hold a number that no other test run on this machine has; it is given back at our death."""
    _PLACE.mkdir(mode=0o711, exist_ok=True)
    for number in range(1, _NODES_MAX):
        descriptor = os.open(_PLACE / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        try:
            yield number
        finally:
            os.close(descriptor)
        return
    raise AssertionError("too many test nodes on this machine")


def _cable(number: int) -> str:
    return f"gctest{number}"


def _cgroup_name(number: int) -> str:
    return f"gpucloud-test-{number}"


def _cgroup_tops(number: int) -> list[Path]:
    roots = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")]
    return [top for root in roots if (top := root / _cgroup_name(number)).is_dir()]


def _sweep(number: int) -> None:
    """Remove what the kernel does not take back from a dead node, whose number we hold."""
    for file in (_PLACE / f"node-{number}").glob("disk-*"):
        found = subprocess.run(
            ["losetup", "--noheadings", "--output", "NAME", "--associated", str(file)],
            capture_output=True,
            text=True,
            check=True,
            env=_ENVIRONMENT,
        )
        for loop in found.stdout.split():
            subprocess.run(["losetup", "--detach", loop], check=True, env=_ENVIRONMENT)
    shutil.rmtree(_PLACE / f"node-{number}", ignore_errors=True)
    for top in _cgroup_tops(number):
        for folder, _, _ in os.walk(top, topdown=False):
            Path(folder).rmdir()


def _lay_out(
    folder: Path, number: int, topology: Topology, name: str, images: Sequence[str]
) -> RealNode:
    """Write all that the node's first process needs, and describe the node to come."""
    folder.mkdir(mode=0o711)
    network = f"10.213.{number}"
    keys = {each: _make_key(folder / each) for each in (OPERATOR, ONBOARDING)}
    _make_key(folder / "host_key")
    gate = 'restrict,pty,command="/usr/local/bin/gpucloud-node gate"'
    files = 'restrict,command="internal-sftp"'
    lines = [
        f"{gate} {(folder / OPERATOR).with_suffix('.pub').read_text()}",
        f"{files} {(folder / ONBOARDING).with_suffix('.pub').read_text()}",
    ]
    (folder / "authorized_keys").write_text("".join(lines))
    (folder / "gpucloud-node").write_bytes(program_bytes())
    configuration = _configuration(topology, number, images)
    (folder / "gpucloud-node.json").write_text(json.dumps(configuration))
    host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    node = Node(
        id=NodeId(entity_id("nod", number)),
        name=name,
        region="test-1",
        mode=NodeMode.CONTAINER,
        status=NodeStatus.ACTIVE,
        access=NodeAccess(
            host=f"{network}.1",
            port=22,
            username="root",
            host_key=host_key,
            credential=OPERATOR,
        ),
        topology=topology,
        shared_kernel=True,
        created_at=_BEGAN,
    )
    return RealNode(
        node=node,
        slots=_slots(node, network),
        keys=keys,
        folder=folder,
        network=network,
        number=number,
        pid=0,
    )


def _make_key(path: Path) -> str:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True
    )
    return path.read_text()


def _topology(count: int, disks: int) -> Topology:
    cpus = sorted(os.sched_getaffinity(0))
    gpus = tuple(
        Gpu(
            index=index,
            uuid=f"GPU-00000000-0000-4000-8000-{index:012x}",
            model="Stand-in",
            pci_address=f"00000000:{index + 1:02X}:00.0",
            numa=0,
            memory_mib=1024,
            module_id=index + 1,
            serial=f"TEST-{index:04d}",
        )
        for index in range(count)
    )
    return Topology(
        system=f"stand-in-{count}",
        gpus=gpus,
        links=((LinkClass.SYS,) * count,) * count,
        nvlinks=((0,) * count,) * count,
        cpu_count=len(cpus),
        memory_mib=count * SLOT_MEMORY_MIB,
        numa_cpus=(",".join(map(str, cpus)),),
        nvmes=tuple(
            Nvme(name=f"nvme{number}n1", numa=0, size_bytes=DISK_BYTES, serial=f"disk-{number}")
            for number in range(disks)
        ),
    )


def _slots(node: Node, network: str) -> tuple[Slot, ...]:
    cpus = node.topology.numa_cpus[0].split(",")
    return tuple(
        Slot(
            id=SlotId(entity_id("slt", (int(network.rpartition(".")[2]) << 16) + gpu.index)),
            node_id=node.id,
            index=gpu.index,
            gpu_uuid=gpu.uuid,
            numa=0,
            cpus=cpus[gpu.index % len(cpus)],
            memory_mib=SLOT_MEMORY_MIB,
            ssh_host=f"{network}.{10 + gpu.index}",
            ssh_port=22,
            state=SlotState.AVAILABLE,
            state_since=_BEGAN,
            disk=near.disk,
        )
        for gpu, near in zip(node.topology.gpus, beside(node.topology, node.mode), strict=True)
    )


def _configuration(topology: Topology, number: int, images: Sequence[str]) -> dict[str, object]:
    network = f"10.213.{number}"
    image = {"rootfs": "/run/image", "binds": _programs(), "shell": "/bin/bash"}
    return {
        "state_dir": "/run/state",
        "run_dir": "/run/gpucloud-node",
        "cgroup_parent": f"/{_cgroup_name(number)}",
        "disk_mib": 64,
        "id_base": 1_000_000 + number * 4_194_304,
        "gpus": {
            gpu.uuid: {
                "path": f"/dev/nvidia{gpu.index}",
                "major": GPU_MAJOR,
                "minor": gpu.index,
                "serial": gpu.serial,
            }
            for gpu in topology.gpus
        },
        "devices": [{"path": "/dev/nvidiactl", "major": GPU_MAJOR, "minor": 255}],
        "gpu_reset": ["echo", "{gpu}", "was", "reset"],
        "images": dict.fromkeys(images, image),
        "network": {
            "bridge": "slices",
            "prefix": 24,
            "gateway": f"{network}.254",
            "nameservers": [],
            "hidden": [f"{network}.1/32", "169.254.0.0/16"],
        },
        "disks": {
            disk.name: {
                "path": f"/dev/disk/by-id/{disk.serial}",
                "serial": disk.serial,
                "erase": "discard",
            }
            for disk in topology.nvmes
        },
    }


def _programs() -> list[str]:
    """Return the folders of this machine that the test image is made of."""
    wanted = ("bin", "sbin", "lib", "lib64", "share")
    return [f"/usr/{name}" for name in wanted if Path("/usr", name).is_dir()]


def _start(world: RealNode) -> "subprocess.Popen[bytes]":
    topology = world.node.topology
    counts = [str(len(each)) for each in (topology.gpus, topology.nvmes)]
    unshare = shutil.which("unshare", path=_ENVIRONMENT["PATH"]) or "unshare"
    init = Path(__file__).with_name("node_init.sh")
    with (world.folder / "log").open("wb") as log:
        return subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", unshare),
                *("--mount", "--net", "--pid", "--ipc", "--uts"),
                *("--fork", "--kill-child", "--mount-proc"),
                *("sh", str(init), str(world.folder), world.network, *counts),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_ENVIRONMENT,
            start_new_session=True,
        )


def _children(pid: int) -> Sequence[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return ()
    return [int(word) for word in text.split()]


def _first_process(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the process that is number 1 in the node."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        for child in _children(process.pid):
            if Path(f"/proc/{child}/ns/net").readlink() != Path("/proc/self/ns/net").readlink():
                return child
        time.sleep(0.005)
    raise AssertionError("the node did not start")


def _plug_in(world: RealNode, first: int) -> None:
    """Lay the cable between this machine and the node."""
    cable = _cable(world.number)
    batch = (
        f"link add {cable} type veth peer name uplink netns {first}\n"
        f"address add {world.network}.254/24 dev {cable}\n"
        f"link set {cable} up\n"
    )
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True, env=_ENVIRONMENT)


def _await_ssh(world: RealNode, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    access = world.node.access
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection((access.host, access.port), timeout=1) as visitor:
                if visitor.recv(8).startswith(b"SSH-2.0-"):
                    return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"the node did not start: {(world.folder / 'log').read_text()}")
