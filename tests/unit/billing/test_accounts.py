from dataclasses import replace
from datetime import timedelta

import pytest

from access_builders import NOON
from billing_builders import DOLLAR, HOUR, TENANT, US, BillingWorld, a_segment
from gpucloud_adapters.memory.kind_rows import MemoryBillingAccounts
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_adapters.stored.kinds import BILLING_ACCOUNTS, HOLDS, USAGE_SEGMENTS
from gpucloud_core.access.model import Tenant, TenantKind
from gpucloud_core.billing.accounts import (
    FinalCharge,
    HoldRequest,
    end_of_balance,
    end_segment,
    end_segment_and_void,
    keep_books,
    lock_account,
    open_account,
    place_hold,
    place_holds,
    read_books,
    refresh_deadline,
    start_segment,
    void_hold,
)
from gpucloud_core.billing.balance import hold_amount
from gpucloud_core.billing.books import AccountSuspended, InsufficientBalance
from gpucloud_core.billing.due import MeetDeadline, SettleDue
from gpucloud_core.billing.model import AccountKind, HoldState, Standing, TransferKind
from gpucloud_core.billing.standing import StandingEvent, moved
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import AllocationId, ProjectId, SkuId, TenantId
from gpucloud_core.kernel.unit import Unit

ALC = AllocationId("alc_1")


class Cloud(BillingWorld):
    """The steps of an allocation's life, as the concept ``allocations`` takes them."""

    async def launch(
        self, allocation: str = ALC, *, rate: int = DOLLAR, run_on_reserve: bool = False
    ) -> None:
        async with self.unit() as unit:
            account = await lock_account(unit, TENANT)
            await place_hold(
                unit,
                account,
                AllocationId(allocation),
                hold_amount(rate, account.reserve_minutes),
                await unit.now(),
                self.ids.new,
                run_on_reserve=run_on_reserve,
            )

    async def activate(self, allocation: str = ALC, *, rate: int = DOLLAR) -> None:
        async with self.unit() as unit:
            await start_segment(
                unit,
                await lock_account(unit, TENANT),
                allocation_id=AllocationId(allocation),
                project_id=ProjectId("prj_1"),
                sku_id=SkuId("sku_1"),
                gpu_count=2,
                rate_micros_per_hour=rate,
                at=await unit.now(),
                new_id=self.ids.new,
            )

    async def release(self, allocation: str = ALC) -> FinalCharge:
        async with self.unit() as unit:
            account = await lock_account(unit, TENANT)
            return await end_segment_and_void(
                unit, account, AllocationId(allocation), await unit.now()
            )

    async def due(self) -> list[str]:
        """Let the deadline worker look, and return what has to be released."""
        await MeetDeadline(transactions=self.transactions)()
        async with self.unit() as unit:
            return list(
                await end_of_balance(unit, await lock_account(unit, TENANT), self.clock.now())
            )


async def funded(micros: int = 5 * DOLLAR) -> Cloud:
    cloud = Cloud()
    await cloud.opened()
    await cloud.top_up(micros)
    return cloud


class TestOpenAccount:
    async def test_gives_a_tenant_an_account_in_its_currency(self) -> None:
        cloud = Cloud()
        tenant = Tenant(
            id=TENANT, name="Ada", kind=TenantKind.PERSONAL, currency="EUR", created_at=NOON
        )
        async with cloud.unit() as unit:
            await open_account(unit, tenant)

        (account,) = cloud.transactions.database.rows(BILLING_ACCOUNTS)
        assert (account.tenant_id, account.currency) == (TENANT, "EUR")
        assert account.standing is Standing.HEALTHY

    async def test_needs_a_unit_that_keeps_accounts(self) -> None:
        tenant = Tenant(id=TENANT, name="Ada", kind=TenantKind.PERSONAL, created_at=NOON)

        class Bare:
            """A unit of another store, which knows nothing of money."""

        bare: Unit = Bare()  # type: ignore[assignment]  # what bootstrap might wrongly pass
        with pytest.raises(TypeError, match="billing accounts"):
            await open_account(bare, tenant)


class TestLockAccount:
    async def test_knows_nothing_of_strangers(self) -> None:
        cloud = await funded()

        with pytest.raises(NotFound):
            async with cloud.unit() as unit:
                await lock_account(unit, TenantId("ten_none"))


