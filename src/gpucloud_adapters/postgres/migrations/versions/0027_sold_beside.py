"""SKUs whose GPUs come with a disk or a port, and the wall that keeps others from claiming so."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner, callable_by_all

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    with as_owner():
        for table in ("skus", "promises", "claims"):
            op.execute(f"ALTER TABLE {table} ADD COLUMN beside text NOT NULL DEFAULT 'nothing'")
        for mask in ("disk_mask", "nic_mask"):
            op.execute(f"""
                ALTER TABLE node_capacity ADD COLUMN {mask} bigint NOT NULL DEFAULT 0
                CHECK ({mask} & ~approved_mask = 0)
            """)
        op.execute("""
            CREATE FUNCTION has_beside(disks bigint, nics bigint, wanted bigint, beside text)
            RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
                SELECT CASE beside
                    WHEN 'nothing' THEN true
                    WHEN 'disk' THEN disks & wanted = wanted
                    WHEN 'nic' THEN nics & wanted = wanted
                    WHEN 'disk_and_nic' THEN disks & nics & wanted = wanted
                    ELSE false
                END
            $$
        """)
        take_slots()


def take_slots() -> None:
    # As before, and each slot has to come with what is claimed beside it. The argument has a
    # default for programs of before, which claim nothing beside a GPU.
    op.execute("""
        DROP FUNCTION take_slots(text, bigint, boolean, bigint, bigint, timestamptz, boolean)
    """)
    op.execute("""
        CREATE FUNCTION take_slots(
            node text, wanted bigint, whole boolean, vcpus bigint, memory_mib bigint,
            at timestamptz, may_wait boolean, beside text DEFAULT 'nothing'
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
                version = c.version + 1,
                changed_xid = pg_current_xact_id()
            WHERE c.node_id = node AND c.sellable
                AND c.free_mask & wanted = wanted
                AND has_beside(c.disk_mask, c.nic_mask, wanted, beside)
                AND c.free_vcpus >= vcpus
                AND c.free_memory_mib >= memory_mib
                AND (c.free_mask = c.approved_mask OR (c.shared AND NOT whole))
                AND (c.approved_mask = wanted OR NOT whole);
            IF FOUND THEN
                UPDATE slots AS s SET state = 'claimed', state_since = at, reason = ''
                WHERE s.node_id = node AND s.state = 'available'
                    AND (wanted >> s.index::int) & 1 = 1;
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
