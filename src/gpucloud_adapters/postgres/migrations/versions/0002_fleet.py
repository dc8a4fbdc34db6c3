"""The catalog, the nodes, their slots and capacity, and the claims that hold them.

Capacity and slots belong to no tenant, and a tenant's claim changes both. So the changes are
functions of the owner, and the only way for a tenant to make one; they see claims of the caller
only. Two open claims cannot overlap: each run of claimed slots is a span of its node, and spans
exclude each other. Nobody but the owner can write a span; a trigger keeps them as the claims are.
"""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import (
    as_owner,
    callable_by_all,
    owned_by_tenant,
    shared_by_all,
)

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with as_owner():
        make_catalog()
        make_nodes()
        make_capacity()
        make_claims()
        make_claim_spans()
        make_take_slots()
        make_move_slots()
        make_give_back_slots()


def make_catalog() -> None:
    op.execute("""
        CREATE TABLE skus (
            id text COLLATE "C" PRIMARY KEY,
            display_name text COLLATE "C" NOT NULL,
            vendor text NOT NULL,
            gpu_model text COLLATE "C" NOT NULL,
            gpu_memory_mib bigint NOT NULL,
            shape text NOT NULL,
            runtime text NOT NULL,
            region text COLLATE "C" NOT NULL,
            allowed_gpu_counts jsonb NOT NULL,
            vcpus_per_gpu bigint NOT NULL,
            memory_mib_per_gpu bigint NOT NULL,
            image_ids jsonb NOT NULL,
            demand_mix jsonb NOT NULL,
            summary text NOT NULL,
            active boolean NOT NULL,
            created_at timestamptz NOT NULL
        )
    """)
    shared_by_all("skus")

    op.execute("""
        CREATE TABLE prices (
            id text COLLATE "C" PRIMARY KEY,
            sku_id text NOT NULL REFERENCES skus DEFERRABLE INITIALLY DEFERRED,
            micros_per_gpu_hour bigint NOT NULL CHECK (micros_per_gpu_hour >= 0),
            currency text NOT NULL,
            starts_at timestamptz NOT NULL,
            UNIQUE (sku_id, starts_at)
        )
    """)
    shared_by_all("prices")

    op.execute("""
        CREATE TABLE os_images (
            id text COLLATE "C" PRIMARY KEY,
            name text COLLATE "C" NOT NULL,
            runtime text NOT NULL,
            version text NOT NULL,
            username text NOT NULL,
            summary text NOT NULL,
            digest text NOT NULL,
            active boolean NOT NULL,
            created_at timestamptz NOT NULL
        )
    """)
    shared_by_all("os_images")


def make_nodes() -> None:
    op.execute("""
        CREATE TABLE nodes (
            id text COLLATE "C" PRIMARY KEY,
            name text COLLATE "C" NOT NULL,
            region text COLLATE "C" NOT NULL,
            mode text COLLATE "C" NOT NULL,
            status text COLLATE "C" NOT NULL,
            status_reason text NOT NULL,
            access jsonb NOT NULL,
            topology jsonb NOT NULL,
            simulated boolean NOT NULL,
            shared_kernel boolean NOT NULL,
            reachable boolean,
            probed_at timestamptz,
            probe_error text NOT NULL,
            created_at timestamptz NOT NULL,
            version bigint NOT NULL
        )
    """)
    op.execute("""
        CREATE UNIQUE INDEX ON nodes (name) WHERE status NOT IN ('retired', 'deleted')
    """)
    shared_by_all("nodes")

    op.execute("""
        CREATE TABLE slots (
            id text COLLATE "C" PRIMARY KEY,
            node_id text NOT NULL REFERENCES nodes DEFERRABLE INITIALLY DEFERRED,
            index bigint NOT NULL CHECK (index BETWEEN 0 AND 62),
            gpu_uuid text NOT NULL,
            numa bigint NOT NULL,
            cpus text NOT NULL,
            memory_mib bigint NOT NULL,
            ssh_host text NOT NULL,
            ssh_port bigint NOT NULL,
            state text COLLATE "C" NOT NULL,
            state_since timestamptz NOT NULL,
            reason text NOT NULL,
            UNIQUE (node_id, index)
        )
    """)
    op.execute("""
        CREATE UNIQUE INDEX ON slots (ssh_host, ssh_port)
        WHERE state NOT IN ('proposed', 'disabled')
    """)
    shared_by_all("slots")


