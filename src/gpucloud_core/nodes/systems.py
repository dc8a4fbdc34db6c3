"""The standard systems, and the class that nodes alike share.

A *topology class* is everything placement may know of a node's inside: models, NUMA domains,
module ids and links, in PCI order. Two nodes of one class are interchangeable, so every table
about sets of GPUs is made once per class. Known systems have a readable name; any other inside
gets a name made of its own content, so that the same machine found twice is the same class.

"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from gpucloud_core.nodes import boards_amd, boards_hgx, boards_pcie
from gpucloud_core.nodes.model import Topology
from gpucloud_core.nodes.system import System


def topology_class(topology: Topology) -> str:
    """Return the name of the class ``topology`` belongs to; ``topology.system`` is not read."""
    inside = _inside(topology)
    for name, known in _known_insides():
        if inside == known:
            return name
    model = topology.gpus[0].model if topology.gpus else "no GPUs"
    slug = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    digest = hashlib.sha256(repr(inside).encode()).hexdigest()[:10]
    return f"{slug}-x{len(topology.gpus)}-{digest}"


@cache
def _known_insides() -> tuple[tuple[str, tuple[object, ...]], ...]:
    return tuple((name, _inside(system.topology(seed=""))) for name, system in SYSTEMS.items())


def _inside(topology: Topology) -> tuple[object, ...]:
    size = len(topology.gpus)
    pairs = tuple(
        (str(topology.links[i][j]), topology.nvlinks[i][j])
        for i in range(size)
        for j in range(i + 1, size)
    )
    return tuple((gpu.model, gpu.numa, gpu.module_id) for gpu in topology.gpus), pairs


SYSTEMS: Final[Mapping[str, System]] = {
    system.name: system for system in (*boards_hgx.ALL, *boards_pcie.ALL, *boards_amd.ALL)
}
"""Every system we know by name."""

HGX_H200: Final = boards_hgx.HGX_H200
L40S_X8: Final = boards_pcie.L40S_X8


def hgx_h200(*, seed: str) -> Topology:
    """Return an eight-way HGX H200: the node of the demo fleet and of most tests."""
    return HGX_H200.topology(seed=seed)
