"""What a node holds of ours, and what each verb does to it, as pure functions.

A node without hardware (the simulated host, the memory driver) is a ``Holdings`` value and a shell
that carries it out: a verb takes the old value and returns the new one, or refuses and changes
nothing. Every verb may be repeated. What a slice leaves behind is held until it is wiped, so that
"gone" and "clean" can never be mistaken for each other.

The rules and the codes of refusal are those of the real node program (``gpucloud-node``); one
contract suite holds all of them to it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Final

from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes.model import (
    DiskWipe,
    NodeMode,
    Nvme,
    OwnedSlice,
    SliceEvidence,
    SliceSpec,
    Topology,
    WipeEvidence,
)
from gpucloud_core.nodes.wire_values import public_key

_BLOCK_BYTES: Final = 4096
REMEMBERED: Final = timedelta(days=30)
"""How long a wiped slice is known, so that a late repetition does not bring it back."""


class Refused(Exception):
    """The node says no and changes nothing: a code and a sentence for the answer."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Stage(StrEnum):
    """How far a slice is in its life on the node."""

    MADE = "made"  # it runs
    CUT_OFF = "cut_off"  # still there, and nobody gets in
    RELEASED = "released"  # gone, but for what it left behind
    WIPED = "wiped"  # that too, with proof


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSlice:
    """What the node knows of one claim."""

    spec: SliceSpec
    stage: Stage
    since: datetime  # when it was made; of a wiped one, when it was wiped
    keys: tuple[str, ...] = ()  # "type base64", as let in
    restarted: int = 0  # the newest order to restart it that was carried out
    proof: WipeEvidence | None = None

    @property
    def exists(self) -> bool:
        return self.stage in {Stage.MADE, Stage.CUT_OFF}

    @property
    def running(self) -> bool:
        return self.stage is Stage.MADE


@dataclass(frozen=True, kw_only=True)  # without slots, so that what follows can be kept
class Holdings:
    """Everything a node knows of ours, by claim. A value: verbs return a new one.

    ``never_made`` are claims that were released before anything was made of them, and when: an
    order to make them that was held up on its way comes too late. ``mode`` is how the node hands
    its GPUs out.
    """

    records: Mapping[ClaimId, HeldSlice] = field(default_factory=dict)
    never_made: Mapping[ClaimId, datetime] = field(default_factory=dict)
    mode: NodeMode = NodeMode.CONTAINER

    @cached_property
    def slices(self) -> Mapping[ClaimId, HeldSlice]:
        """Those that exist."""
        return {claim_id: held for claim_id, held in self.records.items() if held.exists}

    def put(self, held: HeldSlice) -> "Holdings":
        return replace(self, records={**self.records, held.spec.claim_id: held})


def set_mode(holdings: Holdings, mode: NodeMode) -> Holdings:
    """Return the holdings in another mode; the same again changes nothing.

    Raises:
        Refused: not_empty, while anything of ours is left on the node.
    """
    if mode is not holdings.mode and (left := owned(holdings)):
        raise Refused("not_empty", f"{left[0].claim_id} is still on this node.")
    return replace(holdings, mode=mode)


def provision(
    holdings: Holdings, topology: Topology, spec: SliceSpec, *, now: datetime
) -> Holdings:
    """Return the holdings with the slice of ``spec`` in them, running and without keys.

    The same request again changes nothing, not even its keys. A newer generation of the same
    slice only moves its fence. A claim that was released is over, whatever the generation of an
    order for it: that one was held up on its way, and its claim may be closed.

    Raises:
        Refused: stale_generation, spec_changed, cut_off, address_in_use; or unknown or in_use of
            a gpu, a disk or a nic.
    """
    known = holdings.records.get(spec.claim_id)
    if spec.claim_id in holdings.never_made:
        raise Refused("stale_generation", "This claim was released before it was made.")
    if known and known.exists:
        return holdings.put(_again(known, spec))
    if known:
        raise Refused("stale_generation", "This claim was released meanwhile.")
    _check_free(holdings, topology, spec)
    return holdings.put(HeldSlice(spec=spec, stage=Stage.MADE, since=now))


def _again(known: HeldSlice, spec: SliceSpec) -> HeldSlice:
    if spec.generation < known.spec.generation:
        raise Refused("stale_generation", "A newer order for this claim is known.")
    if replace(spec, generation=0) != replace(known.spec, generation=0):
        raise Refused("spec_changed", "This claim was made as something else.")
    if not known.running:
        raise Refused("cut_off", "This slice was cut off and is to be released.")
    return replace(known, spec=spec)


