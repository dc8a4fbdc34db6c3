"""Sealed secrets. Their master keys are not in the database."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import WRITE, as_owner, grants

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    with as_owner():
        op.execute("""
            CREATE TABLE secrets (
                id text COLLATE "C" PRIMARY KEY,
                key_id text NOT NULL,
                wrapped_key text NOT NULL,
                nonce text NOT NULL,
                ciphertext text NOT NULL,
                created_at timestamptz NOT NULL
            )
        """)
        grants("secrets", app="", platform=WRITE)
