"""The usage of a window is found by when it ended; what runs comes first."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    with as_owner():
        op.execute("CREATE INDEX usage_segments_endings ON usage_segments (tenant_id, ended_at)")
