"""Room that is promised: read by every launch, whoever it was promised to."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner, shared_by_all

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    with as_owner():
        op.execute("""
            CREATE TABLE promises (
                id text COLLATE "C" PRIMARY KEY,
                user_id text NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
                project_id text NOT NULL REFERENCES projects DEFERRABLE INITIALLY DEFERRED,
                sku_id text NOT NULL REFERENCES skus DEFERRABLE INITIALLY DEFERRED,
                pool text NOT NULL,
                gpu_count bigint NOT NULL CHECK (gpu_count > 0),
                vcpus bigint NOT NULL,
                memory_mib bigint NOT NULL,
                count bigint NOT NULL CHECK (count > 0),
                spread text NOT NULL,
                together boolean NOT NULL,
                until timestamptz NOT NULL
            )
        """)
        op.execute("CREATE INDEX ON promises (pool, id)")
        op.execute("CREATE INDEX ON promises (project_id)")
        shared_by_all("promises")
