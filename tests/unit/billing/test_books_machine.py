"""A tenant's money over the memory adapter, whatever happens in whatever order and however late.

The model is the world outside: what was paid and given, and when each machine really ran. Amounts
and times are small and collide. Seen to fail, each planted alone and taken out again, when

- a settlement charged ``floor(rate x interval)`` of its own interval instead of a difference;
- a hold was compared with what is posted, or with the pots without what is pending;
- usage was settled up to the present instead of as far as the balance pays;
- the meter ended when it was told to instead of when its money was gone;
- the microsecond that costs more than is left was charged, from the balance or from a reserve;
- the depletion was looked for from the newest settled instant, or without the expiry of credit;
- credit was taken back before the usage up to its expiry was settled;
- a void left its hold open, or forgot from which credit it came;
- a captured reserve stayed in its hold;
- time that proved bad was given back to the segment but not to the balance;
- a payment was posted under a key of its event instead of the provider's object.
"""

from asyncio import Runner
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from billing_builders import TENANT, US, BillingWorld
from gpucloud_adapters.memory.unit import MemoryUnit
from gpucloud_adapters.stored.kinds import BILLING_ACCOUNTS, HOLDS, PAYMENTS, USAGE_SEGMENTS
from gpucloud_core.billing import ledger
from gpucloud_core.billing.accounts import (
    end_of_balance,
    end_segment,
    end_segment_and_void,
    keep_books,
    lock_account,
    place_hold,
    read_books,
    start_segment,
    void_hold,
)
from gpucloud_core.billing.books import InsufficientBalance
from gpucloud_core.billing.due import MeetDeadline, SettleDue
from gpucloud_core.billing.model import (
    AccountKind,
    Hold,
    HoldState,
    PaymentState,
    Standing,
    Transfer,
    TransferKind,
)
from gpucloud_core.kernel.ids import AllocationId, ProjectId, SkuId
from gpucloud_core.kernel.time import HOUR_MICROSECONDS, microseconds_between
from gpucloud_core.metering.model import UsageSegment

A, K = AccountKind, TransferKind
R = TypeVar("R")

FIVE_DOLLARS = 5_000_000
rates = st.sampled_from([1_000_000, 3_333_333, 7_000_001, 13_999_999, 5_000_000_000, 9_000_000_007])
"""Per hour: dollars, thirds of them, and more than one micro-unit a microsecond."""

reserves = st.sampled_from([1, 250_000, 1_000_000])

waits = st.one_of(
    st.integers(1, 5).map(lambda n: n * US),
    st.integers(1, 300).map(lambda n: timedelta(minutes=n)),
    st.sampled_from([timedelta(seconds=2), timedelta(hours=1), timedelta(hours=26)]),
)


@dataclass
class Machine:
    """One allocation as its owner knows it."""

    id: AllocationId
    rate: int
    reserve: bool
    runs: list[tuple[datetime, datetime | None]] = field(default_factory=list)
    gone: bool = False

    @property
    def running(self) -> bool:
        return bool(self.runs) and self.runs[-1][1] is None

    def ended(self, at: datetime) -> None:
        since, _ = self.runs.pop()
        self.runs.append((since, at))


class BillingMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = Runner()
        self.world = BillingWorld()
        self.machines: list[Machine] = []
        self.paid: dict[str, int] = {}  # provider's object: micro-units
        self.given = 0
        self.names = (f"{n:026d}" for n in count())
        self.news: list[tuple[str, str]] = []  # events of the provider, not yet delivered

    def teardown(self) -> None:
        self.runner.close()

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return self.runner.run(coroutine)

    @property
    def now(self) -> datetime:
        return self.world.clock.now()

    def living(self, *, running: bool | None = None) -> list[Machine]:
        return [
            machine
            for machine in self.machines
            if not machine.gone and (running is None or machine.running is running)
        ]

    @initialize(
        dollars=st.sampled_from([0, 5, 7]),
        credits_=st.lists(st.tuples(st.integers(1, 3_000_000), st.none() | waits), max_size=2),
        launches=st.lists(st.tuples(rates, reserves, st.booleans()), min_size=1, max_size=3),
    )
    def a_tenant_is_in_the_middle_of_things(
        self,
        dollars: int,
        credits_: list[tuple[int, timedelta | None]],
        launches: list[tuple[int, int, bool]],
    ) -> None:
        self.run(self.world.opened())
        if dollars:
            self.money_lands(dollars, pays=True)
        for micros, lasts in credits_:
            self.credit_is_given(micros, lasts)
        for rate, micros, reserve in launches:
            self.a_machine_is_launched(rate, micros, reserve, starts=True)

    # ---- the world goes on ------------------------------------------------------------------

    @rule(wait=waits | st.none(), works=st.lists(st.sampled_from(["settle", "meet", "end"])))
    def time_passes(self, wait: timedelta | None, works: list[str]) -> None:
        """Let time pass, or come to the next deadline, and workers do some of their work."""
        (account,) = self.world.transactions.database.rows(BILLING_ACCOUNTS)
        deadline = account.next_deadline_at
        if wait is None:
            wait = max(timedelta(0), deadline - self.now) if deadline else timedelta(0)
        self.world.clock.pass_(wait)
        for work in works:
            match work:
                case "settle":
                    with self._nothing_gained_or_lost():
                        self.run(SettleDue(transactions=self.world.transactions)())
                case "meet":
                    with self._nothing_gained_or_lost():
                        self.run(MeetDeadline(transactions=self.world.transactions)())
                case _:
                    self._end_what_has_no_money()

    @rule(dollars=st.sampled_from([5, 7]), pays=st.sampled_from([True, True, False]))
    def money_lands(self, dollars: int, pays: bool) -> None:
        """Let a customer visit the pay page, and its event arrive; or an old one, again."""
        self.a_customer_visits_the_pay_page(dollars, pays=pays)
        self._tell(*self.news[-1])
        self._tell(*self.news[len(self.news) // 2])

    def a_customer_visits_the_pay_page(self, dollars: int, *, pays: bool) -> None:
        session = self.run(self.world.start_checkout(dollars * 1_000_000))
        provider_id = session.provider_id or ""
        if pays:
            self.world.processor.pay(provider_id)
            self.paid[provider_id] = dollars * 1_000_000
            self.news.append(("checkout.session.completed", provider_id))
        else:
            self.world.processor.close(provider_id)
            self.news.append(("checkout.session.expired", provider_id))

    def _tell(self, kind: str, provider_id: str) -> None:
        event_id = self.run(self.world.receive(self.world.processor.event(kind, provider_id)))
        self.run(self.world.handle(event_id))

    @rule(micros=st.integers(1, 3_000_000), lasts=st.none() | waits)
    def credit_is_given(self, micros: int, lasts: timedelta | None) -> None:
        self.run(self._give(micros, lasts))
        self.given += micros

    async def _give(self, micros: int, lasts: timedelta | None) -> None:
        key = next(self.names)
        async with self.world.unit() as unit:
            now = await unit.now()
            before = await read_books(unit, await lock_account(unit, TENANT))
            if lasts is None:
                given = ledger.goodwill(
                    tenant_id=TENANT, key=key, micros=micros, memo="Sorry", at=now
                )
            else:
                given = ledger.promotion(
                    tenant_id=TENANT,
                    key=key,
                    micros=micros,
                    expires_at=now + lasts,
                    memo="Spring",
                    at=now,
                )
            transfer, lot = given
            after = before.posted(transfer, lots=[lot]).ready(now, funded=True)
            await keep_books(unit, before, after)

    # ---- allocations ------------------------------------------------------------------------

    @rule(
        rate=rates,
        micros=reserves | st.just(3_000_000),
        reserve=st.booleans(),
        starts=st.sampled_from([True, True, False]),
    )
    def a_machine_is_launched(self, rate: int, micros: int, reserve: bool, starts: bool) -> None:
        machine = Machine(AllocationId(f"alc_{next(self.names)}"), rate, reserve)
        free = self.run(self.world.balance()).available_micros
        try:
            self.run(self._hold(machine, micros))
        except InsufficientBalance:
            assert micros > free, "refused what the balance covers"
            return
        assert micros <= free, "accepted what the balance does not cover"
        self.machines.append(machine)
        if starts:
            self.run(self._start(machine))

    async def _hold(self, machine: Machine, micros: int) -> None:
        async with self.world.unit() as unit:
            account = await lock_account(unit, TENANT)
            await place_hold(
                unit,
                account,
                machine.id,
                micros,
                await unit.now(),
                self.world.ids.new,
                run_on_reserve=machine.reserve,
            )

    @precondition(lambda self: self.living(running=False))
    @rule(data=st.data())
    def a_machine_becomes_active(self, data: st.DataObject) -> None:
        self.run(self._start(data.draw(st.sampled_from(self.living(running=False)))))

    async def _start(self, machine: Machine) -> None:
        async with self.world.unit() as unit:
            for _ in range(2):  # a worker may repeat itself
                await start_segment(
                    unit,
                    await lock_account(unit, TENANT),
                    allocation_id=machine.id,
                    project_id=ProjectId("prj_1"),
                    sku_id=SkuId("sku_1"),
                    gpu_count=1,
                    rate_micros_per_hour=machine.rate,
                    at=await unit.now(),
                    new_id=self.world.ids.new,
                )
        machine.runs.append((self.now, None))

    @precondition(lambda self: self.living())
    @rule(
        data=st.data(),
        ago=st.just(timedelta(0)) | waits,
        gone=st.booleans(),
        settled=st.booleans(),
    )
    def a_machine_stops(
        self, data: st.DataObject, ago: timedelta, gone: bool, settled: bool
    ) -> None:
        """Release it, let its launch fail, or let evidence show that it was broken for a while."""
        if settled:  # so that what proves bad may be on the ledger already
            self.time_passes(wait=timedelta(minutes=61), works=["settle"])
        machine = data.draw(st.sampled_from(self.living()))
        at = max(self.now - ago, machine.runs[-1][0]) if machine.running else self.now
        self.run(self._stop(machine, at, void=gone))

    async def _stop(self, machine: Machine, at: datetime, *, void: bool) -> None:
        async with self.world.unit() as unit:
            if void and not machine.runs:
                await void_hold(unit, await lock_account(unit, TENANT), machine.id, at)
                machine.gone = True
            else:
                await self._ended(unit, machine, at, void=void)

    async def _ended(self, unit: MemoryUnit, machine: Machine, at: datetime, *, void: bool) -> None:
        account = await lock_account(unit, TENANT)
        end = end_segment_and_void if void else end_segment
        charge = await end(unit, account, machine.id, at)
        if machine.running:
            assert charge.stopped_at is not None
            assert charge.stopped_at <= max(at, machine.runs[-1][0])
            machine.ended(charge.stopped_at)
        if void:
            again = await end(unit, account, machine.id, at)
            assert again == charge, "ending twice is ending once"
        machine.gone = void

    # ---- workers ----------------------------------------------------------------------------

    @contextmanager
    def _nothing_gained_or_lost(self) -> Iterator[None]:
        """What is available is a function of time; a worker only writes it down."""
        before = self.run(self.world.balance())
        yield
        after = self.run(self.world.balance())
        assert after.available_micros == before.available_micros
        assert after.depletes_at == before.depletes_at

    def _end_what_has_no_money(self) -> None:
        for machine_id in self.run(self._without_money()):
            (machine,) = (m for m in self.machines if m.id == machine_id)
            self.run(self._stop(machine, self.now, void=True))

    async def _without_money(self) -> dict[AllocationId, datetime]:
        async with self.world.unit() as unit:
            return await end_of_balance(unit, await lock_account(unit, TENANT), self.now)

    # ---- what is always so ------------------------------------------------------------------

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        return self.world.transactions.database.transfers

    @property
    def segments(self) -> tuple[UsageSegment, ...]:
        return self.world.transactions.database.rows(USAGE_SEGMENTS)

    @property
    def open_holds(self) -> list[Hold]:
        holds = self.world.transactions.database.rows(HOLDS)
        return [hold for hold in holds if hold.state is HoldState.OPEN]

    def balance_of(self, kind: AccountKind) -> int:
        return sum(transfer.entries.get(kind, 0) for transfer in self.transfers)

    @invariant()
    def transfers_sum_to_zero_and_balances_are_their_sums(self) -> None:  # I1
        assert all(sum(transfer.entries.values()) == 0 for transfer in self.transfers)
        stored = self.world.transactions.database.balances
        for kind in AccountKind:
            assert stored.get((TENANT, kind), 0) == self.balance_of(kind)

    @invariant()
    def nobody_spends_what_is_not_there(self) -> None:  # I2
        assert min(self.balance_of(kind) for kind in (A.PREPAID, A.PROMOTIONAL, A.HELD)) >= 0
        assert sum(hold.amount_micros for hold in self.open_holds) == self.balance_of(A.HELD)
        for hold in self.open_holds:
            assert hold.amount_micros == hold.from_prepaid_micros + hold.from_promotional_micros
        (account,) = self.world.transactions.database.rows(BILLING_ACCOUNTS)
        assert sum(lot.remaining_micros for lot in account.credits) == self.balance_of(
            A.PROMOTIONAL
        )
        balance = self.run(self.world.balance())
        assert min(balance.available_micros, balance.held_micros, balance.pending_micros) >= 0
        assert (
            balance.posted_micros - balance.held_micros - balance.pending_micros
            == balance.available_micros
        )

    @invariant()
    def time_is_charged_once_within_its_run_and_in_closed_form(self) -> None:  # I3, I5
        for machine in self.machines:
            segments = [s for s in self.segments if s.allocation_id == machine.id]
            assert [(s.started_at, s.ended_at) for s in segments] == machine.runs
            for segment in segments:
                end = segment.ended_at or segment.settled_until
                assert segment.started_at <= segment.settled_until <= self.now
                assert segment.settled_until == end
                elapsed = microseconds_between(segment.started_at, segment.settled_until)
                assert segment.settled_micros == machine.rate * elapsed // HOUR_MICROSECONDS
            entries = [t for t in self.transfers if t.allocation_id == machine.id]
            charged = sum(transfer.entries.get(A.REVENUE, 0) for transfer in entries)
            assert charged == sum(segment.settled_micros for segment in segments)

    @invariant()
    def each_payment_has_its_one_effect(self) -> None:  # I4
        posted = [t for t in self.transfers if t.kind is K.PAYMENT]
        told = {
            p.provider_id
            for p in self.world.transactions.database.rows(PAYMENTS)
            if p.state is PaymentState.COMPLETED
        }
        assert len(posted) == len(told)
        assert self.balance_of(A.CASH) == -sum(self.paid[key or ""] for key in told)

    @invariant()
    def what_never_ran_costs_nothing_and_holds_nothing_at_its_end(self) -> None:  # I6
        held = {hold.allocation_id for hold in self.open_holds}
        for machine in self.machines:
            assert (machine.id in held) is not machine.gone
            if not machine.runs:
                mine = [t for t in self.transfers if t.allocation_id == machine.id]
                assert not any(transfer.entries.get(A.REVENUE) for transfer in mine)

    @invariant()
    def a_deadline_is_set_for_whatever_can_happen(self) -> None:
        (account,) = self.world.transactions.database.rows(BILLING_ACCOUNTS)
        runs = [s for s in self.segments if s.ended_at is None]
        assert (account.depletes_at is not None) == bool(runs)
        if runs:
            assert account.next_deadline_at is not None
        if account.standing is Standing.AUTO_RELEASE_PENDING:
            assert any(hold.run_on_reserve for hold in self.open_holds)


TestBilling = BillingMachine.TestCase
TestBilling.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
