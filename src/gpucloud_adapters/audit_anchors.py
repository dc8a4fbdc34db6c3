"""Anchors of the audit chain in a file that only grows, outside the database.

One JSON line each, written with one call and forced to the disk before the next; only we may read
it. Several workers of one machine may append at once. Carry the file to where the database's
administrators cannot write, and they cannot rewrite the chain unseen.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpucloud_core.audit.chain import Anchor, anchor_line, read_anchor

FOLDER: Final = "audit-anchors"
FILE: Final = "anchors.jsonl"
_TAIL_BYTES: Final = 4096  # holds several lines


def anchor_file(home: Path) -> Path:
    """Return where the anchors of an install are kept."""
    return home / FOLDER / FILE


@dataclass(frozen=True, slots=True)
class FileAnchors:
    """The anchors in one file."""

    path: Path

    async def keep(self, anchor: Anchor) -> None:
        await asyncio.to_thread(self._append, anchor_line(anchor))

    async def last(self) -> Anchor | None:
        return await asyncio.to_thread(self._last)

    def _append(self, line: str) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not self.path.exists()
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # A line that a crash left without its end is closed, so that it spoils no other.
            size = os.fstat(file).st_size
            torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
            end = "\n" if torn else ""
            os.write(file, f"{end}{line}\n".encode("ascii"))
            os.fsync(file)
        finally:
            os.close(file)
        if is_new:
            _sync_folder(self.path.parent)

    def _last(self) -> Anchor | None:
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = file.read().decode("ascii", "replace").splitlines(keepends=True)
        except FileNotFoundError:
            return None
        anchors = (read_anchor(line) for line in reversed(lines))
        return next((anchor for anchor in anchors if anchor is not None), None)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