def _check_free(holdings: Holdings, topology: Topology, spec: SliceSpec) -> None:
    here = {
        "gpu": {gpu.uuid for gpu in topology.gpus},
        "disk": set(_spare_disks(topology)),
        "nic": {nic.pci_address for nic in topology.nics if not nic.in_use},
    }
    wanted = _devices(spec)
    for kind, names in wanted.items():
        if absent := [name for name in names if name not in here[kind]]:
            raise Refused(f"unknown_{kind}", f"{absent[0]} is not on this node.")
    for claim_id, other in holdings.records.items():
        if claim_id == spec.claim_id or other.stage is Stage.WIPED:
            continue
        held = _devices(other.spec)
        for kind, names in wanted.items():
            if shared := set(names) & set(held[kind]):
                raise Refused(f"{kind}_in_use", f"{min(shared)} is held by {claim_id}.")
        if (spec.ssh_host, spec.ssh_port) == (other.spec.ssh_host, other.spec.ssh_port):
            address = f"{spec.ssh_host} port {spec.ssh_port}"
            raise Refused("address_in_use", f"{address} is another slice's address.")


def _devices(spec: SliceSpec) -> dict[str, tuple[str, ...]]:
    return {"gpu": spec.gpu_uuids, "disk": spec.disks, "nic": spec.nics}


def _spare_disks(topology: Topology) -> dict[str, Nvme]:
    return {disk.name: disk for disk in topology.nvmes if not disk.in_use}


def set_keys(holdings: Holdings, claim_id: ClaimId, keys: Sequence[str]) -> Holdings:
    """Return the holdings with exactly ``keys`` let into the slice.

    Raises:
        Refused: not_found or cut_off.
    """
    held = holdings.slices.get(claim_id)
    if held is None:
        raise Refused("not_found", "There is no such slice on this node.")
    if not held.running:
        raise Refused("cut_off", "This slice was cut off.")
    return holdings.put(replace(held, keys=tuple(public_key(key).line for key in keys)))


def restart(holdings: Holdings, claim_id: ClaimId, generation: int) -> Holdings:
    """Return the holdings with the slice started anew, all it had still there; once a generation.

    Raises:
        Refused: not_found, cut_off or stale_generation.
    """
    held = holdings.slices.get(claim_id)
    if held is None:
        raise Refused("not_found", "There is no such slice on this node.")
    if not held.running:
        raise Refused("cut_off", "This slice was cut off.")
    if generation < held.restarted:
        raise Refused("stale_generation", "A newer order to restart this slice is known.")
    return holdings.put(replace(held, restarted=generation))


def cut_off(holdings: Holdings, claim_id: ClaimId) -> Holdings:
    """Return the holdings with the slice closed to its customer for good; absent is fine."""
    held = holdings.slices.get(claim_id)
    return holdings.put(replace(held, stage=Stage.CUT_OFF)) if held else holdings


def release(holdings: Holdings, claim_id: ClaimId, *, now: datetime) -> Holdings:
    """Return the holdings without the slice but with what it leaves behind.

    Absent is fine; but what was never made is remembered, so that it never will be.
    """
    if claim_id not in holdings.records:
        return _never_made(holdings, claim_id, now)
    held = holdings.slices.get(claim_id)
    return holdings.put(replace(held, stage=Stage.RELEASED, keys=())) if held else holdings


def wipe(
    holdings: Holdings,
    topology: Topology,
    claim_id: ClaimId,
    gpu_uuids: Sequence[str],
    disks: Sequence[str] = (),
    *,
    method: str,
    now: datetime,
) -> tuple[Holdings, WipeEvidence]:
    """Return the holdings without what the claim left on its GPUs and disks, and the proof.

    Once proven it is not done again: the same proof comes back. What was never made never will be.

    Raises:
        Refused: still_there, or gpu_in_use or disk_in_use by another claim.
    """
    known = holdings.records.get(claim_id)
    if known and known.exists:
        raise Refused("still_there", "The slice is to be released first.")
    if known and known.proof:
        return holdings, known.proof
    for other_id, other in holdings.slices.items():
        if shared := set(gpu_uuids) & set(other.spec.gpu_uuids):
            raise Refused("gpu_in_use", f"{min(shared)} is held by {other_id}.")
        if shared := set(disks) & set(other.spec.disks):
            raise Refused("disk_in_use", f"{min(shared)} is held by {other_id}.")
    named = dict.fromkeys((*(known.spec.disks if known else ()), *disks))
    proof = _proof(topology, claim_id, gpu_uuids, list(named), method=method, at=now)
    if known is None:
        return _never_made(holdings, claim_id, now), proof
    if proof.clean and set(known.spec.gpu_uuids) <= set(gpu_uuids):
        wiped = replace(known, stage=Stage.WIPED, since=now, proof=proof)
        holdings = _forget_old(holdings.put(wiped), now)
    return holdings, proof