def make_capacity() -> None:
    op.execute("""
        CREATE TABLE node_capacity (
            node_id text COLLATE "C" PRIMARY KEY REFERENCES nodes DEFERRABLE INITIALLY DEFERRED,
            pool text NOT NULL,
            system text NOT NULL,
            mode text NOT NULL,
            gpu_count bigint NOT NULL,
            approved_mask bigint NOT NULL CHECK (approved_mask >= 0),
            free_mask bigint NOT NULL CHECK (free_mask >= 0 AND free_mask & ~approved_mask = 0),
            free_vcpus bigint NOT NULL CHECK (free_vcpus >= 0),
            free_memory_mib bigint NOT NULL CHECK (free_memory_mib >= 0),
            sellable boolean NOT NULL,
            unsellable_reason text NOT NULL,
            shared boolean NOT NULL,
            version bigint NOT NULL,
            changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id()
        )
    """)
    op.execute("CREATE INDEX ON node_capacity (changed_xid)")
    op.execute("CREATE INDEX ON node_capacity (pool, node_id) WHERE sellable AND free_mask <> 0")
    op.execute("""
        CREATE FUNCTION stamp_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.changed_xid := pg_current_xact_id();
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON node_capacity
        FOR EACH ROW EXECUTE FUNCTION stamp_change()
    """)
    shared_by_all("node_capacity")
    # Locking a row needs the right to update some column; the trigger writes this one anyway.
    op.execute("GRANT UPDATE (changed_xid) ON node_capacity TO gpucloud_app")


def make_claims() -> None:
    op.execute("""
        CREATE TABLE claims (
            id text COLLATE "C" PRIMARY KEY,
            tenant_id text NOT NULL REFERENCES tenants DEFERRABLE INITIALLY DEFERRED,
            allocation_id text NOT NULL,
            node_id text NOT NULL REFERENCES nodes DEFERRABLE INITIALLY DEFERRED,
            mask bigint NOT NULL CHECK (mask > 0),
            whole_node boolean NOT NULL,
            vcpus bigint NOT NULL,
            memory_mib bigint NOT NULL,
            claimed_at timestamptz NOT NULL,
            released_at timestamptz,
            explanation jsonb NOT NULL
        )
    """)
    op.execute("CREATE UNIQUE INDEX ON claims (allocation_id) WHERE released_at IS NULL")
    op.execute("CREATE INDEX ON claims (allocation_id)")
    op.execute("CREATE INDEX ON claims (node_id)")
    op.execute("CREATE INDEX ON claims (tenant_id, id)")
    owned_by_tenant("claims")


def make_claim_spans() -> None:
    op.execute("""
        CREATE TABLE claim_spans (
            claim_id text NOT NULL REFERENCES claims ON DELETE CASCADE,
            node_id text NOT NULL,
            span int4range NOT NULL,
            EXCLUDE USING gist (node_id WITH =, span WITH &&)
        )
    """)
    op.execute("CREATE INDEX ON claim_spans (claim_id)")
    op.execute("""
        CREATE FUNCTION keep_spans() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        BEGIN
            DELETE FROM claim_spans WHERE claim_id = NEW.id;
            IF NEW.released_at IS NOT NULL THEN
                RETURN NULL;
            END IF;
            IF NEW.whole_node THEN
                INSERT INTO claim_spans VALUES (NEW.id, NEW.node_id, int4range(0, 64));
                RETURN NULL;
            END IF;
            INSERT INTO claim_spans
            SELECT NEW.id, NEW.node_id, int4range(min(bit), max(bit) + 1)
            FROM (
                SELECT bit, bit - row_number() OVER (ORDER BY bit) AS run
                FROM generate_series(0, 62) AS bit
                WHERE (NEW.mask >> bit) & 1 = 1
            ) AS bits
            GROUP BY run;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER keep_spans
        AFTER INSERT OR UPDATE OF node_id, mask, whole_node, released_at ON claims
        FOR EACH ROW EXECUTE FUNCTION keep_spans()
    """)


