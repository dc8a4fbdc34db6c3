"""The data disk and the network port of each slot; neither is sold twice."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    with as_owner():
        for name in ("disk", "nic"):
            op.execute(f"ALTER TABLE slots ADD COLUMN {name} text NOT NULL DEFAULT ''")
            op.execute(f"""
                CREATE UNIQUE INDEX ON slots (node_id, {name})
                WHERE state NOT IN ('proposed', 'disabled') AND {name} <> ''
            """)
