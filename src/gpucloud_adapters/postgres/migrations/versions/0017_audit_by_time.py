"""The audit trail is read by time, in every tenant at once."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    with as_owner():
        op.execute("CREATE INDEX ON audit_rows (at, id)")
