"""Nodes in memory: a ``NodeDriver`` and ``Shells`` without machines, for embedding and for tests.

Requests pass the same checks as on the wire and the same rules as on a node
(``gpucloud_core.nodes.holdings``), so that what works here works there. Everything is
deterministic: keys and proofs follow from the host and the claim, time from the clock given.
"""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from gpucloud_adapters.memory import node_texts
from gpucloud_adapters.memory.shell_session import MemoryShellSession
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.kernel.time import EPOCH, Clock
from gpucloud_core.nodes import holdings as rules
from gpucloud_core.nodes import wire
from gpucloud_core.nodes.holdings import HeldSlice, Holdings, Refused, Stage
from gpucloud_core.nodes.model import (
    Discovery,
    NodeAccess,
    NodeMode,
    OwnedSlice,
    ProbeReport,
    SliceEndpoint,
    SliceEvidence,
    SliceSpec,
    Topology,
    WipeEvidence,
)
from gpucloud_core.nodes.ports import HostKeyChanged, NodeRefused, NodeUnreachable
from gpucloud_core.nodes.wire_values import public_key

METHOD: Final = "memory"
DISCOVER: Final = "discover"
SHELL: Final = "shell"

_KEY_TYPE: Final = b"ssh-ed25519"

T = TypeVar("T")


class FaultKind(StrEnum):
    UNREACHABLE_BEFORE = "unreachable_before"  # nothing was done
    UNREACHABLE_AFTER = "unreachable_after"  # it was done, and the answer was lost
    REFUSED_BEFORE = "refused_before"  # the node says no; nothing was done
    REFUSED_AFTER = "refused_after"  # it was done, and the node says that it failed
    PRETENDED = "pretended"  # the answer says done; nothing was
    HOST_KEY_CHANGED = "host_key_changed"  # another machine answers
    GPU_LOST = "gpu_lost"  # the node's last GPU is gone during the call


