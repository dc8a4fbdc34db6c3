"""``nvidia-smi -q -x`` and ``nvidia-smi -L``: which GPUs there are, and which are not well.

The report's shape follows the driver: the module id stands in ``gpu_module_id`` up to 560 and in
``platformInfo/module_id`` after, absent facts read N/A, ``[N/A]`` or a sentence, and a lost GPU
shows as a line of text before, after or instead of the document.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from gpucloud_core.kernel.errors import DomainError, ErrorKind
from gpucloud_core.nodes.model import Fault

TEXT_MAX: Final = 4 * 1024 * 1024
GPUS_MAX: Final = 64


class DiscoveryUnreadable(DomainError):
    """The node's own tools say something that cannot be read."""

    code = "discovery_unreadable"
    kind = ErrorKind.CONFLICT
    next_step = "Run the command on the node by hand and mend what it complains about."


@dataclass(frozen=True, slots=True, kw_only=True)
class SmiGpu:
    """One GPU that answers, in the order of nvidia-smi's own index."""

    uuid: str
    model: str
    pci_address: str
    memory_mib: int
    module_id: int | None
    serial: str
    numa: int | None = None  # where the tool itself tells it


@dataclass(frozen=True, slots=True, kw_only=True)
class SmiReport:
    gpus: tuple[SmiGpu, ...]
    driver_version: str
    faults: tuple[Fault, ...] = ()


_OPEN: Final = "<nvidia_smi_log>"
_CLOSE: Final = "</nvidia_smi_log>"
_UUID: Final = re.compile(r"GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_PCI: Final = re.compile(
    r"([0-9A-F]{1,8}):([0-9A-F]{1,2}):([0-9A-F]{1,2})\.([0-7])\Z", re.IGNORECASE
)
_LISTED: Final = re.compile(r"GPU (\d{1,2}): (.{1,200}?) \(UUID: (GPU-[0-9a-f-]{36})\)\s*\Z")
_LOST: Final = re.compile(
    r"Unable to determine the device handle for gpu\s*(?:\d{1,2}:\s+)?"
    r"([0-9A-F]{3,8}:[0-9A-F]{2}:[0-9A-F]{2}\.[0-7]): (.{1,200})",
    re.IGNORECASE,
)
_VERSION: Final = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}\Z")
_ABSENT: Final = frozenset(
    {"", "N/A", "[N/A]", "None", "Not Supported", "[Not Supported]", "Not Available"}
)


def parse_report(text: str) -> SmiReport:
    """Read ``nvidia-smi -q -x``.

    Raises:
        DiscoveryUnreadable: there is no report in it, or more than any real one holds.
    """
    root = _document(text)
    faults = list(_lost(text))
    gpus = []
    for element in root.findall("gpu")[:GPUS_MAX]:
        gpu = _gpu(element, faults)
        if gpu is not None:
            gpus.append(gpu)
            faults.extend(_health(element, gpu))
    attached = _number(_text(root, "attached_gpus"))
    if attached is not None and attached != len(gpus):
        detail = f"{attached} GPUs are attached, {len(gpus)} could be read."
        faults.append(Fault(code="gpus_missing", detail=detail))
    if len({gpu.uuid for gpu in gpus}) < len(gpus):
        raise DiscoveryUnreadable("nvidia-smi -q -x names one GPU twice.")
    driver = _text(root, "driver_version")
    return SmiReport(
        gpus=tuple(gpus),
        driver_version=driver if _VERSION.match(driver) else "",
        faults=tuple(faults),
    )


def parse_listing(text: str) -> tuple[tuple[int, str, str], ...]:
    """Read ``nvidia-smi -L``: (index, model, UUID) of each GPU; MIG devices and noise are left."""
    found = (_LISTED.match(line.strip()) for line in text[:TEXT_MAX].splitlines())
    return tuple((int(m[1]), m[2], m[3]) for m in found if m is not None)


def pci_address(text: str) -> str | None:
    """Return an address as the driver writes it, ``00000000:0F:00.0``, or None if it is none."""
    found = _PCI.match(text.strip())
    if found is None:
        return None
    domain, bus, device, function = found.groups()
    return f"{domain.zfill(8)}:{bus.zfill(2)}:{device.zfill(2)}.{function}".upper()


