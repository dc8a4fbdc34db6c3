"""Micro-units against Stripe's smallest units, and the pages' way of writing them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_adapters.simulated.stripe.deliveries import retry_after
from gpucloud_adapters.simulated.stripe.faults import Faults
from gpucloud_adapters.simulated.stripe.views import money
from gpucloud_adapters.stripe.amounts import from_stripe, to_stripe, unit_micros
from gpucloud_core.billing.ports import ProcessorRefused

currencies = st.sampled_from(["USD", "usd", "EUR", "JPY", "KWD"])


class TestAmounts:
    @given(units=st.integers(1, 10**12), currency=currencies)
    def test_come_back_as_they_went(self, units: int, currency: str) -> None:
        assert to_stripe(from_stripe(units, currency), currency) == units

    @given(micros=st.integers(-(10**9), 10**9), currency=currencies)
    def test_are_refused_when_stripe_could_not_take_them_exactly(
        self, micros: int, currency: str
    ) -> None:
        if micros > 0 and micros % unit_micros(currency) == 0:
            assert from_stripe(to_stripe(micros, currency), currency) == micros
        else:
            with pytest.raises(ProcessorRefused):
                to_stripe(micros, currency)

    @pytest.mark.parametrize(("currency", "micros"), [("USD", 10_000), ("JPY", 1_000_000)])
    def test_know_what_a_cent_is(self, currency: str, micros: int) -> None:
        assert unit_micros(currency) == micros


class TestMoney:
    @pytest.mark.parametrize(
        ("units", "currency", "written"),
        [
            (2500, "usd", "$25.00"),
            (5, "usd", "$0.05"),
            (123_456_789, "usd", "$1,234,567.89"),
            (2500, "jpy", "JPY 2,500"),
            (2500, "eur", "EUR 25.00"),
        ],
    )
    def test_is_written_as_people_read_it(self, units: int, currency: str, written: str) -> None:
        assert money(units, currency) == written


class TestFaults:
    def test_are_the_same_from_the_same_seed(self) -> None:
        text = "duplicate=0.5,reorder=0.5,seed=7"
        one, other = Faults.parse(text), Faults.parse(text)

        draws = [(one.delivers_again(), one.delay()) for _ in range(20)]

        assert draws == [(other.delivers_again(), other.delay()) for _ in range(20)]
        assert len(set(draws)) > 2

    def test_never_happen_unless_asked_for(self) -> None:
        faults = Faults()

        assert not any(faults.delivers_again() or faults.loses_answer() for _ in range(50))
        assert {faults.delay() for _ in range(50)} == {0.0}

    @pytest.mark.parametrize("text", ["explode=1", "duplicate=often", "_random=1"])
    def test_are_refused_when_unknown(self, text: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011  the command line shows its words
            Faults.parse(text)


class TestRetryAfter:
    @given(st.integers(0, 10_000))
    def test_grows_to_a_limit(self, attempt: int) -> None:
        assert 0 < retry_after(attempt) <= retry_after(attempt + 1) <= 300
