"""A slice's own disk: one file with a file system in it, which takes everything the slice writes.

That gives a size limit, and a wipe that misses nothing: deleted files, their names and the
journal lie in the same blocks. The file is sparse; wiping overwrites every block that was ever
written, and reads some back from the disk. The folder must be on a file system that writes in
place (ext4, xfs), not on one that copies on write.
"""

import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpucloud_adapters.ssh.node.commands import Refused, run
from gpucloud_adapters.ssh.node.config import IDS_PER_SLICE, Image, Names
from gpucloud_adapters.ssh.node.records import Record, make_folder, write_whole

CUSTOMER_ID: Final = 1000
_BLOCK: Final = 4096
_CHUNK: Final = 4 * 1024 * 1024
_READS: Final = 16


@dataclass(frozen=True, slots=True)
class Overwritten:
    """What a wipe did: its log, and the hash of what stood where it looked afterwards."""

    log: str
    reads: tuple[tuple[str, str], ...]
    clean: bool


def id_base(names: Names, record: Record) -> int:
    """Return the user id on the node that is root in the slice."""
    return names.config.id_base + record.id_range * IDS_PER_SLICE


def make(names: Names) -> None:
    """Make the disk, unless it is there."""
    if names.disk.exists():
        return
    make_folder(names.kept, 0o711)
    beside = names.disk.with_suffix(".new")
    with beside.open("wb") as file:
        file.truncate(names.config.disk_mib << 20)
    beside.chmod(0o600)
    run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard", str(beside), seconds=120)
    beside.rename(names.disk)  # half-made disks have another name


def mount(names: Names, record: Record, image: Image) -> None:
    """Mount the disk, and over the image the root that the slice sees."""
    make_folder(names.mounted, 0o700)
    make_folder(names.root, 0o711)
    run("mount", "-t", "ext4", "-o", "loop,nosuid,nodev", str(names.disk), str(names.mounted))
    base = id_base(names, record)
    upper = names.mounted / "upper"
    work = names.mounted / "work"
    if not work.exists():  # made last, so that it tells a finished upper folder
        _furnish(upper, record, image, base)
        work.mkdir(mode=0o700)
    layers = f"lowerdir={image.rootfs},upperdir={upper},workdir={work}"
    run("mount", "-t", "overlay", "-o", f"nosuid,nodev,{layers}", "overlay", str(names.root))


def _furnish(upper: Path, record: Record, image: Image, base: int) -> None:
    """Lay out what is the slice's own: its accounts, names and empty folders."""
    spec = record.spec
    shutil.rmtree(upper, ignore_errors=True)
    for path, mode, owner in (
        ("", 0o755, base),
        ("etc", 0o755, base),
        ("etc/ssh", 0o755, base),
        ("dev", 0o755, base),
        ("proc", 0o755, base),
        ("run", 0o755, base),
        ("root", 0o700, base),
        ("home", 0o755, base),
        (f"home/{spec.username}", 0o700, base + CUSTOMER_ID),
        ("tmp", 0o1777, base),
        ("var", 0o755, base),
        ("var/tmp", 0o1777, base),
    ):
        folder = upper / path
        folder.mkdir()
        folder.chmod(mode)
        os.chown(folder, owner, owner)
    user, number = spec.username, CUSTOMER_ID
    accounts = {
        "passwd": f"{user}:x:{number}:{number}::/home/{user}:{image.shell}",
        "group": f"{user}:x:{number}:",
        "shadow": f"{user}:*:::::::",
    }
    system = {
        "passwd": "sshd:x:990:65534::/run/sshd:/usr/sbin/nologin",
        "group": None,
        "shadow": "sshd:*:::::::",
    }
    for name, line in accounts.items():
        text = _with_accounts(image.rootfs / "etc" / name, [line, system[name]])
        mode = 0o600 if name == "shadow" else 0o644
        write_whole(upper / "etc" / name, text.encode(), mode, base)
    hosts = f"127.0.0.1 localhost\n{spec.ssh_host} {spec.hostname}\n"
    write_whole(upper / "etc" / "hosts", hosts.encode(), 0o644, base)
    write_whole(upper / "etc" / "hostname", f"{spec.hostname}\n".encode(), 0o644, base)


def _with_accounts(path: Path, lines: list[str | None]) -> str:
    """Return the image's account file with these lines in it, each name once."""
    known = path.read_text() if path.exists() else ""
    kept = [line for line in known.splitlines() if line]
    for line in lines:
        if line is None:
            continue
        name, ids = line.split(":")[0], line.split(":")[2:3]
        mine = name != "sshd"
        if mine:  # the customer's account takes the place of the image's own of that name or id
            kept = [
                old
                for old in kept
                if old.split(":")[0] != name and not (ids[0] and old.split(":")[2:3] == ids)
            ]
        if mine or not any(old.split(":")[0] == name for old in kept):
            kept.append(line)
    return "\n".join(kept) + "\n"


def unmount(names: Names) -> None:
    """Take the root and the disk away; absent is fine."""
    for path in (names.root, names.mounted):
        while is_mounted(path):
            run("umount", str(path))
        if path.is_dir():
            path.rmdir()


def is_mounted(path: Path) -> bool:
    return any(mounted == str(path) for mounted in mounts())


def mounts() -> Iterator[str]:
    """Yield every mount point of the node."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        yield line.split()[4].encode().decode("unicode_escape")


def loops(path: Path) -> tuple[str, ...]:
    """Return the loop devices that still hold a file."""
    found: list[str] = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            held = backing.read_text().strip().removesuffix(" (deleted)")
        except OSError:
            continue  # it went while we looked
        if held == str(path):
            found.append(backing.parts[3])
    return tuple(found)


def overwrite(path: Path) -> Overwritten:
    """Overwrite all that was ever written to a disk, and read some of it back.

    Raises:
        Refused: it is still in use.
    """
    if loops(path):
        raise Refused("still_mounted", "The disk is still mounted.")
    zeros = bytes(_CHUNK)
    log: list[str] = []
    with path.open("r+b", buffering=0) as file:
        descriptor = file.fileno()
        extents = list(_written(descriptor))
        for start, end in extents:
            for offset in range(start, end, _CHUNK):
                os.pwrite(descriptor, zeros[: min(_CHUNK, end - offset)], offset)
            log.append(f"overwrote {start} to {end}")
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # read the disk, not the cache
        reads = []
        for offset in _somewhere(extents):
            block = os.pread(descriptor, _BLOCK, offset)
            reads.append((str(offset), hashlib.sha256(block).hexdigest(), not any(block)))
    return Overwritten(
        "\n".join(log),
        tuple((name, digest) for name, digest, _ in reads),
        all(zero for _, _, zero in reads),
    )


def _written(descriptor: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a sparse file that hold data, as half-open ranges."""
    size = os.fstat(descriptor).st_size
    at = 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:
            return  # nothing but a hole from here on
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, at


def _somewhere(extents: list[tuple[int, int]]) -> list[int]:
    """Return a few block offsets, each written block as likely as another."""
    blocks = [(end - start + _BLOCK - 1) // _BLOCK for start, end in extents]
    total = sum(blocks)
    chosen = random.SystemRandom().sample(range(total), min(_READS, total))
    offsets = []
    for number in sorted(chosen):
        rest = number
        for (start, _), count in zip(extents, blocks, strict=True):
            if rest < count:
                offsets.append(start + rest * _BLOCK)
                break
            rest -= count
    return offsets


def forget(names: Names) -> None:
    """Remove what is left of a wiped slice; absent is fine."""
    if names.kept.exists():
        shutil.rmtree(names.kept)
