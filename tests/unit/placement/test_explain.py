from hypothesis import given

from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.placement.choose import choose, scores_of
from gpucloud_core.placement.explain import explain_placement, explain_to_tenant
from gpucloud_core.placement.model import Demand, NodeCapacity, Placement, PlacementRequest
from placement_builders import DGX1, TREE, a_request, a_row, an_image, fleets, requests


def told(request: PlacementRequest, *fleet: NodeCapacity) -> list[str]:
    decision = choose(request, an_image(fleet))
    assert isinstance(decision, Placement)
    return list(explain_placement(scores_of(decision, 0), gpu_count=request.gpu_count))


class TestExplainPlacement:
    def test_tells_the_steps_of_the_decision(self) -> None:
        assert told(a_request(4, demand_mix=(Demand(4, 1), Demand(8, 1))), a_row(0), a_row(1)) == [
            "2 nodes could take it.",
            "Its GPUs reach each other over 18 fabric links at least, in one NUMA domain.",
            (
                "Of the places that good, it spoils the least of what is scarce: of all places, "
                "1 of 2 for 8 GPUs and 1 of 4 for 4 GPUs."
            ),
            "Among equals, the node with the lowest id was taken.",
        ]

    def test_says_nothing_of_links_where_there_is_one_gpu(self) -> None:
        assert not any("reach each other" in line for line in told(a_request(1), a_row(0)))

    def test_names_the_worst_link(self) -> None:
        assert "through one PCIe switch" in told(a_request(2), a_row(0, topology=TREE))[1]
        assert (
            "across CPU sockets at worst, across 2 NUMA domains"
            in told(a_request(8), a_row(0, topology=DGX1))[1]
        )

    @given(fleet=fleets, request=requests)
    def test_has_words_for_every_decision(
        self, fleet: list[NodeCapacity], request: PlacementRequest
    ) -> None:
        decision = choose(request, an_image(fleet))
        if isinstance(decision, Placement):
            lines = explain_placement(scores_of(decision, 0), gpu_count=request.gpu_count)

            assert all(line.endswith(".") and not line[0].islower() for line in lines)
            assert "nod_" not in " ".join(lines)

    @given(fleet=fleets, request=requests)
    def test_tells_tenants_nothing_that_grows_with_the_fleet(
        self, fleet: list[NodeCapacity], request: PlacementRequest
    ) -> None:
        """Seen to fail when tenants were told how many nodes could have taken it."""
        decision = choose(request, an_image(fleet))
        if isinstance(decision, Placement):
            figures = scores_of(decision, 0)
            more = {
                name: figure * 7 + 9 if name == "candidates" or name.startswith("fits_") else figure
                for name, figure in figures.items()
            }
            if figures["candidates"] > 1:
                assert explain_to_tenant(figures, gpu_count=request.gpu_count) == (
                    explain_to_tenant(more, gpu_count=request.gpu_count)
                )

    def test_tells_tenants_what_is_theirs(self) -> None:
        decision = choose(a_request(4), an_image([a_row(0), a_row(1)]))
        assert isinstance(decision, Placement)

        assert explain_to_tenant(scores_of(decision, 0), gpu_count=4) == (
            "It was chosen among the places that had room.",
            "Its GPUs reach each other over 18 fabric links at least, in one NUMA domain.",
            (
                "Of the places as good for it, this one leaves the most room for launches to "
                "come, your next larger one among them."
            ),
        )

    def test_makes_do_with_the_figures_of_an_older_release(self) -> None:
        assert explain_placement({}, gpu_count=2) == (
            "Among equals, the node with the lowest id was taken.",
        )
        assert len(explain_placement({"loss": 3}, gpu_count=2)) == 2

    def test_says_so_where_no_usual_launch_loses_a_place(self) -> None:
        (_, said, _) = told(a_request(1, demand_mix=(Demand(8, 1),)), a_row(0, free_mask=0b1))

        assert said == "Of the places that good, it spoils the fewest launches to come."

    def test_tells_partitions_apart_from_nothing(self) -> None:
        assert told(a_request(2), a_row(0, mode=NodeMode.VM))[1].startswith("Its GPUs reach")
