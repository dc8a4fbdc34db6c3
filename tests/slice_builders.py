"""Slices and keys for tests: valid, small, and different where they have to be."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from gpucloud_core.kernel.ids import AllocationId, ClaimId, entity_id
from gpucloud_core.nodes.model import SliceSpec, Slot
from gpucloud_core.nodes.wire_values import public_key


def a_public_key(seed: str) -> str:
    """Return an Ed25519 public key line that nobody has the private key of."""
    parts = (b"ssh-ed25519", hashlib.sha256(seed.encode()).digest())
    blob = b"".join(len(part).to_bytes(4) + part for part in parts)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


def fingerprints(*keys: str) -> set[str]:
    return {public_key(key).fingerprint for key in keys}


def a_slice(number: int, slots: Sequence[Slot], *, image: str, **changes: Any) -> SliceSpec:
    """Return what is asked of a node for claim ``number`` on these slots."""
    spec = SliceSpec(
        claim_id=ClaimId(entity_id("clm", number)),
        allocation_id=AllocationId(entity_id("alc", number)),
        generation=1,
        image=image,
        username="ubuntu",
        hostname=f"slice-{number}",
        gpu_uuids=tuple(slot.gpu_uuid for slot in slots),
        gpu_indexes=tuple(slot.index for slot in slots),
        cpus=",".join(slot.cpus for slot in slots),
        memory_mib=sum(slot.memory_mib for slot in slots),
        pids_max=128,
        ssh_host=slots[0].ssh_host,
        ssh_port=slots[0].ssh_port,
    )
    return replace(spec, **changes)


ALICE: Final = a_public_key("alice")
BOB: Final = a_public_key("bob")
