"""What the node can say of itself and of its slices, read back from where it is true."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gpucloud_adapters.ssh.node import container, datadisk, network
from gpucloud_adapters.ssh.node.commands import PATH, ToolFailed, run
from gpucloud_adapters.ssh.node.config import Config, Names
from gpucloud_adapters.ssh.node.records import Records, Stage
from gpucloud_core.kernel.ids import AllocationId, ClaimId
from gpucloud_core.nodes import wire
from gpucloud_core.nodes import wire_values as check
from gpucloud_core.nodes.model import OwnedSlice, SliceEvidence

_TOOLS: Final = ("runc", "ip", "bridge", "nft", "mkfs.ext4", "mount", "ssh-keygen")
_KEYS_BYTES_MAX: Final = wire.KEYS_MAX * check.KEY_LINE_MAX


def probe(config: Config, _: wire.Nothing) -> wire.ProbeAnswer:
    """Say which GPUs are there, and what this program lacks to do its work."""
    there = tuple(uuid for uuid, gpu in config.gpus.items() if gpu.is_there())
    problems = [
        f"{device.path} is not the device it should be"
        for device in (*config.gpus.values(), *config.devices)
        if not device.is_there()
    ]
    problems += [f"{tool} is missing" for tool in _TOOLS if not shutil.which(tool, path=PATH)]
    try:
        run("ip", "link", "show", "dev", config.network.bridge)
    except ToolFailed:
        problems.append(f"the bridge {config.network.bridge} is missing")
    problems += [
        f"the image {name} has no root file system"
        for name, image in config.images.items()
        if not image.rootfs.is_dir()
    ]
    return wire.ProbeAnswer(
        gpu_uuids=there,
        driver_version=_driver_version(),
        problems=tuple(problems),
        clock=datetime.now(UTC),
    )


def verify(config: Config, asked: wire.ClaimRequest) -> SliceEvidence:
    """Read back what the slice is, from the slice, the kernel and the disk."""
    names = Names(config, asked.claim_id)
    record = Records(config).get(asked.claim_id)
    if record is None or record.stage in (Stage.RELEASED, Stage.WIPED):
        left = container.exists(names)
        return SliceEvidence(exists=left, detail="A container is left over." if left else "")
    pid = container.init_pid(names)
    if pid is None:
        return SliceEvidence(exists=True, detail="The slice does not run.")
    seen = set(container.devices_seen(pid))
    allowed = network.read_back(names)
    return SliceEvidence(
        exists=True,
        running=True,
        ssh_ready=allowed.ssh_open and network.answers_ssh(names, record.spec),
        gpu_uuids=tuple(uuid for uuid, gpu in config.gpus.items() if gpu.number in seen),
        key_fingerprints=keys_seen(pid),
        ssh_cidrs=allowed.ssh_cidrs,
        disks=datadisk.seen(names, record),
    )


def keys_seen(pid: int) -> tuple[str, ...]:
    """Return the fingerprints of the keys that the slice's own SSH server will read."""
    descriptor = container.seen_inside(pid, "etc", "ssh", "authorized_keys")
    with os.fdopen(descriptor, "rb") as file:
        lines = file.read(_KEYS_BYTES_MAX + 1).decode().splitlines()
    return tuple(check.public_key(line).fingerprint for line in lines if line)


def list_ours(config: Config, _: wire.Nothing) -> wire.SlicesAnswer:
    """List what is recorded as being here, and any container with our tag that is not."""
    tagged = container.tagged(config)
    ours = {claim: allocation for claim, (allocation, _) in tagged.items()}
    for record in Records(config).holding():
        ours[record.spec.claim_id] = record.spec.allocation_id
    return wire.SlicesAnswer(
        slices=tuple(
            OwnedSlice(
                claim_id=ClaimId(claim),
                allocation_id=AllocationId(allocation),
                running=tagged.get(claim, ("", False))[1],
            )
            for claim, allocation in sorted(ours.items())
        )
    )


def _driver_version() -> str:
    """Return the version of the loaded NVIDIA driver; empty where there is none."""
    try:
        return Path("/sys/module/nvidia/version").read_text().strip()
    except OSError:
        return ""
