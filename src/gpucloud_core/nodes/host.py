"""``lscpu -J``, ``/sys`` and ``/proc/meminfo``: the CPUs of each NUMA domain, and the memory."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from gpucloud_core.nodes.slots import CpuListInvalid, format_cpus, parse_cpus

NUMA_MAX: Final = 1024
_TEXT_MAX: Final = 4 * 1024 * 1024
_NUMA: Final = re.compile(r"NUMA node(\d{1,4}) CPU\(s\):?\Z")
_CPULIST: Final = re.compile(
    r"^/sys/devices/system/node/node(\d{1,4})/cpulist:([\d,-]{1,4096})$", re.MULTILINE | re.ASCII
)
_MEM_TOTAL: Final = re.compile(r"^MemTotal:\s*(\d{1,15}) kB\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCpus:
    """CPUs in all, and the cpulist of each NUMA domain that has any."""

    count: int = 0
    numa: Mapping[int, str] = field(default_factory=dict)


def parse_lscpu(text: str) -> HostCpus | None:
    """Read ``lscpu -J``, flat or with nested children; None if it is not that."""
    try:
        document = json.loads(text[:_TEXT_MAX])
    except (ValueError, RecursionError):  # nested deeper than any real answer
        return None
    count, numa = 0, {}
    for name, value in _fields(document):
        if name in {"CPU(s):", "CPU(s)"} and re.fullmatch(r"[0-9]{1,6}", value):
            count = int(value)
        found = _NUMA.match(name)
        if found and int(found[1]) < NUMA_MAX and (cpus := _cpulist(value)):
            numa[int(found[1])] = cpus
    return HostCpus(count=count, numa=numa) if count or numa else None


def parse_cpulists(text: str) -> HostCpus | None:
    """Read ``grep -rs --include=cpulist . /sys/devices/system/node``; None if it is not that."""
    found = _CPULIST.finditer(text[:_TEXT_MAX])
    numa = {int(each[1]): cpus for each in found if (cpus := _cpulist(each[2]))}
    return HostCpus(count=sum(map(_size, numa.values())), numa=numa) if numa else None


def parse_meminfo(text: str) -> int | None:
    """Return the memory of ``/proc/meminfo`` in MiB, rounded down; None if it does not say."""
    found = _MEM_TOTAL.search(text[:_TEXT_MAX])
    return int(found[1]) // 1024 if found else None


def _fields(document: object) -> Iterator[tuple[str, str]]:
    waiting = [document]
    while waiting:
        match waiting.pop():
            case {"lscpu": list(rows)}:
                waiting.extend(rows)
            case {"field": str(name), **rest}:
                match rest:
                    case {"data": str(value)}:
                        yield name.strip(), value.strip()
                match rest:
                    case {"children": list(rows)}:
                        waiting.extend(rows)


def _size(cpulist: str) -> int:
    return len(parse_cpus(cpulist))


def _cpulist(value: str) -> str:
    try:
        return format_cpus(parse_cpus(value))
    except CpuListInvalid:
        return ""
