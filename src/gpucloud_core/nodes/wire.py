"""What we say to the program on a node, and what it answers: one exchange per verb.

A node runs ``gpucloud-node VERB`` with one JSON document on stdin and writes one on stdout:
``{"ok": true, ...}`` or ``{"ok": false, "error": code, "detail": sentence}``. An ``Exchange``
knows both documents of its verb and both directions, so that the driver and the simulated node
cannot disagree. Every value is checked when written and when read; whatever is wrong comes out as
``NodeRefused`` with its name, never as a crash. Requests must have exactly their fields; answers
may have more, so that a newer program still serves an older platform.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes import wire_values as check
from gpucloud_core.nodes.model import (
    DiskWipe,
    NodeMode,
    OwnedSlice,
    ProbeReport,
    SliceEndpoint,
    SliceEvidence,
    SliceSpec,
    WipeEvidence,
)
from gpucloud_core.nodes.ports import NodeRefused
from gpucloud_core.nodes.wire_documents import (
    DOCUMENT_BYTES_MAX,
    PROGRAM,
    Document,
    Exchange,
    refusal,
)
from gpucloud_core.nodes.wire_values import Wrong

__all__ = ["DOCUMENT_BYTES_MAX", "PROGRAM", "Document", "Exchange", "refusal"]

GPUS_MAX: Final = 64
KEYS_MAX: Final = 256
CIDRS_MAX: Final = 256
INBOUND_MAX: Final = 64
SLICES_MAX: Final = 1024
WORDS_MAX: Final = 256

DISCOVERY_COMMANDS: Final = (
    ("nvidia-smi", "-q", "-x"),
    ("nvidia-smi", "topo", "-m"),
    ("nvidia-smi", "-L"),
    ("amd-smi", "list", "--json"),
    ("amd-smi", "static", "--json"),
    ("amd-smi", "topology", "--json"),
    ("lspci", "-vmm", "-D"),
    ("lsblk", "-J", "-b", "-o", "NAME,TYPE,SIZE,MODEL,SERIAL,FSTYPE,LABEL,MOUNTPOINTS"),
    ("lsblk", "-J", "-b"),
    ("ip", "-d", "-j", "address"),
    ("cat", "/proc/meminfo"),
    ("lscpu", "-J"),
    ("grep", "-rs", "--include=numa_node", ".", "/sys/devices"),
    ("grep", "-rs", "--include=cpulist", ".", "/sys/devices/system/node"),
    ("find", "/sys/kernel/iommu_groups", "-type", "l"),
)
"""A node's own tools; one vendor's are not there on the other's nodes.

