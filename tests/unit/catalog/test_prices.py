"""Seen to fail when a price still held at the very instant at which the next one starts."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from catalog_builders import NEW_YEAR, a_price, a_sku
from gpucloud_core.catalog.prices import is_sold, next_change, price_at, rate_micros_per_hour

HOUR = timedelta(hours=1)
hours = st.integers(-3, 12)


class TestPriceAt:
    @given(starts=st.lists(hours, unique=True, max_size=6), at=hours)
    def test_is_the_last_one_that_has_begun(self, starts: list[int], at: int) -> None:
        prices = [a_price(10 + hour, starts_at=NEW_YEAR + hour * HOUR) for hour in starts]

        found = price_at(prices, NEW_YEAR + at * HOUR)

        begun = [hour for hour in starts if hour <= at]
        assert (found.micros_per_gpu_hour if found else None) == (
            10 + max(begun) if begun else None
        )

    @given(starts=st.lists(hours, unique=True, max_size=6), at=hours)
    def test_holds_up_to_but_not_including_the_next(self, starts: list[int], at: int) -> None:
        prices = [a_price(10 + hour, starts_at=NEW_YEAR + hour * HOUR) for hour in starts]
        now = NEW_YEAR + at * HOUR

        end = next_change(prices, now)

        if end is not None:
            assert price_at(prices, end - timedelta(microseconds=1)) == price_at(prices, now)
            assert price_at(prices, end) != price_at(prices, now)

    def test_takes_the_later_row_where_two_start_together(self) -> None:
        first, correction = a_price(5, id="a/1"), a_price(6, id="a/2")

        assert price_at([correction, first], NEW_YEAR) == correction


class TestRate:
    @given(micros=st.integers(0, 10**9), count=st.integers(1, 16))
    def test_is_exact(self, micros: int, count: int) -> None:
        assert rate_micros_per_hour(a_price(micros), count) == micros * count


class TestIsSold:
    def test_asks_for_an_allowed_count_of_an_active_sku(self) -> None:
        assert is_sold(a_sku(), 4)
        assert not is_sold(a_sku(), 3)
        assert not is_sold(a_sku(active=False), 4)
