"""Where nodes hang in the fabrics between them."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    with as_owner():
        op.execute("ALTER TABLE nodes ADD COLUMN place jsonb")
        op.execute("ALTER TABLE node_capacity ADD COLUMN fabric text NOT NULL DEFAULT ''")