def make_take_slots() -> None:
    # All or nothing: what fails here is undone here, with its locks, and says false. The capacity
    # row is the node's gate; whoever waited for it sees what is really free. Slots are never
    # waited for: an operator who holds one makes the caller lose the race.
    op.execute("""
        CREATE FUNCTION take_slots(
            node text, wanted bigint, whole boolean, vcpus bigint, memory_mib bigint,
            at timestamptz, may_wait boolean
        ) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        DECLARE
            taken bigint := 0;
        BEGIN
            IF NOT may_wait THEN
                PERFORM FROM node_capacity WHERE node_id = node FOR UPDATE SKIP LOCKED;
                IF NOT FOUND THEN
                    RETURN false;
                END IF;
            END IF;
            UPDATE node_capacity AS c
            SET free_mask = c.free_mask & ~wanted,
                free_vcpus = c.free_vcpus - vcpus,
                free_memory_mib = c.free_memory_mib - memory_mib,
                version = c.version + 1
            WHERE c.node_id = node AND c.sellable
                AND c.free_mask & wanted = wanted
                AND c.free_vcpus >= vcpus
                AND c.free_memory_mib >= memory_mib
                AND (c.free_mask = c.approved_mask OR (c.shared AND NOT whole))
                AND (c.approved_mask = wanted OR NOT whole);
            IF FOUND THEN
                WITH free AS (
                    SELECT s.id FROM slots AS s
                    WHERE s.node_id = node AND s.state = 'available'
                        AND (wanted >> s.index::int) & 1 = 1
                    FOR UPDATE SKIP LOCKED
                )
                UPDATE slots AS s SET state = 'claimed', state_since = at, reason = ''
                FROM free WHERE s.id = free.id;
                GET DIAGNOSTICS taken = ROW_COUNT;
            END IF;
            IF taken < bit_count(wanted::bit(64)) THEN
                RAISE EXCEPTION 'lost the race' USING ERRCODE = 'GC001';
            END IF;
            RETURN true;
        EXCEPTION WHEN SQLSTATE 'GC001' THEN
            RETURN false;
        END $$
    """)
    callable_by_all("take_slots")


def make_move_slots() -> None:
    op.execute("""
        CREATE FUNCTION move_slots(claim text, new_state text, because text) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        BEGIN
            UPDATE slots AS s
            SET state = new_state, state_since = clock_timestamp(), reason = because
            FROM claims AS c
            WHERE c.id = claim
                AND c.released_at IS NULL
                AND s.node_id = c.node_id
                AND (c.mask >> s.index::int) & 1 = 1;
            RETURN FOUND;
        END $$
    """)
    callable_by_all("move_slots")


def make_give_back_slots() -> None:
    op.execute("""
        CREATE FUNCTION give_back_slots(claim text, at timestamptz) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        DECLARE
            held claims;
        BEGIN
            SELECT * INTO held FROM claims WHERE id = claim FOR UPDATE;
            IF NOT FOUND THEN
                RETURN false;
            END IF;
            IF held.released_at IS NOT NULL THEN
                RETURN true;  -- given back before
            END IF;
            UPDATE node_capacity AS c
            SET free_mask = c.free_mask | (held.mask & c.approved_mask),
                free_vcpus = c.free_vcpus + held.vcpus,
                free_memory_mib = c.free_memory_mib + held.memory_mib,
                version = c.version + 1
            WHERE c.node_id = held.node_id;
            UPDATE slots AS s SET state = 'available', state_since = at, reason = ''
            WHERE s.node_id = held.node_id AND (held.mask >> s.index::int) & 1 = 1;
            UPDATE claims SET released_at = at WHERE id = claim;
            RETURN true;
        END $$
    """)
    callable_by_all("give_back_slots")
