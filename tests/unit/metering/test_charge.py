"""Closed form and inverse, as properties.

Seen to fail when the inverse took the sum of the rates for the sum of the rounded charges.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_builders import NOON
from billing_builders import DOLLAR, HOUR, US, a_segment, instants, rates
from gpucloud_core.kernel.time import HOUR_MICROSECONDS, microseconds_between
from gpucloud_core.metering.charge import (
    SETTLEMENT_INTERVAL,
    accrued,
    burn_rate,
    charged,
    ending,
    instant_after,
    next_settlement,
    settlement,
    unsettled,
    when_accrued,
    when_reaches,
)
from gpucloud_core.metering.model import UsageSegment


@st.composite
def segments(draw: st.DrawFn) -> list[UsageSegment]:
    """Up to four segments in any state that settling can leave them in."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        segment = a_segment(draw(rates), id=f"seg_{number}", started_at=draw(instants))
        _, segment = settlement(segment, draw(instants))
        if draw(st.booleans()):
            segment = replace(segment, ended_at=max(segment.settled_until, draw(instants)))
        made.append(segment)
    return made


class TestAccrued:
    @given(rate=rates, elapsed=st.integers(0, 10**15))
    def test_is_the_exact_product_rounded_down_once(self, rate: int, elapsed: int) -> None:
        micros = accrued(rate, elapsed)

        assert micros * HOUR_MICROSECONDS <= rate * elapsed < (micros + 1) * HOUR_MICROSECONDS

    def test_knows_no_largest_number(self) -> None:
        a_century = 100 * 365 * 24 * HOUR_MICROSECONDS

        assert accrued(10**12, a_century) == 10**12 * 100 * 365 * 24

    @pytest.mark.parametrize(("rate", "elapsed"), [(-1, 1), (1, -1)])
    def test_refuses_what_runs_backwards(self, rate: int, elapsed: int) -> None:
        with pytest.raises(ValueError, match="negative"):
            accrued(rate, elapsed)

    @given(rate=rates, micros=st.integers(0, 10**12))
    def test_has_an_exact_inverse(self, rate: int, micros: int) -> None:
        elapsed = when_accrued(rate, micros)

        assert elapsed is not None
        assert accrued(rate, elapsed) >= micros
        assert elapsed == 0 or accrued(rate, elapsed - 1) < micros

    def test_never_reaches_anything_at_no_rate(self) -> None:
        assert when_accrued(0, 1) is None
        assert when_accrued(0, 0) == 0


class TestSettlement:
    @given(rate=rates, start=instants, ticks=st.lists(instants, max_size=8), end=instants)
    def test_comes_to_the_same_however_often_late_or_repeated(
        self, rate: int, start: datetime, ticks: list[datetime], end: datetime
    ) -> None:
        segment, posted = a_segment(rate, started_at=start), 0
        for tick in [*ticks, end]:  # in no order: some come twice, some too early
            micros, segment = settlement(segment, tick)
            posted += micros

        last = max([start, *ticks, end])
        assert posted == segment.settled_micros == accrued(rate, microseconds_between(start, last))
        assert segment.settled_until == last

    @given(segment=segments().map(lambda many: many[0]), until=instants, at=instants)
    def test_moves_the_unsettled_by_what_it_posts_whenever_one_looks(
        self, segment: UsageSegment, until: datetime, at: datetime
    ) -> None:
        micros, after = settlement(segment, until)

        assert unsettled([after], at) == unsettled([segment], at) - micros

    @given(segment=segments().map(lambda many: many[0]), until=instants)
    def test_leaves_nothing_unsettled_before_its_instant(
        self, segment: UsageSegment, until: datetime
    ) -> None:
        before = unsettled([segment], until)

        micros, after = settlement(segment, until)

        assert micros == max(0, before)
        assert unsettled([after], max(until, segment.settled_until)) == 0

    def test_stops_at_the_end_of_the_segment(self) -> None:
        segment = a_segment(DOLLAR, ended_at=NOON + HOUR)

        assert settlement(segment, NOON + 5 * HOUR)[0] == DOLLAR


