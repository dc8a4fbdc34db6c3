from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.nodes.fabric import FABRICS, fabric_of, partition_masks
from gpucloud_core.nodes.systems import L40S_X8, hgx_h200
from node_builders import fabric_tables, switched

PUBLISHED = fabric_tables()["platforms"]


def _rows(platform: dict[str, Any]) -> set[tuple[int, tuple[int, ...], int]]:
    return {
        (row["id"], tuple(row["gpus"]), row["nvlinks_per_gpu"]) for row in platform["partitions"]
    }


class TestFabrics:
    @pytest.mark.parametrize("name", sorted(PUBLISHED))
    def test_are_what_the_guide_publishes(self, name: str) -> None:
        fabric = next(fabric for fabric in FABRICS if fabric.name == name)

        rows = {(part.id, part.modules, part.nvlinks) for part in fabric.partitions}
        assert rows == _rows(PUBLISHED[name])

    @pytest.mark.parametrize(
        ("model", "name"),
        [
            ("NVIDIA H200", "HGX-H100"),
            ("NVIDIA H100 80GB HBM3", "HGX-H100"),
            ("NVIDIA H20", "HGX-H100"),
            ("NVIDIA A100-SXM4-80GB", "HGX-A100"),
            ("Tesla V100-SXM3-32GB", "HGX-2"),
            ("NVIDIA B300 SXM6 AC", "HGX-B200"),
        ],
    )
    def test_are_found_by_the_model_as_nodes_report_it(self, model: str, name: str) -> None:
        fabric = fabric_of(switched(model, 8, 18))

        assert fabric is not None
        assert fabric.name == name

    def test_are_not_guessed_for_a_model_nobody_told_of(self) -> None:
        assert fabric_of(switched("NVIDIA H2000", 8, 18)) is None
        assert fabric_of(L40S_X8.topology(seed="x")) is None


class TestPartitionMasks:
    @given(order=st.permutations(range(1, 9)))
    def test_follow_the_module_ids_wherever_they_sit(self, order: list[int]) -> None:
        topology = switched("NVIDIA H200", 8, 18, modules=order)

        found = {
            tuple(sorted(order[bit] for bit in range(8) if mask >> bit & 1)): partition.id
            for mask, partition in partition_masks(topology).items()
        }

        assert found == {modules: number for number, modules, _ in _rows(PUBLISHED["HGX-H100"])}

    def test_keep_what_a_lost_gpu_leaves(self) -> None:
        whole = hgx_h200(seed="x")
        without_module_4 = replace(whole, gpus=whole.gpus[:7])

        ids = {partition.id for partition in partition_masks(without_module_4).values()}

        assert ids == set(range(15)) - {0, 1, 4, 10}

    def test_are_those_of_one_board_where_there_is_one(self) -> None:
        one_board = switched("NVIDIA A100-SXM4-80GB", 8, 12)

        sizes = [mask.bit_count() for mask in partition_masks(one_board)]

        assert sorted(sizes) == [1] * 8 + [2] * 4 + [4] * 2 + [8]

    def test_are_none_where_a_module_id_is_missing_or_held_twice(self) -> None:
        first, second, *rest = hgx_h200(seed="x").gpus
        for wrong in (None, second.module_id):
            broken = replace(
                hgx_h200(seed="x"), gpus=(replace(first, module_id=wrong), second, *rest)
            )

            assert not partition_masks(broken)
