"""When a node in service is discovered anew by itself."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    with as_owner():
        op.execute("ALTER TABLE nodes ADD COLUMN look_due_at timestamptz")
        op.execute("""
            CREATE INDEX ON nodes (COALESCE(look_due_at, created_at))
            WHERE status IN ('active', 'draining')
        """)
