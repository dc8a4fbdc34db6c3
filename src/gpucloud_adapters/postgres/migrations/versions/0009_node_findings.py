"""What a node's last discovery found, beside the topology that the node is sold by."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    with as_owner():
        op.execute("ALTER TABLE nodes ADD COLUMN findings jsonb")
