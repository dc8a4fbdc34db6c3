"""Nodes are found by what stands on their parts."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    with as_owner():
        op.execute("""
            CREATE INDEX ON nodes USING gin ((
                jsonb_path_query_array(topology, '$.gpus[*].uuid')
                || jsonb_path_query_array(topology, '$.gpus[*].serial')
                || jsonb_path_query_array(topology, '$.nvmes[*].serial')
            ))
        """)
        op.execute("CREATE INDEX ON nodes ((access ->> 'host'))")
        op.execute("CREATE INDEX ON nodes (slot_host)")
        op.execute("CREATE INDEX ON slots (ssh_host)")
