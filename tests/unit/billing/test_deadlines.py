"""Notices and deadlines, one worker that may be late, and changes in between.

Seen to fail when a change that shortened the runway forgot the levels it passed, so that a launch
with two hours left first sent the notice for four, and when a longer runway did not make the
levels ahead of it sendable again.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from access_builders import NOON
from billing_builders import DOLLAR, HOUR, US, a_hold, a_lot, a_segment, some_books
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.deadlines import LEVELS, REMIND_AFTER, notice_instants
from gpucloud_core.billing.due import meet
from gpucloud_core.billing.model import AccountKind, Standing
from gpucloud_core.kernel.unit import Event

MINUTE = timedelta(minutes=1)
ALL = ("low", "4h", "1h", "15m", "0")


def running(hours: int, *, on_reserve: bool = False) -> Books:
    """Books with so many hours left of something that costs a dollar an hour."""
    hold = a_hold(DOLLAR, run_on_reserve=on_reserve)
    books = some_books(hours * DOLLAR, segments=[a_segment(DOLLAR)], holds=[hold])
    return books.ready(NOON)


def lived(books: Books, until: datetime) -> tuple[Books, list[tuple[datetime, Event]]]:
    """Meet every deadline at its instant, up to ``until``."""
    told: list[tuple[datetime, Event]] = []
    while (at := books.account.next_deadline_at) is not None and at <= until:
        books, events = meet(books, at)
        told += [(at, event) for event in events]
    return books, told


def levels(told: list[tuple[datetime, Event]]) -> list[object]:
    return [event.payload["level"] for _, event in told if event.kind == "billing.notice"]


class TestNotices:
    def test_come_each_once_in_order_at_their_instants(self) -> None:
        _, told = lived(running(48), NOON + 48 * HOUR)

        notices = [(at, event) for at, event in told if event.kind == "billing.notice"]
        assert levels(told) == list(ALL)
        leads = [24 * HOUR, *LEVELS.values()]
        assert [at for at, _ in notices] == [NOON + 48 * HOUR - lead for lead in leads]

    def test_skip_the_levels_a_launch_has_passed(self) -> None:
        _, told = lived(running(2), NOON + 2 * HOUR)

        assert levels(told) == ["1h", "15m", "0"]

    def test_send_only_the_most_urgent_after_a_long_sleep(self) -> None:
        books, events = meet(running(48), NOON + 47 * HOUR)

        assert levels([(NOON, event) for event in events]) == ["1h"]
        assert books.account.notices_sent == ("low", "4h", "1h")

    def test_are_not_lost_when_something_changes_just_before_the_worker_comes(self) -> None:
        books = running(48)
        late = NOON + 44 * HOUR + US  # the four-hour notice is due, nobody has looked yet
        touched = books.ready(late)

        _, events = meet(touched, late)

        assert levels([(late, event) for event in events]) == ["4h"]

    def test_come_again_after_a_top_up(self) -> None:
        books, first = lived(running(48), NOON + 45 * HOUR)
        richer = replace(
            books, balances={**books.balances, AccountKind.PREPAID: 96 * DOLLAR}
        ).ready(NOON + 45 * HOUR, funded=True)

        _, second = lived(richer, NOON + 96 * HOUR)

        assert levels(first) == ["low", "4h"]
        assert levels(second) == list(ALL)

    def test_name_the_instant_and_the_money(self) -> None:
        _, events = meet(running(48), NOON + 24 * HOUR)

        assert events[0].payload == {
            "level": "low",
            "depletes_at": "2026-11-24T12:00:00.000000Z",
            "available_micros": 24 * DOLLAR,
            "burn_rate_micros_per_hour": DOLLAR,
            "currency": "USD",
        }

    @given(hours=st.integers(1, 72), naps=st.lists(st.integers(1, 30 * 60), max_size=20))
    def test_are_never_repeated_and_never_out_of_order(self, hours: int, naps: list[int]) -> None:
        books, now, sent = running(hours), NOON, list[object]()
        for nap in naps:
            now += nap * MINUTE
            books, events = meet(books, now)
            sent += levels([(now, event) for event in events])

        assert sent == sorted(set(sent), key=lambda level: ALL.index(str(level)))

    def test_follow_the_tenants_own_low_mark(self) -> None:
        instants = notice_instants(NOON, 2)

        assert list(instants) == ["4h", "low", "1h", "15m", "0"]
        assert instants["low"] == NOON - 2 * HOUR


class TestEndOfBalance:
    def test_is_announced_until_it_is_carried_out(self) -> None:
        books, _ = lived(running(2), NOON + 2 * HOUR - US)
        zero = NOON + 2 * HOUR

        books, events = meet(books, zero)

        assert [event.kind for event in events] == ["billing.notice", "billing.depleted"]
        assert events[1].payload == {"allocations": {"alc_1": "2026-11-22T14:00:00.000000Z"}}
        assert books.account.standing is Standing.DEPLETED
        assert books.account.next_deadline_at == zero + REMIND_AFTER
        books, again = meet(books, zero + REMIND_AFTER)
        assert [event.kind for event in again] == ["billing.depleted"]

    def test_is_due_at_once_for_whoever_looks_meanwhile(self) -> None:
        books, _ = lived(running(2), NOON + 2 * HOUR - US)

        assert books.ready(NOON + 3 * HOUR).account.next_deadline_at == NOON + 2 * HOUR

    def test_runs_through_the_reserve(self) -> None:
        books, told = lived(running(2, on_reserve=True), NOON + 2 * HOUR)

        assert books.account.standing is Standing.AUTO_RELEASE_PENDING
        assert levels(told)[-1] == "0"
        assert "billing.depleted" not in {event.kind for _, event in told}
        assert books.account.next_deadline_at == NOON + 3 * HOUR
        books, events = meet(books, NOON + 3 * HOUR)
        assert [event.kind for event in events] == ["billing.depleted"]
        assert books.account.standing is Standing.DEPLETED


class TestNextDeadline:
    def test_is_none_while_nothing_can_happen(self) -> None:
        assert some_books(5 * DOLLAR).ready(NOON).account.next_deadline_at is None

    def test_knows_when_credit_expires(self) -> None:
        lot = a_lot(5, expires_at=NOON + 300 * HOUR)

        books, _ = lived(some_books(1, credits_=[lot]).ready(NOON), NOON + 300 * HOUR)

        assert books.account.credits == ()
        assert [transfer.kind for transfer in books.postings] == ["expiry"]
        assert books.account.next_deadline_at is None

    @given(hours=st.integers(0, 60), reserve=st.booleans(), nap=st.integers(0, 4000))
    def test_never_stays_behind_after_it_was_met(self, hours: int, reserve: bool, nap: int) -> None:
        now = NOON + nap * MINUTE

        books, _ = meet(running(hours, on_reserve=reserve), now)

        assert books.account.next_deadline_at is None or books.account.next_deadline_at > now
