"""Tasks, allocations, idempotency keys, the outbox and the audit trail."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import OWN, as_owner, grants, owned_by_tenant

revision = "0004"
down_revision = "0003"

OWN_OR_NOBODYS = f"tenant_id IS NULL OR {OWN}"


def upgrade() -> None:
    with as_owner():
        make_tasks()
        make_task_records()
        make_allocations()
        make_state_changes()
        make_outbox()
        make_audit()


def make_tasks() -> None:
    op.execute("""
        CREATE TABLE tasks (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            project_id text NOT NULL REFERENCES projects DEFERRABLE INITIALLY DEFERRED,
            kind text COLLATE "C" NOT NULL,
            subject text NOT NULL,
            parent_id text,
            status text COLLATE "C" NOT NULL,
            steps jsonb NOT NULL,
            undoing boolean NOT NULL,
            cancel_requested_at timestamptz,
            error text NOT NULL,
            error_detail text NOT NULL,
            wait_reason text NOT NULL,
            due_at timestamptz,
            lease_token text,
            lease_until timestamptz,
            generation bigint NOT NULL,
            data jsonb NOT NULL,
            created_at timestamptz NOT NULL,
            started_at timestamptz,
            finished_at timestamptz
        )
    """)
    op.execute("CREATE INDEX ON tasks (tenant_id, id)")
    op.execute("CREATE INDEX ON tasks (project_id, id)")
    op.execute("CREATE INDEX ON tasks (subject)")
    op.execute("CREATE INDEX ON tasks (parent_id)")
    op.execute("CREATE INDEX ON tasks (due_at) WHERE due_at IS NOT NULL AND finished_at IS NULL")
    owned_by_tenant("tasks")


def make_task_records() -> None:
    op.execute("""
        CREATE TABLE task_events (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            task_id text NOT NULL REFERENCES tasks DEFERRABLE INITIALLY DEFERRED,
            at timestamptz NOT NULL,
            kind text NOT NULL,
            step text NOT NULL,
            text text NOT NULL
        )
    """)
    op.execute("CREATE INDEX ON task_events (task_id, id)")
    owned_by_tenant("task_events")

    op.execute("""
        CREATE TABLE step_durations (
            kind text NOT NULL,
            step text NOT NULL,
            task_id text NOT NULL,
            finished_at timestamptz NOT NULL,
            seconds bigint NOT NULL,
            PRIMARY KEY (task_id, step)
        )
    """)
    op.execute("CREATE INDEX ON step_durations (kind, step, finished_at)")
    grants("step_durations", app="SELECT, INSERT", platform="SELECT, INSERT, DELETE")


def make_allocations() -> None:
    op.execute("""
        CREATE TABLE allocations (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            project_id text NOT NULL REFERENCES projects DEFERRABLE INITIALLY DEFERRED,
            user_id text NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
            name text COLLATE "C" NOT NULL,
            sku_id text COLLATE "C" NOT NULL,
            shape text NOT NULL,
            region text NOT NULL,
            gpu_count bigint NOT NULL,
            image_id text NOT NULL,
            network jsonb NOT NULL,
            keys jsonb NOT NULL,
            end_of_balance text NOT NULL,
            ttl_seconds bigint,
            rate_micros_per_hour bigint NOT NULL,
            currency text NOT NULL,
            state text COLLATE "C" NOT NULL,
            state_since timestamptz NOT NULL,
            generation bigint NOT NULL,
            claim_id text NOT NULL UNIQUE REFERENCES claims DEFERRABLE INITIALLY DEFERRED,
            node_id text NOT NULL REFERENCES nodes DEFERRABLE INITIALLY DEFERRED,
            mask bigint NOT NULL,
            task_id text NOT NULL REFERENCES tasks DEFERRABLE INITIALLY DEFERRED,
            connection jsonb,
            cause text NOT NULL,
            failure_reason text,
            release_failed_reason text,
            requested_at timestamptz NOT NULL,
            active_at timestamptz,
            release_requested_at timestamptz,
            billing_stopped_at timestamptz,
            ended_at timestamptz,
            releases_at timestamptz,
            receipt jsonb NOT NULL
        )
    """)
    op.execute("CREATE INDEX ON allocations (tenant_id, id)")
    op.execute("CREATE INDEX ON allocations (tenant_id, state)")
    op.execute("CREATE INDEX ON allocations (project_id, id)")
    op.execute("CREATE INDEX ON allocations (project_id, requested_at, id)")
    op.execute("CREATE INDEX ON allocations (node_id)")
    op.execute("CREATE INDEX ON allocations (task_id)")
    op.execute("""
        CREATE INDEX ON allocations (releases_at)
        WHERE state = 'active' AND releases_at IS NOT NULL
    """)
    owned_by_tenant("allocations")


def make_state_changes() -> None:
    op.execute("""
        CREATE TABLE state_changes (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            allocation_id text NOT NULL REFERENCES allocations DEFERRABLE INITIALLY DEFERRED,
            at timestamptz NOT NULL,
            state text NOT NULL,
            event text NOT NULL,
            actor text NOT NULL,
            reason text NOT NULL
        )
    """)
    op.execute("CREATE INDEX ON state_changes (allocation_id, at, id)")
    owned_by_tenant("state_changes")


def make_outbox() -> None:
    op.execute("""
        CREATE TABLE stored_responses (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            body_hash text NOT NULL,
            status bigint,
            response text NOT NULL,
            created_at timestamptz NOT NULL
        )
    """)
    op.execute("CREATE INDEX ON stored_responses (created_at)")
    owned_by_tenant("stored_responses")

    op.execute("""
        CREATE TABLE outbox (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            kind text NOT NULL,
            subject text NOT NULL,
            tenant_id text,
            payload jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            published_at timestamptz
        )
    """)
    op.execute("CREATE INDEX ON outbox (id) WHERE published_at IS NULL")
    owned_by_tenant("outbox", app="INSERT", check=OWN_OR_NOBODYS)


def make_audit() -> None:
    op.execute("""
        CREATE TABLE audit_rows (
            id text COLLATE "C" PRIMARY KEY,
            at timestamptz NOT NULL,
            action text COLLATE "C" NOT NULL,
            target text NOT NULL,
            result text NOT NULL,
            tenant_id text,
            project_id text,
            user_id text,
            actor text NOT NULL,
            via text NOT NULL,
            correlation_id text NOT NULL,
            ip text NOT NULL,
            user_agent text NOT NULL,
            changes jsonb NOT NULL,
            content_hash text NOT NULL
        )
    """)
    op.execute("CREATE INDEX ON audit_rows (tenant_id, at, id)")
    op.execute("CREATE INDEX ON audit_rows (target)")
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_rows
        EXECUTE FUNCTION refuse_change()
    """)
    owned_by_tenant(
        "audit_rows", app="SELECT, INSERT", platform="SELECT, INSERT", check=OWN_OR_NOBODYS
    )
