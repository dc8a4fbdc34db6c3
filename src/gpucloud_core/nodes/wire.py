"""What we say to the program on a node, and what it answers: one exchange per verb.

A node runs ``gpucloud-node VERB`` with one JSON document on stdin and writes one on stdout:
``{"ok": true, ...}`` or ``{"ok": false, "error": code, "detail": sentence}``. An ``Exchange``
knows both documents of its verb and both directions, so that the driver and the simulated node
cannot disagree. Every value is checked when written and when read; whatever is wrong comes out as
``NodeRefused`` with its name, never as a crash. Requests must have exactly their fields; answers
may have more, so that a newer program still serves an older platform.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Final, Generic, NoReturn, TypeVar

from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import Json
from gpucloud_core.nodes import wire_values as check
from gpucloud_core.nodes.model import (
    OwnedSlice,
    ProbeReport,
    SliceEndpoint,
    SliceEvidence,
    SliceSpec,
    WipeEvidence,
)
from gpucloud_core.nodes.ports import NodeRefused
from gpucloud_core.nodes.wire_values import Check, Wrong

PROGRAM: Final = "gpucloud-node"
DOCUMENT_BYTES_MAX: Final = 256 * 1024
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
    ("lspci", "-vmm", "-D"),
    ("lsblk", "-J", "-b"),
    ("cat", "/proc/meminfo"),
    ("lscpu", "-J"),
)
"""A node's own tools. The output of ``discover`` stands under ``" ".join(argv)``."""

Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """A document without fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    claim_id: ClaimId


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysRequest:
    claim_id: ClaimId
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpusRequest:
    claim_id: ClaimId
    gpu_uuids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    gpu_uuids: tuple[str, ...]
    driver_version: str
    problems: tuple[str, ...]

    def report(self) -> ProbeReport:
        return ProbeReport(
            reachable=True,
            gpu_uuids=self.gpu_uuids,
            driver_version=self.driver_version,
            problems=self.problems,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysAnswer:
    key_fingerprints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAnswer:
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicesAnswer:
    slices: tuple[OwnedSlice, ...]


@dataclass(frozen=True)
class Document(Generic[T]):
    """One JSON object: the dataclass it becomes, and the check of each field."""

    name: str
    kind: type[T]
    checks: Mapping[str, Check]
    also: Callable[[T], str | None] = lambda _: None  # what the fields must be to each other

    def __post_init__(self) -> None:
        names = {field.name for field in fields(self.kind)}  # type: ignore[arg-type]  # all are dataclasses
        if names != set(self.checks):
            raise ValueError(f"{self.name}: checks and fields differ")

    def parse(self, document: object, *, exact: bool) -> T:
        """Return the checked value.

        Raises:
            NodeRefused: what is wrong, by name.
        """
        try:
            value = self.kind(**check.fields(self.checks, document, exact=exact))
        except Wrong as error:
            raise NodeRefused(f"{self.name}: {error}.") from error
        if wrong := self.also(value):
            raise NodeRefused(f"{self.name}: {wrong}.")
        return value

    def plain(self, value: T) -> dict[str, Json]:
        """Return the JSON object of ``value``, checked as its reader will check it."""
        document = {name: _plain(getattr(value, name)) for name in self.checks}
        self.parse(document, exact=True)
        return document


@dataclass(frozen=True)
class Exchange(Generic[Q, A]):
    """One verb: what is asked, what is answered, and how long it may take."""

    verb: str
    asks: Document[Q]
    answers: Document[A]
    seconds_max: float

    @property
    def argv(self) -> tuple[str, ...]:
        return PROGRAM, self.verb

    def request(self, value: Q) -> bytes:
        """Write the document for the node's stdin."""
        return _dump(self.asks.plain(value))

    def read_request(self, raw: bytes) -> Q:
        """Read it, on the node's side."""
        return self.asks.parse(_load(raw, self.asks.name), exact=True)

    def answer(self, value: A) -> bytes:
        """Write the document for the node's stdout."""
        return _dump({"ok": True, **self.answers.plain(value)})

    def read_answer(self, raw: bytes) -> A:
        """Read the node's answer.

        Raises:
            NodeRefused: the node said no, or its answer is not one.
        """
        document = _load(raw, self.answers.name)
        if not isinstance(document, dict) or not isinstance(document.get("ok"), bool):
            raise NodeRefused(f"{self.answers.name}: it does not say whether it is ok.")
        if document["ok"]:
            return self.answers.parse(document, exact=False)
        raise NodeRefused(_refusal_words(document))


def refusal(error: str, detail: str) -> bytes:
    """Write the answer that says no: a snake_case code and one sentence."""
    known = error if _is_code(error) else "internal"
    return _dump({"ok": False, "error": known, "detail": check.escaped(detail)})


def shell_argv(claim_id: ClaimId) -> tuple[str, ...]:
    """Return the command, run with a PTY, that is a login shell in the slice."""
    try:
        return PROGRAM, "shell", "--claim", check.claim_id(claim_id)
    except Wrong as error:
        raise NodeRefused(f"shell: claim_id {error}.") from error


def _is_code(value: object) -> bool:
    try:
        return bool(check.error_code(value))
    except Wrong:
        return False


def _refusal_words(document: Mapping[str, object]) -> str:
    code, detail = document.get("error"), document.get("detail")
    said = check.escaped(detail) if isinstance(detail, str) and detail else "It gave no reason."
    return f"{said} ({code})" if _is_code(code) else said


def _plain(value: object) -> Json:
    match value:
        case None | bool() | int() | str():
            return value
        case datetime():
            return rfc3339(value)
        case tuple() | list():
            return [_plain(item) for item in value]
        case _ if is_dataclass(value):
            return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            raise NodeRefused(f"a {type(value).__name__} cannot be sent to a node.")


def _dump(document: dict[str, Json]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _load(raw: bytes, name: str) -> object:
    if len(raw) > DOCUMENT_BYTES_MAX:
        raise NodeRefused(f"{name}: it is longer than {DOCUMENT_BYTES_MAX} bytes.")
    try:
        loaded: object = json.loads(
            raw.decode(),
            object_pairs_hook=_once,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError) as error:
        raise NodeRefused(f"{name}: it is not the JSON document expected.") from error
    return loaded


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise Wrong("names a field twice")
    return document


def _no_number(text: str) -> NoReturn:
    raise Wrong(f"{text[:20]} is not a whole number")


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
_claim_gpus = Document("request", GpusRequest, {"claim_id": check.claim_id, "gpu_uuids": _gpus})

PROBE: Final = Exchange(
    "probe",
    _nothing,
    Document(
        "probe answer",
        ProbeAnswer,
        {"gpu_uuids": _gpus, "driver_version": check.version, "problems": _sentences},
    ),
    seconds_max=20,
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
        },
        _spec_agrees,
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
        },
    ),
    seconds_max=30,
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
            "random_reads": check.several(check.pair(check.words, check.sha256), WORDS_MAX),
            "at": check.instant,
            "clean": check.flag,
            "detail": check.words,
        },
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