The output of ``discover`` stands under ``" ".join(argv)``.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """A document without fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    claim_id: ClaimId


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartRequest:
    """``generation`` tells one order to restart from another: each is carried out once."""

    claim_id: ClaimId
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysRequest:
    claim_id: ClaimId
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpusRequest:
    """What a claim had, or was to have: also of one whose record the node has lost."""

    claim_id: ClaimId
    gpu_uuids: tuple[str, ...]
    disks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    gpu_uuids: tuple[str, ...]
    driver_version: str
    problems: tuple[str, ...]
    clock: datetime | None = None  # what the node's own clock shows

    def report(self) -> ProbeReport:
        return ProbeReport(
            reachable=True,
            gpu_uuids=self.gpu_uuids,
            driver_version=self.driver_version,
            problems=self.problems,
            clock=self.clock,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeDocument:
    """Both ways: the mode asked for, and the one read back."""

    mode: NodeMode


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysAnswer:
    key_fingerprints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAnswer:
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicesAnswer:
    slices: tuple[OwnedSlice, ...]


def shell_argv(claim_id: ClaimId) -> tuple[str, ...]:
    """Return the command, run with a PTY, that is a login shell in the slice."""
    try:
        return PROGRAM, "shell", "--claim", check.claim_id(claim_id)
    except Wrong as error:
        raise NodeRefused(f"shell: claim_id {error}.") from error


def _spec_agrees(spec: SliceSpec) -> str | None:
    if len(spec.gpu_indexes) != len(spec.gpu_uuids):
        return "gpu_indexes and gpu_uuids differ in number"
    ports = [port for port, _ in spec.inbound]
    if len(set(ports)) != len(ports):
        return "inbound names a port twice"
    return None


def _endpoint_agrees(endpoint: SliceEndpoint) -> str | None:
    if check.public_key(endpoint.host_key).fingerprint != endpoint.host_key_fingerprint:
        return "host_key_fingerprint is not that of host_key"
    return None


_OWNED: Final = {
    "claim_id": check.claim_id,
    "allocation_id": check.allocation_id,
    "running": check.flag,
}


def _owned(value: object) -> OwnedSlice:
    checked = check.fields(_OWNED, value, exact=False)
    return OwnedSlice(**checked)  # type: ignore[arg-type]  # each field was checked just above


_gpus = check.several(check.gpu_uuid, GPUS_MAX)
_cidrs = check.several(check.cidr, CIDRS_MAX)
_fingerprints = check.several(check.fingerprint, KEYS_MAX)
_sentences = check.several(check.words, WORDS_MAX, distinct=False)

_nothing = Document("request", Nothing, {})
_done = Document("answer", Nothing, {})
_claim = Document("request", ClaimRequest, {"claim_id": check.claim_id})
_disks = check.several(check.disk_name, GPUS_MAX)
_nics = check.several(check.pci_address, GPUS_MAX)
_reads = check.several(check.pair(check.words, check.sha256), WORDS_MAX)
_claim_gpus = Document(
    "request",
    GpusRequest,
    {"claim_id": check.claim_id, "gpu_uuids": _gpus, "disks": _disks},
    added={"disks": []},
)
_DISK_WIPE: Final = {
    "name": check.disk_name,
    "serial": check.serial,
    "method": check.method,
    "size_bytes": check.between(0, check.SIZE_BYTES_MAX),
    "reads": _reads,
    "clean": check.flag,
}


def _disk_wipe(value: object) -> DiskWipe:
    checked = check.fields(_DISK_WIPE, value, exact=False)
    return DiskWipe(**checked)  # type: ignore[arg-type]  # each field was checked just above


PROBE: Final = Exchange(
    "probe",
    _nothing,
    Document(
        "probe answer",
        ProbeAnswer,
        {
            "gpu_uuids": _gpus,
            "driver_version": check.version,
            "problems": _sentences,
            "clock": check.instant_or_none,
        },
        added={"clock": None},
    ),
    seconds_max=20,
)
SET_MODE: Final = Exchange(
    "set-mode",
    Document("set-mode request", ModeDocument, {"mode": check.node_mode}),
    Document("set-mode answer", ModeDocument, {"mode": check.node_mode}),
    seconds_max=120,
)
PROVISION: Final = Exchange(
    "provision",
    Document(
        "provision request",
        SliceSpec,
        {
            "claim_id": check.claim_id,
            "allocation_id": check.allocation_id,
            "generation": check.between(0, check.GENERATION_MAX),
            "image": check.image,
            "username": check.username,
            "hostname": check.host_label,
            "gpu_uuids": _gpus,
            "gpu_indexes": check.several(check.between(0, GPUS_MAX - 1), GPUS_MAX),
            "cpus": check.cpulist,
            "memory_mib": check.between(1, check.MEMORY_MIB_MAX),
            "pids_max": check.between(1, check.PIDS_MAX),
            "ssh_host": check.host,
            "ssh_port": check.port,
            "ssh_cidrs": _cidrs,
            "inbound": check.several(check.pair(check.port, _cidrs), INBOUND_MAX),
            "disks": _disks,
            "nics": _nics,
        },
        _spec_agrees,
        added={"disks": [], "nics": []},
    ),
    Document(
        "provision answer",
        SliceEndpoint,
        {
            "host": check.host,
            "port": check.port,
            "username": check.username,
            "host_key": check.host_key,
            "host_key_fingerprint": check.fingerprint,
        },
        _endpoint_agrees,
    ),
    seconds_max=120,
)
SET_KEYS: Final = Exchange(
    "set-keys",
    Document(
        "set-keys request",
        KeysRequest,
        {"claim_id": check.claim_id, "keys": check.several(check.key_line, KEYS_MAX)},
    ),
    Document("set-keys answer", KeysAnswer, {"key_fingerprints": _fingerprints}),
    seconds_max=30,
)
VERIFY: Final = Exchange(
    "verify",
    _claim,
    Document(
        "verify answer",
        SliceEvidence,
        {
            "exists": check.flag,
            "running": check.flag,
            "ssh_ready": check.flag,
            "gpu_uuids": _gpus,
            "key_fingerprints": _fingerprints,
            "ssh_cidrs": _cidrs,
            "detail": check.words,
            "disks": _disks,
            "nics": _nics,
        },
        added={"disks": [], "nics": []},
    ),
    seconds_max=30,
)
RESTART: Final = Exchange(
    "restart",
    Document(
        "restart request",
        RestartRequest,
        {"claim_id": check.claim_id, "generation": check.between(0, check.GENERATION_MAX)},
    ),
    _done,
    seconds_max=60,
)
CUT_OFF: Final = Exchange("cut-off", _claim, _done, seconds_max=30)
RELEASE: Final = Exchange("release", _claim, _done, seconds_max=120)
WIPE: Final = Exchange(
    "wipe",
    _claim_gpus,
    Document(
        "wipe answer",
        WipeEvidence,
        {
            "claim_id": check.claim_id,
            "method": check.method,
            "device_serials": check.several(check.serial, GPUS_MAX * 2),
            "command_hash": check.sha256,
            "random_reads": _reads,
            "at": check.instant,
            "clean": check.flag,
            "detail": check.words,
            "disks": check.several(_disk_wipe, GPUS_MAX),
        },
        added={"disks": []},
    ),
    seconds_max=600,
)
VERIFY_CLEAN: Final = Exchange(
    "verify-clean",
    _claim_gpus,
    Document("verify-clean answer", FoundAnswer, {"found": _sentences}),
    seconds_max=60,
)
LIST: Final = Exchange(
    "list",
    _nothing,
    Document("list answer", SlicesAnswer, {"slices": check.several(_owned, SLICES_MAX)}),
    seconds_max=30,
)
