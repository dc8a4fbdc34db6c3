"""One simulated host: what it holds, on disk and behind its doors.

Holdings are a value. A change is made in three steps: doors are opened and closed to match the
new value, the value is written to disk, and only then it is the host's state and the verb may
answer; if a step fails the old value stands. A restart loads the file and opens the same doors
with the same host keys.
"""

import asyncio
import hashlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import asyncssh

from gpucloud_adapters.simulated.host.door import Door
from gpucloud_adapters.simulated.host.faults import CONNECT, LOGIN, FaultKind, FaultScript
from gpucloud_adapters.simulated.host.identity import Keyring, public_line
from gpucloud_adapters.simulated.host.interior import Interior, host_view
from gpucloud_adapters.simulated.host.nvidia_smi import GpuView
from gpucloud_adapters.simulated.host.session import Process, Session
from gpucloud_adapters.simulated.host.shell import Shell
from gpucloud_adapters.simulated.host.store import HoldingsFile
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.kernel.time import Clock
from gpucloud_core.nodes.holdings import HeldSlice, Holdings, Refused, Stage
from gpucloud_core.nodes.model import NodeAccess, Topology

OPERATOR: Final = "gpucloud"
_CUT_OFF: Final = "Connection closed: this slice was cut off."
_RESTARTS: Final = "Connection closed: this slice restarts."

log = logging.getLogger(__name__)


