"""What counts as proof: that a slice is fit to hand over, and that nothing of it is left."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes.model import SliceEvidence, WipeEvidence

CLOCK_SKEW: Final = timedelta(minutes=5)  # how far a node's clock may be from the database's


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check of the handover report."""

    name: str
    ok: bool
    detail: str


def handover_findings(
    evidence: SliceEvidence,
    *,
    gpu_uuids: tuple[str, ...],
    fingerprints: tuple[str, ...],
    ssh_cidrs: tuple[str, ...],
    disks: tuple[str, ...] = (),
    nics: tuple[str, ...] = (),
) -> tuple[Finding, ...]:
    """Compare what a slice must be with what the node reads back. All must be ok."""
    seen, wanted = set(evidence.gpu_uuids), set(gpu_uuids)
    keys = set(evidence.key_fingerprints)
    return (
        Finding(name="running", ok=evidence.running, detail=evidence.detail or "it runs"),
        Finding(
            name="devices",
            ok=seen == wanted,
            detail=f"{len(seen & wanted)} of {len(wanted)} GPUs seen, {len(seen - wanted)} foreign",
        ),
        Finding(name="ssh", ok=evidence.ssh_ready, detail="SSH answers with its own host key"),
        Finding(
            name="keys",
            ok=keys == set(fingerprints),
            detail=f"{len(keys & set(fingerprints))} of {len(fingerprints)} keys read back",
        ),
        Finding(
            name="network",
            ok=set(evidence.ssh_cidrs) == set(ssh_cidrs),
            detail=f"{len(ssh_cidrs) or 'all'} SSH sources allowed",
        ),
        *_beside("disks", evidence.disks, disks, "disks mounted"),
        *_beside("nics", evidence.nics, nics, "network ports in place"),
    )


def _beside(
    name: str, seen: tuple[str, ...], wanted: tuple[str, ...], words: str
) -> tuple[Finding, ...]:
    """Return the finding about what comes beside GPUs; none where nothing does."""
    if not seen and not wanted:
        return ()
    there = len(set(seen) & set(wanted))
    said = f"{there} of {len(wanted)} {words}, {len(set(seen) - set(wanted))} foreign"
    return (Finding(name=name, ok=set(seen) == set(wanted), detail=said),)


def is_late_enough(evidence: WipeEvidence, not_before: datetime) -> bool:
    """Tell whether a proof was made after an instant, as far as its node's clock can be trusted."""
    return evidence.at >= not_before - CLOCK_SKEW


def redated(evidence: WipeEvidence, *, node_clock: datetime | None, now: datetime) -> WipeEvidence:
    """Return the proof dated by our clock: ``node_clock`` is what the node's own shows ``now``.

    None, if the node does not say: then its dates are taken as they are.
    """
    if node_clock is None:
        return evidence
    return replace(evidence, at=now - (node_clock - evidence.at))


def wipe_objection(
    evidence: WipeEvidence,
    *,
    claim_id: ClaimId,
    gpu_count: int,
    not_before: datetime,
    disks: tuple[str, ...] = (),
) -> str | None:
    """Return why this is no proof for this claim, or None. An old or foreign proof is refused."""
    if evidence.claim_id != claim_id:
        return "the proof belongs to another claim"
    if not is_late_enough(evidence, not_before):
        return "the proof is older than the end of the claim"
    if not evidence.clean:
        return evidence.detail or "the node found something left"
    if len(set(evidence.device_serials)) < gpu_count:
        return f"the proof names {len(evidence.device_serials)} of {gpu_count} devices"
    return _unread(evidence, disks)


def _unread(evidence: WipeEvidence, disks: tuple[str, ...]) -> str | None:
    """Return what was not read back, or None."""
    if not evidence.command_hash or not evidence.random_reads:
        return "the proof has no read-back"
    proven = {disk.name for disk in evidence.disks if disk.clean and disk.reads}
    missing = [name for name in disks if name not in proven]
    return f"the proof does not show that {missing[0]} was erased" if missing else None
