"""``amd-smi`` with ``--json``: which GPUs there are, how they reach each other, what is not well.

Handled, as its own source and public captures have it: a bare list (up to ROCm 6) or one under
``gpu_data`` (from 7), figures as numbers, texts or value with unit, N/A for whatever is not
known, an error's words in the place of a fact, several devices at one address while a GPU is
partitioned.

Source: ROCm/amdsmi, amdsmi_cli/amdsmi_commands.py and CHANGELOG.md at 0ceca28, read 2026-11-28.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from gpucloud_core.nodes.links import LinkTable
from gpucloud_core.nodes.model import Fault, LinkClass
from gpucloud_core.nodes.smi import (
    GPUS_MAX,
    TEXT_MAX,
    DiscoveryUnreadable,
    SmiGpu,
    SmiReport,
    pci_address,
    plain,
)

_Json: TypeAlias = Any
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_VERSION: Final = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}\Z")
_MIB_OF: Final = {"B": 1 / 1024**2, "KB": 1 / 1024, "MB": 1, "GB": 1024}
_SAME_SOCKET_HOPS: Final = 2
_NUMA_MAX: Final = 1023


@dataclass(frozen=True, slots=True, kw_only=True)
class AmdReport:
    """What the three documents say together: the GPUs by the tool's order, and their links."""

    report: SmiReport
    links: LinkTable


def parse_amd(listing: str, static: str, topology: str) -> AmdReport:
    """Read ``amd-smi list``, ``static`` and ``topology``, each with ``--json``.

    Only the listing is indispensable: it alone names GPUs so that they are known again.

    Raises:
        DiscoveryUnreadable: there is no listing in it, or it names one GPU twice.
    """
    listed = _rows(listing)
    if listed is None:
        said = next((line.strip() for line in listing.splitlines() if line.strip()), "nothing")
        raise DiscoveryUnreadable(f"amd-smi list shows no GPUs, but: {plain(said)}")
    faults: list[Fault] = []
    about = {row.get("gpu"): row for row in _rows(static) or () if _is_index(row.get("gpu"))}
    gpus = tuple(_gpus(listed, about, faults))
    if len({gpu.uuid for gpu in gpus}) < len(gpus):
        raise DiscoveryUnreadable("amd-smi list names one GPU twice.")
    driver = next(filter(None, (_driver(row) for row in about.values())), "")
    report = SmiReport(gpus=gpus, driver_version=driver, faults=tuple(faults))
    return AmdReport(report=report, links=_links(topology, gpus))


def _rows(text: str) -> list[Mapping[str, _Json]] | None:
    if len(text) > TEXT_MAX:
        raise DiscoveryUnreadable("amd-smi says more than any real one does.")
    start = min((at for at in (text.find("["), text.find("{")) if at >= 0), default=-1)
    if start < 0:
        return None
    try:
        document, _ = json.JSONDecoder().raw_decode(text[start:])
    except (ValueError, RecursionError):
        return None
    if isinstance(document, dict):
        document = document.get("gpu_data")
    if not isinstance(document, list):
        return None
    return [row for row in document[: GPUS_MAX * 8] if isinstance(row, dict)]


