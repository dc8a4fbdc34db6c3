"""Erasing what a slice leaves behind, and looking for it everywhere afterwards."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gpucloud_adapters.ssh.node import container, datadisk, disk, network
from gpucloud_adapters.ssh.node.commands import Refused, ToolFailed, run
from gpucloud_adapters.ssh.node.config import Config, Names
from gpucloud_adapters.ssh.node.records import Record, Records, Stage
from gpucloud_core.nodes import wire
from gpucloud_core.nodes.model import WipeEvidence

_DISK_METHOD: Final = "overwrite-extents"
_RESET_SECONDS: Final = 120.0


def wipe(config: Config, asked: wire.GpusRequest) -> WipeEvidence:
    """Overwrite the disk, clear the GPUs, and keep the proof; once done, say it again."""
    records = Records(config)
    with records.locked(asked.claim_id):
        record = records.get(asked.claim_id)
        if record and record.stage in (Stage.MADE, Stage.CUT_OFF):
            raise Refused("still_there", "The slice is to be released first.")
        if record and record.stage is Stage.WIPED and record.wiped:
            return record.wiped
        _refuse_foreign(records, asked)
        evidence = _wipe(config, asked, record)
        if record:
            stage = Stage.WIPED if evidence.clean else record.stage
            records.put(replace(record, stage=stage, wiped=evidence))
            records.forget_old()
        else:
            records.note_never_made(asked.claim_id)
    return evidence


def _refuse_foreign(records: Records, asked: wire.GpusRequest) -> None:
    """Never reset a GPU under somebody who works on it."""
    for other in records.holding():
        shared = set(asked.gpu_uuids) & set(other.spec.gpu_uuids)
        if other.spec.claim_id == asked.claim_id:
            continue
        if shared:
            raise Refused("gpu_in_use", f"{min(shared)} is held by {other.spec.claim_id}.")
        if shared := set(asked.disks) & set(other.spec.disks):
            raise Refused("disk_in_use", f"{min(shared)} is held by {other.spec.claim_id}.")


def _wipe(config: Config, asked: wire.GpusRequest, record: Record | None) -> WipeEvidence:
    names = Names(config, asked.claim_id)
    held = record.spec.gpu_uuids if record else ()
    if names.disk.exists():
        disk_done = disk.overwrite(names.disk)
    else:
        nothing = hashlib.sha256(b"").hexdigest()
        disk_done = disk.Overwritten("no disk", (("no disk", nothing),), clean=True)
    log = [disk_done.log]
    wrong = [f"{uuid} was not named to be wiped" for uuid in held if uuid not in asked.gpu_uuids]
    if not disk_done.clean:
        wrong.append("the disk does not read back as zeros")
    disks = tuple(datadisk.erase(names, name) for name in _disks(asked, record))
    log += [f"{each.name} {each.serial} {each.method} {each.reads}" for each in disks]
    wrong += [f"{each.name} does not read back as zeros" for each in disks if not each.clean]
    for uuid in asked.gpu_uuids:
        try:
            log.append(_reset(config, uuid))
        except ToolFailed as error:
            log.append(error.detail)
            wrong.append(f"{uuid} could not be reset")
    wrong += _holders(config, asked.gpu_uuids)
    if not wrong:
        disk.forget(names)
    return WipeEvidence(
        claim_id=asked.claim_id,
        method=_DISK_METHOD + ("+gpu-reset" if config.gpu_reset else ""),
        device_serials=tuple(
            config.gpus[uuid].serial for uuid in asked.gpu_uuids if uuid in config.gpus
        ),
        command_hash=hashlib.sha256("\n".join(log).encode()).hexdigest(),
        random_reads=disk_done.reads,
        at=datetime.now(UTC),
        clean=not wrong,
        detail="; ".join(wrong),
        disks=disks,
    )


def _disks(asked: wire.GpusRequest, record: Record | None) -> tuple[str, ...]:
    """Return the data disks of a claim: those it is known to have had, and those named."""
    return tuple(dict.fromkeys((*(record.spec.disks if record else ()), *asked.disks)))


def _reset(config: Config, uuid: str) -> str:
    """Run the operator's reset command for one GPU, if there is one."""
    argv = [uuid if word == "{gpu}" else word for word in config.gpu_reset]
    return run(*argv, seconds=_RESET_SECONDS).decode(errors="replace") if argv else ""


def verify_clean(config: Config, asked: wire.GpusRequest) -> wire.FoundAnswer:
    """Look in every place where a slice leaves something."""
    names = Names(config, asked.claim_id)
    record = Records(config).get(asked.claim_id)
    found: list[str] = []
    if record and record.stage is not Stage.WIPED:
        found.append(f"its record says {record.stage}")
    if container.exists(names):
        found.append("its container")
    if names.netns.exists():
        found.append("its network namespace")
    if network.has_cable(names):
        found.append("its cable")
    found += [f"a mount at {path}" for path in disk.mounts() if asked.claim_id in path]
    found += [f"{device} on its disk" for device in disk.loops(names.disk)]
    found += [f"a folder {path}" for path in (names.kept, names.running) if path.exists()]
    found += [f"a control group {path}" for path in container.groups(names)]
    found += datadisk.left_on(names, _disks(asked, record))
    found += _holders(config, asked.gpu_uuids)
    found += [
        f"{uuid} is not where it was"
        for uuid in asked.gpu_uuids
        if uuid not in config.gpus or not config.gpus[uuid].is_there()
    ]
    return wire.FoundAnswer(found=tuple(found[: wire.WORDS_MAX]))


def _holders(config: Config, uuids: Sequence[str]) -> list[str]:
    """Name the processes of the node that have one of these GPUs open."""
    paths = {
        config.gpus[uuid].number: config.gpus[uuid].path for uuid in uuids if uuid in config.gpus
    }
    holders: list[str] = []
    for process in Path("/proc").glob("[0-9]*") if paths else ():
        try:
            numbers = {each.stat().st_rdev for each in (process / "fd").iterdir()}
        except OSError:
            continue  # it ended while we looked
        holders += [
            f"process {process.name} has {paths[number]} open" for number in numbers & paths.keys()
        ]
    return holders
