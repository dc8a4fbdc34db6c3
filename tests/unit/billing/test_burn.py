"""The burn of a window: a step function whose integral is what the window cost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from billing_builders import a_segment
from gpucloud_core.billing.burn import BurnStep, burn_steps, spent
from gpucloud_core.kernel.ids import SkuId
from gpucloud_core.metering.model import UsageSegment

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = (START + timedelta(minutes=3), START + timedelta(minutes=11))


def _stretch(start: int, length: int | None, rate: int, sku: str) -> UsageSegment:
    begun = START + timedelta(minutes=start)
    ended = None if length is None else begun + timedelta(minutes=length)
    return replace(
        a_segment(started_at=begun),
        ended_at=ended,
        rate_micros_per_hour=rate,
        sku_id=SkuId(sku),
    )


stretches = st.lists(
    st.builds(
        _stretch,
        st.integers(0, 14),
        st.none() | st.integers(0, 14),
        st.integers(1, 5).map(lambda dollars: dollars * 1_000_000),
        st.sampled_from(("h200", "l40s")),
    ),
    max_size=6,
)


def _integral(steps: tuple[BurnStep, ...], until: datetime) -> int:
    ends = [step.at for step in steps[1:]] + [until]
    micros = sum(
        step.total * ((end - step.at) // timedelta(microseconds=1))
        for step, end in zip(steps, ends, strict=True)
    )
    return micros // (HOUR // timedelta(microseconds=1))


class TestBurn:
    @given(segments=stretches)
    def test_integrates_to_what_the_window_cost(self, segments: list[UsageSegment]) -> None:
        since, until = WINDOW

        off = spent(segments, since, until) - _integral(burn_steps(segments, since, until), until)

        assert abs(off) <= len(segments) + 1  # each stretch rounds once

    @given(segments=stretches)
    def test_steps_only_where_something_changes(self, segments: list[UsageSegment]) -> None:
        since, until = WINDOW
        steps = burn_steps(segments, since, until)

        assert steps[0].at == since
        assert all(before.at < after.at < until for before, after in pairwise(steps))
        assert all(before.rates != after.rates for before, after in pairwise(steps))
        assert all(rate > 0 for step in steps for rate in step.rates.values())
