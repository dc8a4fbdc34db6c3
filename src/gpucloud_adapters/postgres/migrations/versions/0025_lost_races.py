"""A lost race leaves no lock behind: whoever lost keeps nobody off the node."""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    # All or nothing: what fails here is undone here, with its locks, and says false. The capacity
    # row is the node's gate; whoever waited for it sees what is really free. Slots change only
    # behind the gate, so nobody else holds one.
    with as_owner():
        op.execute("""
            CREATE OR REPLACE FUNCTION take_slots(
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
                    version = c.version + 1,
                    changed_xid = pg_current_xact_id()
                WHERE c.node_id = node AND c.sellable
                    AND c.free_mask & wanted = wanted
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
