"""``lsblk``: the disks of a node, and which of them the host itself uses.

A file system that a slice was given carries our label, so that a slice at work does not look like
a host that has taken the disk for itself.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

SLICE_LABEL: Final = re.compile(r"gc[0-9a-f]{12}\Z")
"""The label of a slice's file system; the node program makes it from the claim."""

_TEXT_MAX: Final = 4 * 1024 * 1024
_DISKS_MAX: Final = 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}\Z", re.ASCII)
_SIZE_MAX: Final = 1 << 62
_WORDS_MAX: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A whole disk. ``contents`` is what the host has on it, in a word; empty: nothing is seen."""

    name: str
    size_bytes: int
    model: str = ""
    mounted: bool = False
    serial: str = ""
    contents: str = ""


def parse_lsblk(text: str) -> tuple[Disk, ...]:
    """Read the whole disks, in the order printed; anything else gives none."""
    try:
        document = json.loads(text[:_TEXT_MAX])
    except (ValueError, RecursionError):
        return ()
    match document:
        case {"blockdevices": list(rows)}:
            return tuple(disk for row in rows[:_DISKS_MAX] if (disk := _disk(row)))
    return ()


def _disk(row: object) -> Disk | None:
    match row:
        case {"name": str(name), "type": "disk", **rest} if _NAME.match(name):
            is_a_slices = bool(SLICE_LABEL.match(_words(rest.get("label"))))
            return Disk(
                name=name,
                size_bytes=_size(rest.get("size")),
                model=_words(rest.get("model")),
                mounted=not is_a_slices and any(_is_mounted(each) for each in _with_parts(row)),
                serial=_words(rest.get("serial")),
                contents=_parts(rest) or ("" if is_a_slices else _words(rest.get("fstype"))),
            )
    return None


def _parts(row: Mapping[object, object]) -> str:
    """Return what lies on the disk as devices of their own: partitions, volumes, an array."""
    match row.get("children"):
        case [{"type": "part"}, *_]:
            return "partitions"
        case [{"type": str(kind)}, *_]:
            return _words(kind)
        case [_, *_]:
            return "something"
    return ""


def _words(value: object) -> str:
    return value.strip()[:_WORDS_MAX] if isinstance(value, str) and value.isprintable() else ""


def _size(value: object) -> int:
    """Return a size in bytes: a number, or (older versions) the digits of one."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value, re.ASCII):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value < _SIZE_MAX else 0


def _with_parts(row: object) -> Iterator[object]:
    waiting = [row]
    while waiting:
        each = waiting.pop()
        yield each
        match each:
            case {"children": list(parts)}:
                waiting.extend(parts)


def _is_mounted(row: object) -> bool:
    match row:
        case {"mountpoints": list(points)}:
            return any(isinstance(point, str) and point for point in points)
        case {"mountpoint": str(point)}:
            return bool(point)
    return False
