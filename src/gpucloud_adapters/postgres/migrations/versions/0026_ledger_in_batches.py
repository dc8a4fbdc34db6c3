"""Transfers are posted as many at a time as there are, and usage of many tenants in one go.

The walls look at each statement that appends entries, once, and no longer at each entry when the
transaction ends: a transfer's entries are appended together, so that nothing can put them right
later. What every row pointed at is held by the only functions that write these tables: an entry
comes with its transfer, and whatever a transfer moves is an account of a tenant.
"""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner, callable_by_all

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    with as_owner():
        look_once_a_statement()
        drop_what_nobody_reads()
        make_post_transfers()
        make_settle_usage()


def look_once_a_statement() -> None:
    op.execute("DROP TRIGGER balanced ON ledger_entries")
    op.execute("""
        CREATE OR REPLACE FUNCTION refuse_imbalance() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            wrong text;
        BEGIN
            SELECT transfer_id INTO wrong FROM made
            GROUP BY transfer_id HAVING sum(amount_micros) <> 0 LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'the entries of % do not sum to zero', wrong
                    USING ERRCODE = 'check_violation';
            END IF;
            SELECT last.account INTO wrong FROM (
                SELECT DISTINCT ON (tenant_id, account) tenant_id, account, balance_after_micros
                FROM made ORDER BY tenant_id, account, id DESC
            ) AS last
            WHERE last.balance_after_micros IS DISTINCT FROM (
                SELECT a.balance_micros FROM ledger_accounts AS a
                WHERE a.tenant_id = last.tenant_id AND a.account = last.account
            )
            LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'the balance of % is not what its entries say', wrong
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER balanced AFTER INSERT ON ledger_entries
        REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION refuse_imbalance()
    """)
    op.execute("""
        ALTER TABLE ledger_entries ADD CHECK (
            balance_after_micros >= 0
            OR account NOT IN ('prepaid', 'held', 'promotional', 'receivable')
        )
    """)


def drop_what_nobody_reads() -> None:
    op.execute("ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_id_key")
    op.execute("ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_transfer_id_fkey")
    op.execute("ALTER TABLE ledger_transfers DROP CONSTRAINT ledger_transfers_tenant_id_fkey")
    op.execute("DROP INDEX ledger_entries_tenant_id_account_id_idx")


def make_post_transfers() -> None:
    """Entries are given in the order of their transfers; each account's balance runs through them.

    The same function twice, for PostgreSQL plans it differently: once and for all where there are
    a few transfers, which planning would cost as much again, and for as many as there are where
    there are many.
    """
    op.execute("DROP FUNCTION post_transfer")
    for name, mode in (("post_transfers", "generic"), ("post_many_transfers", "custom")):
        make_function(name, mode)
        callable_by_all(name)


def make_function(name: str, mode: str) -> None:
    op.execute(f"""
        CREATE FUNCTION {name}(
            ids text[], tenants text[], kinds text[], keys text[], instants timestamptz[],
            memos text[], projects text[], allocations text[], corrected text[],
            entry_transfers text[], entry_tenants text[], entry_accounts text[],
            entry_amounts bigint[]
        ) RETURNS SETOF text
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
        SET plan_cache_mode = force_{mode}_plan SET work_mem = '64MB' AS $$
        BEGIN
            INSERT INTO ledger_accounts (tenant_id, account, balance_micros)
            SELECT e.tenant, e.account, 0 FROM (
                SELECT DISTINCT tenant, account
                FROM unnest(entry_tenants, entry_accounts) AS given (tenant, account)
            ) AS e
            WHERE NOT EXISTS (
                SELECT FROM ledger_accounts AS a
                WHERE a.tenant_id = e.tenant AND a.account = e.account
            )
            ORDER BY e.tenant, e.account ON CONFLICT DO NOTHING;
            RETURN QUERY WITH posted AS (
                INSERT INTO ledger_transfers (
                    id, tenant_id, kind, idempotency_key, at, memo, project_id, allocation_id,
                    corrects
                )
                SELECT * FROM unnest(
                    ids, tenants, kinds, keys, instants, memos, projects, allocations, corrected
                )
                ON CONFLICT (tenant_id, idempotency_key) DO NOTHING RETURNING id
            ), entry AS MATERIALIZED (
                SELECT e.* FROM unnest(
                    entry_transfers, entry_tenants, entry_accounts, entry_amounts
                ) WITH ORDINALITY AS e (transfer, tenant, account, amount, place)
                WHERE e.transfer IN (SELECT id FROM posted)
            ), moved AS (
                UPDATE ledger_accounts AS a SET balance_micros = a.balance_micros + e.amount
                FROM (
                    SELECT tenant, account, CAST(sum(amount) AS bigint) AS amount
                    FROM entry GROUP BY tenant, account ORDER BY tenant, account
                ) AS e
                WHERE a.tenant_id = e.tenant AND a.account = e.account
                RETURNING a.tenant_id, a.account, a.balance_micros - e.amount AS before
            ), appended AS (
                INSERT INTO ledger_entries (
                    transfer_id, tenant_id, account, amount_micros, balance_after_micros
                )
                SELECT e.transfer, e.tenant, e.account, e.amount,
                    m.before + sum(e.amount) OVER (
                        PARTITION BY e.tenant, e.account ORDER BY e.place
                    )
                FROM entry AS e JOIN moved AS m
                    ON m.tenant_id = e.tenant AND m.account = e.account
                ORDER BY e.place
            )
            SELECT id FROM posted;
        END $$
    """)  # noqa: S608  names of ours


