"""The database's clock as it is reckoned between two readings.

Seen to fail when a slow answer replaced a quick one, when a clock that was set anew was not
believed, and when a reading was taken for the moment of its answer.
"""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gpucloud_adapters.postgres.clock import READ_EVERY, ServerClock

START = datetime(2026, 1, 1, tzinfo=UTC)
ways = st.integers(0, 50)  # milliseconds a message may take


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class TestServerClock:
    @given(readings=st.lists(st.tuples(ways, ways), min_size=1, max_size=5))
    def test_is_no_farther_off_than_its_quickest_reading(
        self, readings: list[tuple[int, int]]
    ) -> None:
        clock, second = ServerClock(), 100.0
        for there, back in readings:
            asked, second = second, second + (there + back) / 1000
            clock.note(after(asked + there / 1000), asked, second)

        quickest = min(there + back for there, back in readings) / 2000
        off = abs((clock.time(second) - after(second)).total_seconds())
        assert off <= quickest + 0.001

    def test_goes_on_from_a_reading_without_another(self) -> None:
        clock = ServerClock()
        assert clock.is_due(5.0)
        clock.note(START, 9.9, 10.1)

        assert clock.time(12.0) == START + timedelta(seconds=2)
        assert not clock.is_due(12.0)
        assert clock.is_due(10.1 + READ_EVERY.total_seconds())

    def test_believes_a_clock_that_was_set_anew(self) -> None:
        clock = ServerClock()
        clock.note(START, 10.0, 10.0)

        clock.note(START + timedelta(hours=1), 20.0, 20.5)

        assert clock.time(20.25) == START + timedelta(hours=1)
