"""Where the rows, the nodes and the money disagree: a pure comparison, and the remedy of each case.

Three views are laid beside each other: what is recorded, what was seen on one node, and what is
booked. What is on its way is no drift: states that pass, tasks under way, and whatever changed
after, or just before, somebody went to look. A machine without our tag is in none of the views,
so nothing here can be about one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from gpucloud_core.allocations.lifecycle import LIFECYCLE
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.place import slots_in
from gpucloud_core.allocations.proof import handover_findings
from gpucloud_core.kernel.ids import AllocationId, ClaimId, NodeId
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.nodes.model import OwnedSlice, SliceEvidence, Slot
from gpucloud_core.placement.model import Claim

S = AllocationState

SETTLING: Final = timedelta(minutes=1)
"""How long something must have been so before it can be drift."""

ENDED: Final = frozenset(state for state in AllocationState if LIFECYCLE.is_final(state))
HOLDING: Final = frozenset(
    {S.REQUESTED, S.PROVISIONING, S.ACTIVE, S.RESTARTING, S.DEGRADED, S.UNWINDING}
)
"""States in which money is set aside."""


class DriftKind(StrEnum):
    STRAY_MACHINE = "stray_machine"  # it carries our tag, and what it was made for has ended
    UNKNOWN_MACHINE = "unknown_machine"  # it carries our tag, and no row knows its claim
    WRONG_OWNER = "wrong_owner"  # tag, claim, node and allocation do not belong together
    WRONG_GPUS = "wrong_gpus"  # it sees other devices than it was given
    WRONG_KEYS = "wrong_keys"  # it lets others in than its rows say
    BACK_AGAIN = "back_again"  # it was found broken, and passes every check of a handover again
    MISSING_MACHINE = "missing_machine"  # it should run, and does not
    STRAY_HOLD = "stray_hold"  # money is set aside for what has ended
    STRAY_METER = "stray_meter"  # a meter runs for what is not billed
    MISSING_HOLD = "missing_hold"  # it lives, and no money is set aside for it


class Remedy(StrEnum):
    """What is done about it, besides saying so."""

    CLEAN_UP = "clean_up"  # release, wipe and verify it, by its tag
    APPLY_KEYS = "apply_keys"  # let exactly the recorded keys in
    RECOVER = "recover"  # call it active, and start its meter from now on
    DEGRADE = "degrade"  # stop the meter, back to when it was last proven to run
    REPORT = "report"  # nothing: people decide, with both sides before them


REMEDIES: Final = {
    DriftKind.STRAY_MACHINE: Remedy.CLEAN_UP,
    DriftKind.UNKNOWN_MACHINE: Remedy.REPORT,
    DriftKind.WRONG_OWNER: Remedy.REPORT,
    DriftKind.WRONG_GPUS: Remedy.REPORT,
    DriftKind.WRONG_KEYS: Remedy.APPLY_KEYS,
    DriftKind.BACK_AGAIN: Remedy.RECOVER,
    DriftKind.MISSING_MACHINE: Remedy.DEGRADE,
    DriftKind.STRAY_HOLD: Remedy.REPORT,
    DriftKind.STRAY_METER: Remedy.REPORT,
    DriftKind.MISSING_HOLD: Remedy.REPORT,
}
"""What heals by itself is what cannot take anything from anybody. The rest is for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the rows say.

    Attributes:
        node_id: the node that was looked at; None if none was.
        claims: those open on the node, and those that a slice on it names.
        allocations: of these claims, and of what is booked.
        slots: of the node.
        busy: allocations with a task that is not finished.
    """

    node_id: NodeId | None = None
    claims: Mapping[ClaimId, Claim] = field(default_factory=dict)
    allocations: Mapping[AllocationId, Allocation] = field(default_factory=dict)
    slots: tuple[Slot, ...] = ()
    busy: frozenset[AllocationId] = frozenset()

    @property
    def open_here(self) -> Iterator[tuple[Claim, Allocation]]:
        for claim in self.claims.values():
            allocation = self.allocations.get(claim.allocation_id)
            if allocation and claim.released_at is None and claim.node_id == self.node_id:
                yield claim, allocation

    def gpus_of(self, claim: Claim) -> frozenset[str]:
        return frozenset(slot.gpu_uuid for slot in slots_in(claim.mask, self.slots))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one node said.

    Attributes:
        began_at: when, by the database's clock, somebody went to look.
        slices: what carries our tag there.
        evidence: what single slices read back about themselves.
        steady: the generation of each allocation that was handed over, and left alone, at
            ``began_at``; only if it is still the same can ``evidence`` be held against the rows.
    """

    began_at: datetime
    slices: tuple[OwnedSlice, ...] = ()
    evidence: Mapping[ClaimId, SliceEvidence] = field(default_factory=dict)
    steady: Mapping[AllocationId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What the money says: whose hold is open, and whose meter runs."""

    holds: frozenset[AllocationId] = frozenset()
    meters: frozenset[AllocationId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One disagreement, with both sides. ``subject`` is the allocation, or the claim if unknown."""

    kind: DriftKind
    subject: str
    claim_id: ClaimId | None = None
    allocation_id: AllocationId | None = None
    expected: str
    found: str

    @property
    def remedy(self) -> Remedy:
        return REMEDIES[self.kind]

    def is_same(self, other: "Drift") -> bool:
        """Tell whether it is the same disagreement, though its sides may have changed."""
        return (self.kind, self.subject, self.claim_id) == (
            other.kind,
            other.subject,
            other.claim_id,
        )


def compare(recorded: Recorded, seen: Seen, booked: Booked) -> tuple[Drift, ...]:
    """Return every disagreement between the three views. Pure, and the same every time.

    The rows are read after the node was asked: a slice is never made before its rows are there.
    """
    on_node = () if recorded.node_id is None else (*_strays(recorded, seen), *_run(recorded, seen))
    return (*on_node, *_money(recorded, seen.began_at, booked))


def last_proof(allocation: Allocation, node_read_at: datetime | None) -> datetime:
    """Return when an active allocation was last known to run.

    Either when its node was last compared in full, or when it passed the gate into this state.
    """
    if node_read_at is not None and _was_so(allocation.state_since, node_read_at):
        return node_read_at
    return allocation.state_since


def _was_so(since: datetime | None, at: datetime) -> bool:
    return since is not None and since <= at - SETTLING


def _strays(recorded: Recorded, seen: Seen) -> Iterator[Drift]:
    """Give the slices that should not be there, or not as what they say they are."""
    for found in seen.slices:
        claim = recorded.claims.get(found.claim_id)
        allocation = recorded.allocations.get(claim.allocation_id) if claim else None
        if claim is None or allocation is None:
            yield Drift(
                kind=DriftKind.UNKNOWN_MACHINE,
                subject=found.claim_id,
                claim_id=found.claim_id,
                expected="no slice with this tag: no row knows its claim",
                found=_words(found),
            )
        elif wrong := _wrong_owner(recorded, claim, allocation, found):
            yield Drift(
                kind=DriftKind.WRONG_OWNER,
                subject=allocation.id,
                claim_id=claim.id,
                allocation_id=allocation.id,
                expected=wrong,
                found=_words(found),
            )
        elif _was_so(claim.released_at, seen.began_at) and allocation.id not in recorded.busy:
            yield Drift(
                kind=DriftKind.STRAY_MACHINE,
                subject=allocation.id,
                claim_id=claim.id,
                allocation_id=allocation.id,
                expected=f"nothing: {allocation.id} is {allocation.state}",
                found=_words(found),
            )


def _wrong_owner(
    recorded: Recorded, claim: Claim, allocation: Allocation, found: OwnedSlice
) -> str | None:
    """Return what the rows say instead, if the slice is not what its tag says."""
    if found.allocation_id != claim.allocation_id:
        return f"the claim is of {claim.allocation_id}"
    if claim.node_id != recorded.node_id:
        return f"the claim is for {claim.node_id}"
    if claim.released_at is not None and allocation.state not in ENDED:
        return f"its claim is closed, and {allocation.id} is {allocation.state}"
    return None


def _run(recorded: Recorded, seen: Seen) -> Iterator[Drift]:
    """Give what should run here and does not, or not as recorded."""
    there = {found.claim_id: found for found in seen.slices}
    for claim, allocation in recorded.open_here:
        found = there.get(claim.id)
        if not _was_so(allocation.state_since, seen.began_at):
            continue
        if allocation.state is S.DEGRADED:
            yield from _back(recorded, seen, claim, allocation)
        if allocation.state is not S.ACTIVE:
            continue
        if found is None or not found.running:
            yield Drift(
                kind=DriftKind.MISSING_MACHINE,
                subject=allocation.id,
                claim_id=claim.id,
                allocation_id=allocation.id,
                expected=f"running on {claim.node_id}",
                found="it is not there" if found is None else "it is there and does not run",
            )
        elif found.allocation_id != allocation.id:
            continue  # told as another's: nothing in it is ours to compare
        elif seen.steady.get(allocation.id) == allocation.generation:
            yield from _inside(recorded, seen, claim, allocation)


def _back(recorded: Recorded, seen: Seen, claim: Claim, allocation: Allocation) -> Iterator[Drift]:
    """Give what is called degraded and passes every check that it once passed to be handed over."""
    evidence = seen.evidence.get(claim.id)
    is_steady = seen.steady.get(allocation.id) == allocation.generation
    if evidence is None or not is_steady or allocation.id in recorded.busy:
        return
    findings = handover_findings(
        evidence,
        gpu_uuids=tuple(recorded.gpus_of(claim)),
        fingerprints=tuple(key.fingerprint for key in allocation.keys),
        ssh_cidrs=allocation.network.ssh_cidrs,
    )
    if all(finding.ok for finding in findings):
        yield Drift(
            kind=DriftKind.BACK_AGAIN,
            subject=allocation.id,
            claim_id=claim.id,
            allocation_id=allocation.id,
            expected=f"nothing that works: it is degraded since {rfc3339(allocation.state_since)}",
            found="it passes every check of a handover",
        )


def _inside(
    recorded: Recorded, seen: Seen, claim: Claim, allocation: Allocation
) -> Iterator[Drift]:
    """Give what differs within a slice that runs; with the wrong devices it is left alone."""
    evidence = seen.evidence.get(claim.id)
    if evidence is None or not evidence.running or allocation.id in recorded.busy:
        return
    gpus = recorded.gpus_of(claim)
    keys = {key.fingerprint for key in allocation.keys}
    noted = {key.fingerprint for key in allocation.keys if key.applied_at is not None}
    sides = (
        (DriftKind.WRONG_GPUS, gpus, set(evidence.gpu_uuids)),
        (DriftKind.WRONG_KEYS, keys, set(evidence.key_fingerprints)),
        # In, and nobody knows: the answer of the edit was lost, as often as it was tried.
        (DriftKind.WRONG_KEYS, noted, set(evidence.key_fingerprints)),
    )
    for kind, expected, found in sides:
        if expected != found:
            yield Drift(
                kind=kind,
                subject=allocation.id,
                claim_id=claim.id,
                allocation_id=allocation.id,
                expected=_listed(expected),
                found=_listed(found),
            )
            return


def _money(recorded: Recorded, at: datetime, booked: Booked) -> Iterator[Drift]:
    """Give where money and allocations disagree."""

    def drift(kind: DriftKind, subject: AllocationId, expected: str, found: str) -> Drift:
        known = recorded.allocations.get(subject)
        return Drift(
            kind=kind,
            subject=subject,
            claim_id=known.claim_id if known else None,
            allocation_id=subject,
            expected=expected,
            found=found,
        )

    state_of = {key: allocation.state for key, allocation in recorded.allocations.items()}
    for subject in sorted(booked.holds):
        if (state := state_of.get(subject)) not in HOLDING:
            kind = DriftKind.STRAY_HOLD
            yield drift(kind, subject, f"no hold: it is {state or 'unknown'}", "an open hold")
    for subject in sorted(booked.meters):
        state = state_of.get(subject)
        if state is None or not LIFECYCLE.states[state].billed:
            kind = DriftKind.STRAY_METER
            yield drift(kind, subject, f"no meter: it is {state or 'unknown'}", "its meter runs")
    for claim, allocation in recorded.open_here:
        is_so = allocation.state in HOLDING and _was_so(allocation.state_since, at)
        if is_so and allocation.id not in booked.holds:
            kind = DriftKind.MISSING_HOLD
            yield drift(kind, claim.allocation_id, f"a hold: it is {allocation.state}", "none")


def _words(found: OwnedSlice) -> str:
    runs = "runs" if found.running else "is there and does not run"
    return f"a slice tagged {found.claim_id} for {found.allocation_id} {runs}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
