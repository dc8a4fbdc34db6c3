"""Timers: what may be set, when they end an allocation, and what they measure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customer import Customer
from gpucloud_core.access.authorize import Forbidden
from gpucloud_core.access.model import Role
from gpucloud_core.allocations.errors import NotTimeable
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.timer import SetTimer, TimerAsked, TimerKind, field_errors, timer_of
from gpucloud_core.kernel.errors import ValidationFailed
from gpucloud_core.kernel.ids import AllocationId

HOUR = timedelta(hours=1)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Timed(Customer):
    async def set(self, allocation: AllocationId, **asked: object) -> Allocation:
        use_case = SetTimer(transactions=self.cloud.transactions)
        timer = TimerAsked(**asked)  # type: ignore[arg-type]  # a test's shorthand
        return await use_case(actor=self.actor, allocation_id=allocation, asked=timer)

    async def running(self) -> AllocationId:
        allocation = await self.launch(1)
        await self.cloud.work()
        return allocation


class TestTimer:
    async def test_counts_a_time_to_live_from_when_it_became_active(self) -> None:
        ada = await Timed.arrive()
        allocation = await ada.running()
        await ada.cloud.pass_time(HOUR)

        timed = await ada.set(allocation, ttl_seconds=7200)

        assert timed.active_at is not None
        assert timed.releases_at == timed.active_at + 2 * HOUR
        await ada.cloud.pass_time(HOUR - timedelta(seconds=1))
        assert await ada.state(allocation) is AllocationState.ACTIVE
        await ada.cloud.pass_time(timedelta(seconds=2))
        assert await ada.state(allocation) is AllocationState.RELEASED

    async def test_ends_it_at_the_instant_that_was_chosen_before_it_ran(self) -> None:
        ada = await Timed.arrive()
        allocation = await ada.launch(1)
        end = ada.cloud.clock.now() + 3 * HOUR
        await ada.set(allocation, releases_at=end)

        await ada.cloud.pass_time(2 * HOUR)
        assert await ada.state(allocation) is AllocationState.ACTIVE
        await ada.cloud.pass_time(HOUR)

        assert await ada.state(allocation) is AllocationState.RELEASED
        row = (await ada.cloud.read(ada.actor, allocation)).allocation
        assert row.release_requested_at == end, "billing stopped to the instant"

    async def test_is_taken_away_so_that_it_runs_on(self) -> None:
        ada = await Timed.arrive()
        allocation = await ada.launch(1, ttl_seconds=600)
        await ada.cloud.work()

        timed = await ada.set(allocation)

        assert timer_of(timed) is None
        await ada.cloud.pass_time(HOUR)
        assert await ada.state(allocation) is AllocationState.ACTIVE

    async def test_says_what_it_measures(self) -> None:
        ada = await Timed.arrive()
        allocation = await ada.running()

        ttl = timer_of(await ada.set(allocation, ttl_seconds=600))
        at = timer_of(await ada.set(allocation, releases_at=ada.cloud.clock.now() + HOUR))

        assert ttl is not None
        assert at is not None
        assert (ttl.kind, at.kind) == (TimerKind.TTL, TimerKind.SCHEDULE)
        assert "whether it is used or not" in ttl.measures
        assert "whatever runs" in at.measures

    async def test_is_not_for_what_has_ended(self) -> None:
        ada = await Timed.arrive()
        allocation = await ada.running()
        await ada.cloud.release(ada.actor, allocation)

        with pytest.raises(NotTimeable):
            await ada.set(allocation, ttl_seconds=600)

    async def test_is_not_for_those_who_only_look(self) -> None:
        ada = await Timed.arrive()
        allocation = await ada.running()
        project = ada.cloud.project_of(ada.actor)
        ada.actor = replace(
            ada.actor, tenant_role=Role.VIEWER, project_roles={project: Role.VIEWER}
        )

        with pytest.raises(Forbidden):
            await ada.set(allocation, ttl_seconds=600)

    async def test_refuses_an_end_that_is_past(self) -> None:
        ada = await Timed.arrive()
        allocation = await ada.running()
        await ada.cloud.pass_time(HOUR)

        for asked in ({"ttl_seconds": 1800}, {"releases_at": ada.cloud.clock.now()}):
            with pytest.raises(ValidationFailed):
                await ada.set(allocation, **asked)


def _seconds(count: int) -> timedelta:
    return timedelta(seconds=count)


class TestFieldErrors:
    @given(
        seconds=st.integers(-10, 8_000_000),
        ran=st.integers(0, 8_000_000).map(_seconds),
    )
    def test_a_time_to_live_passes_only_if_its_end_is_ahead(
        self, seconds: int, ran: timedelta
    ) -> None:
        faults = field_errors(TimerAsked(ttl_seconds=seconds), active_at=NOW - ran, now=NOW)

        ahead = 300 <= seconds <= 90 * 86_400 and timedelta(seconds=seconds) > ran
        assert (not faults) is ahead

    @pytest.mark.parametrize(
        ("asked", "code"),
        [
            (TimerAsked(ttl_seconds=600, releases_at=NOW + HOUR), "two_timers"),
            (TimerAsked(releases_at=(NOW + HOUR).replace(tzinfo=None)), "no_offset"),
            (TimerAsked(releases_at=NOW + 91 * 24 * HOUR), "out_of_range"),
        ],
    )
    def test_names_what_is_wrong(self, asked: TimerAsked, code: str) -> None:
        (fault,) = field_errors(asked, active_at=None, now=NOW)

        assert fault.code == code
