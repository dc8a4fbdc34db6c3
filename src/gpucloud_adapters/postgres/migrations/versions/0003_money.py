"""Usage, the ledger, holds and payments.

The ledger is written by one function of the owner and by nothing else, also not by the platform.
A transfer whose entries do not sum to zero, or that leaves a balance unlike its entries, cannot
be committed; a tenant's own account cannot fall below zero; nothing posted is ever changed.
"""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import (
    as_owner,
    callable_by_all,
    grants,
    owned_by_tenant,
)

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with as_owner():
        make_usage()
        make_ledger()
        make_post_transfer()
        make_walls()
        make_accounts()
        make_payments()


def make_usage() -> None:
    op.execute("""
        CREATE TABLE usage_segments (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            project_id text NOT NULL REFERENCES projects DEFERRABLE INITIALLY DEFERRED,
            allocation_id text NOT NULL,
            sku_id text COLLATE "C" NOT NULL,
            gpu_count bigint NOT NULL,
            rate_micros_per_hour bigint NOT NULL CHECK (rate_micros_per_hour >= 0),
            currency text NOT NULL,
            started_at timestamptz NOT NULL,
            ended_at timestamptz CHECK (ended_at >= started_at),
            settled_until timestamptz NOT NULL CHECK (settled_until >= started_at),
            settled_micros bigint NOT NULL CHECK (settled_micros >= 0),
            next_settlement_at timestamptz
        )
    """)
    op.execute("CREATE UNIQUE INDEX ON usage_segments (allocation_id) WHERE ended_at IS NULL")
    op.execute("CREATE INDEX ON usage_segments (allocation_id)")
    op.execute("CREATE INDEX ON usage_segments (tenant_id, started_at, id)")
    op.execute("CREATE INDEX ON usage_segments (project_id, started_at, id)")
    op.execute("""
        CREATE INDEX ON usage_segments (next_settlement_at, tenant_id)
        WHERE next_settlement_at IS NOT NULL
    """)
    owned_by_tenant("usage_segments")


def make_ledger() -> None:
    op.execute("""
        CREATE TABLE ledger_transfers (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            kind text COLLATE "C" NOT NULL,
            idempotency_key text NOT NULL,
            at timestamptz NOT NULL,
            memo text NOT NULL,
            project_id text,
            allocation_id text,
            corrects text,
            UNIQUE (tenant_id, idempotency_key)
        )
    """)
    op.execute("CREATE INDEX ON ledger_transfers (tenant_id, at, id)")
    op.execute("CREATE INDEX ON ledger_transfers (allocation_id)")
    op.execute("""
        CREATE TABLE ledger_entries (
            id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
            transfer_id text NOT NULL REFERENCES ledger_transfers,
            tenant_id text NOT NULL,
            account text NOT NULL,
            amount_micros bigint NOT NULL,
            balance_after_micros bigint NOT NULL,
            PRIMARY KEY (transfer_id, account)
        )
    """)
    op.execute("CREATE INDEX ON ledger_entries (tenant_id, account, id)")
    op.execute("""
        CREATE TABLE ledger_accounts (
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            account text NOT NULL,
            balance_micros bigint NOT NULL,
            PRIMARY KEY (tenant_id, account),
            CHECK (
                balance_micros >= 0
                OR account NOT IN ('prepaid', 'held', 'promotional', 'receivable')
            )
        )
    """)
    for table in ("ledger_transfers", "ledger_entries", "ledger_accounts"):
        owned_by_tenant(table, app="SELECT", platform="SELECT")


def make_post_transfer() -> None:
    """The accounts are locked in order, so that two transfers of one tenant cannot deadlock."""
    op.execute("""
        CREATE FUNCTION post_transfer(
            new_id text, tenant text, new_kind text, key text, new_at timestamptz, new_memo text,
            project text, allocation text, corrected text, accounts text[], amounts bigint[]
        ) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        BEGIN
            INSERT INTO ledger_transfers (
                id, tenant_id, kind, idempotency_key, at, memo, project_id, allocation_id, corrects
            )
            VALUES (
                new_id, tenant, new_kind, key, new_at, new_memo, project, allocation, corrected
            )
            ON CONFLICT (tenant_id, idempotency_key) DO NOTHING;
            IF NOT FOUND THEN
                RETURN false;
            END IF;
            INSERT INTO ledger_accounts (tenant_id, account, balance_micros)
            SELECT tenant, name, 0 FROM unnest(accounts) AS name ORDER BY name
            ON CONFLICT DO NOTHING;
            PERFORM FROM ledger_accounts
            WHERE tenant_id = tenant AND account = ANY (accounts)
            ORDER BY account FOR UPDATE;
            WITH moved AS (
                UPDATE ledger_accounts AS a
                SET balance_micros = a.balance_micros + entry.amount
                FROM unnest(accounts, amounts) AS entry (account, amount)
                WHERE a.tenant_id = tenant AND a.account = entry.account
                RETURNING a.account, entry.amount, a.balance_micros
            )
            INSERT INTO ledger_entries (
                transfer_id, tenant_id, account, amount_micros, balance_after_micros
            )
            SELECT new_id, tenant, account, amount, balance_micros FROM moved ORDER BY account;
            RETURN true;
        END $$
    """)
    callable_by_all("post_transfer")


