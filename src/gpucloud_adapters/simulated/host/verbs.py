"""The node program's verbs, each a pure decision over what the host holds.

A decision reads the state before it and returns the state after it with the answer. Whether the
new state is kept is the host's business, so that a fault can lie about it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Generic, TypeVar

import asyncssh

from gpucloud_adapters.simulated.host.identity import public_line
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes import holdings as rules
from gpucloud_core.nodes import wire
from gpucloud_core.nodes.holdings import Holdings
from gpucloud_core.nodes.model import (
    SliceEndpoint,
    SliceEvidence,
    SliceSpec,
    Topology,
    WipeEvidence,
)

METHOD: Final = "simulated-overwrite"

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a decision may read.

    Attributes:
        topology: with the GPUs that answer now; ``lost`` are the others' addresses.
        is_open: whether the slice's SSH server listens.
        host_key: the identity of a slice's SSH server.
    """

    holdings: Holdings
    topology: Topology
    lost: tuple[str, ...] = ()
    now: datetime
    is_open: Callable[[ClaimId], bool]
    host_key: Callable[[ClaimId], asyncssh.SSHKey]


@dataclass(frozen=True, slots=True)
class Verb(Generic[Q, A]):
    """One verb: its documents, its decision, and whether it takes a real node some time."""

    exchange: wire.Exchange[Q, A]
    decide: Callable[[Before, Q], tuple[Holdings, A]]
    takes_time: bool = False

    def run(self, before: Before, raw: bytes) -> tuple[Holdings, bytes]:
        """Return the state after the request ``raw``, and the answer.

        Raises:
            NodeRefused: the request is not one.
        Refused: the node says no.
        """
        after, answer = self.decide(before, self.exchange.read_request(raw))
        return after, self.exchange.answer(answer)


def _probe(before: Before, _request: wire.Nothing) -> tuple[Holdings, wire.ProbeAnswer]:
    return before.holdings, wire.ProbeAnswer(
        gpu_uuids=tuple(gpu.uuid for gpu in before.topology.gpus),
        driver_version=before.topology.driver_version,
        problems=tuple(
            f"GPU at {address} has fallen off the bus (Xid 79)." for address in before.lost
        ),
        clock=before.now,
    )


def _set_mode(before: Before, request: wire.ModeDocument) -> tuple[Holdings, wire.ModeDocument]:
    after = rules.set_mode(before.holdings, request.mode)
    return after, wire.ModeDocument(mode=after.mode)


def _provision(before: Before, spec: SliceSpec) -> tuple[Holdings, SliceEndpoint]:
    key = before.host_key(spec.claim_id)
    endpoint = SliceEndpoint(
        host=spec.ssh_host,
        port=spec.ssh_port,
        username=spec.username,
        host_key=public_line(key),
        host_key_fingerprint=key.get_fingerprint(),
    )
    after = rules.provision(before.holdings, before.topology, spec, now=before.now)
    return after, endpoint


def _set_keys(before: Before, request: wire.KeysRequest) -> tuple[Holdings, wire.KeysAnswer]:
    after = rules.set_keys(before.holdings, request.claim_id, request.keys)
    there = rules.evidence(after, before.topology, request.claim_id)
    return after, wire.KeysAnswer(key_fingerprints=there.key_fingerprints)


def _verify(before: Before, request: wire.ClaimRequest) -> tuple[Holdings, SliceEvidence]:
    there = rules.evidence(before.holdings, before.topology, request.claim_id)
    if there.ssh_ready and not before.is_open(request.claim_id):
        there = replace(there, ssh_ready=False, detail="Its SSH server does not listen.")
    return before.holdings, there


def _restart(before: Before, request: wire.RestartRequest) -> tuple[Holdings, wire.Nothing]:
    after = rules.restart(before.holdings, request.claim_id, request.generation)
    return after, wire.Nothing()


def _cut_off(before: Before, request: wire.ClaimRequest) -> tuple[Holdings, wire.Nothing]:
    return rules.cut_off(before.holdings, request.claim_id), wire.Nothing()


def _release(before: Before, request: wire.ClaimRequest) -> tuple[Holdings, wire.Nothing]:
    return rules.release(before.holdings, request.claim_id, now=before.now), wire.Nothing()


def _wipe(before: Before, request: wire.GpusRequest) -> tuple[Holdings, WipeEvidence]:
    return rules.wipe(
        before.holdings,
        before.topology,
        request.claim_id,
        request.gpu_uuids,
        request.disks,
        method=METHOD,
        now=before.now,
    )


def _verify_clean(before: Before, request: wire.GpusRequest) -> tuple[Holdings, wire.FoundAnswer]:
    found = rules.found(
        before.holdings, before.topology, request.claim_id, request.gpu_uuids, request.disks
    )
    return before.holdings, wire.FoundAnswer(found=found)


def _list(before: Before, _request: wire.Nothing) -> tuple[Holdings, wire.SlicesAnswer]:
    return before.holdings, wire.SlicesAnswer(slices=rules.owned(before.holdings))


_TABLE: Final = (
    Verb(wire.PROBE, _probe),
    Verb(wire.SET_MODE, _set_mode, takes_time=True),
    Verb(wire.PROVISION, _provision, takes_time=True),
    Verb(wire.SET_KEYS, _set_keys),
    Verb(wire.VERIFY, _verify),
    Verb(wire.RESTART, _restart, takes_time=True),
    Verb(wire.CUT_OFF, _cut_off),
    Verb(wire.RELEASE, _release),
    Verb(wire.WIPE, _wipe, takes_time=True),
    Verb(wire.VERIFY_CLEAN, _verify_clean),
    Verb(wire.LIST, _list),
)
VERBS: Final[Mapping[str, Verb[object, object]]] = {
    verb.exchange.verb: verb  # type: ignore[misc]  # each entry pairs its own two types
    for verb in _TABLE
}
