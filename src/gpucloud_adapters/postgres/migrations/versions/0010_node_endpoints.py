"""Where a node's slices answer, so that slots found later have endpoints too."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    with as_owner():
        op.execute("ALTER TABLE nodes ADD COLUMN slot_host text NOT NULL DEFAULT ''")
        op.execute("ALTER TABLE nodes ADD COLUMN slot_port bigint NOT NULL DEFAULT 0")
