"""Money as values: segments, lots, holds and books, with small numbers that collide."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

from hypothesis import strategies as st

from access_builders import NOON, CountedIds, StandingClock
from gpucloud_adapters.memory.payments import MemoryPayments, SignedEvent
from gpucloud_adapters.memory.unit import MemoryTransactions, MemoryUnit
from gpucloud_core.access.model import Actor, Role, Tenant, TenantKind
from gpucloud_core.billing.accounts import lock_account, open_account
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.model import (
    AccountKind,
    Balance,
    BillingAccount,
    CreditLot,
    Hold,
    PaymentSession,
)
from gpucloud_core.billing.payments import CheckoutAsked, StartCheckout
from gpucloud_core.billing.queries import ReadBalance
from gpucloud_core.billing.webhooks import HandleWebhook, ReceiveWebhook
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_core.kernel.ids import AllocationId, ProjectId, SkuId, TenantId, UserId
from gpucloud_core.kernel.unit import Event, Scope
from gpucloud_core.metering.model import UsageSegment

TENANT = TenantId("ten_1")
ORIGIN = "https://cloud.example"
DOLLAR = 1_000_000
HOUR = timedelta(hours=1)
US = timedelta(microseconds=1)

rates = st.one_of(
    st.integers(1, 30),
    st.integers(1, 60).map(lambda micros: micros * 100_000_000),  # some micro-units each µs
    st.integers(1, 10**10),
)
"""Micro-units per hour: hardly anything, dollars, and more than one micro-unit a microsecond."""

instants = st.one_of(
    st.integers(0, 50).map(lambda n: NOON + n * US),
    st.integers(0, 72 * 3600 * 10**6).map(lambda n: NOON + n * US),
)


def a_segment(
    rate: int = DOLLAR,
    *,
    id: str = "seg_1",  # noqa: A002  the field's own name
    allocation: str = "alc_1",
    started_at: datetime = NOON,
    ended_at: datetime | None = None,
    settled_until: datetime | None = None,
    settled_micros: int = 0,
) -> UsageSegment:
    return UsageSegment(
        id=id,
        tenant_id=TENANT,
        project_id=ProjectId("prj_1"),
        allocation_id=AllocationId(allocation),
        sku_id=SkuId("sku_1"),
        gpu_count=1,
        rate_micros_per_hour=rate,
        currency="USD",
        started_at=started_at,
        ended_at=ended_at,
        settled_until=settled_until or started_at,
        settled_micros=settled_micros,
    )


def a_lot(micros: int, *, expires_at: datetime | None = None, name: str = "lot") -> CreditLot:
    return CreditLot(id=name, remaining_micros=micros, expires_at=expires_at)


def a_hold(
    micros: int,
    *,
    allocation: str = "alc_1",
    run_on_reserve: bool = False,
    prepaid: int | None = None,
) -> Hold:
    paid = micros if prepaid is None else prepaid
    return Hold(
        id=f"hld_{allocation}",
        tenant_id=TENANT,
        allocation_id=AllocationId(allocation),
        amount_micros=micros,
        from_prepaid_micros=paid,
        from_promotional_micros=micros - paid,
        from_credits=(a_lot(micros - paid, name="held"),) if micros > paid else (),
        run_on_reserve=run_on_reserve,
        created_at=NOON,
    )


def some_books(
    prepaid: int = 0,
    *,
    credits_: Sequence[CreditLot] = (),
    segments: Sequence[UsageSegment] = (),
    holds: Sequence[Hold] = (),
) -> Books:
    account = BillingAccount(tenant_id=TENANT, currency="USD", created_at=NOON)
    books = Books(
        account=account,
        balances={
            AccountKind.PREPAID: prepaid,
            AccountKind.PROMOTIONAL: sum(lot.remaining_micros for lot in credits_),
            AccountKind.HELD: sum(hold.amount_micros for hold in holds),
        },
        segments=tuple(segments),
        holds=tuple(holds),
    )
    return books.with_credits(credits_)


class BillingWorld:
    """One tenant's billing over the memory adapter: the clock stands, the provider is at hand."""

    def __init__(self) -> None:
        self.clock = StandingClock()
        self.ids = CountedIds()
        self.transactions = MemoryTransactions(self.clock)
        self.processor = MemoryPayments(self.clock, secret="whsec_test")
        self.actor = Actor(
            user_id=UserId("usr_1"), username="ada", tenant_id=TENANT, tenant_role=Role.OWNER
        )

    async def opened(self) -> "BillingWorld":
        """Open the tenant's account, as a sign-up does."""
        tenant = Tenant(id=TENANT, name="Ada", kind=TenantKind.PERSONAL, created_at=NOON)
        async with self.transactions.begin(Scope.platform()) as unit:
            await open_account(unit, tenant)
        return self

    def unit(self) -> AbstractAsyncContextManager[MemoryUnit]:
        return self.transactions.begin(Scope.platform())

    async def account(self) -> BillingAccount:
        async with self.unit() as unit:
            return await lock_account(unit, TENANT)

    async def balance(self) -> Balance:
        return await ReadBalance(transactions=self.transactions)(actor=self.actor)

    async def start_checkout(
        self, micros: int = 20 * DOLLAR, *, key: str | None = None
    ) -> PaymentSession:
        """Start a payment, under an idempotency key if one is given."""
        start = StartCheckout(
            transactions=self.transactions,
            processor=self.processor,
            ids=self.ids,
            public_origin=ORIGIN,
        )
        keyed = None
        if key is not None:
            body = str(micros).encode()
            keyed = IdempotencyKey.of(tenant_id=TENANT, route="checkout", key=key, body=body)
        asked = CheckoutAsked(amount_micros=micros, currency="USD")
        return await start(actor=self.actor, asked=asked, idempotency=keyed)

    async def receive(self, event: SignedEvent) -> str:
        """Let our web side receive an event; return its id."""
        receive = ReceiveWebhook(transactions=self.transactions, processor=self.processor)
        return await receive(body=event.body, signature=event.signature)

    async def handle(self, event_id: str) -> str:
        """Let a worker handle an event; return the outcome."""
        handle = HandleWebhook(transactions=self.transactions, processor=self.processor)
        return await handle(event_id)

    async def top_up(self, micros: int = 20 * DOLLAR) -> None:
        """Pay and be credited, all the way."""
        session = await self.start_checkout(micros)
        assert session.provider_id
        self.processor.pay(session.provider_id)
        event = self.processor.event("checkout.session.completed", session.provider_id)
        await self.handle(await self.receive(event))

    def told(self, kind: str) -> list[Event]:
        """Return the events of a kind in the outbox."""
        return [
            stored.event
            for stored in self.transactions.database.outbox
            if stored.event.kind == kind
        ]
