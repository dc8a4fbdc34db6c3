"""Money as values: segments, lots, holds and books, with small numbers that collide."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import strategies as st

from access_builders import NOON
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.model import AccountKind, BillingAccount, CreditLot, Hold
from gpucloud_core.kernel.ids import AllocationId, ProjectId, SkuId, TenantId
from gpucloud_core.metering.model import UsageSegment

TENANT = TenantId("ten_1")
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
