"""Mails: queued with what they are about, sent by workers."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner, owned_by_tenant

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    with as_owner():
        op.execute("""
            CREATE TABLE mails (
                id text COLLATE "C" PRIMARY KEY,
                tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
                user_id text NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
                key text NOT NULL,
                "to" text NOT NULL,
                subject text NOT NULL,
                text text NOT NULL,
                link text NOT NULL,
                state text COLLATE "C" NOT NULL,
                tries bigint NOT NULL,
                due_at timestamptz,
                created_at timestamptz NOT NULL,
                sent_at timestamptz,
                error text NOT NULL,
                UNIQUE (user_id, key),
                CHECK ((due_at IS NOT NULL) = (state = 'queued'))
            )
        """)
        op.execute("CREATE INDEX ON mails (due_at) WHERE due_at IS NOT NULL")
        op.execute("CREATE INDEX ON mails (tenant_id)")
        owned_by_tenant("mails")
