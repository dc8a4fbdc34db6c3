"""Questions of what-if plans: read leniently nowhere, drawn the same everywhere.

Seen to fail when sizes and stays were drawn from the same number, and when a fleet that is ours was
played without what stands on it.
"""

from collections import Counter
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.fleet.plan import outlook_of, question_json, question_of
from gpucloud_core.kernel.errors import NotFound, ValidationFailed
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.placement.plan import (
    PlanAsked,
    arrivals_of,
    as_it_is,
    faults,
    imagined,
    parse_mix,
    parse_trace,
    requests_of,
    too_much,
)
from gpucloud_core.placement.what_if import Arrival, play
from operator_world import Operator

mixes = st.dictionaries(st.sampled_from([1, 2, 4, 8]), st.integers(1, 90), min_size=1)
POOL = "eu-fra-1/NVIDIA H200/container"


def question(**changes: object) -> PlanAsked:
    plain = PlanAsked(mix={1: 60, 8: 10}, nodes=2)
    return replace(plain, **changes)  # type: ignore[arg-type]  # a test's shorthand


class TestMix:
    @given(mix=mixes)
    def test_is_read_back_as_it_was_written(self, mix: dict[int, int]) -> None:
        assert parse_mix(", ".join(f"{size}: {weight}" for size, weight in mix.items())) == mix

    @pytest.mark.parametrize("words", ["", "1", "1-2", "0:3", "1:0", "65:1", "1:2,", "x:y"])
    def test_of_no_sense_is_refused(self, words: str) -> None:
        with pytest.raises(ValidationFailed):
            parse_mix(words)


class TestTrace:
    def test_comes_in_order_of_time(self) -> None:
        found = parse_trace("at_seconds,gpus,stays_seconds\n60,2,\n0,8,30.5\n")

        assert found == (
            Arrival(gpu_count=8, at_seconds=0, stays_seconds=30),
            Arrival(gpu_count=2, at_seconds=60),
        )

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "at_seconds,gpus\n",
            "gpus\n1\n",
            "at_seconds,gpus\nsoon,1\n",
            "at_seconds,gpus\n0,0\n",
            "at_seconds,gpus\n1e400,1\n",
            "at_seconds,gpus\n0\n",
        ],
    )
    def test_of_no_sense_is_refused(self, text: str) -> None:
        with pytest.raises(ValidationFailed):
            parse_trace(text)


class TestDraws:
    @given(mix=mixes, seed=st.integers(0, 9))
    def test_are_the_same_every_time_and_of_the_mix(self, mix: dict[int, int], seed: int) -> None:
        asked = question(mix=mix, seed=seed, launches=40, stay_hours=2.0)

        drawn = arrivals_of(asked, 16)

        assert drawn == arrivals_of(asked, 16)
        assert {arrival.gpu_count for arrival in drawn} <= set(mix)
        assert all((arrival.stays_seconds or 0) >= 0 for arrival in drawn)

    def test_come_close_to_the_mix_and_the_stay(self) -> None:
        asked = question(mix={1: 60, 2: 15, 4: 15, 8: 10}, launches=4_000, stay_hours=6.0)

        drawn = arrivals_of(asked, 128)

        sizes = Counter(arrival.gpu_count for arrival in drawn)
        for size, weight in asked.mix.items():
            assert abs(sizes[size] / 4_000 - weight / 100) < 0.03
        stays = [arrival.stays_seconds or 0 for arrival in drawn]
        assert abs(sum(stays) / len(stays) / 3_600 - 6) < 0.5
        long = [a.gpu_count for a in drawn if (a.stays_seconds or 0) > 6 * 3_600]
        assert abs(long.count(1) / len(long) - 0.6) < 0.05, (
            "sizes and stays know nothing of each other"
        )

    @given(gpus=st.integers(8, 400))
    def test_ask_for_more_than_there_is(self, gpus: int) -> None:
        drawn = arrivals_of(question(mix={1: 1}), gpus)

        assert len(drawn) == max(1, int(gpus * 1.3))


class TestFaults:
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"system": "none"}, "/system"),
            ({"mode": NodeMode.MIG}, "/mode"),
            ({"nodes": 0}, "/nodes"),
            ({"launches": 0}, "/launches"),
            ({"stay_hours": 0.0}, "/stay_hours"),
            ({"mix": {}}, "/mix"),
        ],
    )
    def test_are_named(self, changes: dict[str, object], field: str) -> None:
        assert [fault.field for fault in faults(question(**changes))] == [field]

    def test_are_told_from_what_is_only_too_much(self) -> None:
        large = question(nodes=5_000, launches=50_000)

        assert not list(faults(large))
        assert [fault.field for fault in too_much(large)] == ["/nodes", "/launches"]


class TestKeeping:
    @given(mix=mixes, launches=st.none() | st.integers(1, 30), stay=st.none() | st.just(1.5))
    def test_gives_question_and_answer_back(
        self, mix: dict[int, int], launches: int | None, stay: float | None
    ) -> None:
        asked = question(
            mix=mix, launches=launches, stay_hours=stay, trace=(Arrival(gpu_count=1),) * 2
        )
        assert question_of(question_json(asked)) == asked
        ground = imagined(asked)
        arrivals = arrivals_of(asked, ground.gpus)

        outlook = play(ground.image, requests_of(asked, arrivals, ground.pool), arrivals)

        told = asdict(outlook)
        told["sizes"] = {str(size): tally for size, tally in told["sizes"].items()}
        for moment in told["moments"]:
            moment["room"] = {str(size): number for size, number in moment["room"].items()}
        assert outlook_of(told) == outlook


class TestOurFleet:
    async def test_starts_with_what_stands_on_it(self) -> None:
        olga = await Operator.arrive(nodes=2)
        await olga.ada.launch(4)
        async with olga.transactions.begin(Scope.platform()) as unit:
            ground = await as_it_is(unit, POOL)
            with pytest.raises(NotFound):
                await as_it_is(unit, "nowhere/none/container")
        asked = question(pool=POOL, mix={4: 1}, launches=9, vcpus_per_gpu=1, memory_gib_per_gpu=1)
        arrivals = arrivals_of(asked, ground.gpus)

        outlook = play(ground.image, requests_of(asked, arrivals, POOL), arrivals, held=ground.held)

        assert (ground.gpus, outlook.moments[0].used_gpus) == (16, 4)
        assert outlook.sizes[4].placed == 3