def make_settle_usage() -> None:
    """What ``billing.settlement`` does for tenants whose usage their paid money covers, in SQL.

    The accounts are locked by the caller, and have no credit. Left out are those for whom a
    deadline has come (with these it is ``billing.settlement.is_plain``), who were settled beyond
    ``instant`` by a clock ahead of it, or would have too little money, which cannot be. Ids of
    transfers are ``head`` and the number of the transfer.
    """
    op.execute("""
        CREATE FUNCTION rfc3339(instant timestamptz) RETURNS text LANGUAGE sql STABLE
        RETURN to_char(instant AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    """)
    op.execute("""
        CREATE FUNCTION settle_usage(due text[], instant timestamptz, head text)
        RETURNS SETOF text
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
        SET plan_cache_mode = force_custom_plan SET work_mem = '64MB' AS $$
        DECLARE
            digits CONSTANT text := '0123456789abcdefghjkmnpqrstvwxyz';
            ids text[]; tenants text[]; keys text[]; memos text[]; projects text[];
            allocations text[]; amounts bigint[]; left_out text[];
        BEGIN
            WITH turn AS MATERIALIZED (
                SELECT s.id, s.tenant_id, s.project_id, s.allocation_id, s.settled_until,
                    s.settled_micros, s.next_settlement_at,
                    CAST(div(
                        CAST(s.rate_micros_per_hour AS numeric)
                            * (extract(epoch FROM instant - s.started_at) * 1000000),
                        3600000000
                    ) AS bigint) AS total
                FROM usage_segments AS s
                WHERE s.tenant_id = ANY (due) AND s.ended_at IS NULL
                    AND s.next_settlement_at <= instant
            ), barred AS (
                SELECT s.tenant_id FROM usage_segments AS s
                WHERE s.tenant_id = ANY (due) AND s.ended_at IS NULL AND s.settled_until > instant
                UNION
                SELECT b.tenant_id FROM billing_accounts AS b
                WHERE b.tenant_id = ANY (due)
                    AND (b.depletes_at <= instant OR b.next_deadline_at <= instant)
                UNION
                SELECT t.tenant_id FROM turn AS t GROUP BY t.tenant_id
                HAVING sum(t.total - t.settled_micros) > COALESCE((
                    SELECT a.balance_micros FROM ledger_accounts AS a
                    WHERE a.tenant_id = t.tenant_id AND a.account = 'prepaid'
                ), 0)
            ), kept AS (
                UPDATE usage_segments AS s
                SET settled_until = instant, settled_micros = t.total,
                    next_settlement_at = t.next_settlement_at + interval '1 hour'
                        * (1 + div(extract(epoch FROM instant - t.next_settlement_at), 3600))
                FROM turn AS t
                WHERE s.id = t.id AND t.tenant_id NOT IN (SELECT tenant_id FROM barred)
                RETURNING t.*
            ), charge AS (
                SELECT k.*, row_number() OVER (ORDER BY k.tenant_id, k.id) AS place
                FROM kept AS k WHERE k.total > k.settled_micros
            )
            SELECT
                array_agg(
                    head || substr(digits, (c.place >> 15 & 31)::int + 1, 1)
                        || substr(digits, (c.place >> 10 & 31)::int + 1, 1)
                        || substr(digits, (c.place >> 5 & 31)::int + 1, 1)
                        || substr(digits, (c.place & 31)::int + 1, 1)
                    ORDER BY c.place
                ),
                array_agg(c.tenant_id ORDER BY c.place),
                array_agg(
                    'usage:' || c.id || ':'
                        || CAST(extract(epoch FROM instant) * 1000000 AS bigint) || ':' || 'balance'
                    ORDER BY c.place
                ),
                array_agg(
                    'Usage from ' || rfc3339(c.settled_until) || ' to ' || rfc3339(instant)
                        || ', from the balance'
                    ORDER BY c.place
                ),
                array_agg(c.project_id ORDER BY c.place),
                array_agg(c.allocation_id ORDER BY c.place),
                array_agg(c.total - c.settled_micros ORDER BY c.place),
                (SELECT array_agg(tenant_id) FROM barred)
            INTO ids, tenants, keys, memos, projects, allocations, amounts, left_out
            FROM charge AS c;
            IF cardinality(ids) > 1048575 THEN
                RAISE EXCEPTION 'too much at once: % transfers', cardinality(ids);
            END IF;
            IF ids IS NOT NULL AND (
                SELECT count(*) FROM post_many_transfers(
                    ids, tenants, array_fill('usage'::text, ARRAY[cardinality(ids)]), keys,
                    array_fill(instant, ARRAY[cardinality(ids)]), memos, projects, allocations,
                    array_fill(NULL::text, ARRAY[cardinality(ids)]),
                    ids || ids, tenants || tenants,
                    array_fill('prepaid'::text, ARRAY[cardinality(ids)])
                        || array_fill('revenue'::text, ARRAY[cardinality(ids)]),
                    (
                        SELECT array_agg(-a ORDER BY n)
                        FROM unnest(amounts) WITH ORDINALITY AS u (a, n)
                    ) || amounts
                )
            ) <> cardinality(ids) THEN
                RAISE EXCEPTION 'usage was posted by someone without the lock'
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN QUERY SELECT d FROM unnest(due) AS d WHERE d <> ALL (COALESCE(left_out, '{}'));
        END $$
    """)
    callable_by_all("settle_usage")
