from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_builders import NOON
from billing_builders import DOLLAR, HOUR, TENANT, US, a_hold, a_segment, some_books
from gpucloud_core.billing.balance import Runway
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.model import BillingAccount, Standing
from gpucloud_core.billing.standing import (
    STANDING,
    Facts,
    StandingEvent,
    moved,
    standing_at,
    what_moves,
)
from gpucloud_core.kernel.errors import IllegalTransition
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.machine import Decision

S, E = Standing, StandingEvent
ALC = AllocationId("alc_1")
DAY = 24 * HOUR


def an_account(standing: Standing = S.HEALTHY) -> BillingAccount:
    return BillingAccount(tenant_id=TENANT, currency="USD", standing=standing, created_at=NOON)


def a_run(depletes_at: datetime | None, *, reserve_ends: datetime | None = None) -> Runway:
    if reserve_ends is None:
        return Runway(depletes_at=depletes_at, ends={ALC: depletes_at})
    return Runway(depletes_at=depletes_at, ends={ALC: reserve_ends}, on_reserve=frozenset({ALC}))


def running(dollars: int, *, on_reserve: bool = False) -> Books:
    """Books with so many hours left of something that costs a dollar an hour."""
    hold = a_hold(DOLLAR, run_on_reserve=on_reserve)
    return some_books(dollars * DOLLAR, segments=[a_segment(DOLLAR)], holds=[hold])


class TestStandingAt:
    @pytest.mark.parametrize("start", [S.HEALTHY, S.LOW, S.AUTO_RELEASE_PENDING, S.DEPLETED])
    def test_follows_the_runway_from_wherever_it_was(self, start: Standing) -> None:
        account = an_account(start)

        assert standing_at(account, a_run(NOON + 2 * DAY), NOON) is S.HEALTHY
        assert standing_at(account, a_run(NOON + DAY), NOON) is S.LOW
        assert standing_at(account, a_run(NOON), NOON) is S.DEPLETED
        reserve = a_run(NOON, reserve_ends=NOON + HOUR)
        assert standing_at(account, reserve, NOON) is S.AUTO_RELEASE_PENDING
        assert standing_at(account, reserve, NOON + HOUR) is S.DEPLETED

    def test_turns_low_at_the_very_microsecond(self) -> None:
        account, run = an_account(), a_run(NOON + DAY)

        assert standing_at(account, run, NOON - US) is S.HEALTHY
        assert standing_at(account, run, NOON) is S.LOW

    def test_stays_depleted_until_money_comes_in(self) -> None:
        gone = an_account(S.DEPLETED)  # everything was released; its reserve came back

        assert standing_at(gone, Runway(), NOON) is S.DEPLETED
        assert standing_at(gone, Runway(), NOON, funded=True) is S.HEALTHY

    def test_heals_when_what_made_it_low_is_gone(self) -> None:
        assert standing_at(an_account(S.LOW), Runway(), NOON) is S.HEALTHY

    @given(hours=st.integers(0, 50), late=st.integers(0, 60))
    def test_never_leaves_a_suspension_by_itself(self, hours: int, late: int) -> None:
        account = an_account(S.SUSPENDED)

        assert what_moves(account, running(hours).run, NOON + late * HOUR) is None

    @given(start=st.sampled_from(Standing), hours=st.integers(0, 50), late=st.integers(0, 60))
    def test_is_stable_once_taken(self, start: Standing, hours: int, late: int) -> None:
        run, now = running(hours, on_reserve=bool(hours % 2)).run, NOON + late * HOUR
        first = standing_at(an_account(start), run, now)

        again = standing_at(replace(an_account(start), standing=first), run, now)

        assert again is first


class TestMoved:
    def test_suspends_from_anywhere_and_restores(self) -> None:
        for standing in set(Standing) - {S.SUSPENDED}:
            assert moved(an_account(standing), E.SUSPEND) is S.SUSPENDED
        assert moved(an_account(S.SUSPENDED), E.RESTORE) is S.HEALTHY

    def test_refuses_to_restore_what_is_not_suspended(self) -> None:
        with pytest.raises(IllegalTransition):
            moved(an_account(), E.RESTORE)


class TestTable:
    def test_leads_from_every_standing_back_to_health(self) -> None:
        facts = Facts(funded=True)
        for standing in Standing:
            event = E.RESTORE if standing is S.SUSPENDED else E.RECOVER
            if standing is not S.HEALTHY:
                decision = STANDING.decide(standing, event, facts)
                assert isinstance(decision, Decision)
                assert decision.state is S.HEALTHY
