"""A slice's data disks: whole disks of the node, lent to one claim at a time and erased after it.

Each gets one file system, labelled with its claim. One disk is the slice's ``/data``; of several
each is a folder of it, ``/data/1`` and so on. A disk that is neither blank nor labelled with the
claim is somebody's, and is never written to: not by a claim that comes, and not by a wipe of a
claim that never had it.
"""

import fcntl
import hashlib
import os
import random
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gpucloud_adapters.ssh.node import disk
from gpucloud_adapters.ssh.node.commands import Refused, ToolFailed, run
from gpucloud_adapters.ssh.node.config import Config, DataDisk, Erase, Names
from gpucloud_adapters.ssh.node.records import Record, make_folder
from gpucloud_core.nodes.model import DiskWipe

_BLOCK: Final = 4096
_EDGE_BYTES: Final = 1 << 20  # of both ends: where file systems and tables of partitions begin
_READS: Final = 30
_STEP_BYTES: Final = 64 << 30
_LABEL_AT: Final = 1024 + 0x78  # s_volume_name. Source: linux, Documentation/filesystems/ext4
_LABEL_BYTES: Final = 16
_MAGIC_AT: Final = 1024 + 0x38
_MAGIC: Final = b"\x53\xef"
_BLKFLSBUF: Final = 0x1261  # Source: linux, include/uapi/linux/fs.h, as all of these
_BLKDISCARD: Final = 0x1277
_BLKZEROOUT: Final = 0x127F
_FORMAT_SECONDS: Final = 300.0
_MKFS_SECONDS: Final = 100.0


def check_there(config: Config, names: tuple[str, ...]) -> None:
    """Raise ``Refused`` unless the operator lends each of these disks, and it is there."""
    for name in names:
        known = config.disks.get(name)
        if known is None or not known.is_there():
            raise Refused("unknown_disk", f"{name} is not on this node.")


def prepare(names: Names, record: Record) -> None:
    """Mount the data disks, each with the file system that its claim has on it or gets now.

    Raises:
        Refused: a disk is not blank.
    """
    for name in record.spec.disks:
        known = names.config.disks[name]
        folder = names.data / name
        is_new = _label(known) != names.short
        if is_new:
            if not _is_begun(names, name) and not _is_blank(known):
                raise Refused("disk_not_blank", f"{name} holds something that is not the slice's.")
            make_folder(names.kept, 0o711)
            _begun(names, name).touch()
            owner = disk.id_base(names, record) + disk.CUSTOMER_ID
            _make(known, owner=owner, label=names.short)
        make_folder(folder, 0o755)
        run("mount", "-t", "ext4", "-o", "nosuid,nodev", known.path, str(folder))
        if is_new:
            (folder / "lost+found").rmdir()


def _begun(names: Names, name: str) -> Path:
    """Where it is kept that the claim began to write to a disk."""
    return names.kept / f"{name}.begun"


def _is_begun(names: Names, name: str) -> bool:
    return _begun(names, name).exists()


def _make(known: DataDisk, *, owner: int, label: str) -> None:
    """Make the file system; the label comes last, so that it tells a whole one."""
    ours = f"nodiscard,root_owner={owner}:{owner}"
    run(
        *("mkfs.ext4", "-q", "-F", "-m", "0", "-E", ours, known.path),
        seconds=_MKFS_SECONDS,
    )
    run("e2label", known.path, label)


def unmount(names: Names) -> None:
    """Take the data disks away from the slice; absent is fine."""
    for path in sorted(names.data.glob("*")):
        while disk.is_mounted(path):
            run("umount", str(path))
        path.rmdir()
    if names.data.is_dir():
        names.data.rmdir()


def seen(names: Names, record: Record) -> tuple[str, ...]:
    """Return the disks that are mounted for the slice and carry its label."""
    return tuple(
        name
        for name in record.spec.disks
        if disk.is_mounted(names.data / name) and _label(names.config.disks[name]) == names.short
    )


def left_on(names: Names, wanted: tuple[str, ...]) -> list[str]:
    """Name the disks that are not as blank as they have to be, or are not there."""
    found = []
    for name in wanted:
        known = names.config.disks.get(name)
        if known is None or not known.is_there():
            found.append(f"{name} is not where it was")
        elif not _is_blank(known):
            found.append(f"something on {name}")
    return found