class TestPlaceHold:
    async def test_takes_the_money_out_of_what_is_available(self) -> None:
        cloud = await funded()

        await cloud.launch(rate=2 * DOLLAR)

        balance = await cloud.balance()
        assert (balance.held_micros, balance.available_micros) == (2 * DOLLAR, 3 * DOLLAR)
        assert balance.posted_micros == 5 * DOLLAR

    async def test_says_in_words_what_is_missing_and_takes_nothing(self) -> None:
        cloud = await funded()

        with pytest.raises(InsufficientBalance) as refused:
            await cloud.launch(rate=5 * DOLLAR + 1)

        assert refused.value.detail == (
            "$5.01 have to be set aside as the reserve and $5.00 are available. Add at least $0.01."
        )
        assert cloud.transactions.database.rows(HOLDS) == ()

    async def test_may_take_the_last_micro(self) -> None:
        cloud = await funded()

        await cloud.launch(rate=5 * DOLLAR)

        assert (await cloud.balance()).available_micros == 0

    async def test_holds_for_a_whole_launch_or_for_nothing(self) -> None:
        cloud = await funded()
        three = [
            HoldRequest(allocation_id=AllocationId(f"alc_{n}"), micros=2 * DOLLAR) for n in range(3)
        ]

        async def hold(requests: list[HoldRequest]) -> int:
            async with cloud.unit() as unit:
                account = await lock_account(unit, TENANT)
                made = await place_holds(
                    unit, account, requests, now=await unit.now(), new_id=cloud.ids.new
                )
            return len(made)

        with pytest.raises(InsufficientBalance):
            await hold(three)
        assert cloud.transactions.database.rows(HOLDS) == ()
        assert await hold(three[:2]) == 2
        assert (await cloud.balance()).available_micros == DOLLAR

    async def test_is_refused_while_a_payment_is_disputed(self) -> None:
        cloud = await funded()
        async with cloud.unit() as unit:
            before = await read_books(unit, await lock_account(unit, TENANT))
            standing = moved(before.account, StandingEvent.SUSPEND)
            await unit.billing_accounts.put(replace(before.account, standing=standing))

        with pytest.raises(AccountSuspended):
            await cloud.launch()


class TestMeter:
    async def test_charges_from_active_to_release_to_the_micro_unit(self) -> None:
        cloud = await funded()
        await cloud.launch()
        cloud.clock.pass_(timedelta(minutes=3))  # provisioning is free
        await cloud.activate()
        cloud.clock.pass_(timedelta(minutes=90, microseconds=1))

        charge = await cloud.release()

        assert charge == FinalCharge(stopped_at=cloud.clock.now(), cost_micros=1_500_000)
        balance = await cloud.balance()
        assert (balance.posted_micros, balance.held_micros) == (3_500_000, 0)

    async def test_starts_once_and_ends_once(self) -> None:
        cloud = await funded()
        await cloud.launch()
        await cloud.activate()
        cloud.clock.pass_(HOUR)
        await cloud.activate()  # the worker lost the answer

        first = await cloud.release()
        cloud.clock.pass_(HOUR)
        again = await cloud.release()

        assert first == again
        assert len(cloud.transactions.database.rows(USAGE_SEGMENTS)) == 1

    async def test_costs_nothing_if_it_never_ran(self) -> None:
        cloud = await funded()
        await cloud.launch()
        cloud.clock.pass_(HOUR)

        charge = await cloud.release()

        assert charge == FinalCharge(stopped_at=None, cost_micros=0)
        assert (await cloud.balance()).available_micros == 5 * DOLLAR

    async def test_can_pause_and_go_on_with_the_same_hold(self) -> None:
        cloud = await funded()
        await cloud.launch()
        await cloud.activate()
        cloud.clock.pass_(HOUR)
        async with cloud.unit() as unit:
            paused = await end_segment(
                unit, await lock_account(unit, TENANT), ALC, await unit.now()
            )
        cloud.clock.pass_(5 * HOUR)  # degraded: not billed
        await cloud.activate()
        cloud.clock.pass_(HOUR)

        charge = await cloud.release()

        assert paused.cost_micros == DOLLAR
        assert charge.cost_micros == 2 * DOLLAR
        assert {hold.state for hold in cloud.transactions.database.rows(HOLDS)} == {
            HoldState.VOIDED
        }

    async def test_gives_settled_time_back_by_name_when_it_proves_bad(self) -> None:
        cloud = await funded(20 * DOLLAR)
        await cloud.launch()
        await cloud.activate()
        for _ in range(3):
            cloud.clock.pass_(HOUR)
            await SettleDue(transactions=cloud.transactions)()
        async with cloud.unit() as unit:
            charge = await end_segment(
                unit, await lock_account(unit, TENANT), ALC, NOON + HOUR + HOUR / 2
            )

        assert charge == FinalCharge(stopped_at=NOON + HOUR + HOUR / 2, cost_micros=1_500_000)
        transfers = cloud.transactions.database.transfers
        entries = {t.id: t for t in transfers if t.kind is TransferKind.USAGE}
        corrections = [t for t in transfers if t.kind is TransferKind.CORRECTION]
        assert corrections
        assert all(t.corrects in entries for t in corrections)
        revenue = sum(t.entries.get(AccountKind.REVENUE, 0) for t in transfers)
        assert revenue == 1_500_000

    async def test_can_let_a_hold_go_alone(self) -> None:
        cloud = await funded()
        await cloud.launch()
        async with cloud.unit() as unit:
            await void_hold(unit, await lock_account(unit, TENANT), ALC, await unit.now())

        assert (await cloud.balance()).available_micros == 5 * DOLLAR


