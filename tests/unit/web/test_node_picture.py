"""Pictures of a node: one cell and one box per GPU, who holds it, and the same in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.nodes.systems import SYSTEMS, hgx_h200
from gpucloud_web.node_picture import (
    BOX_GAP,
    WIDTH,
    Holder,
    SlotStrip,
    TopologyPicture,
)
from gpucloud_web.node_preview import TopologyPreview

TOPOLOGY = hgx_h200(seed="node")
NUMA = [gpu.numa for gpu in TOPOLOGY.gpus]
masks = st.integers(0, 255)


class TestSlotStrip:
    @given(mine=masks, free=masks, withheld=masks)
    def test_has_a_cell_per_gpu_and_a_gap_between_domains(
        self, mine: int, free: int, withheld: int
    ) -> None:
        strip = SlotStrip.of(numa=NUMA, mine=mine, free=free, withheld=withheld)

        assert strip.cells.count("gap") == 1
        assert strip.cells.index("gap") == 4
        assert len(strip.cells) == len(NUMA) + 1
        assert strip.cells.count("mine") == mine.bit_count()
        assert strip.label

    def test_says_in_words_which_are_yours(self) -> None:
        strip = SlotStrip.of(numa=NUMA, mine=0b11110000, free=0b1000, withheld=0b100)

        assert strip.cells == (
            *("other", "other", "withheld", "free", "gap"),
            *("mine", "mine", "mine", "mine"),
        )
        assert strip.label == "GPUs 4–7 of 8 on the node are yours"


def _picture(mine: int, free: int) -> TopologyPicture:
    others = 255 & ~mine & ~free
    return TopologyPicture.of(
        id="t",
        node="hgx-fra-07",
        topology=TOPOLOGY,
        holders=[Holder(mask=mine, name="sft"), Holder(mask=others, name="", others=True)],
        free=free,
    )


class TestTopologyPicture:
    @given(mine=masks, free=masks)
    def test_keeps_every_box_inside_its_panel_and_apart_from_the_next(
        self, mine: int, free: int
    ) -> None:
        picture = _picture(mine, free & ~mine)

        for domain in picture.domains:
            assert 0 <= domain.x <= domain.x + domain.width <= WIDTH
            for left, right in zip(domain.gpus, domain.gpus[1:], strict=False):
                assert right.x - (left.x + left.width) >= BOX_GAP - 0.2
            assert domain.gpus[0].x > domain.x
            assert domain.gpus[-1].x + domain.gpus[-1].width < domain.x + domain.width

    @pytest.mark.parametrize(
        ("system", "fabric", "note"),
        [
            ("hgx-b200", "NVSwitch fabric", "18 NVLinks per GPU · every GPU reaches every other"),
            ("mi300x-x8", "Infinity Fabric", "1 link from every GPU to every other"),
            ("l40s-x8", "", "No fabric between the GPUs: they meet over PCIe"),
            ("dgx-1-volta", "", "NVLink between some pairs, the others over PCIe"),
        ],
    )
    def test_says_what_joins_the_gpus_of_each_system(
        self, system: str, fabric: str, note: str
    ) -> None:
        topology = SYSTEMS[system].topology(seed="x")

        picture = TopologyPicture.of(id="t", node="n", topology=topology, holders=(), free=255)

        assert (picture.fabric, picture.fabric_note) == (fabric, note)
        assert all(bool(gpu.links) == bool(fabric) for part in picture.domains for gpu in part.gpus)

    def test_shows_the_cpus_of_the_domain_and_not_of_its_place_in_the_row(self) -> None:
        topology = SYSTEMS["hgx-a100"].topology(seed="x")

        picture = TopologyPicture.of(id="t", node="n", topology=topology, holders=(), free=255)

        assert [(part.title, part.note) for part in picture.domains] == [
            ("NUMA 3", "CPUs 48-63,176-191"),
            ("NUMA 1", "CPUs 16-31,144-159"),
            ("NUMA 7", "CPUs 112-127,240-255"),
            ("NUMA 5", "CPUs 80-95,208-223"),
        ]

    @given(mine=masks, free=masks)
    def test_names_nobody_else(self, mine: int, free: int) -> None:
        picture = _picture(mine, free & ~mine)
        boxes = [gpu for domain in picture.domains for gpu in domain.gpus]

        for gpu in boxes:
            own = bool(mine >> gpu.index & 1)
            assert (gpu.letter == "A") == own
            assert (gpu.holder == "sft") == own

    def test_says_in_words_what_it_draws(self) -> None:
        picture = _picture(0b11110000, 0b1000)

        assert picture.fabric == "NVSwitch fabric"
        assert "NUMA 1: 4 sft, 5 sft, 6 sft, 7 sft." in picture.desc
        assert "3 free" in picture.desc
        assert [entry.text for entry in picture.legend] == [
            "sft · 4 GPUs",
            "held by others",
            "free",
        ]

    def test_shows_what_is_withheld_by_its_state(self) -> None:
        picture = TopologyPicture.of(
            id="t",
            node="hgx-fra-07",
            topology=TOPOLOGY,
            holders=[Holder(mask=0b11111100, name="", others=True)],
            free=0b1,
            states={1: "cleanup_blocked"},
        )
        box = picture.domains[0].gpus[1]

        assert box.hatched
        assert box.line == "Cleanup blocked"

    def test_cuts_a_name_that_its_box_has_no_room_for(self) -> None:
        """Seen to fail when characters were counted: a wide name ran into the next box."""
        picture = TopologyPicture.of(
            id="t",
            node="hgx-fra-07",
            topology=TOPOLOGY,
            holders=[Holder(mask=0b1, name="h200-sxm-nvme-s701z")],
            free=0b11111110,
        )
        box = picture.domains[0].gpus[0]

        assert box.line == "h200-sxm-nvm…"
        assert box.holder == "h200-sxm-nvme-s701z"


class TestTopologyPreview:
    def test_marks_the_chosen_set(self) -> None:
        preview = TopologyPreview.of(node="n", topology=TOPOLOGY, chosen=0b11, free=0b1100)
        boxes = [gpu for domain in preview.domains for gpu in domain.gpus]

        assert [gpu.index for gpu in boxes if gpu.box_class.startswith("held")] == [0, 1]
        assert [gpu.index for gpu in boxes if gpu.box_class == "free"] == [2, 3]
        assert preview.label == "The set on n: GPUs 0–1"
