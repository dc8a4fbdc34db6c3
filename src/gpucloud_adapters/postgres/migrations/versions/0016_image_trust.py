"""What the last verification of an image found, and when, on the image itself."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    with as_owner():
        op.execute("ALTER TABLE os_images ADD COLUMN trust text NOT NULL DEFAULT 'unverified'")
        op.execute("ALTER TABLE os_images ADD COLUMN trust_reason text NOT NULL DEFAULT ''")
        op.execute("ALTER TABLE os_images ADD COLUMN trust_at timestamptz")
        op.execute("ALTER TABLE os_images ADD COLUMN size_bytes bigint")