def _never_made(holdings: Holdings, claim_id: ClaimId, now: datetime) -> Holdings:
    return _forget_old(replace(holdings, never_made={claim_id: now, **holdings.never_made}), now)


def _forget_old(holdings: Holdings, now: datetime) -> Holdings:
    return replace(
        holdings,
        records={
            claim_id: held
            for claim_id, held in holdings.records.items()
            if held.stage is not Stage.WIPED or now - held.since < REMEMBERED
        },
        never_made={
            claim_id: at for claim_id, at in holdings.never_made.items() if now - at < REMEMBERED
        },
    )


def _proof(
    topology: Topology,
    claim_id: ClaimId,
    gpu_uuids: Sequence[str],
    disks: Sequence[str],
    *,
    method: str,
    at: datetime,
) -> WipeEvidence:
    reached = {gpu.uuid: gpu.serial or gpu.uuid for gpu in topology.gpus if gpu.uuid in gpu_uuids}
    erased = tuple(
        _disk_wipe(disk, method) for name in disks if (disk := _spare_disks(topology).get(name))
    )
    missed = [uuid for uuid in gpu_uuids if uuid not in reached]
    missed += sorted(set(disks) - {disk.name for disk in erased})
    serials = tuple(reached.values())
    output = f"{method} {claim_id} {' '.join(serials)}: every byte reads zero"
    zeros = hashlib.sha256(bytes(4096)).hexdigest()
    return WipeEvidence(
        claim_id=claim_id,
        method=method,
        device_serials=serials,
        command_hash=hashlib.sha256(output.encode()).hexdigest(),
        random_reads=tuple((f"{serial} offset {_offset(serial)}", zeros) for serial in serials),
        at=at,
        clean=not missed,
        detail=f"{missed[0]} is not on the node and could not be wiped" if missed else "",
        disks=erased,
    )


def _disk_wipe(disk: Nvme, method: str) -> DiskWipe:
    """Return the proof of a disk: the first and the last block, and one of those between."""
    serial = disk.serial or disk.name
    last = disk.size_bytes // _BLOCK_BYTES - 1
    offsets = {0, _offset(serial) % (last + 1), last}
    zeros = hashlib.sha256(bytes(_BLOCK_BYTES)).hexdigest()
    return DiskWipe(
        name=disk.name,
        serial=serial,
        method=method,
        size_bytes=disk.size_bytes,
        reads=tuple((str(block * _BLOCK_BYTES), zeros) for block in sorted(offsets)),
        clean=True,
    )


def _offset(serial: str) -> int:
    return int.from_bytes(hashlib.sha256(serial.encode()).digest()[:5])


def found(
    holdings: Holdings,
    topology: Topology,
    claim_id: ClaimId,
    gpu_uuids: Sequence[str],
    disks: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return what of the claim is still on the node, in words; empty means clean."""
    known = holdings.records.get(claim_id)
    installed = {gpu.uuid for gpu in topology.gpus}
    gone = tuple(f"{uuid} is not where it was" for uuid in gpu_uuids if uuid not in installed)
    gone += tuple(
        f"{name} is not where it was" for name in disks if name not in _spare_disks(topology)
    )
    if known is None or known.stage is Stage.WIPED:
        return gone
    left = tuple(f"{uuid} is not wiped" for uuid in gpu_uuids if uuid in known.spec.gpu_uuids)
    left += tuple(f"{name} is not wiped" for name in known.spec.disks)
    return (f"its record says {known.stage}", *left, *gone)


def evidence(holdings: Holdings, topology: Topology, claim_id: ClaimId) -> SliceEvidence:
    """Return what the node reads back about the slice, over the GPUs it has."""
    held = holdings.slices.get(claim_id)
    if held is None:
        return SliceEvidence(exists=False)
    if not held.running:
        return SliceEvidence(exists=True, detail="The slice does not run.")
    return SliceEvidence(
        exists=True,
        running=True,
        ssh_ready=True,
        gpu_uuids=tuple(gpu.uuid for gpu in topology.gpus if gpu.uuid in held.spec.gpu_uuids),
        key_fingerprints=tuple(public_key(key).fingerprint for key in held.keys),
        ssh_cidrs=held.spec.ssh_cidrs,
        disks=tuple(name for name in held.spec.disks if name in _spare_disks(topology)),
        nics=held.spec.nics,
    )


def owned(holdings: Holdings) -> tuple[OwnedSlice, ...]:
    """Return every slice of which anything is left, by claim: all but the wiped."""
    return tuple(
        OwnedSlice(claim_id=claim_id, allocation_id=held.spec.allocation_id, running=held.running)
        for claim_id, held in sorted(holdings.records.items())
        if held.stage is not Stage.WIPED
    )
