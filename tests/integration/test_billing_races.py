"""Money on a real database, many at once: what only row locks and constraints can show."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest

from access_builders import HOME, PASSWORD, AccessWorld
from billing_builders import DOLLAR, ORIGIN
from gpucloud_adapters.memory.payments import MemoryPayments, SignedEvent
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.system import SystemClock, SystemIds, SystemSecrets
from gpucloud_core.access.model import Actor, SessionKind
from gpucloud_core.access.sessions import ResolveActor
from gpucloud_core.access.sign_in import SignUp
from gpucloud_core.billing.accounts import (
    FinalCharge,
    end_segment_and_void,
    lock_account,
    open_account,
    place_hold,
    start_segment,
)
from gpucloud_core.billing.books import InsufficientBalance
from gpucloud_core.billing.due import MeetDeadline, SettleDue
from gpucloud_core.billing.model import AccountKind, Balance, PaymentSession, Transfer
from gpucloud_core.billing.payments import CheckoutAsked, StartCheckout
from gpucloud_core.billing.queries import ListLedger, ReadBalance
from gpucloud_core.billing.webhooks import HandleWebhook, ReceiveWebhook
from gpucloud_core.kernel.idempotency import IdempotencyInProgress, IdempotencyKey
from gpucloud_core.kernel.ids import AllocationId, SkuId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.time import HOUR_MICROSECONDS, microseconds_between
from gpucloud_core.kernel.unit import Scope

T = TypeVar("T")

AT_ONCE = 8
RATE = 3_333_333_333  # a good thousandth of a dollar per millisecond: every microsecond counts


class Tenant:
    """A tenant who signed up through the real tables, and the provider beside them."""

    def __init__(self, transactions: PostgresTransactions, actor: Actor) -> None:
        self.transactions = transactions
        self.actor = actor
        self.ids = SystemIds()
        self.processor = MemoryPayments(SystemClock(), secret="whsec_test")

    async def start_checkout(self, key: str | None = None) -> PaymentSession:
        start = StartCheckout(
            transactions=self.transactions,
            processor=self.processor,
            ids=self.ids,
            public_origin=ORIGIN,
        )
        keyed = key and IdempotencyKey.of(
            tenant_id=self.actor.tenant_id, route="checkout", key=key, body=b""
        )
        asked = CheckoutAsked(amount_micros=10 * DOLLAR, currency="USD")
        return await start(actor=self.actor, asked=asked, idempotency=keyed or None)

    async def paid(self) -> SignedEvent:
        """Pay ten dollars on the provider's page and return the event about it."""
        provider_id = (await self.start_checkout()).provider_id or ""
        self.processor.pay(provider_id)
        return self.processor.event("checkout.session.completed", provider_id)

    async def tell(self, event: SignedEvent) -> str:
        receive = ReceiveWebhook(transactions=self.transactions, processor=self.processor)
        handle = HandleWebhook(transactions=self.transactions, processor=self.processor)
        return await handle(await receive(body=event.body, signature=event.signature))

    async def hold(self, allocation_id: AllocationId, micros: int) -> None:
        async with self.transactions.begin(Scope.tenant(self.actor.tenant_id)) as unit:
            account = await lock_account(unit, self.actor.tenant_id)
            now = await unit.now()
            await place_hold(unit, account, allocation_id, micros, now, self.ids.new)

    async def start(self, allocation_id: AllocationId) -> None:
        async with self.transactions.begin(Scope.platform()) as unit:
            await start_segment(
                unit,
                await lock_account(unit, self.actor.tenant_id),
                allocation_id=allocation_id,
                project_id=next(iter(self.actor.project_roles)),
                sku_id=SkuId("sku_1"),
                gpu_count=1,
                rate_micros_per_hour=RATE,
                at=await unit.now(),
                new_id=self.ids.new,
            )

    async def end(self, allocation_id: AllocationId) -> FinalCharge:
        async with self.transactions.begin(Scope.tenant(self.actor.tenant_id)) as unit:
            account = await lock_account(unit, self.actor.tenant_id)
            return await end_segment_and_void(unit, account, allocation_id, await unit.now())

    async def settle(self) -> int:
        """Make everything due and settle it, as a worker does."""
        async with self.transactions.begin(Scope.platform()) as unit:
            await lock_account(unit, self.actor.tenant_id)
            now = await unit.now()
            for segment in await unit.usage_segments.find(ended_at=None):
                await unit.usage_segments.put(replace(segment, next_settlement_at=now))
        return await SettleDue(transactions=self.transactions)()

    async def balance(self) -> Balance:
        return await ReadBalance(transactions=self.transactions)(actor=self.actor)

    async def transfers(self) -> tuple[Transfer, ...]:
        page = await ListLedger(transactions=self.transactions)(
            actor=self.actor, query=ListQuery(limit=100)
        )
        return page.items


