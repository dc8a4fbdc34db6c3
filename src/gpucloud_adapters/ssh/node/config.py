"""What the operator says of a node, in ``/etc/gpucloud-node.json``: devices, images, network.

The platform never sends any of this; a slice can only ask for what the operator has listed here.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from gpucloud_adapters.ssh.node.commands import Refused
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes import wire_values as check

CONFIG_FILE: Final = Path("/etc/gpucloud-node.json")
IDS_PER_SLICE: Final = 65_536
DEVICE_MAJOR_MAX: Final = 4095
DEVICE_MINOR_MAX: Final = 1_048_575
DISK_MIB_MAX: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A character device of the node."""

    path: str
    major: int
    minor: int

    @property
    def number(self) -> int:
        return os.makedev(self.major, self.minor)

    def is_there(self) -> bool:
        """Whether the node has it, at its path, with its numbers."""
        try:
            found = os.lstat(self.path)
        except OSError:
            return False
        return stat.S_ISCHR(found.st_mode) and found.st_rdev == self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuDevice(Device):
    serial: str


class Erase(StrEnum):
    """How a data disk is erased. Whatever it is, zeros have to be read back."""

    FORMAT = "format"  # the drive's own secure erase, by ``nvme format``
    DISCARD = "discard"  # its blocks are given back to the drive
    OVERWRITE = "overwrite"  # zeros are written; the drive may do it by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDisk:
    """A whole disk that one slice at a time may have. Its serial is as the kernel tells it."""

    path: str
    serial: str
    erase: Erase

    def is_there(self) -> bool:
        """Whether the node has it, at its path, and it is this very disk."""
        try:
            found = os.stat(self.path)  # noqa: PTH116  through the links of /dev/disk
        except OSError:
            return False
        return stat.S_ISBLK(found.st_mode) and _serial_of(found.st_rdev) == self.serial