def make_walls() -> None:
    op.execute("""
        CREATE FUNCTION refuse_imbalance() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (SELECT sum(amount_micros) FROM ledger_entries WHERE transfer_id = NEW.transfer_id)
                <> 0
            THEN
                RAISE EXCEPTION 'the entries of % do not sum to zero', NEW.transfer_id
                    USING ERRCODE = 'check_violation';
            END IF;
            IF (
                SELECT balance_micros FROM ledger_accounts
                WHERE tenant_id = NEW.tenant_id AND account = NEW.account
            ) IS DISTINCT FROM (
                SELECT balance_after_micros FROM ledger_entries
                WHERE tenant_id = NEW.tenant_id AND account = NEW.account
                ORDER BY id DESC LIMIT 1
            ) THEN
                RAISE EXCEPTION 'the balance of % is not what its entries say', NEW.account
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON ledger_entries
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_imbalance()
    """)
    for table in ("ledger_transfers", "ledger_entries"):
        op.execute(f"""
            CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            EXECUTE FUNCTION refuse_change()
        """)


def make_accounts() -> None:
    op.execute("""
        CREATE TABLE billing_accounts (
            tenant_id text COLLATE "C" PRIMARY KEY
                REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            currency text NOT NULL,
            standing text COLLATE "C" NOT NULL,
            low_balance_hours bigint NOT NULL,
            reserve_minutes bigint NOT NULL,
            depletes_at timestamptz,
            next_deadline_at timestamptz,
            notices_sent jsonb NOT NULL,
            credits jsonb NOT NULL,
            created_at timestamptz NOT NULL
        )
    """)
    op.execute("""
        CREATE INDEX ON billing_accounts (next_deadline_at) WHERE next_deadline_at IS NOT NULL
    """)
    owned_by_tenant("billing_accounts")

    op.execute("""
        CREATE TABLE holds (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            allocation_id text NOT NULL,
            amount_micros bigint NOT NULL CHECK (amount_micros >= 0),
            state text NOT NULL,
            from_prepaid_micros bigint NOT NULL CHECK (from_prepaid_micros >= 0),
            from_promotional_micros bigint NOT NULL CHECK (from_promotional_micros >= 0),
            from_credits jsonb NOT NULL,
            run_on_reserve boolean NOT NULL,
            created_at timestamptz NOT NULL,
            closed_at timestamptz
        )
    """)
    op.execute("CREATE UNIQUE INDEX ON holds (allocation_id) WHERE state = 'open'")
    op.execute("CREATE INDEX ON holds (allocation_id)")
    op.execute("CREATE INDEX ON holds (tenant_id, id)")
    owned_by_tenant("holds")


def make_payments() -> None:
    op.execute("""
        CREATE TABLE payments (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            user_id text NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
            state text COLLATE "C" NOT NULL,
            amount_micros bigint NOT NULL CHECK (amount_micros > 0),
            currency text NOT NULL,
            provider_id text UNIQUE,
            provider_payment_id text,
            url text,
            success_url text NOT NULL,
            cancel_url text NOT NULL,
            credited_micros bigint NOT NULL CHECK (credited_micros >= 0),
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            failure text NOT NULL
        )
    """)
    op.execute("CREATE INDEX ON payments (provider_payment_id)")
    op.execute("CREATE INDEX ON payments (tenant_id, created_at, id)")
    owned_by_tenant("payments")

    op.execute("""
        CREATE TABLE webhook_events (
            id text COLLATE "C" PRIMARY KEY,
            kind text COLLATE "C" NOT NULL,
            object_id text NOT NULL,
            payload text NOT NULL,
            received_at timestamptz NOT NULL,
            handled_at timestamptz,
            attempts bigint NOT NULL,
            next_try_at timestamptz,
            outcome text NOT NULL
        )
    """)
    op.execute("CREATE INDEX ON webhook_events (object_id)")
    op.execute("""
        CREATE INDEX ON webhook_events (coalesce(next_try_at, received_at))
        WHERE handled_at IS NULL
    """)
    grants("webhook_events", app="", platform="SELECT, INSERT, UPDATE, DELETE")