def erase(names: Names, name: str) -> DiskWipe:
    """Erase a disk of a claim, read it back, and say what was found.

    What the claim never wrote to is only read.

    Raises:
        Refused: it is still in use.
    """
    known = names.config.disks.get(name)
    if known is None or not known.is_there():
        return _unproven(name, known, "absent")
    is_ours = _is_begun(names, name) or _label(known) == names.short
    methods = dict.fromkeys((known.erase, Erase.OVERWRITE)) if is_ours else ()
    said, reads = "read", [] if is_ours else _read_back(known)
    for method in methods:
        try:
            _erase(known, method)
        except (ToolFailed, OSError):
            continue  # the other way may do
        said, reads = method.value, _read_back(known)
        if _is_zero(reads):
            break
    return DiskWipe(
        name=name,
        serial=known.serial,
        method=f"disk-{said}",
        size_bytes=_size(known),
        reads=tuple((offset, digest) for offset, digest, _ in reads),
        clean=_is_zero(reads),
    )


def _is_zero(reads: list[tuple[str, str, bool]]) -> bool:
    return bool(reads) and all(zero for _, _, zero in reads)


def _unproven(name: str, known: DataDisk | None, why: str) -> DiskWipe:
    serial = known.serial if known else "unknown"
    return DiskWipe(
        name=name, serial=serial, method=f"disk-{why}", size_bytes=0, reads=(), clean=False
    )


def _erase(known: DataDisk, method: Erase) -> None:
    if method is Erase.FORMAT:
        with _alone(known):
            pass
        run("nvme", "format", known.path, "--ses=1", "--force", seconds=_FORMAT_SECONDS)
        return
    request = _BLKDISCARD if method is Erase.DISCARD else _BLKZEROOUT
    with _alone(known) as descriptor:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        for start in range(0, size, _STEP_BYTES):
            part = struct.pack("QQ", start, min(_STEP_BYTES, size - start))
            fcntl.ioctl(descriptor, request, part)
        os.fsync(descriptor)


@contextmanager
def _alone(known: DataDisk) -> Iterator[int]:
    """Hold a disk that nobody has mounted.

    Raises:
        Refused: somebody has.
    """
    try:
        descriptor = os.open(known.path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        raise Refused("still_mounted", f"{known.path} is still in use.") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_back(known: DataDisk) -> list[tuple[str, str, bool]]:
    """Read both ends and some blocks between from the disk itself: offset, hash, all zeros."""
    size = _size(known)
    blocks = size // _BLOCK
    chosen = random.SystemRandom().sample(range(blocks), min(_READS, blocks))
    places = {number * _BLOCK: _BLOCK for number in chosen}
    places[0] = places[max(0, size - _EDGE_BYTES)] = min(_EDGE_BYTES, size)
    return [
        (str(offset), hashlib.sha256(data).hexdigest(), bool(data) and not any(data))
        for offset, data in _read(known, places)
    ]


def _is_blank(known: DataDisk) -> bool:
    size = _size(known)
    places = {0: _EDGE_BYTES, max(0, size - _EDGE_BYTES): _EDGE_BYTES}
    return not any(any(data) for _, data in _read(known, places))


def _label(known: DataDisk) -> str:
    """Return the label of an ext4 file system; empty where there is none."""
    places = {_MAGIC_AT: len(_MAGIC), _LABEL_AT: _LABEL_BYTES}
    magic, label = (data for _, data in _read(known, places))
    return label.rstrip(b"\0").decode(errors="replace") if magic == _MAGIC else ""


def _read(known: DataDisk, places: Mapping[int, int]) -> Iterator[tuple[int, bytes]]:
    """Yield what stands at these offsets, in their order, from the disk and not from memory."""
    descriptor = os.open(known.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _BLKFLSBUF)
        for offset in sorted(places):
            yield offset, os.pread(descriptor, places[offset], offset)
    finally:
        os.close(descriptor)


def _size(known: DataDisk) -> int:
    descriptor = os.open(known.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
