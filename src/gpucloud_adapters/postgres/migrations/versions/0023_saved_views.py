"""Views of lists that people keep."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner, owned_by_tenant

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    with as_owner():
        op.execute("""
            CREATE TABLE saved_views (
                id text COLLATE "C" PRIMARY KEY,
                tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
                user_id text NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
                list text NOT NULL,
                name text NOT NULL,
                name_key text NOT NULL,
                query jsonb NOT NULL,
                columns jsonb,
                created_at timestamptz NOT NULL,
                UNIQUE (tenant_id, user_id, list, name_key)
            )
        """)
        op.execute("CREATE INDEX ON saved_views (user_id)")
        owned_by_tenant("saved_views")
