"""What is degraded may expire as well; the index of the timers serves both states."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    with as_owner():
        op.execute("""
            CREATE INDEX allocations_timers ON allocations (releases_at)
            WHERE state IN ('active', 'degraded') AND releases_at IS NOT NULL
        """)
        op.execute("DROP INDEX allocations_releases_at_idx")
