"""A one-time token remembers where its owner signed in: signing out ends what it opened.

Nullable and without a reference: tokens live for seconds, and old code goes on without it.
"""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    with as_owner():
        op.execute("ALTER TABLE one_time_tokens ADD COLUMN session_id text")
