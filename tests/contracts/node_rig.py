"""What the contract of nodes needs of an implementation: a node, and a way behind its back."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

import pytest

from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.nodes.model import NodeAccess, SliceSpec, Slot
from gpucloud_core.nodes.ports import NodeDriver, Shells, ShellSession
from slice_builders import a_slice

_SHELL_SECONDS: Final = 10.0
_numbers = count(1)


@dataclass(frozen=True, kw_only=True)
class NodeRig:
    """One implementation, a node it reaches, and the way behind its back.

    Attributes:
        slots: at least four, free at first; each of the first two has a data disk.
        image: one that the node has.
        let_in: reads the fingerprints of the keys that a slice lets in.
        traces: lists, in any words, what of a claim is on the node: processes, files, networks.
        nobody: an access where nothing answers.
    """

    driver: NodeDriver
    shells: Shells
    access: NodeAccess
    slots: tuple[Slot, ...]
    image: str
    let_in: Callable[[ClaimId], Awaitable[Sequence[str]]]
    traces: Callable[[ClaimId], Awaitable[Sequence[str]]]
    nobody: NodeAccess
    specs: list[SliceSpec] = field(default_factory=list)

    def spec(self, *slots: int, **changes: Any) -> SliceSpec:
        """Return what is asked of the node for a new claim on these slots."""
        chosen = [self.slots[index] for index in slots or (0,)]
        spec = a_slice(next(_numbers), chosen, image=self.image, **changes)
        self.specs.append(spec)
        return spec

    def disks(self, *slots: int) -> tuple[str, ...]:
        return tuple(self.slots[index].disk for index in slots)

    @property
    def gpus(self) -> set[str]:
        return {slot.gpu_uuid for slot in self.slots}

    async def clear(self, spec: SliceSpec) -> None:
        """Take a claim through to its end."""
        await self.driver.release(self.access, spec.claim_id)
        await self.driver.wipe(self.access, spec.claim_id, spec.gpu_uuids)


async def read_until(session: ShellSession, text: str) -> str:
    """Read a shell until ``text`` was seen, or it ended."""
    seen = b""
    async with asyncio.timeout(_SHELL_SECONDS):
        while text.encode() not in seen and (data := await session.read()):
            assert len(data) <= 64 * 1024
            seen += data
    assert text.encode() in seen, seen.decode(errors="replace")
    return seen.decode(errors="replace")


async def read_to_end(session: ShellSession) -> None:
    async with asyncio.timeout(_SHELL_SECONDS):
        while await session.read():
            pass


def status(session: ShellSession) -> int | None:
    return session.exit_status


class WithRig(ABC):
    @pytest.fixture
    @abstractmethod
    def rig(self) -> Any:
        """Give a ``NodeRig``; subclasses may share a node, the suite tidies up."""

    @pytest.fixture(autouse=True)
    async def tidy(self, rig: NodeRig) -> AsyncIterator[None]:
        yield
        for spec in rig.specs:  # one after another: two of them may want the same GPU
            known = tuple(uuid for uuid in spec.gpu_uuids if uuid in rig.gpus)
            await rig.clear(replace(spec, gpu_uuids=known))
        rig.specs.clear()
