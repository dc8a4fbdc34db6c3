from dataclasses import replace
from typing import Any

import pytest

from catalog_builders import a_sku
from gpucloud_core.catalog.model import Beside, Runtime, Shape
from gpucloud_core.catalog.pools import pool_of
from gpucloud_core.kernel.ids import SlotId, TenantId
from gpucloud_core.nodes.model import Node, NodeMode, NodeStatus, Slot, SlotState
from gpucloud_core.nodes.slots import propose_slots
from gpucloud_core.placement.capacity import capacity_of, pool_of_node
from gpucloud_core.placement.choose import choose
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import Placement
from node_builders import HGX_H200
from placement_builders import a_request
from row_builders import NOW, a_claim, a_node

TENANT = TenantId("ten_1")


def a_real_node(**given: Any) -> Node:
    return a_node(**{"topology": HGX_H200, "shared_kernel": True, **given})


def slots_of(node: Node, state: SlotState = SlotState.AVAILABLE) -> list[Slot]:
    made = propose_slots(
        node,
        slot_ids=[SlotId(f"slt_{number}") for number in range(8)],
        endpoints=[("192.0.2.1", 2200 + number) for number in range(8)],
        at=NOW,
    )
    return [replace(slot, state=state) for slot in made]


class TestCapacityOf:
    def test_offers_what_is_approved_and_free(self) -> None:
        node = a_real_node()
        states = [
            SlotState.AVAILABLE,
            SlotState.PROPOSED,
            SlotState.DISABLED,
            SlotState.CLAIMED,
            SlotState.IN_USE,
            SlotState.CLEANING,
            SlotState.CLEANUP_BLOCKED,
            SlotState.AVAILABLE,
        ]
        slots = [
            replace(slot, state=state) for slot, state in zip(slots_of(node), states, strict=True)
        ]

        row = capacity_of(node, slots)

        assert (row.approved_mask, row.free_mask) == (0b1111_1001, 0b1000_0001)
        assert (row.free_vcpus, row.free_memory_mib) == (6 * 22, 6 * 253_952)
        assert row.sellable

    def test_says_which_approved_slots_come_with_what(self) -> None:
        node = a_real_node()
        slots = [
            replace(slot, disk=slot.disk if index < 4 else "", nic=slot.nic if index % 2 else "")
            for index, slot in enumerate(slots_of(node))
        ]
        slots[0] = replace(slots[0], state=SlotState.PROPOSED)
        slots[1] = replace(slots[1], state=SlotState.IN_USE)

        row = capacity_of(node, slots)

        assert (row.disk_mask, row.nic_mask) == (0b0000_1110, 0b1010_1010)
        assert row.free_with(Beside.BOTH) == 0b0000_1000

    def test_takes_off_what_is_held(self) -> None:
        node = a_real_node()
        claim = a_claim(TENANT, node.id, 0b0011, vcpus=40, memory_mib=400_000)

        row = capacity_of(node, slots_of(node), claims=[claim])

        assert row.free_mask == 0b1111_1100
        assert row.free_vcpus == 8 * 22 - 40
        assert row.free_memory_mib == 8 * 253_952 - 400_000

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ({"status": NodeStatus.DRAINING}, "draining"),
            ({"status": NodeStatus.QUARANTINED, "status_reason": "Bob's cable"}, "quarantined"),
            ({"reachable": False}, "not reachable"),
        ],
    )
    def test_sells_nothing_of_a_node_that_is_not_in_service(
        self, given: dict[str, Any], reason: str
    ) -> None:
        node = a_real_node(**given)

        row = capacity_of(node, slots_of(node))

        assert (row.sellable, row.unsellable_reason) == (False, reason)

    def test_sells_nothing_before_approval(self) -> None:
        node = a_real_node()

        row = capacity_of(node, slots_of(node, SlotState.PROPOSED))

        assert (row.sellable, row.unsellable_reason) == (False, "not approved yet")

    @pytest.mark.parametrize(
        ("mode", "shared_kernel", "shared"),
        [
            (NodeMode.CONTAINER, False, False),
            (NodeMode.CONTAINER, True, True),
            (NodeMode.VM, False, True),
        ],
    )
    def test_lets_tenants_share_a_kernel_only_where_the_operator_does(
        self, mode: NodeMode, shared_kernel: bool, shared: bool
    ) -> None:
        node = a_real_node(mode=mode, shared_kernel=shared_kernel)

        assert capacity_of(node, slots_of(node)).shared is shared

    def test_can_be_chosen_from_as_it_is(self) -> None:
        node = a_real_node()
        image = FleetImage()
        image.put(capacity_of(node, slots_of(node)))

        decision = choose(
            a_request(8, pool=pool_of_node(node), vcpus=176, memory_mib=8 * 253_952), image
        )

        assert isinstance(decision, Placement)


class TestPools:
    @pytest.mark.parametrize(
        ("mode", "runtime", "shape"),
        [
            (NodeMode.CONTAINER, Runtime.CONTAINER, Shape.GPU_SLICE),
            (NodeMode.VM, Runtime.VM, Shape.GPU_SLICE),
            (NodeMode.BARE_METAL, Runtime.BARE_METAL, Shape.BARE_METAL),
        ],
    )
    def test_of_nodes_and_skus_meet(self, mode: NodeMode, runtime: Runtime, shape: Shape) -> None:
        sku = a_sku(runtime=runtime, shape=shape, gpu_model="NVIDIA H200", region="eu-1")

        assert pool_of_node(a_real_node(mode=mode)) == pool_of(sku)