def _serial_of(number: int) -> str:
    """Return what the kernel calls a block device: its serial, or the file of a loop device."""
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    for name in ("device/serial", "loop/backing_file"):
        try:
            return (device / name).read_text().strip().rpartition("/")[2]
        except OSError:
            continue
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A root file system that slices share and cannot change, and folders of the node beside it."""

    rootfs: Path
    binds: tuple[str, ...]
    shell: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The bridge that slices hang on. ``hidden`` networks cannot be reached from a slice."""

    bridge: str
    prefix: int
    gateway: str
    nameservers: tuple[str, ...]
    hidden: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All that is said of a node.

    Attributes:
        cgroup_parent: the control group under which each slice has its own.
        disk_mib: size of a slice's own file system; nothing it writes lies elsewhere.
        id_base: first of the user ids that slices are mapped to, 65 536 each.
        devices: what every slice gets besides its GPUs, such as ``/dev/nvidiactl``.
        gpu_reset: command that clears a GPU between holders; ``{gpu}`` stands for its UUID.
        disks: data disks by the names that discovery gives them.
    """

    state_dir: Path
    run_dir: Path
    cgroup_parent: str
    disk_mib: int
    id_base: int
    gpus: Mapping[str, GpuDevice]
    devices: tuple[Device, ...]
    gpu_reset: tuple[str, ...]
    images: Mapping[str, Image]
    network: Network
    disks: Mapping[str, DataDisk]


_path = check.matching(r"(?:/[A-Za-z0-9._-]+)+", "an absolute path")
_name = check.matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", "the name of an interface")
_cgroup = check.matching(r"(?:/[A-Za-z0-9_.-]+)+", "a control group")
_word = check.matching(r"[^\0\s]{1,200}", "a word")
_device = {
    "path": _path,
    "major": check.between(0, DEVICE_MAJOR_MAX),
    "minor": check.between(0, DEVICE_MINOR_MAX),
}


def _path_of(value: object) -> Path:
    return Path(_path(value))


def _device_of(value: object) -> Device:
    return Device(**check.fields(_device, value, exact=True))  # type: ignore[arg-type]  # checked


def _gpu(value: object) -> GpuDevice:
    checks = {**_device, "serial": check.serial}
    return GpuDevice(**check.fields(checks, value, exact=True))  # type: ignore[arg-type]  # checked


def _erase(value: object) -> Erase:
    if value not in set(Erase):
        raise check.Wrong(f"is none of {', '.join(Erase)}")
    return Erase(str(value))


def _data_disk(value: object) -> DataDisk:
    checks: dict[str, check.Check] = {"path": _path, "serial": check.serial, "erase": _erase}
    return DataDisk(**check.fields(checks, value, exact=True))  # type: ignore[arg-type]  # checked


def _image(value: object) -> Image:
    checks: dict[str, check.Check] = {
        "rootfs": _path_of,
        "binds": check.several(_path, 64),
        "shell": _path,
    }
    return Image(**check.fields(checks, value, exact=True))  # type: ignore[arg-type]  # checked


def _network(value: object) -> Network:
    checks: dict[str, check.Check] = {
        "bridge": _name,
        "prefix": check.between(1, 128),
        "gateway": check.host,
        "nameservers": check.several(check.host, 3),
        "hidden": check.several(check.cidr, 64),
    }
    return Network(**check.fields(checks, value, exact=True))  # type: ignore[arg-type]  # checked


def _by_name(key: check.Check, item: check.Check) -> check.Check:
    def read(value: object) -> dict[str, object]:
        if not isinstance(value, dict):
            raise check.Wrong("is not an object")
        return {str(key(name)): item(each) for name, each in value.items()}

    return read


_CHECKS: Final[Mapping[str, check.Check]] = {
    "state_dir": _path_of,
    "run_dir": _path_of,
    "cgroup_parent": _cgroup,
    "disk_mib": check.between(16, DISK_MIB_MAX),
    "id_base": check.between(IDS_PER_SLICE, 1 << 31),
    "gpus": _by_name(check.gpu_uuid, _gpu),
    "devices": check.several(_device_of, 64),
    "gpu_reset": check.several(_word, 16),
    "images": _by_name(check.image, _image),
    "network": _network,
    "disks": _by_name(check.disk_name, _data_disk),
}
_ABSENT: Final[Mapping[str, object]] = {"disks": {}}  # in files from before they could be said


def load(path: Path = CONFIG_FILE) -> Config:
    """Read the configuration.

    Raises:
        Refused: it is missing or wrong, and where.
    """
    try:
        found = check.fields(_CHECKS, _whole(json.loads(path.read_bytes())), exact=True)
    except OSError as error:
        raise Refused("not_configured", f"{path} cannot be read on this node.") from error
    except ValueError as error:
        raise Refused("not_configured", f"{path} is wrong: {error}.") from error
    return Config(**found)  # type: ignore[arg-type]  # each field was checked just above


def _whole(document: object) -> object:
    return {**_ABSENT, **document} if isinstance(document, dict) else document


@dataclass(frozen=True, slots=True)
class Names:
    """Everything a claim's slice is called on the node; from the claim alone."""

    config: Config
    claim_id: ClaimId

    @property
    def short(self) -> str:
        """A name that fits an interface: 15 characters at most."""
        return f"gc{hashlib.sha256(self.claim_id.encode()).hexdigest()[:12]}"

    @property
    def container(self) -> str:
        return self.claim_id

    @property
    def cgroup(self) -> str:
        return f"{self.config.cgroup_parent}/{self.claim_id}"

    @property
    def netns(self) -> Path:
        return Path("/run/netns") / self.short

    @property
    def kept(self) -> Path:
        """What outlives a restart of the node: the disk, the host key, the customer's keys."""
        return self.config.state_dir / "slices" / self.claim_id

    @property
    def disk(self) -> Path:
        return self.kept / "disk.img"

    @property
    def ssh(self) -> Path:
        """The slice's ``/etc/ssh``, which it can only read."""
        return self.kept / "ssh"

    @property
    def keys(self) -> Path:
        return self.ssh / "authorized_keys"

    @property
    def running(self) -> Path:
        return self.config.run_dir / "slices" / self.claim_id

    @property
    def mounted(self) -> Path:
        return self.running / "disk"

    @property
    def data(self) -> Path:
        """Where its data disks are mounted on the node, each in a folder of its name."""
        return self.running / "data"

    @property
    def root(self) -> Path:
        return self.running / "root"

    @property
    def bundle(self) -> Path:
        return self.running / "bundle"
