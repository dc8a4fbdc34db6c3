"""The documented cards, and how the pay page's form is read."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_adapters.simulated.stripe.cards import (
    CARDS,
    Entry,
    Fate,
    check_entry,
    expiry_of,
    find_card,
)

TODAY = date(2026, 11, 22)
GOOD = Entry(number="4242 4242 4242 4242", expiry="12 / 34", cvc="123", name="Ada")


class TestCards:
    def test_are_numbers_that_the_form_takes(self) -> None:
        for card in CARDS:
            entry = Entry(number=card.number, expiry="12/34", cvc="123", name="Ada")
            assert check_entry(entry, TODAY) == {}

    def test_say_why_whenever_they_decline(self) -> None:
        for card in CARDS:
            declines = card.fate in {Fate.DECLINED, Fate.ASKS_THEN_DECLINES}
            assert declines == (card.decline is not None)

    def test_decline_when_they_are_none_of_those_documented(self) -> None:
        assert find_card("4111111111111111").fate is Fate.DECLINED


class TestCheckEntry:
    @pytest.mark.parametrize(
        ("entry", "faults"),
        [
            (Entry(), {"number", "expiry", "cvc", "name"}),
            (Entry(number="4242424242424241", expiry="12/34", cvc="123", name="A"), {"number"}),
            (Entry(number="4242", expiry="12/34", cvc="123", name="A"), {"number"}),
            (Entry(number="٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢", expiry="12/34", cvc="123", name="A"), {"number"}),
            (Entry(number="4242424242424242", expiry="10/26", cvc="123", name="A"), {"expiry"}),
            (Entry(number="4242424242424242", expiry="13/34", cvc="123", name="A"), {"expiry"}),
            (Entry(number="4242424242424242", expiry="12/34", cvc="12", name="A"), {"cvc"}),
            (Entry(number="4242424242424242", expiry="12/34", cvc="123", name=" "), {"name"}),
        ],
    )
    def test_names_each_field_that_is_wrong(self, entry: Entry, faults: set[str]) -> None:
        assert set(check_entry(entry, TODAY)) == faults

    @pytest.mark.parametrize(
        ("typed", "means"),
        [
            ("12/34", (12, 2034)),
            ("1/34", (1, 2034)),
            ("0134", (1, 2034)),
            ("12 / 2034", (12, 2034)),
            ("11-26", (11, 2026)),
        ],
    )
    def test_reads_an_expiry_as_people_write_it(self, typed: str, means: tuple[int, int]) -> None:
        entry = Entry(number=GOOD.number, expiry=typed, cvc="123", name="Ada")

        assert check_entry(entry, TODAY) == {}
        assert expiry_of(entry) == means

    @given(st.text(max_size=20), st.text(max_size=10), st.text(max_size=5))
    def test_reads_anything(self, number: str, expiry: str, cvc: str) -> None:
        entry = Entry(number=number, expiry=expiry, cvc=cvc, name="Ada")

        if not check_entry(entry, TODAY):
            month, year = expiry_of(entry)
            assert 1 <= month <= 12
            assert year >= 2026
