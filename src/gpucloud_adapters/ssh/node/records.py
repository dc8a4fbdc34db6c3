"""What the node remembers of each claim: one small file, written whole, under a lock.

The record is written before anything is made and outlives the slice, so that an interrupted verb
can be repeated, an old generation is known for what it is, and a released slice does not come
back by a late repetition. Records of wiped slices are forgotten after ``REMEMBERED_SECONDS``.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from gpucloud_adapters.ssh.node.commands import Refused
from gpucloud_adapters.ssh.node.config import Config
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes import wire
from gpucloud_core.nodes.model import SliceSpec, WipeEvidence
from gpucloud_core.nodes.ports import NodeRefused

REMEMBERED_SECONDS: Final = 30 * 24 * 3600
LOCK_SECONDS: Final = 10.0
_ID_RANGES: Final = 4096


class Stage(StrEnum):
    MADE = "made"  # asked for; it runs, or is to be made to run
    CUT_OFF = "cut_off"  # nobody gets in and nothing of it runs; it is still there
    RELEASED = "released"  # gone but for its disk
    WIPED = "wiped"  # the disk too, with proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One claim on this node.

    ``id_range`` tells which user ids its slice is mapped to, ``restarted`` which order to restart
    it was the last to be carried out.
    """

    spec: SliceSpec
    stage: Stage
    id_range: int
    restarted: int = 0
    wiped: WipeEvidence | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """The node's memory, in a folder that only root can read."""

    config: Config

    @property
    def _folder(self) -> Path:
        return self.config.state_dir / "claims"

    @property
    def _never_made(self) -> Path:
        return self.config.state_dir / "never-made"

    @contextmanager
    def locked(self, claim_id: ClaimId) -> Iterator[None]:
        """Hold the claim against other runs of this program.

        Raises:
            Refused: another run holds it for too long.
        """
        with self._lock(claim_id):
            yield

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Hold what claims share: devices, addresses and ranges of ids."""
        with self._lock("node"):
            yield

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        folder = self.config.state_dir / "locks"
        make_folder(folder, 0o700)
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_SECONDS
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        raise Refused("busy", "Another order for this is being done.") from error
                    time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)

    def get(self, claim_id: ClaimId) -> Record | None:
        """Return what is known of a claim.

        Raises:
            Refused: there is a record, but it cannot be understood.
        """
        try:
            raw = (self._folder / f"{claim_id}.json").read_bytes()
        except FileNotFoundError:
            return None
        try:
            return _record(json.loads(raw))
        except (ValueError, KeyError, TypeError, NodeRefused) as error:
            raise Refused("record_unreadable", f"The record of {claim_id} is damaged.") from error

    def put(self, record: Record) -> None:
        """Remember, and be sure of it: on the disk before this returns."""
        make_folder(self._folder, 0o700)
        document = {
            "spec": wire.PROVISION.asks.plain(record.spec),
            "stage": record.stage,
            "id_range": record.id_range,
            "restarted": record.restarted,
            "wiped": wire.WIPE.answers.plain(record.wiped) if record.wiped else None,
        }
        target = self._folder / f"{record.spec.claim_id}.json"
        write_whole(target, json.dumps(document).encode(), 0o600)

    def all(self) -> tuple[Record, ...]:
        if not self._folder.is_dir():
            return ()
        claims = sorted(path.stem for path in self._folder.glob("clm_*.json"))
        return tuple(record for claim in claims if (record := self.get(ClaimId(claim))))

    def note_never_made(self, claim_id: ClaimId) -> None:
        """Remember that a claim was released before anything was made of it."""
        make_folder(self._never_made, 0o700)
        write_whole(self._never_made / claim_id, b"", 0o600)

    def was_never_made(self, claim_id: ClaimId) -> bool:
        """Tell whether the claim was released before it was made: an order for it is too late."""
        return (self._never_made / claim_id).exists()

    def holding(self) -> tuple[Record, ...]:
        """Return the claims that still hold devices, an address and ids: all but the wiped."""
        return tuple(record for record in self.all() if record.stage is not Stage.WIPED)

    def free_id_range(self) -> int:
        """Return the lowest range of user ids that no slice has."""
        taken = {record.id_range for record in self.holding()}
        return next(number for number in range(_ID_RANGES) if number not in taken)

    def forget_old(self) -> None:
        """Drop the records, and the locks, of what was wiped or never made long ago."""
        before = time.time() - REMEMBERED_SECONDS
        for path in self._folder.glob("clm_*.json"):
            record = self.get(ClaimId(path.stem))
            if record and record.stage is Stage.WIPED and path.stat().st_mtime < before:
                path.unlink()
                (self.config.state_dir / "locks" / path.stem).unlink(missing_ok=True)
        for path in self._never_made.glob("clm_*"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
                (self.config.state_dir / "locks" / path.name).unlink(missing_ok=True)


def _record(document: Mapping[str, object]) -> Record:
    wiped = document["wiped"]
    id_range = document["id_range"]
    restarted = document.get("restarted", 0)  # absent in records from before it was kept
    if not isinstance(id_range, int) or not isinstance(restarted, int):
        raise TypeError(id_range)
    return Record(
        spec=wire.PROVISION.asks.parse(document["spec"], exact=True),
        stage=Stage(str(document["stage"])),
        id_range=id_range,
        restarted=restarted,
        wiped=wire.WIPE.answers.parse(wiped, exact=True) if wiped else None,
    )


def make_folder(path: Path, mode: int) -> None:
    """Make a folder with exactly this mode; those above it can be passed through, not read."""
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir(mode=0o711, exist_ok=True)
            parent.chmod(0o711)
    path.mkdir(exist_ok=True)
    path.chmod(mode)


def write_whole(path: Path, content: bytes, mode: int, owner: int = 0) -> None:
    """Replace a file so that a reader, or a crash, finds the old content or the new."""
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchown(file.fileno(), owner, owner)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