def _is_index(value: _Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _gpus(
    listed: list[Mapping[str, _Json]],
    about: Mapping[_Json, Mapping[str, _Json]],
    faults: list[Fault],
) -> Iterator[SmiGpu]:
    devices: set[str] = set()
    for row in listed:
        static = about.get(row.get("gpu"), {}) if _is_index(row.get("gpu")) else {}
        address = pci_address(_text(row.get("bdf")))
        uuid = _text(row.get("uuid")).lower()
        if address is None or not _UUID.match(uuid):
            where = address or plain(_text(row.get("bdf"))) or "an unknown address"
            detail = f"The GPU at {where} does not tell its UUID or its place."
            faults.append(Fault(code="gpu_lost", detail=detail))
            continue
        device = address.rpartition(".")[0]
        faults.extend(_partitions(address, uuid, static, is_more=device in devices))
        if device in devices:
            continue
        devices.add(device)
        if len(devices) <= GPUS_MAX:
            yield _gpu(uuid, address, static, faults)


def _gpu(uuid: str, address: str, static: Mapping[str, _Json], faults: list[Fault]) -> SmiGpu:
    asic, board = _part(static, "asic"), _part(static, "board")
    memory = _mib(_part(static, "vram").get("size"))
    if not memory:
        detail = f"The GPU at {address} does not tell its memory."
        faults.append(Fault(code="gpu_memory_unknown", detail=detail, subject=uuid))
    name = _known(asic.get("market_name")) or _known(board.get("product_name"))
    serial = _known(board.get("product_serial")) or _known(asic.get("asic_serial"))
    numa = _number(_part(static, "numa").get("node"))
    return SmiGpu(
        uuid=uuid,
        model=plain(name) or "unknown",
        pci_address=address,
        memory_mib=memory,
        module_id=_module(asic.get("oam_id")),
        serial=plain(serial),
        numa=numa if numa is not None and numa <= _NUMA_MAX else None,
    )


def _module(value: _Json) -> int | None:
    """Return where on its board a GPU sits; 65535 stands for not known."""
    number = _number(value)
    return number if number is not None and number < GPUS_MAX else None


def _partitions(
    address: str, uuid: str, static: Mapping[str, _Json], *, is_more: bool
) -> Iterator[Fault]:
    part = _part(static, "partition")
    mode = _known(part.get("compute_partition")) or _known(part.get("accelerator_partition"))
    if is_more or (mode and not mode.startswith("SPX")):
        detail = f"The GPU at {address} is partitioned: {plain(mode) or 'more than one device'}."
        yield Fault(code="gpu_partitioned", detail=detail, subject=uuid)


def _driver(row: Mapping[str, _Json]) -> str:
    version = _known(_part(row, "driver").get("version"))
    return version if _VERSION.match(version) else ""


def _links(topology: str, gpus: tuple[SmiGpu, ...]) -> LinkTable:
    """Return the links by the order of ``gpus``; where two claims differ, the worse holds."""
    numa = {index: gpu.numa for index, gpu in enumerate(gpus) if gpu.numa is not None}
    rows = _rows(topology)
    if not rows:
        return LinkTable(numa=numa, faults=("amd-smi topology shows no links.",))
    order = {gpu.pci_address: index for index, gpu in enumerate(gpus)}
    seen: dict[tuple[int, int], tuple[LinkClass, int]] = {}
    faults: list[str] = []
    for row in rows:
        one = order.get(pci_address(_text(row.get("bdf"))) or "")
        links = row.get("links")
        for link in links if one is not None and isinstance(links, list) else ():
            other = order.get(_bdf(link))
            if one is not None and other is not None and other != one:
                found, fault = _link(link)
                seen[one, other] = found
                if fault:
                    faults.append(f"GPU{one} to GPU{other} {fault}.")
    worst = list(LinkClass)
    pairs = {
        (one, other): max(
            found, seen.get((other, one), found), key=lambda link: (worst.index(link[0]), -link[1])
        )
        for (one, other), found in seen.items()
    }
    both = {pair[::-1]: link for pair, link in pairs.items()}
    missing = len(gpus) * (len(gpus) - 1) - len(both | pairs)
    if missing:
        faults.append(f"amd-smi topology does not tell {missing // 2} of the links.")
    return LinkTable(count=len(gpus), pairs=both | pairs, numa=numa, faults=tuple(faults))


def _link(link: Mapping[str, _Json]) -> tuple[tuple[LinkClass, int], str]:
    """Return one link's class and count, and what is wrong with it, if anything.

    Hops are not counted in links: 1 is Infinity Fabric, 2 one CPU socket, 3 across sockets.
    """
    kind, hops = _text(link.get("link_type")), _number(link.get("num_hops"))
    if kind == "XGMI":
        if _text(link.get("link_status")) == "DISABLED":
            return (LinkClass.SYS, 0), "has its Infinity Fabric link disabled"
        return (LinkClass.XGMI, 1), ""
    if kind == "PCIE":
        return (LinkClass.NODE if hops == _SAME_SOCKET_HOPS else LinkClass.SYS, 0), ""
    return (LinkClass.SYS, 0), f"says {plain(kind) or 'nothing'}"


def _bdf(link: _Json) -> str:
    return (pci_address(_text(link.get("bdf"))) if isinstance(link, dict) else None) or ""


def _part(row: Mapping[str, _Json], name: str) -> Mapping[str, _Json]:
    part = row.get(name)
    return part if isinstance(part, dict) else {}


def _text(value: _Json) -> str:
    return value.strip() if isinstance(value, str) else ""


def _known(value: _Json) -> str:
    text = _text(value)
    return "" if text in {"N/A", "NA", "None", "Unknown"} else text


def _number(value: _Json) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\d{1,6}", value, re.ASCII):
        return int(value)
    return value if _is_index(value) and 0 <= value < 1_000_000 else None  # noqa: PLR2004  no such figure is larger


def _mib(value: _Json) -> int:
    """Return a memory size given as a number of MB, as text, or as value with unit."""
    unit = "MB"
    if isinstance(value, dict):
        unit, value = _text(value.get("unit")) or unit, value.get("value")
    if isinstance(value, str):
        found = re.fullmatch(r"(\d{1,15})(?:\s*([KMG]?B))?", value.strip(), re.ASCII)
        value, unit = (int(found[1]), found[2] or unit) if found else (0, unit)
    if not _is_index(value) or not 0 <= value < 1 << 50 or unit not in _MIB_OF:
        return 0
    return int(value * _MIB_OF[unit])
