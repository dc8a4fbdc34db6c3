"""Small multiples draw what was read, on one scale, and leave out what is not known.

Seen to fail when a reading that is missing was drawn as zero, and when each was drawn between its
own lowest and highest.
"""

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gpucloud_web.charts import ROWS_MAX, Line
from gpucloud_web.sparks import HEIGHT, WIDTH, Sparks

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
readings = st.lists(st.none() | st.floats(-10, 130), min_size=1, max_size=80)


def drawn(*lines: list[float | None]) -> Sparks:
    return Sparks.of(
        id="x",
        title="GPU use",
        about="",
        times=[START + timedelta(minutes=number) for number in range(len(lines[0]))],
        lines=[Line(label=f"GPU {number}", values=line) for number, line in enumerate(lines)],
        zone=UTC,
        suffix=" %",
        ceiling=100.0,
    )


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


class TestSparks:
    @given(values=readings)
    def test_have_a_point_for_each_reading_and_none_for_what_is_unknown(
        self, values: list[float | None]
    ) -> None:
        (spark,) = drawn(values).sparks
        known = [place for place, value in enumerate(values) if value is not None]
        starts = [p for p in known if p == 0 or values[p - 1] is None]
        lone = [p for p in starts if p == len(values) - 1 or values[p + 1] is None]

        assert spark.line.count("M") == spark.area.count("Z") == len(starts)
        assert len(points(spark.line)) == len(known) + len(lone)
        for x, y in points(spark.line):
            assert 0 <= x <= WIDTH + 1
            assert 1 <= y <= HEIGHT - 1
        assert (spark.now == "—") == (not known)

    @given(value=st.floats(0, 100))
    def test_are_all_on_one_scale(self, value: float) -> None:
        one, two = drawn([value, value], [0.0, 100.0]).sparks

        (_, level), _ = points(one.line)
        (_, low), (_, high) = points(two.line)
        assert abs((low - level) / (low - high) - value / 100) < 0.01

    @given(values=readings)
    def test_say_the_same_as_a_table(self, values: list[float | None]) -> None:
        group = drawn(values, list(reversed(values)))

        assert group.heads == ("Time", "GPU 0", "GPU 1")
        assert 0 < len(group.rows) <= ROWS_MAX
        assert group.rows[-1][1] == ("—" if values[0] is None else f"{values[0]:,.0f} %")
