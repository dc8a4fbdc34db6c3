"""Nodes that fail in every way a node can: the memory driver, with moods and a temper.

Single calls go wrong by chance; on top of that whole nodes go down, lose a GPU, answer with
another host key, fall into a stretch of bad temper or have a clock that is off, each for a while.
Calls take their time; some answers come too late, and some orders are carried out long after
whoever gave them has given up.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from gpucloud_adapters.memory.node_driver import Fault, FaultKind, MemoryNodeDriver
from gpucloud_adapters.memory.simulation.dice import Dice
from gpucloud_adapters.memory.simulation.virtual import NodeClock, WorldClock
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes import wire
from gpucloud_core.nodes.holdings import Stage
from gpucloud_core.nodes.model import (
    NodeAccess,
    OwnedSlice,
    ProbeReport,
    SliceEndpoint,
    SliceEvidence,
    SliceSpec,
    Topology,
    WipeEvidence,
)
from gpucloud_core.nodes.ports import NodeUnreachable

T = TypeVar("T")

HANGS: Final = "hangs"  # nothing is done and nothing is said
LATE: Final = "late"  # the connection breaks, and the order is carried out later
SLOW_ANSWER: Final = "slow_answer"  # it is done, and the answer takes minutes
SLOW: Final = "slow"  # it takes long, and works

WELL: Final = "well"
FATES: Final[Mapping[str, float]] = {
    FaultKind.UNREACHABLE_BEFORE: 4,
    FaultKind.UNREACHABLE_AFTER: 4,
    FaultKind.REFUSED_BEFORE: 2,
    FaultKind.REFUSED_AFTER: 2,
    FaultKind.PRETENDED: 2,
    FaultKind.HOST_KEY_CHANGED: 0.5,
    FaultKind.GPU_LOST: 0.5,
    HANGS: 1,
    LATE: 2,
    SLOW_ANSWER: 1,
    SLOW: 4,
}
"""What else may become of a call, and how often against each other."""

_BAD_LUCK: Final = 0.06  # of a call to a node in a good mood
_BAD_TEMPER: Final = 0.6
_HANG_SECONDS: Final = 3600.0


@dataclass(slots=True)
class Mood:
    """How a node is at present."""

    is_down: bool = False
    has_lost_gpu: bool = False
    is_impostor: bool = False
    is_bad_tempered: bool = False
    clock_error: timedelta = timedelta(0)


class RestlessNodes(MemoryNodeDriver):
    """A ``NodeDriver`` over nodes in memory, with everything that can happen on the way.

    Args:
        nodes: by the host of their access.
        clock: the true time.
        dice: decides what happens.
        rough: how often a call goes wrong, against a usual world.
        told: called with the host after whatever may have changed something on a node.
    """

    def __init__(
        self,
        nodes: Mapping[str, Topology],
        *,
        clock: WorldClock,
        dice: Dice,
        told: Callable[[str, str], None],
        rough: float = 1,
    ) -> None:
        self._own_clock = NodeClock(clock)
        super().__init__(nodes, clock=self._own_clock)
        self.moods: Final = {host: Mood() for host in nodes}
        self.is_calm = False
        self.met: Final[Counter[str]] = Counter()
        self.lied_about: Final[set[str]] = set()  # claims of which an order was not carried out
        self._bad_luck = min(_BAD_TEMPER, _BAD_LUCK * rough)
        self._dice = dice
        self._told = told
        self._stragglers: set[asyncio.Task[None]] = set()

    def lose_one(self, dice: Dice) -> str:
        """Let one running slice die, if there is one; return where and which."""
        running = [
            (host, held)
            for host in self.moods
            for held in self.holdings(host).slices.values()
            if held.running
        ]
        if not running:
            return ""
        host, held = dice.pick(running)
        dead = replace(held, stage=Stage.CUT_OFF)
        self._holdings[host] = self.holdings(host).put(dead)
        return f"{host}: {held.spec.allocation_id}"

    @property
    def has_stragglers(self) -> bool:
        """Tell whether orders are still on their way that nobody waits for."""
        return bool(self._stragglers)

    async def probe(self, access: NodeAccess) -> ProbeReport:
        return await self._through(access, wire.PROBE.verb, partial(super().probe, access))

    async def provision(self, access: NodeAccess, spec: SliceSpec) -> SliceEndpoint:
        call = partial(super().provision, access, spec)
        return await self._through(access, wire.PROVISION.verb, call)

    async def set_keys(
        self, access: NodeAccess, claim_id: ClaimId, keys: Sequence[str]
    ) -> tuple[str, ...]:
        call = partial(super().set_keys, access, claim_id, keys)
        return await self._through(access, wire.SET_KEYS.verb, call)

    async def verify(self, access: NodeAccess, claim_id: ClaimId) -> SliceEvidence:
        call = partial(super().verify, access, claim_id)
        return await self._through(access, wire.VERIFY.verb, call)

    async def restart(self, access: NodeAccess, claim_id: ClaimId, generation: int) -> None:
        call = partial(super().restart, access, claim_id, generation)
        return await self._through(access, wire.RESTART.verb, call)

    async def cut_off(self, access: NodeAccess, claim_id: ClaimId) -> None:
        call = partial(super().cut_off, access, claim_id)
        return await self._through(access, wire.CUT_OFF.verb, call)

    async def release(self, access: NodeAccess, claim_id: ClaimId) -> None:
        call = partial(super().release, access, claim_id)
        return await self._through(access, wire.RELEASE.verb, call, claim_id)

    async def wipe(
        self,
        access: NodeAccess,
        claim_id: ClaimId,
        gpu_uuids: Sequence[str],
        disks: Sequence[str] = (),
    ) -> WipeEvidence:
        call = partial(super().wipe, access, claim_id, gpu_uuids, disks)
        return await self._through(access, wire.WIPE.verb, call, claim_id)

    async def verify_clean(
        self,
        access: NodeAccess,
        claim_id: ClaimId,
        gpu_uuids: Sequence[str],
        disks: Sequence[str] = (),
    ) -> tuple[str, ...]:
        call = partial(super().verify_clean, access, claim_id, gpu_uuids, disks)
        return await self._through(access, wire.VERIFY_CLEAN.verb, call)

    async def list_ours(self, access: NodeAccess) -> tuple[OwnedSlice, ...]:
        return await self._through(access, wire.LIST.verb, partial(super().list_ours, access))

    async def _through(
        self, access: NodeAccess, verb: str, call: Callable[[], Awaitable[T]], claim_id: str = ""
    ) -> T:
        """Carry a call to its node and its answer back, as the node's mood and luck have it."""
        host, mood = access.host, self.moods[access.host]
        await asyncio.sleep(self._dice.between(0.01, 1.5))
        fate = self._fate(mood)
        if fate != WELL:
            self.met[fate] += 1
        if fate == LATE:
            self._carry_out_later(host, verb, call)
            raise NodeUnreachable("The connection broke.")
        if fate == HANGS:
            await asyncio.sleep(_HANG_SECONDS)
            raise NodeUnreachable("Nothing was heard for an hour.")
        if fate == SLOW:
            await asyncio.sleep(self._dice.between(5, 60))
        elif fate not in {WELL, SLOW_ANSWER}:
            if fate == FaultKind.PRETENDED:
                self.lied_about.add(claim_id)
            self.plan(Fault(verb=verb, kind=FaultKind(fate), host=host))
        answer = await self._at_node(host, verb, call)
        if fate == SLOW_ANSWER:
            await asyncio.sleep(self._dice.between(20, 400))
        return answer

    def _fate(self, mood: Mood) -> str:
        if self.is_calm:
            return WELL
        if mood.is_down:
            return FaultKind.UNREACHABLE_BEFORE
        if mood.is_impostor:
            return FaultKind.HOST_KEY_CHANGED
        if self._dice.chance(_BAD_TEMPER if mood.is_bad_tempered else self._bad_luck):
            return self._dice.weighed(FATES)
        return FaultKind.GPU_LOST if mood.has_lost_gpu else WELL

    async def _at_node(self, host: str, verb: str, call: Callable[[], Awaitable[T]]) -> T:
        self._own_clock.error = self.moods[host].clock_error
        try:
            return await call()
        finally:
            self._told(host, verb)

    def _carry_out_later(self, host: str, verb: str, call: Callable[[], Awaitable[T]]) -> None:
        async def straggle() -> None:
            await asyncio.sleep(self._dice.between(20, 300))
            with suppress(DomainError):  # nobody is there to hear it
                await self._at_node(host, f"{verb}, late", call)

        straggler = asyncio.create_task(straggle())
        self._stragglers.add(straggler)
        straggler.add_done_callback(self._stragglers.discard)
