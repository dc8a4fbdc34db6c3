"""The database's roles; people, tenants, projects, sessions and keys.

Foreign keys point down the ladder of concepts only, and are checked at commit, so that a use case
may write its rows in any order.
"""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import (
    as_owner,
    owned_by_tenant,
    shared_by_all,
)

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    for role in ("gpucloud_owner", "gpucloud_app", "gpucloud_platform"):
        make_role(role)
    op.execute("GRANT CREATE ON SCHEMA public TO gpucloud_owner")
    op.execute("GRANT USAGE ON SCHEMA public TO gpucloud_owner, gpucloud_app, gpucloud_platform")
    with as_owner():
        make_functions()
        make_people()
        make_projects()
        make_sessions()
        make_keys()


def make_role(role: str) -> None:
    """Make a role of the cluster, and let the login become it, unless that is so already.

    The login does not inherit what the role may do (from PostgreSQL 16 on, where that can be
    said): a transaction that forgot its scope can do nothing.
    """
    op.execute(f"""
        DO $$
        DECLARE
            since_16 CONSTANT boolean := current_setting('server_version_num')::int >= 160000;
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                BEGIN
                    CREATE ROLE {role} NOLOGIN NOBYPASSRLS;
                EXCEPTION WHEN duplicate_object OR unique_violation THEN
                    NULL;  -- another database of the cluster was migrated at the same moment
                END;
            END IF;
            IF NOT pg_has_role('{role}', CASE WHEN since_16 THEN 'SET' ELSE 'MEMBER' END) THEN
                IF since_16 THEN
                    EXECUTE 'GRANT {role} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE';
                ELSE
                    GRANT {role} TO CURRENT_USER;
                END IF;
            END IF;
        END $$
    """)


def make_functions() -> None:
    op.execute("""
        CREATE FUNCTION acting_for(tenant text) RETURNS boolean LANGUAGE sql STABLE
        RETURN current_setting('role') = 'gpucloud_platform'
            OR tenant = current_setting('gpucloud.tenant', true)
    """)
    op.execute("""
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'check_violation';
        END $$
    """)


def make_people() -> None:
    op.execute("""
        CREATE TABLE tenants (
            id text COLLATE "C" PRIMARY KEY,
            name text COLLATE "C" NOT NULL,
            kind text COLLATE "C" NOT NULL,
            currency text NOT NULL,
            created_at timestamptz NOT NULL
        )
    """)
    owned_by_tenant("tenants", own="id = current_setting('gpucloud.tenant', true)")

    op.execute("""
        CREATE TABLE users (
            id text COLLATE "C" PRIMARY KEY,
            username text COLLATE "C" NOT NULL,
            username_key text NOT NULL UNIQUE,
            password_hash text,
            email text,
            email_verified_at timestamptz,
            platform_role text COLLATE "C" NOT NULL,
            default_project_id text,
            created_at timestamptz NOT NULL,
            disabled_at timestamptz
        )
    """)
    shared_by_all("users")


def make_projects() -> None:
    op.execute("""
        CREATE TABLE projects (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            name text COLLATE "C" NOT NULL,
            slug text NOT NULL,
            created_at timestamptz NOT NULL,
            deleted_at timestamptz,
            UNIQUE (tenant_id, slug)
        )
    """)
    owned_by_tenant("projects")

    op.execute("""
        CREATE TABLE tenant_members (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            user_id text NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
            role text COLLATE "C" NOT NULL,
            created_at timestamptz NOT NULL,
            UNIQUE (tenant_id, user_id)
        )
    """)
    op.execute("CREATE INDEX ON tenant_members (user_id)")
    owned_by_tenant("tenant_members")

    op.execute("""
        CREATE TABLE project_members (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            project_id text NOT NULL REFERENCES projects DEFERRABLE INITIALLY DEFERRED,
            user_id text NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
            role text COLLATE "C" NOT NULL,
            created_at timestamptz NOT NULL,
            UNIQUE (project_id, user_id)
        )
    """)
    op.execute("CREATE INDEX ON project_members (user_id)")
    op.execute("CREATE INDEX ON project_members (tenant_id)")
    owned_by_tenant("project_members")


def make_sessions() -> None:
    op.execute("""
        CREATE TABLE sessions (
            id text COLLATE "C" PRIMARY KEY,
            user_id text NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            kind text NOT NULL,
            access_hash text NOT NULL UNIQUE,
            access_expires_at timestamptz NOT NULL,
            refresh_hash text UNIQUE,
            previous_refresh_hash text,
            rotated_at timestamptz,
            rotation_salt text,
            created_at timestamptz NOT NULL,
            last_seen_at timestamptz NOT NULL,
            ends_at timestamptz NOT NULL,
            revoked_at timestamptz,
            revoked_reason text,
            user_agent text NOT NULL,
            ip text NOT NULL
        )
    """)
    op.execute("CREATE INDEX ON sessions (user_id)")
    op.execute("CREATE INDEX ON sessions (tenant_id)")
    op.execute("CREATE INDEX ON sessions (previous_refresh_hash)")
    owned_by_tenant("sessions")


def make_keys() -> None:
    op.execute("""
        CREATE TABLE ssh_keys (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            user_id text NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
            name text COLLATE "C" NOT NULL,
            type text COLLATE "C" NOT NULL,
            public_key text NOT NULL,
            fingerprint text NOT NULL,
            comment text NOT NULL,
            created_at timestamptz NOT NULL,
            deleted_at timestamptz
        )
    """)
    op.execute("""
        CREATE UNIQUE INDEX ON ssh_keys (tenant_id, user_id, fingerprint) WHERE deleted_at IS NULL
    """)
    op.execute("CREATE INDEX ON ssh_keys (user_id)")
    op.execute("CREATE INDEX ON ssh_keys (tenant_id, id)")
    owned_by_tenant("ssh_keys")

    op.execute("""
        CREATE TABLE one_time_tokens (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            user_id text NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
            purpose text NOT NULL,
            subject text NOT NULL,
            binding text NOT NULL,
            expires_at timestamptz NOT NULL,
            used_at timestamptz
        )
    """)
    op.execute("CREATE INDEX ON one_time_tokens (expires_at)")
    owned_by_tenant("one_time_tokens")
