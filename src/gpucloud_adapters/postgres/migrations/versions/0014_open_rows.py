"""What is open is found among all that ever was: claims, holds, meters, tasks, attention rows."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    with as_owner():
        op.execute("CREATE INDEX ON claims (released_at, node_id) WHERE released_at IS NULL")
        op.execute("CREATE INDEX ON holds (state, tenant_id) WHERE state = 'open'")
        op.execute("CREATE INDEX ON usage_segments (ended_at, tenant_id) WHERE ended_at IS NULL")
        op.execute("CREATE INDEX ON tasks (finished_at, subject) WHERE finished_at IS NULL")
        op.execute("CREATE INDEX ON attention_rows (subject)")
        op.execute("CREATE INDEX ON attention_rows (cleared_at, kind) WHERE cleared_at IS NULL")