class TestEndOfBalance:
    async def test_stops_at_the_depletion_however_late_the_workers_are(self) -> None:
        cloud = await funded()
        await cloud.launch()
        await cloud.activate()
        cloud.clock.pass_(26 * HOUR)

        assert await cloud.due() == [ALC]
        charge = await cloud.release()

        assert charge == FinalCharge(stopped_at=NOON + 4 * HOUR, cost_micros=4 * DOLLAR)
        assert (await cloud.balance()).available_micros == DOLLAR  # the reserve came back
        assert (await cloud.account()).standing is Standing.DEPLETED
        assert await cloud.due() == []

    async def test_leaves_everything_running_if_a_top_up_lands_first(self) -> None:
        cloud = await funded()
        await cloud.launch()
        await cloud.activate()
        cloud.clock.pass_(4 * HOUR)
        await MeetDeadline(transactions=cloud.transactions)()
        assert (await cloud.account()).standing is Standing.DEPLETED

        await cloud.top_up(48 * DOLLAR)

        assert await cloud.due() == []
        assert (await cloud.account()).standing is Standing.HEALTHY
        cloud.clock.pass_(HOUR)
        assert (await cloud.release()).cost_micros == 5 * DOLLAR

    async def test_spends_the_reserve_before_it_releases_what_may_run_on_it(self) -> None:
        cloud = await funded()
        await cloud.launch(run_on_reserve=True)
        await cloud.activate()
        cloud.clock.pass_(4 * HOUR + timedelta(minutes=30))

        assert await cloud.due() == []
        assert (await cloud.account()).standing is Standing.AUTO_RELEASE_PENDING
        cloud.clock.pass_(timedelta(minutes=30))
        assert await cloud.due() == [ALC]
        charge = await cloud.release()

        assert charge == FinalCharge(stopped_at=NOON + 5 * HOUR, cost_micros=5 * DOLLAR)
        assert (await cloud.balance()).posted_micros == 0

    async def test_keeps_the_depletion_that_the_rows_say_when_a_reserve_was_spent(self) -> None:
        cloud = await funded()
        await cloud.launch("alc_a", run_on_reserve=True)
        await cloud.launch("alc_b")
        await cloud.activate("alc_a")
        await cloud.activate("alc_b")
        cloud.clock.pass_(24 * HOUR)

        await cloud.release("alc_a")

        async with cloud.unit() as unit:
            account = await lock_account(unit, TENANT)
            books = await read_books(unit, account)
        assert account.depletes_at == books.run.depletes_at == NOON + 1.5 * HOUR

    async def test_returns_what_is_left_of_a_reserve(self) -> None:
        cloud = await funded()
        await cloud.launch(run_on_reserve=True)
        await cloud.activate()
        cloud.clock.pass_(4 * HOUR + timedelta(minutes=15))

        charge = await cloud.release()

        assert charge.cost_micros == 4_250_000
        assert (await cloud.balance()).available_micros == 750_000

    async def test_announces_and_notifies_each_tenant(self) -> None:
        cloud = await funded()
        await cloud.launch()
        await cloud.activate()
        cloud.clock.pass_(4 * HOUR)

        await cloud.due()

        assert [event.payload["level"] for event in cloud.told("billing.notice")] == ["0"]
        (depleted,) = cloud.told("billing.depleted")
        assert depleted.payload == {"allocations": {ALC: "2026-11-22T16:00:00.000000Z"}}
        moves = [event.payload for event in cloud.told("billing.standing_changed")]
        assert moves == [{"from": "healthy", "to": "low"}, {"from": "low", "to": "depleted"}]


