from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_builders import NOON
from billing_builders import DOLLAR, HOUR, TENANT, US, a_hold, a_lot, a_segment, instants
from gpucloud_core.billing import ledger
from gpucloud_core.billing.credit import Parts, in_spending_order, set_aside, spend, total
from gpucloud_core.billing.model import AccountKind, CreditLot, Hold, Transfer, TransferKind
from gpucloud_core.kernel.ids import AllocationId, TenantId, parse_id

A = AccountKind
micros = st.integers(1, 100)
lots = st.lists(
    st.builds(
        CreditLot,
        id=st.sampled_from(["a", "b", "c"]),
        remaining_micros=st.integers(0, 9),
        expires_at=st.none(),
    ),
    max_size=3,
).map(
    lambda many: tuple(
        replace(lot, expires_at=None if lot.id == "a" else NOON + ord(lot.id) * HOUR)
        for lot in many
    )
)


def a_payment(amount: int = DOLLAR, *, tax: int = 0, owed: int = 0) -> Transfer:
    return ledger.payment(
        tenant_id=TENANT,
        provider_id="cs_1",
        amount_micros=amount,
        tax_micros=tax,
        owed_micros=owed,
        at=NOON,
    )


def a_usage(prepaid: int = 0, *, credit: int = 0, held: int = 0) -> Transfer:
    parts = Parts(
        prepaid_micros=prepaid,
        credits=(a_lot(credit),) if credit else (),
        held_micros=held,
    )
    return ledger.usage(
        segment=a_segment(), since=NOON, until=NOON + HOUR, parts=parts, at=NOON + HOUR
    )


def a_refund() -> Transfer:
    return ledger.refund_begun(tenant_id=TENANT, refund_id="r1", micros=7, at=NOON)


BUILDERS: dict[str, Callable[[], Transfer]] = {
    "payment": lambda: a_payment(100, tax=19, owed=30),
    "usage": lambda: a_usage(3, credit=4, held=5),
    "hold": lambda: ledger.hold(hold=a_hold(9, prepaid=4), at=NOON),
    "void": lambda: ledger.void(hold=a_hold(9, prepaid=4), at=NOON),
    "promotion": lambda: ledger.promotion(
        tenant_id=TENANT, key="spring", micros=5, expires_at=NOON + HOUR, memo="Spring", at=NOON
    )[0],
    "goodwill": lambda: ledger.goodwill(
        tenant_id=TENANT, key="sorry", micros=5, memo="Sorry", at=NOON
    )[0],
    "expiry": lambda: ledger.expiry(tenant_id=TENANT, lot=a_lot(5), at=NOON),
    "correction": lambda: ledger.correction(of=a_usage(9), micros=5, at=NOON, memo="down")[0],
    "refund": a_refund,
    "refund completed": lambda: ledger.refund_completed(of=a_refund(), at=NOON),
    "refund failed": lambda: ledger.refund_failed(of=a_refund(), at=NOON),
    "usage refunded": lambda: ledger.usage_refunded(
        tenant_id=TENANT, refund_id="r1", allocation_id=AllocationId("alc_1"), micros=5, at=NOON
    ),
    "dispute": lambda: ledger.dispute_lost(
        tenant_id=TENANT,
        dispute_id="d1",
        micros=10,
        prepaid_micros=4,
        fee_micros=15,
        at=NOON,
    ),
}


class TestEveryTransfer:
    @pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS.keys())
    def test_sums_to_zero_and_moves_something(self, build: Callable[[], Transfer]) -> None:
        transfer = build()

        assert sum(transfer.entries.values()) == 0
        assert transfer.entries
        assert 0 not in transfer.entries.values()
        assert transfer.memo

    @pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS.keys())
    def test_is_the_same_value_however_often_it_is_built(
        self, build: Callable[[], Transfer]
    ) -> None:
        assert build() == build()

    def test_covers_every_kind(self) -> None:
        assert {build().kind for build in BUILDERS.values()} == set(TransferKind)

    def test_has_a_key_of_its_own(self) -> None:
        keys = [build().idempotency_key for build in BUILDERS.values()]

        assert len(set(keys)) == len(keys)


class TestTransferId:
    @given(
        first=st.tuples(instants, st.sampled_from(TransferKind)),
        second=st.tuples(instants, st.sampled_from(TransferKind)),
    )
    def test_sorts_by_microsecond_whatever_the_kind(
        self, first: tuple[datetime, TransferKind], second: tuple[datetime, TransferKind]
    ) -> None:
        (at, kind), (later, other) = sorted([first, second])

        a, b = (
            ledger.transfer_id(TENANT, kind, "k1", at),
            ledger.transfer_id(TENANT, other, "k2", later),
        )

        assert parse_id("trf", a) == a
        assert a < b if at < later else a != b

    def test_lists_the_transfers_of_one_instant_as_they_are_posted(self) -> None:
        order = [TransferKind.PAYMENT, TransferKind.USAGE, TransferKind.VOID, TransferKind.HOLD]
        ids = [ledger.transfer_id(TENANT, kind, "k", NOON) for kind in order]

        assert ids == sorted(ids)

    def test_differs_between_tenants(self) -> None:
        other = TenantId("ten_2")

        ids = {ledger.transfer_id(who, TransferKind.PAYMENT, "k", NOON) for who in (TENANT, other)}

        assert len(ids) == 2


