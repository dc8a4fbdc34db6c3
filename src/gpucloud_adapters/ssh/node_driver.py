"""``NodeDriver`` over SSH: each call is one exchange of the wire with the program on the node."""

import asyncio
from collections.abc import Sequence
from typing import Final, TypeVar

from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes import wire
from gpucloud_core.nodes.model import (
    Discovery,
    NodeAccess,
    NodeMode,
    OwnedSlice,
    ProbeReport,
    SliceEndpoint,
    SliceEvidence,
    SliceSpec,
    WipeEvidence,
)
from gpucloud_core.nodes.ports import NodeRefused

Q = TypeVar("Q")
A = TypeVar("A")

DISCOVERY_SECONDS: Final = 60.0
DISCOVERY_BYTES_MAX: Final = 2 * 1024 * 1024
"""A driver's report lists every clock that a GPU supports: sixteen GPUs fill half a megabyte."""
_NOT_FOUND: Final = 127


async def ask(
    connections: SshConnections, access: NodeAccess, exchange: wire.Exchange[Q, A], asked: Q
) -> A:
    """Carry out one exchange with a node.

    Raises:
        NodeUnreachable, NodeRefused, HostKeyChanged: as the port says.
    """
    output = await connections.run(
        access, exchange.argv, stdin=exchange.request(asked), seconds=exchange.seconds_max
    )
    if output.status == _NOT_FOUND:
        raise NodeRefused(f"{wire.PROGRAM} is not installed on the node.")
    if output.status != 0:
        raise NodeRefused(f"{wire.PROGRAM} {exchange.verb} ended with {output.status}.")
    return exchange.read_answer(output.stdout)


class SshNodeDriver:
    """Makes and proves slices on nodes that run ``gpucloud-node``."""

    def __init__(self, connections: SshConnections) -> None:
        self._connections = connections

    async def probe(self, access: NodeAccess) -> ProbeReport:
        return (await ask(self._connections, access, wire.PROBE, wire.Nothing())).report()

    async def discover(self, access: NodeAccess) -> Discovery:
        """Run the node's own tools; one that is missing, or fails, has no output."""
        outputs = await asyncio.gather(
            *(
                self._connections.run(
                    access, argv, seconds=DISCOVERY_SECONDS, bytes_max=DISCOVERY_BYTES_MAX
                )
                for argv in wire.DISCOVERY_COMMANDS
            )
        )
        return Discovery(
            outputs={
                " ".join(argv): _text(output.stdout)
                for argv, output in zip(wire.DISCOVERY_COMMANDS, outputs, strict=True)
                if output.status == 0
            }
        )

    async def set_mode(self, access: NodeAccess, mode: NodeMode) -> NodeMode:
        asked = wire.ModeDocument(mode=mode)
        return (await ask(self._connections, access, wire.SET_MODE, asked)).mode

    async def provision(self, access: NodeAccess, spec: SliceSpec) -> SliceEndpoint:
        return await ask(self._connections, access, wire.PROVISION, spec)

    async def set_keys(
        self, access: NodeAccess, claim_id: ClaimId, keys: Sequence[str]
    ) -> tuple[str, ...]:
        asked = wire.KeysRequest(claim_id=claim_id, keys=tuple(dict.fromkeys(keys)))
        answer = await ask(self._connections, access, wire.SET_KEYS, asked)
        return answer.key_fingerprints

    async def verify(self, access: NodeAccess, claim_id: ClaimId) -> SliceEvidence:
        asked = wire.ClaimRequest(claim_id=claim_id)
        return await ask(self._connections, access, wire.VERIFY, asked)

    async def restart(self, access: NodeAccess, claim_id: ClaimId, generation: int) -> None:
        asked = wire.RestartRequest(claim_id=claim_id, generation=generation)
        await ask(self._connections, access, wire.RESTART, asked)

    async def cut_off(self, access: NodeAccess, claim_id: ClaimId) -> None:
        asked = wire.ClaimRequest(claim_id=claim_id)
        await ask(self._connections, access, wire.CUT_OFF, asked)

    async def release(self, access: NodeAccess, claim_id: ClaimId) -> None:
        asked = wire.ClaimRequest(claim_id=claim_id)
        await ask(self._connections, access, wire.RELEASE, asked)

    async def wipe(
        self,
        access: NodeAccess,
        claim_id: ClaimId,
        gpu_uuids: Sequence[str],
        disks: Sequence[str] = (),
    ) -> WipeEvidence:
        asked = wire.GpusRequest(claim_id=claim_id, gpu_uuids=tuple(gpu_uuids), disks=tuple(disks))
        evidence = await ask(self._connections, access, wire.WIPE, asked)
        if evidence.claim_id != claim_id:
            raise NodeRefused("The node proved the wipe of another claim.")
        return evidence

    async def verify_clean(
        self,
        access: NodeAccess,
        claim_id: ClaimId,
        gpu_uuids: Sequence[str],
        disks: Sequence[str] = (),
    ) -> tuple[str, ...]:
        asked = wire.GpusRequest(claim_id=claim_id, gpu_uuids=tuple(gpu_uuids), disks=tuple(disks))
        return (await ask(self._connections, access, wire.VERIFY_CLEAN, asked)).found

    async def list_ours(self, access: NodeAccess) -> tuple[OwnedSlice, ...]:
        return (await ask(self._connections, access, wire.LIST, wire.Nothing())).slices


def _text(raw: bytes) -> str:
    """Return a tool's output without anything that could steer a terminal."""
    text = raw.decode(errors="replace")
    return "".join(each for each in text if each.isprintable() or each in "\n\t")
