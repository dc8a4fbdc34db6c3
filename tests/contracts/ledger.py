"""What the ledger promises: once per key, balanced, never below zero, balances always the sum."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from contracts.stores import PLATFORM, Household, StoreContract, StoreUnit
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_core.billing.model import (
    AccountKind,
    CreditLot,
    Hold,
    HoldState,
    Transfer,
    TransferKind,
)
from gpucloud_core.billing.ports import OpenRows
from gpucloud_core.kernel.ids import AllocationId, TenantId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.unit import Transactions
from row_builders import NOW, SECOND, a_segment, a_transfer, fresh

A = AccountKind
DOLLAR = 1_000_000


class LedgerContract(StoreContract):
    async def test_moves_every_account_a_transfer_names(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        paid = a_transfer(home.tenant.id, entries={A.PREPAID: 5 * DOLLAR, A.CASH: -5 * DOLLAR})
        held = a_transfer(
            home.tenant.id, kind=TransferKind.HOLD, entries={A.PREPAID: -DOLLAR, A.HELD: DOLLAR}
        )

        async with transactions.begin(home.scope) as unit:
            assert await unit.ledger.post(paid)
            assert await unit.ledger.post(held)

        async with transactions.begin(home.scope) as unit:
            balances = await unit.ledger.balances(home.tenant.id)
        assert balances == {
            **dict.fromkeys(AccountKind, 0),
            A.PREPAID: 4 * DOLLAR,
            A.HELD: DOLLAR,
            A.CASH: -5 * DOLLAR,
        }
        assert await self.committed(transactions, "ledger_transfers", "id", paid.id) == 1

    async def test_posts_once_per_key(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        paid = a_transfer(home.tenant.id, entries={A.PREPAID: DOLLAR, A.CASH: -DOLLAR})
        again = a_transfer(
            home.tenant.id,
            idempotency_key=paid.idempotency_key,
            entries={A.PREPAID: 7, A.CASH: -7},
        )

        async with transactions.begin(home.scope) as unit:
            assert await unit.ledger.post(paid)
            assert not await unit.ledger.post(paid)
        async with transactions.begin(home.scope) as unit:
            assert not await unit.ledger.post(again)
            assert (await unit.ledger.balances(home.tenant.id))[A.PREPAID] == DOLLAR

    async def test_posts_many_in_their_order_and_each_once(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        def paid(household: Household, micros: int) -> Transfer:
            return a_transfer(household.tenant.id, entries={A.PREPAID: micros, A.CASH: -micros})

        first = paid(home, 1)
        many = [first, paid(home, 2), paid(neighbour, 3), first, paid(home, -3)]

        async with transactions.begin(PLATFORM) as unit:
            assert await unit.ledger.post(first)
            new = await unit.ledger.post_many(many)
            assert new == {many[1].id, many[2].id, many[4].id}
            assert await unit.ledger.post_many(many) == frozenset()
            assert await unit.ledger.post_many([]) == frozenset()

        async with transactions.begin(PLATFORM) as unit:
            assert (await unit.ledger.balances(home.tenant.id))[A.PREPAID] == 0
            assert (await unit.ledger.balances(neighbour.tenant.id))[A.PREPAID] == 3

    async def test_keeps_keys_and_money_of_tenants_apart(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        for household in (home, neighbour):
            async with transactions.begin(household.scope) as unit:
                assert await unit.ledger.post(
                    a_transfer(
                        household.tenant.id,
                        idempotency_key="the same",
                        entries={A.PREPAID: DOLLAR, A.CASH: -DOLLAR},
                    )
                )

        async with transactions.begin(home.scope) as unit:
            assert (await unit.ledger.balances(neighbour.tenant.id))[A.PREPAID] == 0
            page = await unit.ledger.transfers(ListQuery())
            assert {transfer.tenant_id for transfer in page.items} == {home.tenant.id}
        with pytest.raises(InvariantError):
            async with transactions.begin(home.scope) as unit:
                await unit.ledger.post(
                    a_transfer(neighbour.tenant.id, entries={A.PREPAID: 1, A.CASH: -1})
                )

    async def test_refuses_entries_that_do_not_sum_to_zero(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        lopsided = a_transfer(home.tenant.id, entries={A.PREPAID: 5, A.CASH: -4})

        with pytest.raises(InvariantError):
            async with transactions.begin(home.scope) as unit:
                await unit.ledger.post(lopsided)

        assert await self.committed(transactions, "ledger_transfers", "id", lopsided.id) == 0

    @pytest.mark.parametrize("account", [A.PREPAID, A.HELD, A.PROMOTIONAL, A.RECEIVABLE])
    async def test_lets_no_account_of_the_tenant_fall_below_zero(
        self, transactions: Transactions[StoreUnit], home: Household, account: AccountKind
    ) -> None:
        async with transactions.begin(home.scope) as unit:
            await unit.ledger.post(a_transfer(home.tenant.id, entries={account: 5, A.CASH: -5}))

        with pytest.raises(InvariantError):
            async with transactions.begin(home.scope) as unit:
                await unit.ledger.post(
                    a_transfer(home.tenant.id, entries={account: -6, A.REVENUE: 6})
                )

        async with transactions.begin(home.scope) as unit:
            assert (await unit.ledger.balances(home.tenant.id))[account] == 5

    async def test_lists_transfers_as_they_were_posted(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        allocation = AllocationId("alc_1")
        posted = [
            a_transfer(
                home.tenant.id,
                at=NOW + SECOND * number,
                entries={A.PREPAID: number, A.CASH: -number},
                memo=f"payment {number}",
                project_id=home.project.id,
                allocation_id=allocation if number % 2 else None,
                corrects="trf_0" if number == 3 else None,
            )
            for number in range(5)
        ]
        async with transactions.begin(home.scope) as unit:
            for transfer in posted:
                await unit.ledger.post(transfer)

        async with transactions.begin(home.scope) as unit:
            every = await unit.ledger.transfers(ListQuery(sort="at"))
            newest = await unit.ledger.transfers(ListQuery(sort="-at", limit=2))
            of_one = await unit.ledger.transfers(
                ListQuery(sort="at", where={"allocation_id": [allocation]})
            )
            found = await unit.ledger.transfers(ListQuery(search="PAYMENT 2"))
        assert list(every.items) == posted
        assert list(newest.items) == [posted[4], posted[3]]
        assert list(of_one.items) == [posted[1], posted[3]]
        assert list(found.items) == [posted[2]]

    async def test_adds_up_when_many_post_at_once(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        async def post(number: int) -> bool:
            async with transactions.begin(home.scope) as unit:
                return await unit.ledger.post(
                    a_transfer(
                        home.tenant.id,
                        idempotency_key=f"key {number % 10}",
                        entries={A.PREPAID: 3, A.CASH: -3},
                    )
                )

        outcomes = Counter(await asyncio.gather(*(post(number) for number in range(20))))

        async with transactions.begin(home.scope) as unit:
            balances = await unit.ledger.balances(home.tenant.id)
        assert outcomes == {True: 10, False: 10}
        assert balances[A.PREPAID] == 30

    async def test_reads_what_is_open_in_one_go(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        paid = a_transfer(home.tenant.id, entries={A.PREPAID: DOLLAR, A.CASH: -DOLLAR})
        running = a_segment(home.project)
        ended = a_segment(home.project, ended_at=running.started_at + SECOND)
        theirs = a_segment(neighbour.project)
        hold = Hold(
            id=fresh("hld"),
            tenant_id=home.tenant.id,
            allocation_id=running.allocation_id,
            amount_micros=3,
            from_prepaid_micros=3,
            from_credits=(CreditLot(id="trf_1", remaining_micros=5, expires_at=NOW),),
            created_at=NOW,
        )
        closed = replace(hold, id=fresh("hld"), state=HoldState.VOIDED, closed_at=NOW)
        async with transactions.begin(PLATFORM) as unit:
            await unit.ledger.post(paid)
            for segment in (running, ended, theirs):
                await unit.usage_segments.add(segment)
            for each in (hold, closed):
                await unit.holds.add(each)
            nothing = await unit.ledger.open_rows(TenantId(fresh("ten")))
            found = await unit.ledger.open_rows(home.tenant.id)
            balances = await unit.ledger.balances(home.tenant.id)

        assert nothing == OpenRows(balances=dict.fromkeys(AccountKind, 0), segments=(), holds=())
        assert found == OpenRows(balances=balances, segments=(running,), holds=(hold,))