class TestPayment:
    def test_credits_the_amount_and_keeps_tax_apart(self) -> None:
        assert a_payment(100, tax=19).entries == {A.PREPAID: 100, A.TAX: 19, A.CASH: -119}

    def test_pays_what_is_owed_first(self) -> None:
        assert a_payment(100, owed=30).entries == {A.PREPAID: 70, A.RECEIVABLE: 30, A.CASH: -100}
        assert a_payment(100, owed=300).entries == {A.RECEIVABLE: 100, A.CASH: -100}

    @pytest.mark.parametrize("amount", [0, -5])
    def test_is_of_a_positive_amount(self, amount: int) -> None:
        with pytest.raises(ValueError, match="positive"):
            a_payment(amount)


class TestCorrection:
    def test_gives_paid_money_back_first_and_credit_as_goodwill(self) -> None:
        given, lot = ledger.correction(of=a_usage(3, credit=4), micros=5, at=NOON, memo="down")

        assert given.entries == {A.PREPAID: 3, A.PROMOTIONAL: 2, A.REVENUE: -5}
        assert given.corrects == a_usage(3, credit=4).id
        assert (lot.remaining_micros, lot.expires_at) == (2, None)

    def test_never_gives_more_than_the_entry_took(self) -> None:
        with pytest.raises(ValueError, match="never more"):
            ledger.correction(of=a_usage(3), micros=4, at=NOON, memo="down")

    @given(sizes=st.lists(micros, min_size=1, max_size=4), data=st.data())
    def test_names_the_newest_entries_that_cover_it(
        self, sizes: list[int], data: st.DataObject
    ) -> None:
        entries = [replace(a_usage(size), id=f"trf_{n}") for n, size in enumerate(sizes)]
        back = data.draw(st.integers(1, sum(sizes)))

        given_back = ledger.corrections(newest_first=entries, micros=back, at=NOON, memo="down")

        assert sum(-transfer.entries[A.REVENUE] for transfer, _ in given_back) == back
        assert [t.corrects for t, _ in given_back] == [e.id for e in entries][: len(given_back)]

    def test_cannot_exceed_all_entries(self) -> None:
        with pytest.raises(ValueError, match="more to give back"):
            ledger.corrections(newest_first=[a_usage(3)], micros=4, at=NOON, memo="down")


class TestRefund:
    def test_leaves_no_trace_in_between_once_it_has_ended(self) -> None:
        begun = a_refund()
        completed = ledger.refund_completed(of=begun, at=NOON + US)
        failed = ledger.refund_failed(of=begun, at=NOON + US)

        assert begun.entries == {A.PREPAID: -7, A.REFUNDS: 7}
        assert completed.entries == {A.REFUNDS: -7, A.CASH: 7}
        assert failed.entries == {A.REFUNDS: -7, A.PREPAID: 7}
        assert completed.corrects == failed.corrects == begun.id


class TestDispute:
    def test_takes_what_is_there_and_notes_what_is_owed_while_the_fee_is_ours(self) -> None:
        entries = BUILDERS["dispute"]().entries

        assert entries == {A.PREPAID: -4, A.RECEIVABLE: -6, A.FEES: -15, A.CASH: 25}


class TestExpiry:
    def test_of_what_a_hold_kept_has_a_key_of_its_own(self) -> None:
        plain = ledger.expiry(tenant_id=TENANT, lot=a_lot(5), at=NOON)
        from_hold = ledger.expiry(tenant_id=TENANT, lot=a_lot(5), at=NOON, hold_id="hld_1")

        assert plain.idempotency_key != from_hold.idempotency_key


class TestSpendingOrder:
    def test_is_soonest_expiring_then_goodwill_then_paid(self) -> None:
        soon, late = (
            a_lot(2, expires_at=NOON, name="soon"),
            a_lot(2, expires_at=NOON + HOUR, name="late"),
        )
        goodwill = a_lot(2, name="goodwill")

        parts, left = spend([goodwill, late, soon], 10, 7)

        assert [lot.id for lot in parts.credits] == ["soon", "late", "goodwill"]
        assert parts.prepaid_micros == 1
        assert left == ()

    def test_leaves_to_a_hold_what_would_be_spent_last(self) -> None:
        soon, goodwill = a_lot(2, expires_at=NOON, name="soon"), a_lot(2, name="goodwill")

        parts, left = set_aside([goodwill, soon], 3, 4)

        assert parts.prepaid_micros == 3
        assert [(lot.id, lot.remaining_micros) for lot in parts.credits] == [("goodwill", 1)]
        assert [(lot.id, lot.remaining_micros) for lot in left] == [("soon", 2), ("goodwill", 1)]

    @given(lots=lots, prepaid=st.integers(0, 9), wanted=st.integers(0, 40))
    @pytest.mark.parametrize("way", [spend, set_aside])
    def test_keeps_every_micro_and_never_takes_more_than_there_is(
        self,
        way: Callable[..., tuple[Parts, tuple[CreditLot, ...]]],
        lots: tuple[CreditLot, ...],
        prepaid: int,
        wanted: int,
    ) -> None:
        before = in_spending_order(lots)
        if wanted > prepaid + total(lots):
            with pytest.raises(ValueError, match="missing"):
                way(lots, prepaid, wanted)
            return

        parts, left = way(lots, prepaid, wanted)

        assert parts.micros == wanted
        assert in_spending_order([*parts.credits, *left]) == before
        assert 0 <= parts.prepaid_micros <= prepaid


class TestHold:
    @given(amount=micros, data=st.data())
    def test_and_its_void_cancel_out(self, amount: int, data: st.DataObject) -> None:
        hold: Hold = a_hold(amount, prepaid=data.draw(st.integers(0, amount)))

        there, back = ledger.hold(hold=hold, at=NOON), ledger.void(hold=hold, at=NOON)

        assert {kind: -value for kind, value in there.entries.items()} == back.entries
        assert there.entries[A.HELD] == amount