class TestRefreshDeadline:
    async def test_follows_a_new_low_mark(self) -> None:
        cloud = await funded()
        await cloud.launch()
        await cloud.activate()
        assert (await cloud.account()).standing is Standing.LOW
        async with cloud.unit() as unit:
            account = await lock_account(unit, TENANT)
            await unit.billing_accounts.put(replace(account, low_balance_hours=2))
            refreshed = await refresh_deadline(unit, account, await unit.now())

        assert refreshed.standing is Standing.HEALTHY
        assert refreshed.next_deadline_at == NOON + 4 * HOUR - 2 * HOUR


class TestKeepBooks:
    async def test_refuses_a_transfer_that_someone_else_has_posted(self) -> None:
        cloud = await funded()
        (paid,) = cloud.transactions.database.transfers

        async def post_again() -> None:
            async with cloud.unit() as unit:
                before = await read_books(unit, await lock_account(unit, TENANT))
                await keep_books(unit, before, before.posted(paid))

        with pytest.raises(ValueError, match="without the lock"):
            await post_again()

        assert (await cloud.balance()).posted_micros == 5 * DOLLAR


class TestSettleDue:
    async def test_settles_each_segment_in_its_own_turn_of_the_hour(self) -> None:
        cloud = await funded(1000 * DOLLAR)
        for n in range(5):
            await cloud.launch(f"alc_{n}")
            await cloud.activate(f"alc_{n}")
        settle = SettleDue(transactions=cloud.transactions)
        rounds = 0

        while cloud.clock.now() < NOON + 3 * HOUR:
            cloud.clock.pass_(timedelta(minutes=1))
            rounds += await settle()

        usage = [t for t in cloud.transactions.database.transfers if t.kind is TransferKind.USAGE]
        assert len(usage) == 15
        assert 3 <= rounds <= 15
        for segment in cloud.transactions.database.rows(USAGE_SEGMENTS):
            assert segment.next_settlement_at is not None
            assert NOON + 3 * HOUR < segment.next_settlement_at <= NOON + 4 * HOUR

    async def test_has_nothing_to_do_twice(self) -> None:
        cloud = await funded()
        await cloud.launch()
        await cloud.activate()
        cloud.clock.pass_(2 * HOUR)
        settle = SettleDue(transactions=cloud.transactions)

        assert (await settle(), await settle()) == (1, 0)

    async def test_lets_one_tenants_trouble_hold_up_nobody_else(self) -> None:
        cloud = await funded()
        await cloud.launch()
        await cloud.activate()
        lost = TenantId("ten_0")  # comes first, and has no account
        async with cloud.unit() as unit:
            stray = a_segment(id="seg_stray", allocation="alc_stray")
            await unit.usage_segments.add(replace(stray, tenant_id=lost, next_settlement_at=NOON))
        cloud.clock.pass_(2 * HOUR)

        with pytest.raises(ExceptionGroup, match="1 of 2 tenants") as failed:
            await SettleDue(transactions=cloud.transactions)()

        assert "ten_0" in failed.value.exceptions[0].__notes__[0]
        assert (await cloud.balance()).pending_micros == 0

    async def test_settles_each_alone_when_they_cannot_be_settled_together(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Seen to fail when the fault of the whole was passed on."""
        cloud = await funded()
        await cloud.launch()
        await cloud.activate()
        cloud.clock.pass_(2 * HOUR)

        async def fail(*_: object) -> None:
            raise InvariantError("someone's books are wrong")

        monkeypatch.setattr(MemoryBillingAccounts, "settle_plain", fail)
        assert await SettleDue(transactions=cloud.transactions)() == 1

        assert (await cloud.balance()).pending_micros == 0

    async def test_moves_nothing_that_anyone_can_see(self) -> None:
        cloud = await funded()
        await cloud.launch()
        await cloud.activate()
        cloud.clock.pass_(2 * HOUR + US)
        before = await cloud.balance()

        await SettleDue(transactions=cloud.transactions)()

        after = await cloud.balance()
        assert after.available_micros == before.available_micros
        assert after.pending_micros == 0
        assert after.depletes_at == before.depletes_at