_BEFORE: Final[Mapping[FaultKind | None, tuple[type[DomainError], str]]] = {
    FaultKind.UNREACHABLE_BEFORE: (NodeUnreachable, "The connection broke."),
    FaultKind.REFUSED_BEFORE: (NodeRefused, "The node program failed. (internal)"),
    FaultKind.HOST_KEY_CHANGED: (HostKeyChanged, "The node shows another host key."),
}
_AFTER: Final[Mapping[FaultKind | None, tuple[type[DomainError], str]]] = {
    FaultKind.UNREACHABLE_AFTER: (NodeUnreachable, "The connection broke."),
    FaultKind.REFUSED_AFTER: (NodeRefused, "The node program failed. (internal)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The next ``times`` calls of ``verb`` on ``host`` (all, if ``*``) end as ``kind``.

    ``verb`` is as on the wire (``provision``, ``set-keys``, …), or ``discover`` or ``shell``.
    """

    verb: str
    kind: FaultKind
    times: int = 1
    host: str = "*"


@dataclass(slots=True)
class _Call:
    """One call under way: what it sees, and what it leaves."""

    topology: Topology
    now: datetime
    holdings: Holdings


class MemoryNodeDriver:
    """Makes slices on nodes that are only their topologies.

    Args:
        nodes: by the host of their access.
        clock: dates what is made; without one everything happens at the epoch.
        faults: asked in order; a fault is used up by the calls it meets.
        host_keys: nodes named here refuse an access that pins another key.
    """

    def __init__(
        self,
        nodes: Mapping[str, Topology],
        *,
        clock: Clock | None = None,
        faults: Iterable[Fault] = (),
        host_keys: Mapping[str, str] | None = None,
    ) -> None:
        self._nodes = dict(nodes)
        self._clock = clock
        self._faults = [[fault] * fault.times for fault in faults]
        self._host_keys = dict(host_keys or {})
        self._holdings: dict[str, Holdings] = defaultdict(Holdings)
        self._sessions: dict[tuple[str, ClaimId], list[MemoryShellSession]] = defaultdict(list)

    def plan(self, fault: Fault) -> None:
        """Let ``fault`` happen from now on, after those planned before it."""
        self._faults = [planned for planned in self._faults if planned]
        self._faults.append([fault] * fault.times)

    def forget_faults(self) -> None:
        """Let nothing that was planned happen any more."""
        self._faults = []

    def plug(self, host: str, topology: Topology) -> None:
        """Let a machine with this inside answer at ``host`` from now on."""
        self._nodes[host] = topology

    def leave(self, host: str, spec: SliceSpec) -> None:
        """Put a slice on a node behind the back of its verbs, whatever they would say to it."""
        since = self._clock.now() if self._clock else EPOCH
        left = HeldSlice(spec=spec, stage=Stage.MADE, since=since)
        self._holdings[host] = self._holdings[host].put(left)

    def holdings(self, host: str) -> Holdings:
        """Return what is really on a node, behind the back of its verbs and their faults."""
        return self._holdings[host]

    async def probe(self, access: NodeAccess) -> ProbeReport:
        with self._call(access, wire.PROBE.verb) as call:
            lost = self._nodes[access.host].gpus[len(call.topology.gpus) :]
            return ProbeReport(
                reachable=True,
                gpu_uuids=tuple(gpu.uuid for gpu in call.topology.gpus),
                driver_version=call.topology.driver_version,
                problems=tuple(f"GPU at {gpu.pci_address} has fallen off the bus." for gpu in lost),
                clock=call.now,
            )

    async def discover(self, access: NodeAccess) -> Discovery:
        with self._call(access, DISCOVER) as call:
            return Discovery(outputs=node_texts.outputs(call.topology))

    async def set_mode(self, access: NodeAccess, mode: NodeMode) -> NodeMode:
        with self._call(access, wire.SET_MODE.verb) as call:
            asked = _sent(wire.SET_MODE, wire.ModeDocument(mode=mode))
            call.holdings = rules.set_mode(call.holdings, asked.mode)
            return call.holdings.mode

    async def provision(self, access: NodeAccess, spec: SliceSpec) -> SliceEndpoint:
        with self._call(access, wire.PROVISION.verb) as call:
            asked = _sent(wire.PROVISION, spec)
            call.holdings = rules.provision(call.holdings, call.topology, asked, now=call.now)
            key = public_key(_host_key(access.host, asked.claim_id))
            return SliceEndpoint(
                host=asked.ssh_host,
                port=asked.ssh_port,
                username=asked.username,
                host_key=key.line,
                host_key_fingerprint=key.fingerprint,
            )

    async def set_keys(
        self, access: NodeAccess, claim_id: ClaimId, keys: Sequence[str]
    ) -> tuple[str, ...]:
        with self._call(access, wire.SET_KEYS.verb) as call:
            request = wire.KeysRequest(claim_id=claim_id, keys=tuple(dict.fromkeys(keys)))
            asked = _sent(wire.SET_KEYS, request)
            call.holdings = rules.set_keys(call.holdings, claim_id, asked.keys)
            return rules.evidence(call.holdings, call.topology, claim_id).key_fingerprints

    async def verify(self, access: NodeAccess, claim_id: ClaimId) -> SliceEvidence:
        with self._call(access, wire.VERIFY.verb) as call:
            return rules.evidence(call.holdings, call.topology, _claim(claim_id))

    async def restart(self, access: NodeAccess, claim_id: ClaimId, generation: int) -> None:
        with self._call(access, wire.RESTART.verb) as call:
            request = wire.RestartRequest(claim_id=claim_id, generation=generation)
            asked = _sent(wire.RESTART, request)
            call.holdings = rules.restart(call.holdings, claim_id, asked.generation)

    async def cut_off(self, access: NodeAccess, claim_id: ClaimId) -> None:
        with self._call(access, wire.CUT_OFF.verb) as call:
            call.holdings = rules.cut_off(call.holdings, _claim(claim_id))

    async def release(self, access: NodeAccess, claim_id: ClaimId) -> None:
        with self._call(access, wire.RELEASE.verb) as call:
            call.holdings = rules.release(call.holdings, _claim(claim_id), now=call.now)

    async def wipe(
        self,
        access: NodeAccess,
        claim_id: ClaimId,
        gpu_uuids: Sequence[str],
        disks: Sequence[str] = (),
    ) -> WipeEvidence:
        with self._call(access, wire.WIPE.verb) as call:
            asked = _sent(wire.WIPE, _gpus(claim_id, gpu_uuids, disks))
            call.holdings, proof = rules.wipe(
                call.holdings,
                call.topology,
                claim_id,
                asked.gpu_uuids,
                asked.disks,
                method=METHOD,
                now=call.now,
            )
            return proof

    async def verify_clean(
        self,
        access: NodeAccess,
        claim_id: ClaimId,
        gpu_uuids: Sequence[str],
        disks: Sequence[str] = (),
    ) -> tuple[str, ...]:
        with self._call(access, wire.VERIFY_CLEAN.verb) as call:
            asked = _sent(wire.VERIFY_CLEAN, _gpus(claim_id, gpu_uuids, disks))
            return rules.found(call.holdings, call.topology, claim_id, asked.gpu_uuids, asked.disks)

    async def list_ours(self, access: NodeAccess) -> tuple[OwnedSlice, ...]:
        with self._call(access, wire.LIST.verb) as call:
            return rules.owned(call.holdings)

    def attach(self, access: NodeAccess, claim_id: ClaimId) -> "MemoryShellSession":
        """Open a shell in a running slice; it ends when the slice is cut off."""
        with self._call(access, SHELL) as call:
            held = call.holdings.slices.get(claim_id)
            if held is None or not held.running:
                raise NodeRefused("There is no running slice of this claim.")
            session = MemoryShellSession(held, call.topology)
            self._sessions[access.host, claim_id].append(session)
            return session

    def open_shells(self, host: str, claim_id: ClaimId) -> int:
        """Return how many shells are open in a slice; for looking behind the port."""
        sessions = self._sessions.get((host, claim_id), ())
        return sum(session.exit_status is None for session in sessions)

    @contextmanager
    def _call(self, access: NodeAccess, verb: str) -> Iterator[_Call]:
        """Run one call against a node, with the fault that meets it.

        What the block leaves in ``holdings`` is kept only if it ends well.
        """
        topology = self._reached(access)
        fault = self._met(access.host, verb)
        _raise(_BEFORE.get(fault))
        if fault is FaultKind.GPU_LOST:
            topology = replace(topology, gpus=topology.gpus[:-1])
        now = self._clock.now() if self._clock else EPOCH
        call = _Call(topology, now, self._holdings[access.host])
        try:
            yield call
        except Refused as refused:
            raise NodeRefused(f"{refused.detail} ({refused.code})") from refused
        if fault is not FaultKind.PRETENDED:
            self._keep(access.host, call.holdings)
        _raise(_AFTER.get(fault))

    def _reached(self, access: NodeAccess) -> Topology:
        topology = self._nodes.get(access.host)
        if topology is None:
            raise NodeUnreachable(f"Nothing answers at {access.host}.")
        if self._host_keys.get(access.host, access.host_key) != access.host_key:
            raise HostKeyChanged(f"{access.host} shows another host key than the pinned one.")
        return topology

    def _met(self, host: str, verb: str) -> FaultKind | None:
        for planned in self._faults:
            if planned and planned[0].verb == verb and planned[0].host in {"*", host}:
                return planned.pop().kind
        return None

    def _keep(self, host: str, holdings: Holdings) -> None:
        before, self._holdings[host] = self._holdings[host], holdings
        for (where, claim_id), sessions in tuple(self._sessions.items()):
            held, was = holdings.slices.get(claim_id), before.slices.get(claim_id)
            goes_on = held and was and held.running and held.restarted == was.restarted
            if where == host and not goes_on:
                for session in sessions:
                    session.hang_up()
                del self._sessions[where, claim_id]


class MemoryShells:
    """Opens shells in the slices of a ``MemoryNodeDriver``."""

    def __init__(self, driver: MemoryNodeDriver) -> None:
        self._driver = driver

    async def open(
        self, access: NodeAccess, claim_id: ClaimId, *, columns: int, rows: int
    ) -> "MemoryShellSession":
        session = self._driver.attach(access, _claim(claim_id))
        await session.resize(columns, rows)
        return session


def _sent(exchange: wire.Exchange[T, Any], request: T) -> T:
    """Return the request as it would reach a node.

    Raises:
        NodeRefused: a value in it would not cross the wire.
    """
    return exchange.read_request(exchange.request(request))


def _claim(claim_id: ClaimId) -> ClaimId:
    return _sent(wire.VERIFY, wire.ClaimRequest(claim_id=claim_id)).claim_id


def _raise(failure: tuple[type[DomainError], str] | None) -> None:
    if failure:
        kind, detail = failure
        raise kind(detail)


def _host_key(host: str, claim_id: ClaimId) -> str:
    """Return the key that a slice's SSH server would have."""
    point = hashlib.sha256(f"{host}/{claim_id}".encode()).digest()
    blob = b"".join(len(part).to_bytes(4) + part for part in (_KEY_TYPE, point))
    return f"{_KEY_TYPE.decode()} {base64.b64encode(blob).decode()}"


def _gpus(claim_id: ClaimId, gpu_uuids: Sequence[str], disks: Sequence[str]) -> wire.GpusRequest:
    return wire.GpusRequest(claim_id=claim_id, gpu_uuids=tuple(gpu_uuids), disks=tuple(disks))
