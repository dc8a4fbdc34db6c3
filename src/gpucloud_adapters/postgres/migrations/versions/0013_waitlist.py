"""The waitlist: launches that wait for capacity, each with its turn."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner, owned_by_tenant

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    with as_owner():
        op.execute("""
            CREATE TABLE waitlist (
                id text COLLATE "C" PRIMARY KEY,
                tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
                project_id text NOT NULL REFERENCES projects DEFERRABLE INITIALLY DEFERRED,
                user_id text NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
                kind text NOT NULL,
                request jsonb NOT NULL,
                sku_id text NOT NULL REFERENCES skus DEFERRABLE INITIALLY DEFERRED,
                gpu_count bigint NOT NULL CHECK (gpu_count > 0),
                pool text NOT NULL,
                turn bigint NOT NULL,
                price_max_micros bigint CHECK (price_max_micros > 0),
                state text COLLATE "C" NOT NULL,
                state_since timestamptz NOT NULL,
                expires_at timestamptz NOT NULL,
                due_at timestamptz,
                reason text NOT NULL,
                reason_code text NOT NULL,
                task_id text,
                created_at timestamptz NOT NULL,
                CHECK ((due_at IS NOT NULL) = (state IN ('waiting', 'offered'))),
                CHECK ((task_id IS NOT NULL) <= (state = 'launched'))
            )
        """)
        op.execute("CREATE INDEX ON waitlist (due_at) WHERE due_at IS NOT NULL")
        op.execute("CREATE INDEX ON waitlist (pool, id)")
        op.execute("CREATE INDEX ON waitlist (project_id, id)")
        op.execute("CREATE INDEX ON waitlist (tenant_id, id)")
        owned_by_tenant("waitlist")
