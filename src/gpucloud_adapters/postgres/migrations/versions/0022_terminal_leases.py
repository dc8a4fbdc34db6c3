"""Leases of open terminals, so that the end of one is recorded whatever becomes of its process."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner, owned_by_tenant

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    with as_owner():
        op.execute("""
            CREATE TABLE terminal_leases (
                id text COLLATE "C" PRIMARY KEY,
                tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
                allocation_id text NOT NULL REFERENCES allocations DEFERRABLE INITIALLY DEFERRED,
                project_id text NOT NULL,
                user_id text,
                actor text NOT NULL,
                via text NOT NULL,
                ip text NOT NULL,
                user_agent text NOT NULL,
                correlation_id text NOT NULL,
                opened_at timestamptz NOT NULL,
                until timestamptz NOT NULL
            )
        """)
        op.execute("CREATE INDEX ON terminal_leases (until)")
        op.execute("CREATE INDEX ON terminal_leases (tenant_id)")
        op.execute("CREATE INDEX ON terminal_leases (allocation_id)")
        owned_by_tenant("terminal_leases")
