"""The computed instants against an oracle that really lets each microsecond pass.

Seen to fail when the depletion was the microsecond that costs more than is left, when it was
looked for from the newest settled instant, and when it left the expiry of credit out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_builders import NOON
from billing_builders import (
    DOLLAR,
    HOUR,
    US,
    a_hold,
    a_lot,
    a_segment,
    instants,
    rates,
    some_books,
)
from gpucloud_core.billing.balance import (
    balance_after,
    end_of_balance_plan,
    expired_by,
    hold_amount,
    spendable,
)
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.credit import in_spending_order
from gpucloud_core.billing.model import AccountKind, CreditLot, Hold
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.metering.charge import charged, settlement, unsettled
from gpucloud_core.metering.model import UsageSegment

HORIZON = 60  # microseconds the oracle lives through


@dataclass
class Oracle:
    """Lives through time one microsecond at a time, spending real pots in the real order."""

    prepaid: int
    lots: list[CreditLot]

    def first_end(self, segments: Sequence[UsageSegment], horizon: int) -> datetime | None:
        """Return the first instant with nothing left, or the last before it would be less."""
        now = min(segment.settled_until for segment in segments)
        spent = 0
        for _ in range(horizon):
            due = unsettled(segments, now) - spent
            spent += due
            if not self._spend(due):
                return now - US
            self.lots = [lot for lot in self.lots if lot.expires_at is None or lot.expires_at > now]
            if not self.prepaid + sum(lot.remaining_micros for lot in self.lots):
                return now
            now += US
        return None

    def _spend(self, micros: int) -> bool:
        left = []
        for lot in in_spending_order(self.lots):
            part = min(micros, lot.remaining_micros)
            micros -= part
            left.append(replace(lot, remaining_micros=lot.remaining_micros - part))
        self.lots, self.prepaid = left, self.prepaid - micros
        return self.prepaid >= 0


fast_rates = st.integers(1, 80).map(lambda n: n * 90_000_000)
moments = st.integers(0, 30).map(lambda n: NOON + n * US)


@st.composite
def fast_books(draw: st.DrawFn) -> Books:
    """Books that run dry within microseconds: up to three segments and three lots."""
    segments, holds = [], []
    for number in range(draw(st.integers(1, 3))):
        name = f"alc_{number}"
        segment = a_segment(
            draw(fast_rates), id=f"seg_{number}", allocation=name, started_at=draw(moments)
        )
        segments.append(segment)
        holds.append(
            a_hold(draw(st.integers(0, 9)), allocation=name, run_on_reserve=draw(st.booleans()))
        )
    lots = [
        a_lot(draw(st.integers(1, 8)), expires_at=draw(st.none() | moments), name=f"lot_{number}")
        for number in range(draw(st.integers(0, 3)))
    ]
    return some_books(draw(st.integers(0, 12)), credits_=lots, segments=segments, holds=holds)


@st.composite
def any_books(draw: st.DrawFn) -> Books:
    """Books of ordinary size, with some time settled as far as the balance pays."""
    segments = [
        a_segment(draw(rates), id=f"seg_{n}", allocation=f"alc_{n}", started_at=draw(instants))
        for n in range(draw(st.integers(0, 4)))
    ]
    holds = [
        a_hold(draw(st.integers(0, 10 * DOLLAR)), allocation=f"alc_{n}", run_on_reserve=n % 2 == 0)
        for n in range(len(segments))
    ]
    lots = [
        a_lot(
            draw(st.integers(1, 9 * DOLLAR)), expires_at=draw(st.none() | instants), name=f"lot_{n}"
        )
        for n in range(draw(st.integers(0, 2)))
    ]
    return some_books(
        draw(st.integers(0, 90 * DOLLAR)), credits_=lots, segments=segments, holds=holds
    )


class TestDepletion:
    @given(books=fast_books())
    def test_is_the_instant_a_patient_observer_sees(self, books: Books) -> None:
        seen = Oracle(books.prepaid_micros, list(books.account.credits)).first_end(
            books.segments, HORIZON * 3
        )

        computed = books.run.depletes_at

        if seen is None:
            assert computed is None or computed >= NOON + HORIZON * US
        else:
            assert computed == seen

    @given(books=any_books())
    def test_leaves_nothing_and_takes_no_more(self, books: Books) -> None:
        at = books.run.depletes_at

        if at is None:
            return
        dust = books.available(at)
        assert dust >= 0
        assert 0 <= books.available(at + HOUR) <= dust, "nothing is spent past the depletion"
        if dust:
            next_lost = expired_by(books.account.credits, books.segments, at + US)
            next_spent = unsettled(books.segments, at + US)
            assert next_spent + next_lost > spendable(books.balances), "it would be less than zero"

    def test_leaves_dust_that_still_expires(self) -> None:
        # Both rounded charges step at once, over the last micro-unit of the credit.
        segments = [a_segment(DOLLAR, id=f"seg_{n}", allocation=f"alc_{n}") for n in range(2)]
        lot = a_lot(1565, expires_at=NOON + timedelta(minutes=1))

        books = some_books(credits_=[lot], segments=segments)

        assert books.run.depletes_at is not None
        assert books.available(books.run.depletes_at) == 1
        assert books.available(NOON + HOUR) == 0

    def test_is_never_while_nothing_runs(self) -> None:
        ended = a_segment(DOLLAR, ended_at=NOON + HOUR)

        assert some_books(0).run.depletes_at is None
        assert some_books(5, segments=[ended]).run.depletes_at is None
        assert some_books(0, segments=[a_segment(0)]).run.depletes_at is None

    def test_waits_for_credit_only_as_long_as_it_lasts(self) -> None:
        lot = a_lot(10 * DOLLAR, expires_at=NOON + HOUR)
        books = some_books(2 * DOLLAR, credits_=[lot], segments=[a_segment(DOLLAR)])

        assert books.run.depletes_at == NOON + 3 * HOUR  # one hour of credit, two of prepaid


class TestReserve:
    @given(books=fast_books())
    def test_pays_its_own_allocation_to_the_last_microsecond(self, books: Books) -> None:
        run = books.run

        for segment in books.running:
            end = run.ends[segment.allocation_id]
            hold = books.hold_of(segment.allocation_id)
            assert run.depletes_at is not None
            assert hold is not None
            assert end is not None
            since = max(run.depletes_at, segment.settled_until)
            reserve = hold.amount_micros if hold.run_on_reserve else 0
            used = charged(segment, end) - charged(segment, since)
            assert end >= since
            assert used <= reserve
            if hold.run_on_reserve:
                assert (
                    charged(segment, end + US) - charged(segment, since) > reserve
                    or used == reserve
                )
            else:
                assert end == since

    def test_lasts_the_minutes_it_was_made_for(self) -> None:
        hold = a_hold(hold_amount(DOLLAR, 60), run_on_reserve=True)
        books = some_books(DOLLAR, segments=[a_segment(DOLLAR)], holds=[hold])

        assert books.run.ends == {hold.allocation_id: NOON + 2 * HOUR}


class TestBalance:
    @given(books=any_books(), now=instants)
    def test_always_adds_up_and_is_never_negative(self, books: Books, now: datetime) -> None:
        balance = books.balance(now)

        assert (
            balance.posted_micros - balance.held_micros - balance.pending_micros
            == balance.available_micros
        )
        assert balance.available_micros >= 0
        assert balance.held_micros >= 0
        assert balance.pending_micros >= 0

    @given(books=any_books(), now=instants)
    def test_does_not_move_when_usage_is_settled(self, books: Books, now: datetime) -> None:
        run = books.run
        after = books
        for segment in books.running:
            until = run.balance_pays_until(segment, now)
            micros, settled = settlement(segment, until)
            balances = dict(after.balances)
            # The pots do not matter to the sum, so take it all from one that may go below zero.
            balances[AccountKind.PREPAID] -= micros
            after = replace(after.with_segment(settled), balances=balances)

        if any(lot.expires_at is not None for lot in books.account.credits):
            return  # the oracle of depletion above covers expiry
        assert after.balance(now).available_micros == books.balance(now).available_micros
        assert after.run.depletes_at == run.depletes_at

    def test_moves_a_reserve_that_is_being_spent_from_held_to_pending(self) -> None:
        hold = a_hold(DOLLAR, run_on_reserve=True)
        books = some_books(DOLLAR, segments=[a_segment(DOLLAR)], holds=[hold])

        balance = books.balance(NOON + HOUR + timedelta(minutes=30))

        assert balance.held_micros == DOLLAR // 2
        assert balance.pending_micros == DOLLAR + DOLLAR // 2
        assert balance.available_micros == 0


class TestEndOfBalancePlan:
    def mixed(self) -> Books:
        segments = [
            a_segment(DOLLAR, id="seg_1", allocation="alc_release"),
            a_segment(DOLLAR, id="seg_2", allocation="alc_reserve"),
        ]
        holds: list[Hold] = [
            a_hold(DOLLAR, allocation="alc_release"),
            a_hold(DOLLAR, allocation="alc_reserve", run_on_reserve=True),
        ]
        return some_books(2 * DOLLAR, segments=segments, holds=holds)

    def plan(self, books: Books, now: datetime) -> dict[AllocationId, datetime]:
        return end_of_balance_plan(books.run, books.running, now)

    def test_is_empty_while_there_is_money(self) -> None:
        assert self.plan(self.mixed(), NOON + HOUR - US) == {}

    def test_releases_first_what_does_not_run_on_its_reserve(self) -> None:
        late = NOON + 26 * HOUR  # the worker slept; the instants stay what they are

        assert self.plan(self.mixed(), NOON + HOUR) == {AllocationId("alc_release"): NOON + HOUR}
        assert self.plan(self.mixed(), late) == {AllocationId("alc_release"): NOON + HOUR}

    def test_releases_the_rest_when_the_reserve_is_spent(self) -> None:
        books = self.mixed()
        books = replace(books, segments=books.segments[1:])

        assert self.plan(books, NOON + 2 * HOUR + timedelta(minutes=59)) == {}
        assert self.plan(books, NOON + 3 * HOUR) == {AllocationId("alc_reserve"): NOON + 3 * HOUR}

    def test_keeps_everything_running_if_money_lands_first(self) -> None:
        books = self.mixed()
        richer = replace(books, balances={**books.balances, AccountKind.PREPAID: 9 * DOLLAR})

        assert self.plan(richer, NOON + HOUR) == {}


class TestHoldAmount:
    @given(rate=rates, minutes=st.integers(15, 240))
    def test_covers_all_of_its_minutes_and_no_whole_micro_more(
        self, rate: int, minutes: int
    ) -> None:
        micros = hold_amount(rate, minutes)

        assert 60 * (micros - 1) < rate * minutes <= 60 * micros

    @pytest.mark.parametrize("minutes", [0, 14, 241])
    def test_refuses_minutes_out_of_bounds(self, minutes: int) -> None:
        with pytest.raises(ValueError, match="15 to 240"):
            hold_amount(DOLLAR, minutes)


class TestBalanceAfter:
    def test_is_what_the_runway_says_once_it_runs(self) -> None:
        books = some_books(10 * DOLLAR, segments=[a_segment(DOLLAR)])
        told = balance_after(books.balance(NOON), 2 * DOLLAR, 3 * DOLLAR)
        launched = some_books(
            8 * DOLLAR,
            segments=[a_segment(DOLLAR), a_segment(3 * DOLLAR, id="seg_2", allocation="alc_2")],
        )

        assert told == launched.run.depletes_at == NOON + 2 * HOUR

    def test_is_at_once_where_the_hold_takes_everything(self) -> None:
        balance = some_books(DOLLAR).balance(NOON)

        assert balance_after(balance, DOLLAR, DOLLAR) == NOON
        assert balance_after(balance, 0, 0) is None
