"""``nvidia-smi topo -m``: how the GPUs of a node reach each other, and which CPUs are near.

Handled, as seen on real machines: padding or tabs between columns, the header underlined by
terminal codes, NICs among the columns under any name, the NUMA columns of newer drivers, a blank
or N/A affinity, SOC for SYS on old drivers, a single GPU, a cell that says ERR!.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gpucloud_core.nodes.model import LinkClass

GPUS_MAX: Final = 64
NVLINKS_MAX: Final = 18
"""The most NVLinks any GPU has (H100 to B300); more in sum than that needs a switch."""

_TERMINAL: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_GPU: Final = re.compile(r"GPU(\d{1,2})\Z")
_NVLINK: Final = re.compile(r"NV(\d{1,2})\Z")
_WORDS: Final = {
    "PIX": LinkClass.PIX,
    "PXB": LinkClass.PXB,
    "PHB": LinkClass.PHB,
    "NODE": LinkClass.NODE,
    "SYS": LinkClass.SYS,
    "SOC": LinkClass.SYS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTable:
    """What the matrix says, by the index that nvidia-smi gives each GPU.

    ``pairs`` holds both directions: the link and its NVLinks. ``cpus`` and ``numa`` hold only what
    was printed. ``faults`` are sentences on what could not be read.
    """

    count: int = 0
    pairs: Mapping[tuple[int, int], tuple[LinkClass, int]] = field(default_factory=dict)
    cpus: Mapping[int, str] = field(default_factory=dict)
    numa: Mapping[int, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def parse_links(text: str) -> LinkTable:
    """Read the matrix; a text without one gives an empty table and a fault."""
    lines = _TERMINAL.sub("", text).splitlines()
    start = next((n for n, line in enumerate(lines) if _is_header(line)), None)
    if start is None:
        return LinkTable(faults=("It shows no matrix of GPUs.",))
    columns = _devices(lines[start])
    reading = _Reading(columns)
    for line in lines[start + 1 :]:
        if line.strip().startswith("Legend"):
            break
        reading.row(line)
    return reading.result()


def needs_switch(pairs: Mapping[tuple[int, int], tuple[LinkClass, int]], count: int) -> bool:
    """Return whether some GPU shows more NVLinks in sum than a GPU has: a switch stands between."""
    sums = [sum(pairs.get((i, j), (None, 0))[1] for j in range(count)) for i in range(count)]
    return any(total > NVLINKS_MAX for total in sums)


def _is_header(line: str) -> bool:
    words = line.split()
    return bool(words) and _GPU.match(words[0]) is not None and "X" not in words


def _devices(header: str) -> tuple[str, ...]:
    """Return the names of the device columns: all before the affinities, which begin with CPU."""
    words = header.split()
    end = words.index("CPU") if "CPU" in words else len(words)
    return tuple(words[:end])


class _Reading:
    """The rows as they are read."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._gpus = {int(m[1]): n for n, name in enumerate(columns) if (m := _GPU.match(name))}
        self._seen: dict[tuple[int, int], tuple[LinkClass, int]] = {}
        self._cpus: dict[int, str] = {}
        self._numa: dict[int, int] = {}
        self._faults: list[str] = []

    def row(self, line: str) -> None:
        first, _, rest = line.strip().partition("\t" if "\t" in line else " ")
        name = _GPU.match(first.strip())
        if name is None:
            return
        index = int(name[1])
        cells = [cell.strip() for cell in rest.split("\t")] if "\t" in line else rest.split()
        links, affinity = cells[: len(self._columns)], cells[len(self._columns) :]
        for other, column in self._gpus.items():
            if other != index:
                self._pair(index, other, links[column] if column < len(links) else "")
        if affinity and re.fullmatch(r"[\d,-]{1,4096}", affinity[0]):
            self._cpus[index] = affinity[0]
        if len(affinity) > 1 and re.fullmatch(r"\d{1,3}", affinity[1]):
            self._numa[index] = int(affinity[1])

    def _pair(self, one: int, other: int, cell: str) -> None:
        if nvlinks := _NVLINK.match(cell):
            self._seen[one, other] = LinkClass.NVLINK, int(nvlinks[1])
        elif cell in _WORDS:
            self._seen[one, other] = _WORDS[cell], 0
        else:
            shown = cell[:20] or "nothing"
            self._faults.append(f"GPU{one} to GPU{other} says {shown}.")

    def result(self) -> LinkTable:
        """Return the table with both directions filled; where they differ, the worse holds."""
        order = list(LinkClass)
        pairs: dict[tuple[int, int], tuple[LinkClass, int]] = {}
        for (one, other), found in self._seen.items():
            back = self._seen.get((other, one), found)
            if back != found and one < other:
                self._faults.append(f"GPU{one} and GPU{other} do not agree on their link.")
            worse = max(found, back, key=lambda link: (order.index(link[0]), -link[1]))
            pairs[one, other] = pairs[other, one] = worse
        count = max(self._gpus, default=-1) + 1
        if needs_switch(pairs, count):
            pairs = {
                pair: (LinkClass.NVSWITCH, nvlinks) if nvlinks else (link, nvlinks)
                for pair, (link, nvlinks) in pairs.items()
            }
        return LinkTable(
            count=count,
            pairs=pairs,
            cpus=self._cpus,
            numa=self._numa,
            faults=tuple(self._faults),
        )
