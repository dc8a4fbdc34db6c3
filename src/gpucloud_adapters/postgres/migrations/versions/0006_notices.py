"""Inboxes, and the rows that want an operator's attention.

The sweep looks for whatever stays too long in a state that should pass; so states are indexed.
"""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import WRITE, as_owner, grants, owned_by_tenant

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with as_owner():
        make_inbox()
        make_attention()
        op.execute("CREATE INDEX ON allocations (state)")
        op.execute("CREATE INDEX ON slots (state)")
        op.execute("CREATE INDEX ON tasks (id) WHERE finished_at IS NULL")


def make_inbox() -> None:
    op.execute("""
        CREATE TABLE inbox_notices (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            user_id text NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
            key text NOT NULL,
            kind text COLLATE "C" NOT NULL,
            level text COLLATE "C" NOT NULL,
            title text NOT NULL,
            text text NOT NULL,
            link text NOT NULL,
            created_at timestamptz NOT NULL,
            read_at timestamptz,
            UNIQUE (user_id, key)
        )
    """)
    op.execute("CREATE INDEX ON inbox_notices (user_id, id)")
    op.execute("CREATE INDEX ON inbox_notices (user_id) WHERE read_at IS NULL")
    owned_by_tenant("inbox_notices")


def make_attention() -> None:
    op.execute("""
        CREATE TABLE attention_rows (
            id text COLLATE "C" PRIMARY KEY,
            kind text COLLATE "C" NOT NULL,
            subject text NOT NULL,
            severity text COLLATE "C" NOT NULL,
            title text NOT NULL,
            facts jsonb NOT NULL,
            first_seen timestamptz NOT NULL,
            last_seen timestamptz NOT NULL,
            acknowledged_by text,
            acknowledged_at timestamptz,
            reason text NOT NULL,
            snoozed_until timestamptz,
            cleared_at timestamptz
        )
    """)
    op.execute("CREATE UNIQUE INDEX ON attention_rows (kind, subject) WHERE cleared_at IS NULL")
    grants("attention_rows", app="", platform=WRITE)
