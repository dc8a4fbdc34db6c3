"""The verbs of the program: what each exchange of the wire does on this node.

``provision`` means "make it so": it admits the claim, then makes whatever is missing, and does
nothing when the slice already runs. Every other verb looks at the record and at the machine, never
at what an earlier verb promised.
"""

import os
import shutil
import time
from dataclasses import replace
from typing import Final

from gpucloud_adapters.ssh.node import container, datadisk, disk, evidence, network
from gpucloud_adapters.ssh.node.commands import Refused, run
from gpucloud_adapters.ssh.node.config import Config, Image, Names
from gpucloud_adapters.ssh.node.records import Record, Records, Stage, make_folder, write_whole
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes import wire
from gpucloud_core.nodes import wire_values as check
from gpucloud_core.nodes.model import (
    NodeMode,
    SliceEndpoint,
    SliceSpec,
)

_READY_SECONDS: Final = 10.0
_KEYS_BYTES_MAX: Final = wire.KEYS_MAX * check.KEY_LINE_MAX
_METHOD: Final = "overwrite-extents"
_TOOLS: Final = ("runc", "ip", "bridge", "nft", "mkfs.ext4", "mount", "ssh-keygen")

_SSHD: Final = """\
ListenAddress {host}
Port {port}
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
AllowUsers {user}
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
PermitUserEnvironment no
PermitTunnel no
X11Forwarding no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
PidFile none
LogLevel QUIET
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
"""


def set_mode(config: Config, asked: wire.ModeDocument) -> wire.ModeDocument:
    """Say that the node makes containers. It can make nothing else, and says so when asked to."""
    del config
    if asked.mode is not NodeMode.CONTAINER:
        raise Refused("mode_unsupported", f"This node makes containers and has no {asked.mode}.")
    return wire.ModeDocument(mode=NodeMode.CONTAINER)


def provision(config: Config, spec: SliceSpec) -> SliceEndpoint:
    """Make the slice run."""
    names = Names(config, spec.claim_id)
    image = config.images.get(spec.image)
    if image is None:
        raise Refused("unknown_image", f"This node has no image {spec.image}.")
    records = Records(config)
    with records.locked(spec.claim_id):
        record = _admit(config, records, spec)
        if container.init_pid(names) is None:
            _remove(names)
            _make(names, record, image)
        network.open_up(names, spec)
        _await_ssh(names, spec)
        key = check.public_key((names.ssh / "host_key.pub").read_text().strip())
    return SliceEndpoint(
        host=spec.ssh_host,
        port=spec.ssh_port,
        username=spec.username,
        host_key=key.line,
        host_key_fingerprint=key.fingerprint,
    )


def _admit(config: Config, records: Records, spec: SliceSpec) -> Record:
    """Write down that the claim is to have what it asks for, if it may.

    Raises:
        Refused: an old generation, a claim that has ended, or something that another holds.
    """
    with records.admission():
        if records.was_never_made(spec.claim_id):
            raise Refused("stale_generation", "This claim was released before it was made.")
        known = records.get(spec.claim_id)
        if known is None or known.stage in (Stage.RELEASED, Stage.WIPED):
            if known:  # of whatever generation: the order was held up on its way
                raise Refused("stale_generation", "This claim was released meanwhile.")
            _check_free(config, records, spec)
            record = Record(spec=spec, stage=Stage.MADE, id_range=records.free_id_range())
        else:
            if spec.generation < known.spec.generation:
                raise Refused("stale_generation", "A newer order for this claim is known.")
            if replace(spec, generation=0) != replace(known.spec, generation=0):
                raise Refused("spec_changed", "This claim was made as something else.")
            if known.stage is Stage.CUT_OFF:
                raise Refused("cut_off", "This slice was cut off and is to be released.")
            record = replace(known, spec=spec)
        records.put(record)
    return record


def _check_free(config: Config, records: Records, spec: SliceSpec) -> None:
    network.check_address(config, spec)
    for uuid in spec.gpu_uuids:
        gpu = config.gpus.get(uuid)
        if gpu is None or not gpu.is_there():
            raise Refused("unknown_gpu", f"{uuid} is not on this node.")
    datadisk.check_there(config, spec.disks)
    if spec.nics:
        raise Refused("unknown_nic", f"{spec.nics[0]} is no port for slices of this node.")
    for other in records.holding():
        if shared := set(spec.gpu_uuids) & set(other.spec.gpu_uuids):
            raise Refused("gpu_in_use", f"{min(shared)} is held by {other.spec.claim_id}.")
        if shared := set(spec.disks) & set(other.spec.disks):
            raise Refused("disk_in_use", f"{min(shared)} is held by {other.spec.claim_id}.")
        if spec.ssh_host == other.spec.ssh_host:
            raise Refused("address_in_use", f"{spec.ssh_host} is another slice's address.")


