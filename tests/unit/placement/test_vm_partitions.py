"""Whatever a decision hands out can be switched: sets of virtual machines are partitions.

Drawn over every switched system that we know, with broken GPUs, odd module ids and busy neighbours.
Seen to fail when ``realise`` took the lowest free GPUs instead of the lowest twins, and when a
partition was found by PCI index instead of by module id.
"""

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.nodes.fabric import fabric_of, is_switched
from gpucloud_core.nodes.model import NodeMode, Topology
from gpucloud_core.nodes.systems import SYSTEMS, topology_class
from gpucloud_core.placement.choose import choose
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import Placement
from gpucloud_core.placement.sets import feasible_sets
from node_builders import fabric_tables
from placement_builders import POOL, a_request, a_row

SWITCHED: Final = sorted(name for name, system in SYSTEMS.items() if system.module_ids)
PUBLISHED: Final = {
    name: {frozenset(row["gpus"]) for row in platform["partitions"]}
    for name, platform in fabric_tables()["platforms"].items()
}


def modules_of(topology: Topology, mask: int) -> frozenset[int | None]:
    return frozenset(gpu.module_id for gpu in topology.gpus if mask >> gpu.index & 1)


@st.composite
def machines(draw: st.DrawFn) -> Topology:
    """Draw a switched machine with its modules in any order, perhaps with GPUs that are lost."""
    name = draw(st.sampled_from([name for name in SWITCHED if not name.startswith("mi")]))
    topology = SYSTEMS[name].topology(seed="x")
    order = draw(st.permutations([gpu.module_id for gpu in topology.gpus]))
    gpus = tuple(
        replace(gpu, module_id=module) for gpu, module in zip(topology.gpus, order, strict=True)
    )
    kept = gpus[: draw(st.integers(1, len(gpus)))]
    machine = replace(topology, gpus=kept)
    return replace(machine, system=topology_class(machine))


class TestVirtualMachines:
    @given(topology=machines(), free=st.integers(0, (1 << 16) - 1), size=st.integers(1, 16))
    def test_get_partitions_of_free_gpus_and_nothing_else(
        self, topology: Topology, free: int, size: int
    ) -> None:
        fabric = fabric_of(topology)
        assert fabric is not None
        whole = (1 << len(topology.gpus)) - 1
        image = FleetImage()
        image.learn(topology)
        image.put(a_row(1, topology=topology, mode=NodeMode.VM, free_mask=free & whole, pool=POOL))

        answer = choose(a_request(size, vcpus=0, memory_mib=0), image)

        free_modules = modules_of(topology, free & whole)
        fitting = [
            partition
            for partition in PUBLISHED[fabric.name]
            if len(partition) == size and partition <= free_modules
        ]
        if not isinstance(answer, Placement):
            assert fitting == []
            return
        mask = answer.places[0].mask
        assert not mask & ~free
        assert modules_of(topology, mask) in fitting

    @pytest.mark.parametrize("name", sorted(SYSTEMS))
    def test_get_any_set_where_no_switch_stands_between(self, name: str) -> None:
        topology = SYSTEMS[name].topology(seed="x")
        sets = feasible_sets(topology, NodeMode.VM)

        if is_switched(topology):
            assert sets.family is not None
            assert max(sets.sizes) == len(topology.gpus)
        else:
            assert sets.family is None