@pytest.fixture
async def tenant(database_url: str) -> AsyncIterator[Tenant]:
    engine = create_engine(database_url)
    transactions = PostgresTransactions(engine)
    world = AccessWorld()
    sign_up = SignUp(
        transactions=transactions,
        hasher=world.hasher,
        limiter=world.limiter,
        secrets=SystemSecrets(),
        ids=SystemIds(),
        founding=(open_account,),
    )
    signed = await sign_up(username="ada", password=PASSWORD, kind=SessionKind.API, client=HOME)
    actor = await ResolveActor(transactions=transactions)(
        token=signed.tokens.access_token, kind=SessionKind.API, client=HOME
    )
    yield Tenant(transactions, actor)
    await engine.dispose()


async def outcomes(asked: list[Awaitable[T]]) -> list[T | BaseException]:
    return await asyncio.gather(*asked, return_exceptions=True)


class TestAtOnce:
    async def test_a_payment_told_many_times_is_credited_once(self, tenant: Tenant) -> None:
        events = [await tenant.paid() for _ in range(2)]

        told = await outcomes([tenant.tell(event) for event in events * AT_ONCE])

        assert Counter(told) == {"credited: $10.00": 2 * AT_ONCE}
        assert (await tenant.balance()).available_micros == 20 * DOLLAR
        assert len(await tenant.transfers()) == 2

    async def test_launches_hold_no_more_than_there_is(self, tenant: Tenant) -> None:
        await tenant.tell(await tenant.paid())
        names = [AllocationId(tenant.ids.new("alc")) for _ in range(AT_ONCE)]

        held = await outcomes([tenant.hold(name, 3 * DOLLAR) for name in names])

        assert held.count(None) == 3
        refused = [answer for answer in held if answer is not None]
        assert all(isinstance(answer, InsufficientBalance) for answer in refused)
        assert (await tenant.balance()).available_micros == DOLLAR

    async def test_a_key_makes_one_payment(self, tenant: Tenant) -> None:
        answers = await outcomes([tenant.start_checkout("k1") for _ in range(AT_ONCE)])

        sessions = {answer.id for answer in answers if isinstance(answer, PaymentSession)}
        others = [answer for answer in answers if not isinstance(answer, PaymentSession)]
        assert len(sessions) == 1
        assert all(isinstance(answer, IdempotencyInProgress) for answer in others)
        assert len(tenant.processor.checkouts) == 1

    async def test_settlements_and_a_release_come_to_the_closed_form(self, tenant: Tenant) -> None:
        await tenant.tell(await tenant.paid())
        name = AllocationId(tenant.ids.new("alc"))
        await tenant.hold(name, DOLLAR)
        await tenant.start(name)
        settling = [tenant.settle() for _ in range(AT_ONCE)]
        deadlines = [MeetDeadline(transactions=tenant.transactions)() for _ in range(2)]
        releases = [tenant.end(name) for _ in range(2)]

        answers = await outcomes([*settling[:4], *deadlines, *releases, *settling[4:]])

        assert not [answer for answer in answers if isinstance(answer, BaseException)]
        async with tenant.transactions.begin(Scope.platform()) as unit:
            (segment,) = await unit.usage_segments.find(allocation_id=name)
        assert segment.ended_at is not None
        elapsed = microseconds_between(segment.started_at, segment.ended_at)
        assert timedelta(0) < segment.ended_at - segment.started_at < timedelta(seconds=60)
        cost = RATE * elapsed // HOUR_MICROSECONDS
        charges = {answer for answer in answers if isinstance(answer, FinalCharge)}
        assert charges == {FinalCharge(stopped_at=segment.ended_at, cost_micros=cost)}
        balance = await tenant.balance()
        assert balance.parts[AccountKind.REVENUE] == cost
        assert balance.available_micros == 10 * DOLLAR - cost
        assert balance.held_micros == 0
