import json
from typing import Any, Final

import pytest

from gpucloud_core.nodes.amd_partitions import (
    MI300A,
    MI300X,
    MI350X,
    ComputeMode,
    MemoryMode,
    amd_partitions,
    must_be_idle,
)
from node_builders import DATA

TABLE: Final[dict[str, Any]] = json.loads((DATA / "amd" / "partitions.json").read_text())


class TestAmdPartitions:
    def test_of_an_mi300x_are_as_published_and_no_others(self) -> None:
        published = TABLE["MI300X"]["modes"]
        for compute in ComputeMode:
            for memory in MemoryMode:
                listed = memory in published.get(compute, {"memory_modes": ()})["memory_modes"]
                assert MI300X.is_legal(compute, memory) == listed
        assert MI300X.devices == {name: row["logical_gpus"] for name, row in published.items()}

    def test_of_an_mi350x_are_as_published_and_no_others(self) -> None:
        published = TABLE["MI350X/MI355X"]["modes"]
        for compute in ComputeMode:
            for memory in MemoryMode:
                assert MI350X.is_legal(compute, memory) == (memory in published.get(compute, ()))

    def test_of_an_mi300a_are_as_published(self) -> None:
        assert MI300A.devices == TABLE["MI300A"]["modes"]

    def test_group_the_dies_as_published(self) -> None:
        for name, groups in TABLE["MI300X"]["xcd_groups"].items():
            assert MI300X.die_groups(ComputeMode(name)) == tuple(map(tuple, groups))
        assert MI300X.die_groups(ComputeMode.SPX) == (tuple(range(8)),)
        assert MI300X.die_groups(ComputeMode.TPX) == ()

    @pytest.mark.parametrize("partitions", [MI300X, MI300A, MI350X])
    def test_never_have_more_memory_parts_than_devices(self, partitions: Any) -> None:
        for compute, count in partitions.devices.items():
            for memory in partitions.memory_modes[compute]:
                assert memory.parts <= count

    def test_disturb_the_whole_node_only_for_its_memory_mode(self) -> None:
        same = {"memory_before": MemoryMode.NPS1, "memory_after": MemoryMode.NPS1}
        other = {"memory_before": MemoryMode.NPS1, "memory_after": MemoryMode.NPS4}

        assert must_be_idle(2, 8, **same) == 0b100
        assert must_be_idle(2, 8, **other) == 0xFF

    @pytest.mark.parametrize(
        ("model", "known"),
        [
            ("AMD Instinct MI300X", MI300X),
            ("AMD Instinct MI300X OAM: 750W SKU", MI300X),
            ("AMD Instinct MI355X", MI350X),
            ("AMD Instinct MI250X", None),
        ],
    )
    def test_are_found_by_the_model_as_nodes_report_it(self, model: str, known: object) -> None:
        assert amd_partitions(model) is known