class SimulatedNode:
    """The state of a host, its doors and its sessions.

    Args:
        name: as operators know it.
        topology: all its figures.
        folder: where its keys and holdings are kept.
        seed: its keys and its GPUs' doings follow from it.
        delay_seconds: about how long provisioning and wiping take.
    """

    def __init__(
        self,
        *,
        name: str,
        topology: Topology,
        folder: Path,
        seed: str,
        clock: Clock,
        host: str = "127.0.0.1",
        port: int,
        faults: FaultScript | None = None,
        delay_seconds: float = 0.0,
    ) -> None:
        self.name = name
        self.topology = topology
        self.seed = seed
        self.clock = clock
        self.host = host
        self.port = port
        self.faults = faults or FaultScript()
        self.changing = asyncio.Lock()
        self._delay_seconds = delay_seconds
        self._keyring = Keyring(folder / "keys", seed=f"{seed}/{name}")
        self._file = HoldingsFile(folder / "holdings.json")
        self._holdings = Holdings()
        self._doors: dict[ClaimId, tuple[HeldSlice, Door]] = {}
        self._sessions: dict[ClaimId, set[Session]] = defaultdict(set)
        self._operator_door: Door | None = None

    @property
    def access(self) -> NodeAccess:
        """How the platform reaches this host."""
        return NodeAccess(
            host=self.host,
            port=self.port,
            username=OPERATOR,
            host_key=public_line(self._keyring.key("host")),
            credential=f"simulated-{self.name}",
        )

    @property
    def operator_key_path(self) -> Path:
        return self._keyring.path("operator")

    @property
    def holdings(self) -> Holdings:
        return self._holdings

    async def start(self, serve_operator: Callable[[Process], Awaitable[None]]) -> None:
        """Bring back what was held and listen.

        Raises:
            Refused: something else has the host's own port.
        """
        self._holdings = self._file.load()
        for claim_id, taken in (await self._match()).items():
            log.warning("simulated_host.slice_locked_out %s: %s", claim_id, taken.detail)
        operator = public_line(self._keyring.key("operator"))
        self._operator_door = self._door(
            host=self.host,
            port=self.port,
            host_key=self._keyring.key("host"),
            username=OPERATOR,
            keys=lambda: (operator,),
            serve=serve_operator,
            fault=lambda: self._met(CONNECT),
        )
        await self._operator_door.open()

    async def close(self) -> None:
        """Stop listening and end every session; what is held stays on disk."""
        if self._operator_door:
            await self._operator_door.close()
        for claim_id in tuple(self._doors):
            await self._shut(claim_id, _CUT_OFF)

    def host_key(self, claim_id: ClaimId) -> asyncssh.SSHKey:
        return self._keyring.key(_key_name(claim_id))

    def is_open(self, claim_id: ClaimId) -> bool:
        return claim_id in self._doors

    def gpu_view(self, topology: Topology) -> GpuView:
        """Return what nvidia-smi shows on the host, over the GPUs of ``topology``."""
        slices = {str(claim_id): held for claim_id, held in self._holdings.slices.items()}
        return host_view(topology, slices, seed=self.seed, at=self.clock.now())

    async def pause(self, claim_and_verb: str) -> None:
        """Take the time that the work would take: the usual one, give or take a third."""
        digest = hashlib.sha256(f"{self.seed}/{claim_and_verb}".encode()).digest()
        await asyncio.sleep(self._delay_seconds * (2 / 3 + digest[0] / 255 * 2 / 3))

    async def keep(self, holdings: Holdings) -> None:
        """Make ``holdings`` the host's state; call it with ``changing`` held, and to its end.

        Raises:
            Refused: the address of a slice just made is not free; nothing was changed.
        """
        before = self._holdings
        try:
            await self._become(holdings)
        except Exception:
            self._holdings = before
            await self._match()
            raise

    async def _become(self, holdings: Holdings) -> None:
        before, self._holdings = self._holdings, holdings
        for claim_id, taken in (await self._match()).items():
            if holdings.records[claim_id] != before.records.get(claim_id):
                raise taken
        if holdings != before:
            await asyncio.to_thread(self._file.save, holdings)
        for claim_id, held in holdings.records.items():
            if held.stage is Stage.WIPED and held != before.records.get(claim_id):
                self._keyring.forget(_key_name(claim_id))

    async def serve_slice(
        self, process: Process, claim_id: ClaimId, *, command: str | None
    ) -> None:
        """Run a shell of the slice on a channel until either ends."""
        interior = Interior(
            self.topology, lambda: self._held(claim_id), seed=self.seed, clock=self.clock
        )
        session = Session(process, Shell(interior, terminal=process.term_type), command=command)
        self._sessions[claim_id].add(session)
        try:
            await session.run()
        finally:
            self._sessions.get(claim_id, set()).discard(session)

    def _held(self, claim_id: ClaimId) -> HeldSlice:
        return self._holdings.slices[claim_id]

    async def _match(self) -> dict[ClaimId, Refused]:
        """Open and close doors until exactly the running slices have one.

        Returns:
            the slices that could not get theirs, and why; it is tried again the next time.
        """
        running = {key: held for key, held in self._holdings.slices.items() if held.running}
        for claim_id, (was, _) in tuple(self._doors.items()):
            now = running.get(claim_id)
            if now is None or now.spec != was.spec:
                await self._shut(claim_id, _CUT_OFF)
            elif now.restarted != was.restarted:
                await self._shut(claim_id, _RESTARTS)
        locked_out: dict[ClaimId, Refused] = {}
        for claim_id, held in running.items():
            if claim_id not in self._doors:
                try:
                    await self._unlock(claim_id, held)
                except Refused as taken:
                    locked_out[claim_id] = taken
        return locked_out

    async def _unlock(self, claim_id: ClaimId, held: HeldSlice) -> None:
        spec = held.spec
        door = self._door(
            host=spec.ssh_host,
            port=spec.ssh_port,
            host_key=self.host_key(claim_id),
            username=spec.username,
            keys=lambda: self._held(claim_id).keys,
            sources=spec.ssh_cidrs,
            serve=lambda process: self.serve_slice(process, claim_id, command=process.command),
            fault=lambda: self._met(LOGIN),
        )
        await door.open()
        self._doors[claim_id] = (held, door)

    async def _shut(self, claim_id: ClaimId, why: str) -> None:
        _, door = self._doors.pop(claim_id)
        for session in tuple(self._sessions.pop(claim_id, ())):
            session.end(why)
        await door.close()

    def _door(
        self,
        *,
        host: str,
        port: int,
        host_key: asyncssh.SSHKey,
        username: str,
        keys: Callable[[], tuple[str, ...]],
        sources: tuple[str, ...] = (),
        serve: Callable[[Process], Awaitable[None]],
        fault: Callable[[], FaultKind | None],
    ) -> Door:
        return Door(
            host=host,
            port=port,
            host_key=host_key,
            impostor_key=self._keyring.key("impostor"),
            username=username,
            keys=keys,
            sources=sources,
            serve=serve,
            fault=fault,
        )

    def _met(self, verb: str) -> FaultKind | None:
        fault = self.faults.take(self.name, verb)
        return fault.kind if fault else None


def _key_name(claim_id: ClaimId) -> str:
    return f"slice-{claim_id}"
