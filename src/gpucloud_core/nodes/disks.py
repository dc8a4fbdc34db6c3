"""``lsblk -J -b``: the disks of a node, and which of them the host itself lives on."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_TEXT_MAX: Final = 4 * 1024 * 1024
_DISKS_MAX: Final = 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}\Z", re.ASCII)
_SIZE_MAX: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    name: str
    size_bytes: int
    model: str = ""
    mounted: bool = False


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
            size, model = rest.get("size"), rest.get("model")
            return Disk(
                name=name,
                size_bytes=_size(size),
                model=model.strip()[:80] if isinstance(model, str) and model.isprintable() else "",
                mounted=any(_is_mounted(each) for each in _with_parts(row)),
            )
    return None


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
