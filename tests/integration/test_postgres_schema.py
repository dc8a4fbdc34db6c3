"""The migrated schema is what the rows need: nothing less, and nothing left over."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from gpucloud_adapters.postgres.migrate import config, upgrade
from gpucloud_adapters.stored.kinds import KINDS, LEDGER_TRANSFERS

ELSEWHERE = {(LEDGER_TRANSFERS.table, "entries")}  # kept as rows of ledger_entries
OF_NO_KIND = {
    "alembic_version",
    "claimed_slots",
    "ledger_accounts",
    "ledger_entries",
    "outbox",
    "step_durations",
}
OF_NO_FIELD = {
    ("audit_rows", "written"),
    ("audit_rows", "written_xid"),
    ("node_capacity", "changed_xid"),
    ("slots", "answers"),
}
TYPES = {int: "bigint", bool: "boolean", datetime: "timestamp with time zone"}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


class TestSchema:
    async def test_has_a_column_of_the_right_kind_for_every_field_and_no_other(
        self, database: asyncpg.Connection
    ) -> None:
        found = await database.fetch("""
            SELECT c.relname, a.attname, format_type(a.atttypid, NULL), NOT a.attnotnull
            FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
        """)
        real = {(table, name): (kind, null) for table, name, kind, null in found}

        expected = {
            (kind.table, field.name): (
                "jsonb" if field.scalar is None else TYPES.get(field.scalar, "text"),
                field.optional,
            )
            for kind in KINDS
            for field in kind.fields.values()
            if (kind.table, field.name) not in ELSEWHERE
        }
        of_kinds = {place: what for place, what in real.items() if place[0] not in OF_NO_KIND}
        assert of_kinds == expected | {place: real[place] for place in OF_NO_FIELD}

    async def test_sorts_text_by_code_point_where_lists_sort(
        self, database: asyncpg.Connection
    ) -> None:
        found = await database.fetch("""
            SELECT c.relname, a.attname
            FROM pg_attribute AS a
            JOIN pg_class AS c ON c.oid = a.attrelid
            JOIN pg_collation AS l ON l.oid = a.attcollation
            WHERE l.collname = 'C'
        """)

        sorted_by = {
            (kind.table, name)
            for kind in KINDS
            for name in (kind.key, *kind.sortable)
            if TYPES.get(kind.fields[name].scalar or str) is None
        }
        assert sorted_by <= {(row[0], row[1]) for row in found}

    async def test_keeps_unique_exactly_what_the_kinds_declare(
        self, database: asyncpg.Connection
    ) -> None:
        found = await database.fetch("""
            SELECT t.relname, array_agg(a.attname ORDER BY k.place), i.indpred IS NOT NULL
            FROM pg_index AS i
            JOIN pg_class AS t ON t.oid = i.indrelid
            CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
            JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.number
            WHERE i.indisunique AND NOT i.indisprimary
                AND t.relnamespace = 'public'::regnamespace
            GROUP BY t.relname, i.indexrelid, i.indpred IS NOT NULL
        """)
        real = {
            (table, tuple(columns), is_partial)
            for table, columns, is_partial in found
            if table not in OF_NO_KIND
        }

        assert real == {
            (kind.table, unique.fields, unique.among is not None)
            for kind in KINDS
            for unique in kind.unique
        }

    async def test_finds_rows_by_an_index(self, database: asyncpg.Connection) -> None:
        found = await database.fetch("""
            SELECT i.indrelid::regclass::text, a.attname
            FROM pg_index AS i
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            JOIN pg_class AS t ON t.oid = i.indrelid
            WHERE t.relnamespace = 'public'::regnamespace
        """)

        needed = {(kind.table, name) for kind in KINDS for name in kind.found_by}
        assert needed <= {(row[0], row[1]) for row in found}

    async def test_has_an_index_for_every_foreign_key(self, database: asyncpg.Connection) -> None:
        found = await database.fetch("""
            SELECT c.conrelid::regclass::text, a.attname
            FROM pg_constraint AS c
            JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
            WHERE c.contype = 'f' AND NOT EXISTS (
                SELECT FROM pg_index AS i
                WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1]
            )
        """)

        # Tenants, users, nodes and SKUs are never deleted, so nobody looks for what refers to one.
        kept = {"tenant_id", "user_id", "node_id", "sku_id"}
        assert [(row[0], row[1]) for row in found if row[1] not in kept] == []

    def test_has_one_head(self) -> None:
        assert len(ScriptDirectory.from_config(config()).get_heads()) == 1


class TestUpgrade:
    async def test_may_run_twice_and_at_once(self, empty_database_url: str) -> None:
        await asyncio.gather(*(asyncio.to_thread(upgrade, empty_database_url) for _ in range(3)))
        await asyncio.to_thread(upgrade, empty_database_url)

        connection = await asyncpg.connect(empty_database_url)
        versions = await connection.fetchval("SELECT count(*) FROM alembic_version")
        await connection.close()
        assert versions == 1
