"""Partitions of AMD Instinct GPUs: compute modes, memory modes, and what a change would disturb.

A GPU is in one compute mode as a whole and splits into that many equal devices; there are no
mixed sizes. The memory mode is the driver's and the same for every GPU of a node, so that to
change it the whole node must be empty. Guests cannot change either.

Source: AMD SMI documentation, "GPU partitioning", and ``amd-smi partition --accelerator`` of
MI350X, read 2026-11-22.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ComputeMode(StrEnum):
    """How many devices one GPU shows as: its dies together, in halves, thirds, quarters, apart."""

    SPX = "SPX"
    DPX = "DPX"
    TPX = "TPX"
    QPX = "QPX"
    CPX = "CPX"


class MemoryMode(StrEnum):
    NPS1 = "NPS1"
    NPS2 = "NPS2"
    NPS4 = "NPS4"

    @property
    def parts(self) -> int:
        return int(self.value.removeprefix("NPS"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AmdPartitions:
    """What one model can be: its compute dies, devices by compute mode, memory modes of each."""

    words: frozenset[str]
    dies: int
    devices: Mapping[ComputeMode, int]
    memory_modes: Mapping[ComputeMode, frozenset[MemoryMode]]

    def is_legal(self, compute: ComputeMode, memory: MemoryMode) -> bool:
        """Return whether a GPU can be in both modes at once."""
        return memory in self.memory_modes.get(compute, frozenset())

    def die_groups(self, compute: ComputeMode) -> tuple[tuple[int, ...], ...]:
        """Return the dies of each device, in order; empty where the model has no such mode."""
        count = self.devices.get(compute, 0)
        size = self.dies // count if count else 0
        return tuple(tuple(range(n * size, (n + 1) * size)) for n in range(count))


def must_be_idle(
    gpu: int, gpu_count: int, *, memory_before: MemoryMode, memory_after: MemoryMode
) -> int:
    """Return the mask of GPUs that nobody may hold while ``gpu`` changes its modes.

    A change of the memory mode reloads the driver under every GPU of the node.
    """
    return 1 << gpu if memory_before is memory_after else (1 << gpu_count) - 1


_C, _M = ComputeMode, MemoryMode
_NPS1: Final = frozenset({_M.NPS1})

MI300X: Final = AmdPartitions(
    words=frozenset({"MI300X"}),
    dies=8,
    devices={_C.SPX: 1, _C.DPX: 2, _C.QPX: 4, _C.CPX: 8},
    memory_modes={
        _C.SPX: _NPS1,
        _C.DPX: frozenset({_M.NPS1, _M.NPS2}),
        _C.QPX: frozenset({_M.NPS1, _M.NPS4}),
        _C.CPX: frozenset({_M.NPS1, _M.NPS4}),
    },
)
MI300A: Final = AmdPartitions(
    words=frozenset({"MI300A"}),
    dies=6,
    devices={_C.SPX: 1, _C.DPX: 2, _C.TPX: 3, _C.CPX: 6},
    memory_modes=dict.fromkeys((_C.SPX, _C.DPX, _C.TPX, _C.CPX), _NPS1),
)
MI350X: Final = AmdPartitions(
    words=frozenset({"MI350X", "MI355X"}),
    dies=8,
    devices={_C.SPX: 1, _C.DPX: 2, _C.QPX: 4, _C.CPX: 8},
    memory_modes={
        _C.SPX: _NPS1,
        _C.DPX: frozenset({_M.NPS1, _M.NPS2}),
        _C.QPX: frozenset({_M.NPS1, _M.NPS2}),
        _C.CPX: frozenset({_M.NPS1, _M.NPS2}),
    },
)


def amd_partitions(model: str) -> AmdPartitions | None:
    """Return what GPUs of this model can be divided into; None if we do not know."""
    words = set(model.upper().replace(":", " ").split())
    return next((known for known in (MI300X, MI300A, MI350X) if known.words & words), None)
