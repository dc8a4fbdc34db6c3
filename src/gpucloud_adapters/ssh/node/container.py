"""A slice as a runc container: what its OCI configuration allows, and how it is asked about.

Process 1 is the slice's SSH server. The slice has namespaces of its own for everything there is
one for. Root in the slice is an ordinary user on the node; nobody in it can gain a capability.
"""

import json
import os
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gpucloud_adapters.ssh.node import disk, seccomp
from gpucloud_adapters.ssh.node.commands import PATH, Refused, ToolFailed, environment, run, start
from gpucloud_adapters.ssh.node.config import IDS_PER_SLICE, Config, Device, Image, Names
from gpucloud_adapters.ssh.node.records import Record, make_folder
from gpucloud_core.nodes.model import DATA_FOLDER, data_targets

CLAIM_TAG: Final = "gpucloud.claim_id"
ALLOCATION_TAG: Final = "gpucloud.allocation_id"
_STOP_SECONDS: Final = 10.0
_TTY_GROUP: Final = 5

_CAPABILITIES: Final = [  # what an SSH server needs to become the customer; all within the slice
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
]
_MASKED: Final = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/driver/nvidia/gpus",  # it lists the whole node's
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
]
_READ_ONLY: Final = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def configuration(names: Names, record: Record, image: Image) -> dict[str, object]:
    """Return the OCI runtime configuration of a slice. Pure."""
    spec = record.spec
    base = disk.id_base(names, record)
    mapping = [{"containerID": 0, "hostID": base, "size": IDS_PER_SLICE}]
    devices = devices_of(names.config, record)
    memory = spec.memory_mib << 20
    return {
        "ociVersion": "1.0.2",
        "hostname": spec.hostname,
        "annotations": {CLAIM_TAG: spec.claim_id, ALLOCATION_TAG: spec.allocation_id},
        "root": {"path": str(names.root)},
        "process": {
            **_process(["/usr/sbin/sshd", "-D", "-f", "/etc/ssh/sshd_config"], "/", _CAPABILITIES),
            "user": {"uid": 0, "gid": 0},
            "env": [f"PATH={PATH}"],
        },
        "mounts": [
            *_mounts(names, image, devices, shared_mib=max(spec.memory_mib // 2, 1)),
            *_data_mounts(names, spec.disks),
        ],
        "linux": {
            "cgroupsPath": names.cgroup,
            "namespaces": [
                {"type": kind}
                for kind in ("pid", "mount", "ipc", "uts", "cgroup", "user", "network")
            ],
            "uidMappings": mapping,
            "gidMappings": mapping,
            "maskedPaths": _MASKED,
            "readonlyPaths": _READ_ONLY,
            "resources": {
                "cpu": {"cpus": spec.cpus},
                "memory": {"limit": memory, **({"swap": memory} if _counts_swap() else {})},
                "pids": {"limit": spec.pids_max},
                "devices": [
                    {"allow": False, "access": "rwm"},
                    *(
                        {
                            "allow": True,
                            "type": "c",
                            "major": device.major,
                            "minor": device.minor,
                            "access": "rw",
                        }
                        for device in devices
                    ),
                ],
            },
            "seccomp": seccomp.profile(),
        },
    }


def shell_process(record: Record, image: Image, term: str) -> dict[str, object]:
    """Return the OCI process that is a login shell of the slice's user. Pure."""
    user = record.spec.username
    home = f"/home/{user}"
    variables = {
        "HOME": home,
        "USER": user,
        "LOGNAME": user,
        "SHELL": image.shell,
        "TERM": term,
        "LANG": "C.UTF-8",
        "PATH": PATH,
    }
    return {
        **_process([image.shell, "-l"], home, []),
        "terminal": True,
        "user": {"uid": disk.CUSTOMER_ID, "gid": disk.CUSTOMER_ID},
        "env": [f"{name}={value}" for name, value in variables.items()],
    }


def _process(argv: list[str], folder: str, capabilities: list[str]) -> dict[str, object]:
    return {
        "terminal": False,
        "args": argv,
        "cwd": folder,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        "rlimits": [],
        "noNewPrivileges": True,
    }


def _mount(kind: str, target: str, source: str, *options: str) -> dict[str, object]:
    return {"type": kind, "destination": target, "source": source, "options": list(options)}


def _data_mounts(names: Names, disks: tuple[str, ...]) -> list[dict[str, object]]:
    """Return the mounts of data disks; several stand in a folder that nobody else writes to."""
    places = data_targets(disks)
    plain = ("bind", "rw", "nosuid", "nodev")
    binds = [
        _mount("bind", target, str(names.data / name), *plain) for name, target in places.items()
    ]
    if len(places) > 1:
        folder = ("nosuid", "nodev", "noexec", "mode=0755", "size=64k")
        binds.insert(0, _mount("tmpfs", DATA_FOLDER, "data", *folder))
    return binds


def _mounts(
    names: Names, image: Image, devices: tuple[Device, ...], *, shared_mib: int
) -> list[dict[str, object]]:
    """Return the mounts; ``shared_mib`` keeps a full ``/dev/shm`` from starving the SSH server."""
    mount = _mount
    plain = ("nosuid", "nodev")
    tmpfs = (*plain, "noexec", "mode=0755")
    return [
        mount("proc", "/proc", "proc", *plain, "noexec"),
        mount("tmpfs", "/dev", "tmpfs", "nosuid", "strictatime", "mode=0755", "size=64k"),
        mount(
            *("devpts", "/dev/pts", "devpts", "nosuid", "noexec", "newinstance"),
            *("ptmxmode=0666", "mode=0620", f"gid={_TTY_GROUP}"),
        ),
        mount(
            *("tmpfs", "/dev/shm", "shm", *plain, "noexec"),  # noqa: S108  its own
            *("mode=1777", f"size={shared_mib}m"),
        ),
        mount("mqueue", "/dev/mqueue", "mqueue", *plain, "noexec"),
        mount("tmpfs", "/run", "run", *tmpfs, "size=16m"),
        mount("tmpfs", "/run/sshd", "sshd", *tmpfs, "size=4k"),
        *(mount("bind", bind, bind, "rbind", "rro", *plain) for bind in image.binds),
        mount("bind", "/etc/ssh", str(names.ssh), "bind", "ro", *plain, "noexec"),
        *(mount("bind", each.path, each.path, "bind", "nosuid", "noexec") for each in devices),
    ]


def devices_of(config: Config, record: Record) -> tuple[Device, ...]:
    """Return the devices a slice gets: its GPUs, and what every slice needs beside them."""
    return *(config.gpus[uuid] for uuid in record.spec.gpu_uuids), *config.devices


def _counts_swap() -> bool:
    """Whether this kernel can limit swap for a group of processes (always so in version 2)."""
    first = Path("/sys/fs/cgroup/memory")
    return not first.exists() or (first / "memory.memsw.limit_in_bytes").exists()


def _runc(names: Names, *argv: str, seconds: float = 30) -> bytes:
    return run("runc", "--root", str(_states(names.config)), *argv, seconds=seconds)


def _states(config: Config) -> Path:
    """Return runc's own folder, made by us: runc would close those above it to the slices."""
    folder = config.run_dir / "runc"
    if not folder.exists():
        make_folder(folder, 0o700)
    return folder


def create(names: Names, record: Record, image: Image) -> int:
    """Make the container with nothing running in it yet; return the process that will be its first.

    Raises:
        Refused: runc cannot, in its own words.
    """
    make_folder(names.bundle, 0o700)
    (names.bundle / "config.json").write_text(json.dumps(configuration(names, record, image)))
    log, pid = names.bundle / "runc.log", names.bundle / "pid"
    try:
        start(
            *("runc", "--root", str(_states(names.config)), "--log", str(log)),
            *("create", "--bundle", str(names.bundle), "--pid-file", str(pid), names.container),
        )
    except ToolFailed as error:
        said = log.read_text(errors="replace")[-300:] if log.exists() else ""
        raise Refused("not_started", f"{error.detail}{' '.join(said.split())}") from error
    return int(pid.read_text())


def begin(names: Names) -> None:
    """Start the first process of a container that is made and equipped."""
    _runc(names, "start", names.container)


def init_pid(names: Names) -> int | None:
    """Return the process id, on the node, of the slice's first process if it runs."""
    try:
        state = json.loads(_runc(names, "state", names.container))
    except ToolFailed:
        return None
    return int(state["pid"]) if state["status"] == "running" else None


def exists(names: Names) -> bool:
    return (_states(names.config) / names.container).exists()


def stop(names: Names) -> None:
    """Kill the first process, and with it, in one act of the kernel, every other one.

    Raises:
        Refused: something of it still runs after a while.
    """
    deadline = time.monotonic() + _STOP_SECONDS
    while init_pid(names) is not None:
        if time.monotonic() > deadline:
            raise Refused("still_running", "A process of the slice does not die.")
        try:
            _runc(names, "kill", names.container, "KILL")
        except ToolFailed:
            continue  # it was gone before the signal
        time.sleep(0.01)


def remove(names: Names) -> None:
    """Stop and remove the container, its control groups and its bundle; absent is fine."""
    stop(names)
    if exists(names):
        _runc(names, "delete", "--force", names.container)
    _remove_groups(names)
    if names.bundle.exists():
        shutil.rmtree(names.bundle)


def groups(names: Names) -> list[Path]:
    """Return the folders of the slice's control group that still exist, in any hierarchy."""
    roots = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")]
    return [folder for root in roots if (folder := root / names.cgroup.lstrip("/")).is_dir()]


def _remove_groups(names: Names) -> None:
    """Remove what a runc that was killed half way made and does not know of.

    Raises:
        Refused: a process in there does not die.
    """
    deadline = time.monotonic() + _STOP_SECONDS
    while left := groups(names):
        for folder in left:
            for below, _, _ in os.walk(folder, topdown=False):
                _empty(Path(below))
        if time.monotonic() > deadline:
            raise Refused("still_running", "A control group of the slice does not empty.")


def _empty(group: Path) -> None:
    """Kill the processes of a control group, and remove it if they are gone."""
    try:
        for pid in map(int, (group / "cgroup.procs").read_text().split()):
            if pid:  # what this program cannot see reads as 0, and 0 would be itself
                os.kill(pid, signal.SIGKILL)
        group.rmdir()
    except OSError:
        time.sleep(0.01)  # they are dying, or it is gone


def tagged(config: Config) -> dict[str, tuple[str, bool]]:
    """Return claim to (allocation, running) of every container that carries our tag."""
    listed = json.loads(run("runc", "--root", str(_states(config)), "list", "--format", "json"))
    return {
        tags[CLAIM_TAG]: (tags[ALLOCATION_TAG], item["status"] == "running")
        for item in listed or []
        if CLAIM_TAG in (tags := item.get("annotations") or {}) and ALLOCATION_TAG in tags
    }


def seen_inside(pid: int, *path: str) -> int:
    """Open a file of the slice as the slice has it, following no link of the slice's making.

    Raises:
        OSError: it is not there, or a link stands in the way.
    """
    at = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for name in path:
        try:
            below = os.open(name, flags, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def devices_seen(pid: int) -> Iterator[int]:
    """Yield the numbers of the character devices in the slice's ``/dev``."""
    folder = seen_inside(pid, "dev")
    try:
        for name in os.listdir(folder):  # noqa: PTH208  by descriptor, which Path cannot
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISCHR(found.st_mode):
                yield found.st_rdev
    finally:
        os.close(folder)


def become_shell(names: Names, record: Record, image: Image) -> None:
    """Replace this program by a login shell in the slice, on this program's own terminal.

    Raises:
        OSError: runc cannot be started.
    """
    term = "xterm-256color"
    descriptor = os.memfd_create("process")
    os.write(descriptor, json.dumps(shell_process(record, image, term)).encode())
    os.set_inheritable(descriptor, True)
    process = f"/proc/self/fd/{descriptor}"
    argv = ["runc", "--root", str(_states(names.config)), "exec", "--process", process]
    os.execvpe("runc", [*argv, names.container], environment())  # noqa: S606, S607  as in run()
