"""What a fabric manager in shared-NVSwitch mode can switch together: its default partitions.

A partition names *module ids*, which do not follow PCI order, so a set of GPUs is found by
choosing the partition first and mapping it through the node's own ids. Where the ids or the
fabric are unknown nothing can be switched, and nothing may be sold to a virtual machine.

Source: NVIDIA Fabric Manager User Guide, "GPU Partitions" (default shared-NVSwitch partitions),
read 2026-11-22. On H100 and later the list stays complete when a GPU is broken: health is ours.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gpucloud_core.nodes.model import LinkClass, Topology


@dataclass(frozen=True, slots=True)
class Partition:
    """One row of the fabric manager's table: its id, its modules, NVLinks of each GPU in it."""

    id: int
    modules: tuple[int, ...]
    nvlinks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """The partitions of one family of baseboards, and the GPU models that sit on it."""

    name: str
    models: frozenset[str]
    partitions: tuple[Partition, ...]


def _singles(first_id: int, count: int) -> tuple[Partition, ...]:
    return tuple(Partition(first_id + n, (n + 1,), 0) for n in range(count))


def _table(nvlinks: int, rows: Mapping[int, tuple[int, ...]]) -> tuple[Partition, ...]:
    return tuple(Partition(number, modules, nvlinks) for number, modules in rows.items())


_ALL_8: Final = tuple(range(1, 9))
_TOP_8: Final = tuple(range(9, 17))
_ALL_16: Final = tuple(range(1, 17))

FABRICS: Final = (
    Fabric(
        name="HGX-2",
        models=frozenset({"V100"}),
        partitions=(
            *_table(6, {0: _ALL_16, 1: _ALL_8, 2: _TOP_8}),
            *_table(
                5,
                {
                    3: (1, 4, 6, 7, 9, 12, 14, 15),
                    4: (2, 3, 5, 8, 10, 11, 13, 16),
                    5: (1, 4, 6, 7),
                    6: (2, 3, 5, 8),
                    7: (9, 12, 14, 15),
                    8: (10, 11, 13, 16),
                    9: (1, 4),
                    10: (2, 3),
                    11: (5, 8),
                    12: (6, 7),
                    13: (9, 12),
                    14: (10, 11),
                    15: (13, 16),
                    16: (14, 15),
                },
            ),
            *_singles(17, 16),
        ),
    ),
    Fabric(
        name="HGX-A100",
        models=frozenset({"A100", "A800"}),
        partitions=(
            *_table(
                12,
                {
                    0: _ALL_16,
                    1: _ALL_8,
                    2: _TOP_8,
                    3: (1, 2, 3, 4, 9, 10, 11, 12),
                    4: (5, 6, 7, 8, 13, 14, 15, 16),
                    5: (1, 2, 3, 4, 13, 14, 15, 16),
                    6: (5, 6, 7, 8, 9, 10, 11, 12),
                    7: (1, 2, 3, 4),
                    8: (5, 6, 7, 8),
                    9: (9, 10, 11, 12),
                    10: (13, 14, 15, 16),
                    **{11 + n: (2 * n + 1, 2 * n + 2) for n in range(8)},
                },
            ),
            *_singles(19, 16),
        ),
    ),
    Fabric(
        name="HGX-H100",
        models=frozenset({"H100", "H200", "H800", "H20"}),
        partitions=(
            *_table(
                18,
                {
                    0: _ALL_8,
                    1: (1, 2, 3, 4),
                    2: (5, 6, 7, 8),
                    3: (1, 3),
                    4: (2, 4),
                    5: (5, 7),
                    6: (6, 8),
                },
            ),
            *_singles(7, 8),
        ),
    ),
    Fabric(
        name="HGX-B200",
        models=frozenset({"B200", "B300"}),
        partitions=(
            *_table(
                18,
                {
                    1: _ALL_8,
                    2: (1, 2, 3, 4),
                    3: (5, 6, 7, 8),
                    4: (1, 2),
                    5: (3, 4),
                    6: (5, 6),
                    7: (7, 8),
                },
            ),
            *_singles(8, 8),
        ),
    ),
)


def is_switched(topology: Topology) -> bool:
    """Return whether the node's GPUs reach each other through NVSwitches."""
    return any(LinkClass.NVSWITCH in row for row in topology.links)


def fabric_of(topology: Topology) -> Fabric | None:
    """Return the fabric whose partitions this node's manager knows, if we know it."""
    if not is_switched(topology) or not topology.gpus:
        return None
    words = set(re.split(r"[^A-Za-z0-9]+", topology.gpus[0].model.upper()))
    return next((fabric for fabric in FABRICS if fabric.models & words), None)


def partition_masks(topology: Topology) -> Mapping[int, Partition]:
    """Return each partition that this node can switch, by the mask of its GPUs.

    Empty where there is no known fabric, or a module id is missing or held twice. Partitions
    with a module that the node does not have (one board of two, a lost GPU) are left out.
    """
    fabric = fabric_of(topology)
    bits = {gpu.module_id: 1 << gpu.index for gpu in topology.gpus}
    if fabric is None or None in bits or len(bits) != len(topology.gpus):
        return MappingProxyType({})
    masks = {
        sum(bits[module] for module in partition.modules): partition
        for partition in fabric.partitions
        if all(module in bits for module in partition.modules)
    }
    return MappingProxyType(masks)
