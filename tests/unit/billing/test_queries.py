from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_builders import NOON
from billing_builders import DOLLAR, HOUR, TENANT, BillingWorld, a_segment, instants, rates
from gpucloud_core.access.model import Role
from gpucloud_core.billing.accounts import lock_account, place_hold, start_segment
from gpucloud_core.billing.balance import Runway
from gpucloud_core.billing.due import SettleDue
from gpucloud_core.billing.model import AccountKind
from gpucloud_core.billing.queries import (
    ListLedger,
    ListUsage,
    ReadBalance,
    UsageQuery,
    Window,
    usage_row,
)
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import AllocationId, ProjectId, SkuId, TenantId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.metering.charge import settlement

FOREVER = Runway()


async def a_busy_world(allocations: int = 3) -> BillingWorld:
    world = await BillingWorld().opened()
    await world.top_up(1000 * DOLLAR)
    for n in range(allocations):
        async with world.unit() as unit:
            account = await lock_account(unit, TENANT)
            allocation_id, now = AllocationId(f"alc_{n}"), await unit.now()
            await place_hold(unit, account, allocation_id, DOLLAR, now, world.ids.new)
            await start_segment(
                unit,
                account,
                allocation_id=allocation_id,
                project_id=ProjectId(f"prj_{n % 2}"),
                sku_id=SkuId("sku_1"),
                gpu_count=1,
                rate_micros_per_hour=(n + 1) * DOLLAR + n,
                at=now,
                new_id=world.ids.new,
            )
        world.clock.pass_(timedelta(minutes=7))
    return world


class TestUsageRow:
    @given(
        rate=rates,
        settled=instants,
        ended=st.none() | instants,
        cuts=st.lists(instants),
        now=instants,
    )
    def test_adds_up_over_windows_that_meet(
        self,
        rate: int,
        settled: datetime,
        ended: datetime | None,
        cuts: list[datetime],
        now: datetime,
    ) -> None:
        _, segment = settlement(a_segment(rate), settled)
        if ended is not None:
            segment = replace(segment, ended_at=max(ended, settled))
        edges = [None, *sorted(cuts), None]
        windows = [Window(since=a, until=b) for a, b in pairwise(edges)]

        whole = usage_row(segment, FOREVER, Window(), now)
        parts = [usage_row(segment, FOREVER, window, now) for window in windows]

        assert whole is not None
        found = [part for part in parts if part is not None]
        assert sum(part.cost_micros for part in found) == whole.cost_micros
        assert sum(part.settled_micros for part in found) == whole.settled_micros
        assert whole.settled_micros == segment.settled_micros
        assert all(part.settled_micros <= part.cost_micros for part in found)
        assert all(part.settled_micros == part.cost_micros for part in found if part.settled)

    def test_is_none_outside_the_window(self) -> None:
        segment = a_segment(ended_at=NOON + HOUR)

        before = usage_row(segment, FOREVER, Window(until=NOON), NOON + 2 * HOUR)
        after = usage_row(segment, FOREVER, Window(since=NOON + HOUR), NOON + 2 * HOUR)

        assert before is None
        assert after is None

    def test_never_shows_time_that_nothing_pays_for(self) -> None:
        segment = a_segment()
        run = Runway(depletes_at=NOON + HOUR, ends={segment.allocation_id: NOON + HOUR})

        row = usage_row(segment, run, Window(), NOON + 5 * HOUR)

        assert row is not None
        assert (row.until, row.cost_micros, row.seconds) == (NOON + HOUR, DOLLAR, 3600)


class TestListUsage:
    async def test_agrees_with_the_ledger_to_the_micro_unit(self) -> None:
        world = await a_busy_world()
        world.clock.pass_(2 * HOUR)
        await SettleDue(transactions=world.transactions)()
        world.clock.pass_(timedelta(seconds=1))

        page = await ListUsage(transactions=world.transactions)(
            actor=world.actor, query=UsageQuery()
        )

        balance = await world.balance()
        assert len(page.items) == 3
        settled = sum(row.settled_micros for row in page.items)
        assert settled == balance.parts[AccountKind.REVENUE] > 0
        assert sum(row.cost_micros for row in page.items) == settled + balance.pending_micros

    async def test_pages_and_filters(self) -> None:
        world = await a_busy_world()
        usage = ListUsage(transactions=world.transactions)

        first = await usage(actor=world.actor, query=UsageQuery(limit=2))
        second = await usage(actor=world.actor, query=UsageQuery(limit=2, cursor=first.next_cursor))
        one = await usage(actor=world.actor, query=UsageQuery(allocation_id=AllocationId("alc_1")))

        assert [row.allocation_id for row in first.items] == ["alc_2", "alc_1"]
        assert [row.allocation_id for row in second.items] == ["alc_0"]
        assert [row.project_id for row in one.items] == ["prj_1"]

    async def test_goes_on_past_pages_that_fall_outside_the_window(self) -> None:
        world = await a_busy_world()
        early = Window(until=NOON + timedelta(minutes=5))

        page = await ListUsage(transactions=world.transactions)(
            actor=world.actor, query=UsageQuery(window=early, limit=1)
        )

        assert [row.allocation_id for row in page.items] == ["alc_0"]

    async def test_shows_members_their_own_projects_only(self) -> None:
        world = await a_busy_world()
        usage = ListUsage(transactions=world.transactions)
        member = replace(
            world.actor,
            tenant_role=Role.MEMBER,
            project_roles={ProjectId("prj_0"): Role.VIEWER},
        )

        page = await usage(actor=member, query=UsageQuery())

        assert {row.project_id for row in page.items} == {"prj_0"}
        with pytest.raises(NotFound):
            await usage(actor=member, query=UsageQuery(project_ids=[ProjectId("prj_1")]))


class TestListLedger:
    async def test_lists_every_transfer_in_the_order_of_time(self) -> None:
        world = await a_busy_world()
        world.clock.pass_(2 * HOUR)
        await SettleDue(transactions=world.transactions)()

        page = await ListLedger(transactions=world.transactions)(
            actor=world.actor, query=ListQuery(sort="id")
        )

        kinds = [transfer.kind for transfer in page.items]
        assert kinds == ["payment", "hold", "hold", "hold", "usage", "usage", "usage"]
        assert [t.at for t in page.items] == sorted(t.at for t in page.items)

    async def test_shows_nothing_of_another_tenant(self) -> None:
        world = await a_busy_world()
        stranger = replace(world.actor, tenant_id=TenantId("ten_2"))

        page = await ListLedger(transactions=world.transactions)(
            actor=stranger, query=ListQuery(where={"tenant_id": [TENANT]})
        )

        assert page.items == ()
        with pytest.raises(NotFound):
            await ReadBalance(transactions=world.transactions)(actor=stranger)


class TestReadBalance:
    async def test_says_how_long_the_money_lasts(self) -> None:
        world = await a_busy_world(1)

        balance = await world.balance()

        assert balance.burn_rate_micros_per_hour == DOLLAR
        assert balance.depletes_at == NOON + 999 * HOUR
        assert balance.available_micros == 999 * DOLLAR - balance.pending_micros