class TestEnding:
    @given(rate=rates, settled_at=instants, end=instants)
    def test_brings_the_total_to_the_closed_form(
        self, rate: int, settled_at: datetime, end: datetime
    ) -> None:
        posted, segment = settlement(a_segment(rate), settled_at)

        micros, over = ending(segment, end)

        assert posted + micros == accrued(rate, microseconds_between(NOON, end))
        assert over.settled_micros == posted + micros
        assert over.ended_at == over.settled_until == end
        assert over.next_settlement_at is None

    def test_gives_back_settled_time_that_proved_bad(self) -> None:
        _, segment = settlement(a_segment(DOLLAR), NOON + 2 * HOUR)

        assert ending(segment, NOON + HOUR)[0] == -DOLLAR

    def test_cannot_lie_before_the_beginning(self) -> None:
        micros, over = ending(a_segment(DOLLAR), NOON - HOUR)

        assert (micros, over.ended_at) == (0, NOON)


class TestWhenReaches:
    @given(many=segments(), micros=st.integers(0, 5 * DOLLAR), since=instants)
    def test_is_the_first_microsecond_at_which_the_sum_is_there(
        self, many: list[UsageSegment], micros: int, since: datetime
    ) -> None:
        found = when_reaches(many, micros, not_before=since)

        if found is None:
            ends = [segment.ended_at for segment in many]
            assert None not in ends, "what runs reaches everything"
            assert unsettled(many, max(end for end in ends if end)) < micros
        else:
            assert found >= since
            assert unsettled(many, found) >= micros
            assert found == since or unsettled(many, found - US) < micros

    def test_counts_every_floor_by_itself(self) -> None:
        # Two halves of a micro-unit are nothing: each is rounded down alone.
        two = [a_segment(HOUR_MICROSECONDS // 2, id=f"seg_{n}") for n in range(2)]

        assert when_reaches(two, 1, not_before=NOON) == NOON + 2 * US

    def test_says_never_for_what_no_calendar_can_say(self) -> None:
        assert when_reaches([a_segment(1)], 10**9, not_before=NOON) is None
        assert when_reaches([], 1, not_before=NOON) is None
        assert when_reaches([a_segment(0)], 1, not_before=NOON) is None

    def test_is_quick_with_a_thousand_segments(self) -> None:
        many = [a_segment(35 * DOLLAR + n, id=f"seg_{n}") for n in range(1000)]

        found = when_reaches(many, 10**10, not_before=NOON)

        assert found is not None
        assert unsettled(many, found) >= 10**10 > unsettled(many, found - US)


class TestInstantAfter:
    def test_is_none_beyond_the_last_year(self) -> None:
        assert instant_after(NOON, 10**17 * 3) is None
        assert instant_after(NOON, 1) == NOON + US


class TestBurnRate:
    def test_counts_what_runs(self) -> None:
        ended = a_segment(7, ended_at=NOON + HOUR)

        assert burn_rate([a_segment(3), a_segment(4), ended]) == 7


class TestCharged:
    @given(rate=rates, a=instants, b=instants, c=instants)
    def test_adds_up_over_windows_that_meet(
        self, rate: int, a: datetime, b: datetime, c: datetime
    ) -> None:
        segment, (a, b, c) = a_segment(rate), sorted([a, b, c])

        parts = (charged(segment, b) - charged(segment, a)) + (
            charged(segment, c) - charged(segment, b)
        )

        assert parts == charged(segment, c) - charged(segment, a)


class TestNextSettlement:
    @given(name=st.text(max_size=5), after=instants)
    def test_is_once_an_hour_at_the_segments_own_place(self, name: str, after: datetime) -> None:
        turn = next_settlement(name, after)

        assert after < turn <= after + SETTLEMENT_INTERVAL
        assert next_settlement(name, turn) == turn + SETTLEMENT_INTERVAL
        assert next_settlement(name, turn - US) == turn

    def test_spreads_the_segments_over_the_hour(self) -> None:
        minutes = {next_settlement(f"seg_{n}", NOON).minute for n in range(1000)}

        assert len(minutes) == 60

    def test_knows_leap_days(self) -> None:
        turn = next_settlement("seg_1", datetime(2028, 2, 29, 23, 59, tzinfo=UTC))

        assert turn - datetime(2028, 2, 29, 23, 59, tzinfo=UTC) <= timedelta(hours=1)
