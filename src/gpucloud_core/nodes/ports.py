"""What the platform needs of nodes: rows, and two ports that reach the machines."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from gpucloud_core.kernel.errors import DomainError, ErrorKind
from gpucloud_core.kernel.ids import ClaimId, NodeId
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.kernel.unit import Unit
from gpucloud_core.nodes.model import (
    Discovery,
    Node,
    NodeAccess,
    NodeMode,
    NodeStatus,
    OwnedSlice,
    ProbeReport,
    SliceEndpoint,
    SliceEvidence,
    SliceSpec,
    Slot,
    WipeEvidence,
)

LOOK_EVERY: Final = timedelta(days=1)
LOOKED_AT: Final = frozenset({NodeStatus.ACTIVE, NodeStatus.DRAINING})
"""States in which a node is discovered anew by itself."""


class NodeUnreachable(DomainError):
    """The node does not answer; whether the work was done is unknown."""

    code = "node_unreachable"
    kind = ErrorKind.UNAVAILABLE
    next_step = "Nothing to do: it is tried again, and read back first."


class NodeRefused(DomainError):
    """The node answered that it cannot do this."""

    code = "node_refused"
    kind = ErrorKind.CONFLICT
    next_step = "Read the node's own words beside this; an operator may have to look."


class HostKeyChanged(DomainError):
    """The node shows another host key than the pinned one."""

    code = "host_key_changed"
    kind = ErrorKind.CONFLICT
    next_step = "Do not accept it: quarantine the node and find out why."


class NodeDriver(Protocol):
    """Makes slices on nodes, and proves what is there; tests/contracts/node_driver.py says it too.

    Every call may be repeated: doing what is done already succeeds, releasing what is gone
    succeeds. A call that raises ``NodeUnreachable`` may or may not have done its work; read back.

    Raises (any call):
        NodeUnreachable: no answer, or the connection broke.
        NodeRefused: the node said no, with its reason.
        HostKeyChanged: not the machine we know.
    """

    async def probe(self, access: NodeAccess) -> ProbeReport: ...

    async def discover(self, access: NodeAccess) -> Discovery: ...

    async def set_mode(self, access: NodeAccess, mode: NodeMode) -> NodeMode:
        """Make the node hand its GPUs out this way, and return the mode read back from it.

        Refused while anything of ours is on it, and where the node cannot be in that mode.
        """
        ...

    async def provision(self, access: NodeAccess, spec: SliceSpec) -> SliceEndpoint:
        """Make the slice, tagged with its claim, with no keys in it yet."""
        ...

    async def set_keys(
        self, access: NodeAccess, claim_id: ClaimId, keys: Sequence[str]
    ) -> tuple[str, ...]:
        """Let exactly these public keys in; return the fingerprints read back from the slice."""
        ...

    async def verify(self, access: NodeAccess, claim_id: ClaimId) -> SliceEvidence:
        """Read back what the slice is: devices, keys, network, and whether SSH answers."""
        ...

    async def restart(self, access: NodeAccess, claim_id: ClaimId, generation: int) -> None:
        """End everything that runs in the slice and start it anew; keys, files and network stay.

        Once for each ``generation``: asked again, it only makes sure that the slice runs. An
        older one than was carried out is refused.
        """
        ...

    async def cut_off(self, access: NodeAccess, claim_id: ClaimId) -> None:
        """End every session of the customer and let no new one in."""
        ...

    async def release(self, access: NodeAccess, claim_id: ClaimId) -> None:
        """Remove the slice. Absent counts as removed."""
        ...

    async def wipe(
        self,
        access: NodeAccess,
        claim_id: ClaimId,
        gpu_uuids: Sequence[str],
        disks: Sequence[str] = (),
    ) -> WipeEvidence:
        """Erase what the slice could have left behind, and bring the proof, of each disk too.

        A disk that cannot be proved clean makes the whole of it unclean.
        """
        ...

    async def verify_clean(
        self,
        access: NodeAccess,
        claim_id: ClaimId,
        gpu_uuids: Sequence[str],
        disks: Sequence[str] = (),
    ) -> tuple[str, ...]:
        """Return what of the claim is still found on the node; empty means clean."""
        ...

    async def list_ours(self, access: NodeAccess) -> tuple[OwnedSlice, ...]:
        """Return everything on the node that carries our tag; never what does not.

        A slice that is released counts, as one that does not run, until it is wiped: what it left
        behind is somebody's data.
        """
        ...


class ShellSession(Protocol):
    """One PTY in a slice."""

    async def read(self) -> bytes:
        """Return the next bytes (at most 64 KiB); empty when the shell has ended."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def resize(self, columns: int, rows: int) -> None: ...

    async def close(self) -> None: ...

    @property
    def exit_status(self) -> int | None: ...


class Shells(Protocol):
    """Opens shells in slices through their node; no key of ours is put into the slice."""

    async def open(
        self, access: NodeAccess, claim_id: ClaimId, *, columns: int, rows: int
    ) -> ShellSession:
        """Open a login shell for the slice's own user.

        Raises:
            NodeUnreachable, NodeRefused, HostKeyChanged: as for the driver.
        """
        ...


class NodeGpus(NamedTuple):
    """What a node counts for: its GPUs, all of the model of the first; none are of no model."""

    node_id: NodeId
    model: str
    gpus: int


class Nodes(Rows[Node], Protocol):
    async def names(self, node_ids: Collection[NodeId]) -> Mapping[NodeId, str]:
        """Return what the nodes are called, without reading what is inside them."""
        ...

    async def with_mark(self, mark: str, *, limit: int) -> tuple[Node, ...]:
        """Return nodes with ``mark`` among ``marks_of``, or whose slots answer there, by id."""
        ...

    async def first_names(self, limit: int) -> Mapping[NodeId, str]:
        """Return the first ``limit`` nodes by name, deleted ones left out, likewise."""
        ...

    async def gpus(self, statuses: Collection[NodeStatus]) -> Sequence[NodeGpus]:
        """Return how many GPUs of which model each node in these states has, likewise."""
        ...

    async def due(self, now: datetime, *, limit: int) -> Sequence[Node]:
        """Return nodes in ``LOOKED_AT`` whose next discovery is due, locked, those held skipped.

        One that was never given an instant is due ``LOOK_EVERY`` after it was made known.
        """
        ...


class NodesUnit(Unit, Protocol):
    @property
    def nodes(self) -> Nodes: ...
    @property
    def slots(self) -> Rows[Slot]: ...
