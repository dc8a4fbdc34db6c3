"""Who may do what with a table, said in one place and the same way in every migration.

Three roles, none of which can log in: ``gpucloud_owner`` owns everything, ``gpucloud_app`` works
for one tenant, ``gpucloud_platform`` for all of them. Row-level security is on and forced, also
for the owner; what a role has no policy for, it does not see.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op

OWN = "tenant_id = current_setting('gpucloud.tenant', true)"
WRITE = "SELECT, INSERT, UPDATE, DELETE"


@contextmanager
def as_owner() -> Iterator[None]:
    """Let ``gpucloud_owner`` own what the block makes."""
    op.execute("SET LOCAL ROLE gpucloud_owner")
    yield
    op.execute("RESET ROLE")


def owned_by_tenant(
    table: str, *, app: str = WRITE, platform: str = WRITE, own: str = OWN, check: str = ""
) -> None:
    """Let tenants do ``app`` to their own rows, and the platform ``platform`` to all.

    The owner's policy is for its functions: they act for the tenant, or the platform, that calls.
    """
    grants(table, app=app, platform=platform)
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY of_tenant ON {table} TO gpucloud_app USING ({own})"
        f" WITH CHECK ({check or own})"
    )
    op.execute(f"CREATE POLICY of_platform ON {table} TO gpucloud_platform USING (true)")
    tenant = own.partition(" ")[0]
    op.execute(
        f"CREATE POLICY of_functions ON {table} TO gpucloud_owner USING (acting_for({tenant}))"
    )


def shared_by_all(table: str) -> None:
    """Let tenants read the table and the platform write it."""
    grants(table, app="SELECT", platform=WRITE)


def grants(table: str, *, app: str, platform: str) -> None:
    for role, verbs in (("gpucloud_app", app), ("gpucloud_platform", platform)):
        if verbs:
            op.execute(f"GRANT {verbs} ON {table} TO {role}")


def callable_by_all(function: str) -> None:
    """Let tenants and the platform call a function of the owner, and nobody else."""
    op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO gpucloud_app, gpucloud_platform")