def _document(text: str) -> ET.Element:
    if len(text) > TEXT_MAX:
        raise DiscoveryUnreadable("nvidia-smi -q -x says more than any real report holds.")
    start, end = text.find(_OPEN), text.rfind(_CLOSE)
    if not 0 <= start < end:
        said = next((line.strip() for line in text.splitlines() if line.strip()), "nothing")
        raise DiscoveryUnreadable(f"nvidia-smi -q -x shows no report, but: {plain(said)}")
    # What stands before the root, declarations among it, is not parsed: it can only do harm.
    try:
        return ET.fromstring(text[start : end + len(_CLOSE)])  # noqa: S314  no declarations reach it, and it is bounded
    except (ET.ParseError, ValueError) as error:
        raise DiscoveryUnreadable("nvidia-smi -q -x is not well-formed.") from error


def _gpu(element: ET.Element, faults: list[Fault]) -> SmiGpu | None:
    shown = element.get("id", "") or _text(element, "pci/pci_bus_id")
    address = pci_address(shown) or pci_address(_text(element, "pci/pci_bus_id"))
    uuid = _text(element, "uuid").strip()
    if address is None or not _UUID.match(uuid):
        where = address or plain(shown) or "an unknown address"
        detail = f"The GPU at {where} does not tell its UUID or its place."
        faults.append(Fault(code="gpu_lost", detail=detail))
        return None
    memory = _number(_text(element, "fb_memory_usage/total").removesuffix("MiB").strip())
    module = _text(element, "gpu_module_id") or _text(element, "platformInfo/module_id")
    return SmiGpu(
        uuid=uuid,
        model=plain(_text(element, "product_name")) or "unknown",
        pci_address=address,
        memory_mib=memory or 0,
        module_id=_number(module),
        serial=plain(_text(element, "serial")),
    )


def _health(element: ET.Element, gpu: SmiGpu) -> Iterator[Fault]:
    """Yield what the report itself says is not well with a GPU."""
    for code, words in _complaints(element, gpu):
        detail = f"The GPU at {gpu.pci_address} {words}."
        yield Fault(code=code, detail=detail, subject=gpu.uuid)


def _complaints(element: ET.Element, gpu: SmiGpu) -> Iterator[tuple[str, str]]:
    if not gpu.memory_mib:
        yield "gpu_memory_unknown", "does not tell its memory"
    if _text(element, "mig_mode/current_mig") == "Enabled":
        yield "gpu_in_mig_mode", "is in MIG mode"
    if _text(element, "remapped_rows/remapped_row_failure") == "Yes":
        yield "gpu_memory_failing", "has no spare memory rows left"
    if _text(element, "remapped_rows/remapped_row_pending") == "Yes":
        yield "gpu_reset_pending", "needs a reset to put spare memory rows to use"
    if _text(element, "gpu_reset_status/reset_required") == "Yes":
        yield "gpu_reset_required", "must be reset before it is used"
    if action := _text(element, "gpu_recovery_action"):
        yield "gpu_recovery_wanted", f"asks for: {plain(action)}"
    state, status = _text(element, "fabric/state"), _text(element, "fabric/status")
    if (state and state != "Completed") or (status and status != "Success"):
        said = " ".join(plain(word) for word in (state, status) if word)
        yield "gpu_fabric_not_ready", f"is not in the fabric yet: {said}"


def _lost(text: str) -> Iterator[Fault]:
    for found in _LOST.finditer(text[:TEXT_MAX]):
        detail = f"The GPU at {pci_address(found[1])} does not answer: {plain(found[2])}"
        yield Fault(code="gpu_lost", detail=detail)


def _text(element: ET.Element, path: str) -> str:
    found = element.findtext(path, "")
    words = (found or "").strip()
    return "" if words in _ABSENT else words


def _number(words: str) -> int | None:
    return int(words) if re.fullmatch(r"[0-9]{1,9}", words) else None


def plain(words: str) -> str:
    """Return at most one printable line of what a machine we do not trust says."""
    return "".join(char for char in words[:200] if char.isprintable()).strip()
