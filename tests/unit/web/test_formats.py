"""Words for money, time and sizes: exact, reversible where they can be, never mixed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_web import formats

NOW = datetime(2026, 11, 22, 17, 6, 2, tzinfo=UTC)
micros = st.integers(-(10**13), 10**13)


class TestAmount:
    @given(cents=st.integers(0, 10**9))
    def test_reads_back_to_the_same_cents(self, cents: int) -> None:
        assert formats.parse_amount(formats.amount(cents * 10_000)) == cents * 10_000

    @given(value=micros, places=st.sampled_from((0, 2, 4)))
    def test_is_off_by_half_a_unit_at_most(self, value: int, places: int) -> None:
        text = formats.amount(value, places=places).replace("$", "").replace(",", "")
        shown = int(text.replace(formats.MINUS, "").replace(".", ""))
        shown = -shown if text.startswith(formats.MINUS) else shown

        assert abs(shown * 10 ** (6 - places) - value) * 2 <= 10 ** (6 - places)

    @given(value=micros)
    def test_differs_from_its_opposite_by_the_sign_alone(self, value: int) -> None:
        signed = {formats.amount(value).lstrip(formats.MINUS)}

        assert signed == {formats.amount(-value).lstrip(formats.MINUS)}

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1_284_370_000, "$1,284.37"),
            (-530_000, "−$0.53"),
            (-1, "$0.00"),
            (4_999, "$0.00"),
            (5_000, "$0.01"),
        ],
    )
    def test_rounds_half_away_from_zero(self, value: int, text: str) -> None:
        assert formats.amount(value) == text

    def test_puts_the_code_behind_where_there_is_no_sign(self) -> None:
        assert formats.amount(12_340_000, "CHF") == "12.34 CHF"

    def test_shows_unit_prices_with_four_decimals(self) -> None:
        assert formats.unit_price(2_490_000) == "$2.4900 / GPU-h"
        assert formats.hourly(19_920_000) == "$19.92/h"
        assert formats.daily(19_920_000) == "about $478/day"


class TestParseAmount:
    @given(text=st.text())
    def test_never_raises_and_never_goes_below_zero(self, text: str) -> None:
        value = formats.parse_amount(text)

        assert value is None or value >= 0

    @pytest.mark.parametrize(
        "text", ["", "-5", "5.123", "1e3", "٣", "5.", "NaN", "9999999999", "5,5.5.5"]
    )
    def test_refuses_what_is_no_amount_in_cents(self, text: str) -> None:
        assert formats.parse_amount(text) is None

    def test_takes_what_people_type(self) -> None:
        assert formats.parse_amount(" $1,250.5 ") == 1_250_500_000

    def test_takes_prices_no_finer_than_they_are_shown(self) -> None:
        """Seen to fail when any number of decimals was taken."""
        assert formats.parse_amount("2.4905", decimals=formats.PRICE_DECIMALS) == 2_490_500
        assert formats.parse_amount("2.49051", decimals=formats.PRICE_DECIMALS) is None


class TestDuration:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.01, "under 0.1 s"),
            (0.3, "0.3 s"),
            (28, "28 s"),
            (103, "1 min 43 s"),
            (120, "2 min"),
            (7_500, "2 h 05 min"),
            (223_200, "2 d 14 h"),
        ],
    )
    def test_says_two_units_at_most(self, seconds: float, text: str) -> None:
        assert formats.duration(seconds) == text

    @given(
        first=st.integers(0, 10**7),
        more=st.integers(0, 10**7),
    )
    def test_of_a_span_never_goes_backwards(self, first: int, more: int) -> None:
        end = NOW + timedelta(seconds=first)

        assert formats.span(end + timedelta(seconds=more + 1), end) == "under 0.1 s"


class TestMoment:
    @given(seconds=st.integers(-86_399, 86_399))
    def test_is_relative_within_a_day(self, seconds: int) -> None:
        text = formats.moment(NOW + timedelta(seconds=seconds), NOW).text

        assert text == "now" or text.endswith(" ago") == (seconds < 0)

    def test_is_a_date_beyond_a_day_in_the_readers_zone(self) -> None:
        zone = ZoneInfo("Europe/Berlin")
        shown = formats.moment(datetime(2026, 11, 20, 16, 6, 5, tzinfo=UTC), NOW, zone)

        assert shown.text == "2026-11-20 17:06"
        assert shown.iso == "2026-11-20T16:06:05Z"
        assert shown.full == "2026-11-20 17:06:05 CET (2026-11-20 16:06:05 UTC)"

    def test_falls_back_to_utc_for_a_zone_nobody_knows(self) -> None:
        assert formats.zone_of("Mars/Olympus") is UTC
        assert formats.zone_of("../../etc/passwd") is UTC


class TestGpuSet:
    @given(indexes=st.sets(st.integers(0, 15), min_size=1))
    def test_names_each_gpu_once(self, indexes: set[int]) -> None:
        named: list[int] = []
        for part in (
            formats.gpu_set(tuple(indexes)).removeprefix("GPUs ").removeprefix("GPU ").split(", ")
        ):
            first, _, last = part.partition("–")
            named += range(int(first), int(last or first) + 1)

        assert named == sorted(indexes)

    def test_is_a_dash_when_there_is_none(self) -> None:
        assert formats.gpu_set(()) == formats.UNKNOWN


class TestSmallWords:
    def test_count_things_with_their_noun(self) -> None:
        assert formats.counted(1, "workload") == "1 workload"
        assert formats.counted(1_204, "workload") == "1,204 workloads"
        assert formats.counted(2, "retry", "retries") == "2 retries"

    def test_say_memory_in_binary_units(self) -> None:
        assert formats.gibibytes(262_144) == "256 GiB"
        assert formats.gibibytes(2_097_152) == "2 TiB"

    @given(name=st.text())
    def test_take_at_most_two_letters_of_any_name(self, name: str) -> None:
        assert 1 <= len(formats.initials(name)) <= 4  # a letter may have a longer upper case

    def test_shorten_ids_and_leave_short_ones(self) -> None:
        assert formats.shortened("alc_01jd7q2m9kx4abcdefgh") == "alc_01jd7q2m9k…"
        assert formats.shortened("alc_1") == "alc_1"
