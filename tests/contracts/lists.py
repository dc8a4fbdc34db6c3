"""What lists promise: every row once, in order, both ways, and only what was asked for.

Seen to fail when a page read backwards was not turned round.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from contracts.stores import PLATFORM, Household, StoreContract, StoreUnit
from gpucloud_core.access.model import SshKey
from gpucloud_core.allocations.model import (
    Allocation,
    AllocationState,
)
from gpucloud_core.kernel.errors import ValidationFailed
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.unit import Transactions
from row_builders import (
    NOW,
    SECOND,
    a_claim,
    a_node,
    a_task,
    an_allocation,
    an_ssh_key,
)


async def some_keys(
    transactions: Transactions[StoreUnit], home: Household, names: list[str]
) -> list[SshKey]:
    keys = [
        an_ssh_key(
            home.tenant.id,
            home.user.id,
            name=name,
            created_at=NOW + SECOND * (len(name) % 3),
            deleted_at=NOW if index % 2 else None,
        )
        for index, name in enumerate(names)
    ]
    async with transactions.begin(home.scope) as unit:
        for key in keys:
            await unit.ssh_keys.add(key)
    return keys


class ListsContract(StoreContract):
    NAMES: ClassVar = ["b", "a", "B", "é", "a", "zz", "", "100%", "1_0", "a\\b", "Éa", "b"]

    async def walk(
        self, transactions: Transactions[StoreUnit], home: Household, query: ListQuery
    ) -> tuple[list[SshKey], list[SshKey]]:
        """Return the list read forwards page by page, and then backwards."""
        forwards: list[SshKey] = []
        backwards: list[SshKey] = []
        async with transactions.begin(home.scope) as unit:
            page = await unit.ssh_keys.page(query)
            assert page.prev_cursor is None
            forwards += page.items
            while page.next_cursor:
                page = await unit.ssh_keys.page(replace(query, cursor=page.next_cursor))
                assert page.items
                forwards += page.items
            backwards = [*page.items]
            while page.prev_cursor:
                page = await unit.ssh_keys.page(replace(query, cursor=page.prev_cursor))
                backwards = [*page.items, *backwards]
        return forwards, backwards

    @pytest.mark.parametrize("since", [None, 0, 1, 3])
    @pytest.mark.parametrize("until", [None, 0, 1, 2])
    async def test_shows_what_lies_between_two_instants(
        self,
        transactions: Transactions[StoreUnit],
        home: Household,
        since: int | None,
        until: int | None,
    ) -> None:
        keys = await some_keys(transactions, home, self.NAMES)
        first = None if since is None else NOW + SECOND * since
        end = None if until is None else NOW + SECOND * until
        query = ListQuery(spans={"created_at": (first, end)}, sort="-created_at", limit=3)

        forwards, backwards = await self.walk(transactions, home, query)

        assert forwards == backwards
        assert {key.id for key in forwards} == {
            key.id
            for key in keys
            if (first is None or key.created_at >= first) and (end is None or key.created_at < end)
        }

    async def test_knows_no_span_of_what_is_no_instant(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        async with transactions.begin(home.scope) as unit:
            for field in ("name", "gone"):
                with pytest.raises(ValidationFailed):
                    await unit.ssh_keys.page(ListQuery(spans={field: (NOW, None)}))

    @pytest.mark.parametrize("limit", [1, 3, 100])
    @pytest.mark.parametrize("sort", ["id", "-id", "name", "-name", "created_at", "-created_at"])
    async def test_shows_every_row_once_in_order_both_ways(
        self, transactions: Transactions[StoreUnit], home: Household, sort: str, limit: int
    ) -> None:
        keys = await some_keys(transactions, home, self.NAMES)
        field = sort.removeprefix("-")
        expected = sorted(
            keys, key=lambda key: (getattr(key, field), key.id), reverse=sort.startswith("-")
        )

        forwards, backwards = await self.walk(transactions, home, ListQuery(sort=sort, limit=limit))

        assert forwards == expected
        assert backwards == expected

    @pytest.mark.parametrize("search", ["", "a", "%", "no such"])
    @pytest.mark.parametrize("at_most", [1, 3, 1000])
    async def test_counts_what_all_pages_show_up_to_a_bound(
        self, transactions: Transactions[StoreUnit], home: Household, search: str, at_most: int
    ) -> None:
        """Seen to fail when a cursor narrowed the count."""
        await some_keys(transactions, home, self.NAMES)
        query = ListQuery(search=search, where={"deleted_at": (None,)}, limit=2)
        forwards, _ = await self.walk(transactions, home, query)

        async with transactions.begin(home.scope) as unit:
            page = await unit.ssh_keys.page(query)
            counted = [
                await unit.ssh_keys.matching(replace(query, cursor=cursor), at_most=at_most)
                for cursor in (None, page.next_cursor)
            ]
        assert counted == [min(at_most, len(forwards))] * 2

    @pytest.mark.parametrize("sort", ["ended_at", "-ended_at"])
    async def test_sorts_null_after_every_value(
        self, transactions: Transactions[StoreUnit], home: Household, sort: str
    ) -> None:
        node = a_node()
        ends = [NOW, None, NOW + SECOND, None, NOW]
        task = a_task(home.tenant.id, home.project.id)
        claims = [
            a_claim(home.tenant.id, node.id, 1 << bit, released_at=NOW) for bit in range(len(ends))
        ]
        rows = [
            an_allocation(claim, task, home.user.id, ended_at=end, state=AllocationState.RELEASED)
            for claim, end in zip(claims, ends, strict=True)
        ]
        async with transactions.begin(PLATFORM) as unit:
            await unit.nodes.add(node)
            await unit.tasks.add(task)
            for claim, row in zip(claims, rows, strict=True):
                await unit.claims.add(claim)
                await unit.allocations.add(row)
        far = NOW + timedelta(days=9)
        expected = sorted(
            rows, key=lambda row: (row.ended_at or far, row.id), reverse=sort.startswith("-")
        )

        shown: list[Allocation] = []
        cursor = None
        async with transactions.begin(home.scope) as unit:
            while True:
                page = await unit.allocations.page(ListQuery(sort=sort, limit=2, cursor=cursor))
                shown += page.items
                if (cursor := page.next_cursor) is None:
                    break
            back = await unit.allocations.page(ListQuery(sort=sort, cursor=page.prev_cursor))

        assert shown == expected
        assert [*back.items, *page.items] == expected

    async def test_narrows_by_any_of_the_values_and_by_text(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        await some_keys(transactions, home, self.NAMES)

        async def names(**query: Any) -> list[str]:
            async with transactions.begin(home.scope) as unit:
                page = await unit.ssh_keys.page(ListQuery(sort="id", **query))
            return [key.name for key in page.items]

        assert await names(where={"name": ["a", "zz"]}) == ["a", "a", "zz"]
        assert await names(where={"name": []}) == []
        assert await names(where={"deleted_at": [None], "name": ["b"]}) == ["b"]
        assert await names(where={"deleted_at": [None, NOW], "name": ["b"]}) == ["b", "b"]
        assert await names(search="b") == ["b", "B", "a\\b", "b"]
        assert await names(search="É") == ["é", "Éa"]
        assert await names(search="0%") == ["100%"]
        assert await names(search="1_") == ["1_0"]
        assert await names(search="\\") == ["a\\b"]
        assert await names(search="nothing like it") == []

    async def test_counts_on_from_a_row_that_is_gone(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        keys = await some_keys(transactions, home, ["a", "b", "c", "d"])
        query = ListQuery(sort="name", limit=2)

        async with transactions.begin(home.scope) as unit:
            page = await unit.ssh_keys.page(query)
            await unit.ssh_keys.delete(keys[1].id)
            page = await unit.ssh_keys.page(replace(query, cursor=page.next_cursor))

        assert [key.name for key in page.items] == ["c", "d"]

    async def test_shows_a_tenant_only_its_own(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        mine = await some_keys(transactions, home, ["mine"])
        await some_keys(transactions, neighbour, ["theirs"])

        async with transactions.begin(home.scope) as unit:
            assert (await unit.ssh_keys.page(ListQuery())).items == tuple(mine)
            everyones = ListQuery(where={"tenant_id": [neighbour.tenant.id]})
            assert (await unit.ssh_keys.page(everyones)).items == ()

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            (ListQuery(sort="nonsense"), "/sort"),
            (ListQuery(sort="public_key"), "/sort"),
            (ListQuery(where={"nonsense": ["x"]}), "/nonsense"),
            (ListQuery(where={"name": [1]}), "/name"),
            (ListQuery(where={"created_at": ["yesterday"]}), "/created_at"),
            (ListQuery(limit=0), "/limit"),
            (ListQuery(limit=101), "/limit"),
            (ListQuery(cursor="nonsense"), "/cursor"),
            (ListQuery(cursor="e30"), "/cursor"),
            (ListQuery(cursor="WyJ4IiwibmV4dCIsMSwieSJd"), "/cursor"),
            (ListQuery(cursor="é"), "/cursor"),
        ],
    )
    async def test_names_the_part_of_a_query_it_cannot_follow(
        self,
        transactions: Transactions[StoreUnit],
        home: Household,
        query: ListQuery,
        field: str,
    ) -> None:
        async with transactions.begin(home.scope) as unit:
            with pytest.raises(ValidationFailed) as caught:
                await unit.ssh_keys.page(query)

        assert [error.field for error in caught.value.fields] == [field]

    async def test_takes_no_cursor_of_another_list(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        await some_keys(transactions, home, ["a", "b"])

        async with transactions.begin(home.scope) as unit:
            page = await unit.ssh_keys.page(ListQuery(sort="name", limit=1))
            for sort in ("-name", "created_at"):
                with pytest.raises(ValidationFailed):
                    await unit.ssh_keys.page(ListQuery(sort=sort, cursor=page.next_cursor))
            with pytest.raises(ValidationFailed):
                await unit.projects.page(ListQuery(sort="name", cursor=page.next_cursor))

    async def test_names_the_values_a_filter_knows(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        async with transactions.begin(home.scope) as unit:
            with pytest.raises(ValidationFailed, match="queued, running"):
                await unit.tasks.page(ListQuery(where={"status": ["nonsense"]}))
