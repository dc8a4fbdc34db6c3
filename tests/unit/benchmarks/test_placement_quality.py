"""The peers that placement is measured against are the published ones.

One workload in one order, replayed whole: the curves are the authors' own.
"""

from pathlib import Path

import openb
import pytest
from bench_placement_quality import projected
from paper_policies import PAPER, replay
from placement_bound import bound
from product_policy import Systems, mix_of, replay_product

DATA = Path(__file__).parents[2] / "data/openb"
WORKLOAD = openb.workload(DATA, "multigpu50", 42)


class TestPaperPolicies:
    @pytest.mark.parametrize("name", list(PAPER))
    def test_draw_the_published_curve(self, name: str) -> None:
        published = openb.expected(DATA)["multigpu50", openb.POLICIES[name], 42]

        curve = replay(WORKLOAD, PAPER[name])

        assert max(abs(a - b) for a, b in zip(curve, published, strict=True)) <= 0.01


class TestProduct:
    def test_loses_less_than_fgd_and_stays_below_the_bound(self) -> None:
        few = projected(WORKLOAD)
        few = openb.Workload(
            name=few.name,
            seed=few.seed,
            nodes=few.nodes[::20],
            listed=few.listed,
            arrivals=few.arrivals[:400],
        )

        ours, theirs = replay_product(few), replay(few, PAPER["FGD"])

        assert theirs[100] < ours[100] <= bound(few) + 1e-9
        assert ours[100] == replay_product(few)[100]

    def test_is_told_nothing_but_what_is_asked_for(self) -> None:
        mix = mix_of(WORKLOAD.listed, Systems(WORKLOAD.nodes))

        assert sum(demand.weight for demand in mix) == sum(
            pod.num_gpu > 0 for pod in WORKLOAD.listed
        )
        assert all(demand.vcpus % (4000 * demand.gpu_count) == 0 for demand in mix)