def _make(names: Names, record: Record, image: Image) -> None:
    """Make a slice from its record; what a restart keeps is used again."""
    _equip_ssh(names, record)
    disk.make(names)
    disk.mount(names, record, image)
    datadisk.prepare(names, record)
    pid = container.create(names, record, image)
    network.raise_up(names, record.spec, pid)
    container.begin(names)


def _equip_ssh(names: Names, record: Record) -> None:
    spec = record.spec
    base = disk.id_base(names, record)
    make_folder(names.ssh, 0o755)
    os.chown(names.ssh, base, base)
    key = names.ssh / "host_key"
    if not (key.exists() and key.with_suffix(".pub").exists()):
        key.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key))
    os.chown(key, base, base)
    sshd = _SSHD.format(host=spec.ssh_host, port=spec.ssh_port, user=spec.username)
    write_whole(names.ssh / "sshd_config", sshd.encode(), 0o644, base)
    if not names.keys.exists():
        write_whole(names.keys, b"", 0o644, base)


def _await_ssh(names: Names, spec: SliceSpec) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not network.answers_ssh(names, spec):
        if container.init_pid(names) is None:
            raise Refused("not_started", "The SSH server of the slice ended at once.")
        if time.monotonic() > deadline:
            raise Refused("ssh_not_ready", "The SSH server of the slice does not answer.")
        time.sleep(0.02)


def set_keys(config: Config, asked: wire.KeysRequest) -> wire.KeysAnswer:
    """Let exactly these keys in, and read from inside the slice that it is so."""
    names = Names(config, asked.claim_id)
    records = Records(config)
    with records.locked(asked.claim_id):
        record = _made(records, asked.claim_id)
        pid = _running(names)
        lines = "".join(f"{line}\n" for line in asked.keys)
        write_whole(names.keys, lines.encode(), 0o644, disk.id_base(names, record))
        return wire.KeysAnswer(key_fingerprints=evidence.keys_seen(pid))


def _made(records: Records, claim_id: ClaimId) -> Record:
    record = records.get(claim_id)
    if record is None or record.stage in (Stage.RELEASED, Stage.WIPED):
        raise Refused("not_found", "There is no such slice on this node.")
    if record.stage is Stage.CUT_OFF:
        raise Refused("cut_off", "This slice was cut off.")
    return record


def _running(names: Names) -> int:
    pid = container.init_pid(names)
    if pid is None:
        raise Refused("not_running", "The slice does not run.")
    return pid


def restart(config: Config, asked: wire.RestartRequest) -> wire.Nothing:
    """End every process of the slice and start it anew, on the same disk with the same keys."""
    names = Names(config, asked.claim_id)
    records = Records(config)
    with records.locked(asked.claim_id):
        record = _made(records, asked.claim_id)
        image = config.images.get(record.spec.image)
        if image is None:
            raise Refused("unknown_image", f"This node has no image {record.spec.image}.")
        if asked.generation < record.restarted:
            raise Refused("stale_generation", "A newer order to restart this slice is known.")
        if asked.generation > record.restarted or container.init_pid(names) is None:
            _remove(names)
            _make(names, record, image)
        network.open_up(names, record.spec)
        _await_ssh(names, record.spec)
        records.put(replace(record, restarted=asked.generation))  # last: it is done
    return wire.Nothing()


def cut_off(config: Config, asked: wire.ClaimRequest) -> wire.Nothing:
    """Close the network and kill every process of the slice. It cannot be made to run again."""
    names = Names(config, asked.claim_id)
    records = Records(config)
    with records.locked(asked.claim_id):
        record = records.get(asked.claim_id)
        if record and record.stage is Stage.MADE:
            records.put(replace(record, stage=Stage.CUT_OFF))
        if names.netns.exists():
            network.close(names)
        container.stop(names)
    return wire.Nothing()


def release(config: Config, asked: wire.ClaimRequest) -> wire.Nothing:
    """Remove the slice but for its disk, which only ``wipe`` removes.

    Of a claim that was never made it is remembered, for an order to make it that comes too late.
    """
    names = Names(config, asked.claim_id)
    records = Records(config)
    with records.locked(asked.claim_id):
        record = records.get(asked.claim_id)
        if record and record.stage in (Stage.MADE, Stage.CUT_OFF):
            records.put(replace(record, stage=Stage.RELEASED))
        elif record is None:
            records.note_never_made(asked.claim_id)
        _remove(names)
    return wire.Nothing()


def _remove(names: Names) -> None:
    container.remove(names)
    network.take_down(names)
    datadisk.unmount(names)
    disk.unmount(names)
    if names.running.exists():
        shutil.rmtree(names.running)


def shell(config: Config, claim_id: ClaimId) -> None:
    """Become a login shell in the slice; returns only by refusing."""
    record = _made(Records(config), claim_id)
    names = Names(config, claim_id)
    _running(names)
    image = config.images.get(record.spec.image)
    if image is None:
        raise Refused("unknown_image", f"This node has no image {record.spec.image}.")
    container.become_shell(names, record, image)
